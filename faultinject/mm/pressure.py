"""Pressure: pages taken away on purpose, so that a memory is nearly full or in pieces.

Lives here: what ``Memory.consume`` and ``Memory.fragment`` do, and `Pressure`, which
gives the pages back. Not here: how free blocks are cut into given ones
(`faultinject.mm.cutting`).

Such pages are allocated to nobody: they are no leaks, and no capability sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Final

from faultinject.errors import SpecError
from faultinject.gfp import Gfp
from faultinject.mm.buddy import MAX_ORDER, Buddy
from faultinject.mm.cutting import Block, cut
from faultinject.mm.migrate import HIGHATOMIC
from faultinject.mm.page_alloc import PageAllocator
from faultinject.mm.ram import PAGE_SHIFT, PAGE_SIZE
from faultinject.mm.size import parse_size
from faultinject.mm.watermark import MARKS, block_counts
from faultinject.mm.zone import Zone

_AMOUNT: Final = "pressure"


class Pressure:
    """Pages that are out of reach until they are given back; may be used in a ``with``.

    Attributes:
        movable: whether compaction may move them.
        blocks: the order of each block, by its first page frame; where the pages may be
            moved, compaction changes it.
    """

    __slots__ = ("_pages", "blocks", "movable")

    def __init__(self, pages: PageAllocator, taken: Sequence[Block], movable: bool) -> None:
        self._pages = pages
        self.movable = movable
        self.blocks = dict(taken)
        pages.held.hold(self)

    @property
    def size(self) -> int:
        """How many bytes are held."""
        with self._pages.ram.lock:
            return sum(PAGE_SIZE << order for order in self.blocks.values())

    def release(self) -> None:
        """Give all pages back; a second time is a no-op."""
        with self._pages.ram.lock:
            for pfn, order in self.blocks.items():
                self._pages.held.release(pfn)
                self._pages.blocks.free(pfn, order)
            self.blocks.clear()

    def __enter__(self) -> Pressure:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Pressure of {self.size} bytes in {len(self.blocks)} blocks>"


def consume(
    pages: PageAllocator,
    amount: str | int | None,
    leave: str | int | None,
    zone: str | None,
    movable: bool,
) -> Pressure:
    """See `faultinject.mm.memory.Memory.consume`."""
    if (amount is None) == (leave is None):
        raise SpecError(
            "consume needs either an amount or what it leaves",
            value=(amount, leave),
            cure='Pass consume("16M") or consume(leave="1M")',
        )
    zones = list(reversed(_zones(pages, zone)))
    said = amount if leave is None else leave
    size = None if leave in MARKS else parse_size(said, of=_AMOUNT, least=0)
    with pages.ram.lock:
        free = sum(each.buddy.nr_free for each in zones)
        if size is None:
            mark = MARKS.index(str(leave))
            surplus = (max(each.free - each.marks[mark], 0) for each in zones)
            shares = [
                min(own, each.buddy.nr_free) for own, each in zip(surplus, zones, strict=True)
            ]
        else:
            wanted = size >> PAGE_SHIFT
            if wanted > free:
                raise SpecError(
                    "there is not as much free memory",
                    value=said,
                    where=f"{free << PAGE_SHIFT} bytes are free",
                    cure="Pass less",
                )
            shares = _shares(zones, wanted if leave is None else free - wanted)
        kind = _kind(pages, movable)
        taken: list[Block] = []
        for each, share in zip(zones, shares, strict=True):
            taken += _take_singles(each.buddy, share, kind)
        return Pressure(pages, taken, movable)


def fragment(
    pages: PageAllocator,
    order: int | None,
    blocks: Sequence[int] | None,
    zone: str | None,
    movable: bool,
) -> Pressure:
    """See `faultinject.mm.memory.Memory.fragment`."""
    if (order is None) == (blocks is None):
        raise SpecError(
            "fragment needs either an order or blocks",
            value=(order, blocks),
            cure="Pass fragment(3) or fragment(blocks=[100, 20])",
        )
    zones = _zones(pages, zone)
    if blocks is None:
        if isinstance(order, bool) or not isinstance(order, int) or not 1 <= order <= MAX_ORDER:
            raise SpecError(
                "not an order that can be made scarce",
                value=order,
                cure=f"Pass an int of 1 to {MAX_ORDER}; consume() takes single pages",
            )
        with pages.ram.lock:
            taken = [block for each in zones for block in _break(each.buddy, order)]
            return Pressure(pages, taken, movable)
    counts = block_counts(blocks)
    if len(zones) > 1:
        raise SpecError(
            "blocks are those of one zone",
            value=[each.name for each in zones],
            cure="Name it: fragment(blocks=…, zone=…)",
        )
    with pages.ram.lock:
        return Pressure(pages, _cut_zone(zones[0], counts), movable)


def _zones(pages: PageAllocator, name: str | None) -> list[Zone]:
    zones = list(pages.zones.populated)
    if name is None:
        return zones
    found = [zone for zone in zones if zone.name == name]
    if not found:
        raise SpecError(
            "the memory has no such zone",
            value=name,
            cure=f"Pass one of {', '.join(zone.name for zone in zones)}",
        )
    return found


def _kind(pages: PageAllocator, movable: bool) -> int:
    """Return the migrate type of the pages; a small memory knows only one."""
    plan = pages.zones.plans[Gfp.MOVABLE if movable else 0]
    assert plan is not None
    return plan.kind


def _shares(zones: list[Zone], wanted: int) -> list[int]:
    shares = []
    for zone in zones:
        shares.append(min(wanted, zone.buddy.nr_free))
        wanted -= shares[-1]
    return shares


def _take_singles(buddy: Buddy, wanted: int, kind: int) -> list[Block]:
    """Take what so many requests of order 0 would get, as few blocks as that makes."""
    taken = []
    while wanted:
        most = wanted.bit_length() - 1
        own = buddy.lists[kind]
        order = next((o for o, area in enumerate(own.areas) if area), -1)
        if order < 0:
            order = max(lists.largest() for lists in buddy.lists[:HIGHATOMIC])
        if order < 0:  # only what is set aside for atomic requests is left
            own = buddy.lists[HIGHATOMIC]
            order = next(o for o, area in enumerate(own.areas) if area)
            pfn = own.take(min(order, most))
        else:
            pfn = buddy.alloc(min(order, most), kind)
        assert pfn is not None
        taken.append((pfn, min(order, most)))
        wanted -= 1 << min(order, most)
    return taken


def _break(buddy: Buddy, order: int) -> list[Block]:
    """Take the first page of each ``1 << order`` in the free blocks that are large enough."""
    taken = []
    for pfn, found in _free_blocks(buddy):
        if found < order:
            continue
        _withdraw(buddy, pfn, found)
        for start in range(pfn, pfn + (1 << found), 1 << order):
            taken.append((start, 0))
            for piece in range(order):
                buddy.free(start + (1 << piece), piece)
    return taken


def _cut_zone(zone: Zone, counts: list[int]) -> list[Block]:
    buddy = zone.buddy
    before = _free_blocks(buddy)
    kept, rest = cut(before, counts, where=f"zone {zone.name}")
    for pfn, order in before:
        _withdraw(buddy, pfn, order)
    # The head of a list is what was freed last: low frames are handed out first.
    for pfn, order in reversed(kept):
        buddy.free(pfn, order)
    return rest


def _free_blocks(buddy: Buddy) -> list[Block]:
    """Return the free blocks, those of the lowest frames first."""
    return sorted(
        (pfn, order)
        for lists in buddy.lists
        for order, area in enumerate(lists.areas)
        for pfn in area
    )


def _withdraw(buddy: Buddy, pfn: int, order: int) -> None:
    del buddy.lists_of(pfn).areas[order][pfn]
    buddy.nr_free -= 1 << order
