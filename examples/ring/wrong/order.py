"""Strategy 2 with a planted bug: the ring became shorter, but its length did not."""

import errno
from dataclasses import dataclass

import faultinject as fi
from ring.device import DESCRIPTOR, PAGE_BYTES

WANTED_ORDER = 3


@dataclass
class Ring:
    descriptors: fi.Pointer
    order: int
    entries: int


def open_ring() -> Ring:
    """Make the longest ring that can be had. OSError(ENOMEM) if there is not even one page."""
    for order in range(WANTED_ORDER, -1, -1):
        # NOWARN: a failure is expected here and handled, so it is no news for the log.
        descriptors = fi.get_free_pages(fi.GFP_KERNEL | fi.Gfp.NOWARN, order)
        if descriptors is not None:
            return Ring(descriptors, order, (PAGE_BYTES << WANTED_ORDER) // DESCRIPTOR.size)
    raise OSError(errno.ENOMEM, "no page for the descriptors")


def reset(ring: Ring) -> None:
    """Give every descriptor to the device, empty."""
    for index in range(ring.entries):
        at = index * DESCRIPTOR.size
        ring.descriptors[at : at + DESCRIPTOR.size] = DESCRIPTOR.pack(0, 0, 0, 0)


def close_ring(ring: Ring) -> None:
    fi.free_pages(ring.descriptors, ring.order)
