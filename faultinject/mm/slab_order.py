"""How a slab is cut, and how large it is: the block order that holds objects of a size well.

Lives here: arithmetic only. Not here: the slabs (`faultinject.mm.slab`).

Source: Linux 6.6 mm/slub.c, calculate_order() and calc_slab_order(), for a
machine with one CPU.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from faultinject.mm.buddy import MAX_ORDER
from faultinject.mm.ram import PAGE_SIZE

#: Slabs of small objects are no larger than this order (PAGE_ALLOC_COSTLY_ORDER).
LARGEST: Final = 3
#: A slab should hold this many objects: 4 * (fls(1 CPU) + 1).
WANTED: Final = 8
_FEWEST_MIN_PARTIAL: Final = 5
_MOST_MIN_PARTIAL: Final = 10


class SlabLayout(NamedTuple):
    """How the slabs of a cache are cut.

    Attributes:
        size: the distance of two objects, in bytes.
        room: how much of that is usable.
        lead: what lies before the first object of a slab, in bytes.
        order: of a slab, if that many pages can be had; `min_order` otherwise.
        min_order: the smallest that holds one object.
        min_partial: how many partial slabs are kept before empty ones are given back.
    """

    size: int
    room: int
    lead: int
    order: int
    min_order: int
    min_partial: int

    def objects(self, order: int) -> int:
        """Return how many objects a slab of `order` holds."""
        # What lies in front of an object is a part of its slot.
        return ((PAGE_SIZE << order) - self.lead + self.size - self.room) // self.size


def slub_layout(object_size: int, align: int) -> SlabLayout:
    """Lay objects of a size out as SLUB does, each on a multiple of `align`."""
    size = -(-object_size // align) * align
    return SlabLayout(size, size, 0, preferred_order(size), minimum_order(size), min_partial(size))


def preferred_order(size: int) -> int:
    """Return the order of a slab for slots of `size` bytes, which no more than 4 MiB are.

    The smallest order that holds 8 objects and wastes at most a sixteenth of
    itself; then an eighth, a quarter; then fewer objects.
    """
    wanted = min(WANTED, (PAGE_SIZE << LARGEST) // size)
    while wanted > 1:
        for fraction in (16, 8, 4):
            order = _fitting(size, wanted, fraction)
            if order <= LARGEST:
                return order
        wanted -= 1
    return minimum_order(size)


def minimum_order(size: int) -> int:
    """Return the smallest order that holds one slot of `size` bytes."""
    order = 0
    while PAGE_SIZE << order < size and order < MAX_ORDER:
        order += 1
    return order


def min_partial(size: int) -> int:
    """Return how many partial slabs a cache keeps before it gives empty ones back."""
    half_log = (size.bit_length() - 1) // 2
    return max(_FEWEST_MIN_PARTIAL, min(_MOST_MIN_PARTIAL, half_log))


def _fitting(size: int, objects: int, fraction: int) -> int:
    order = minimum_order(size * objects)
    while order <= LARGEST and (PAGE_SIZE << order) % size > (PAGE_SIZE << order) // fraction:
        order += 1
    return order
