"""The buddy allocator: free page blocks by order and migrate type, split and coalesced.

Lives here: `Buddy`, the free blocks of one zone, `FreeLists`, those of one type in
it, and `PageBlocks`, which knows whose a page frame is. Page frame numbers only. Not
here: the bytes (`faultinject.mm.ram`), the marks (`faultinject.mm.zone`), faults,
flags and messages (`faultinject.mm.page_alloc`).

A free list is a dict from page frame number to nothing: its end is the list's
head, so that insertion at the head, removal of the head and removal of a buddy
from the middle each take constant time.

Source: Linux mm/page_alloc.c, __rmqueue_smallest(), __rmqueue_fallback() and
__free_one_page(), with plain head insertion and without per-cpu lists. A free block
always lies on the list of its pageblock's type, as since 6.10: a request that takes
from another type takes the pageblock over with it if at least half of it is free,
and otherwise one block. Which used pages would match the new type does not count.
"""

from __future__ import annotations

from typing import Final

from faultinject.mm.migrate import (
    FALLBACKS,
    HIGHATOMIC,
    MOVABLE,
    PAGEBLOCK_ORDER,
    PAGEBLOCK_PAGES,
    TYPES,
    UNMOVABLE,
)

MAX_ORDER: Final = 10  # inclusive, as in 6.4 to 6.7
ORDERS: Final = MAX_ORDER + 1
#: Zones begin at a multiple of this many pages.
MAX_ORDER_PAGES: Final = 1 << MAX_ORDER

_BLOCK_OFFSET: Final = PAGEBLOCK_PAGES - 1
_Area = dict[int, None]


class FreeLists:
    """The free blocks of one migrate type in one zone, by order.

    Attributes:
        areas: the lists, from order 0 up.
        buddy: the zone's free blocks of all types.
        kind: the migrate type.
        merge: for each order, what a freed block may merge with within its pageblock.
    """

    __slots__ = ("_from", "areas", "buddy", "kind", "merge")

    def __init__(self, buddy: Buddy, kind: int) -> None:
        self.buddy = buddy
        self.kind = kind
        areas: tuple[_Area, ...] = tuple({} for _ in range(ORDERS))
        self.areas = areas
        # What each loop walks, laid out once: these loops are the hot path.
        sizes = tuple((areas[o], 1 << o) for o in range(MAX_ORDER))
        downwards = sizes[::-1]
        self._from = [
            [
                (areas[high], downwards[MAX_ORDER - high : MAX_ORDER - low])
                for high in range(low, ORDERS)
            ]
            for low in range(ORDERS)
        ]
        self.merge = [sizes[o:PAGEBLOCK_ORDER] for o in range(ORDERS)]

    def take(self, order: int) -> int | None:
        """Take a block of ``1 << order`` pages of this type; None if none is large enough.

        The block comes from the head of the first non-empty list at or above
        `order`. It is halved down to size; the upper halves go back.
        """
        for area, halves in self._from[order]:
            if area:
                pfn = area.popitem()[0]
                for lower, half in halves:
                    lower[pfn + half] = None
                self.buddy.nr_free -= 1 << order
                return pfn
        return None

    def largest(self) -> int:
        """Return the order of the largest free block of this type, or -1."""
        return next((o for o in range(MAX_ORDER, -1, -1) if self.areas[o]), -1)

    def free_pages(self) -> int:
        """Return the number of free pages of this type."""
        return sum(len(area) << order for order, area in enumerate(self.areas))

    def inside(self, start: int) -> list[tuple[int, int]]:
        """Return the free blocks of a pageblock of this type, as frame number and order."""
        end = start + PAGEBLOCK_PAGES
        return [
            (pfn, order)
            for order, area in enumerate(self.areas[: PAGEBLOCK_ORDER + 1])
            if area
            for pfn in range(start, end, 1 << order)
            if pfn in area
        ]


class PageBlocks:
    """Whose each pageblock is: the free lists of a type in a zone.

    Serves all zones of a memory: each free asks it first.

    Attributes:
        lists: by ``pfn >> PAGEBLOCK_ORDER``.
    """

    __slots__ = ("lists",)

    def __init__(self) -> None:
        self.lists: list[FreeLists] = []

    def cover(self, start: int, pages: int, lists: FreeLists) -> None:
        """Give the pages from `start` on, which is after all others so far, to `lists`."""
        end = -(-(start + pages) // MAX_ORDER_PAGES) * MAX_ORDER_PAGES
        self.lists += [lists] * ((end >> PAGEBLOCK_ORDER) - len(self.lists))

    def free(self, pfn: int, order: int) -> None:
        """Give a block back and merge it with its free buddies, up to `MAX_ORDER`.

        `pfn` is a multiple of ``1 << order``, and no page of the block is free.
        """
        lists = self.lists[pfn >> PAGEBLOCK_ORDER]
        zone = lists.buddy
        zone.nr_free += 1 << order
        zone.freed += 1 << order
        for area, size in lists.merge[order]:
            buddy = pfn ^ size
            if buddy not in area:
                area[pfn] = None
                return
            del area[buddy]
            if buddy < pfn:
                pfn = buddy
        self._free_pageblock(pfn, lists)
        if order == MAX_ORDER:
            upper = pfn + PAGEBLOCK_PAGES
            self._free_pageblock(upper, self.lists[upper >> PAGEBLOCK_ORDER])

    def free_range(self, pfn: int, end: int) -> None:
        """Give back the single pages ``pfn .. end - 1``, one by one, upwards."""
        for single in range(pfn, end):
            self.free(single, 0)

    def _free_pageblock(self, pfn: int, lists: FreeLists) -> None:
        buddy = pfn ^ PAGEBLOCK_PAGES
        at = buddy >> PAGEBLOCK_ORDER
        theirs = self.lists[at]
        if (
            buddy in theirs.areas[PAGEBLOCK_ORDER]
            and lists.kind != HIGHATOMIC
            and theirs.kind != HIGHATOMIC
        ):
            del theirs.areas[PAGEBLOCK_ORDER][buddy]
            self.lists[at] = lists  # a free block has one type
            lists.areas[MAX_ORDER][pfn & buddy] = None
        else:
            lists.areas[PAGEBLOCK_ORDER][pfn] = None

    def retype(self, start: int, after: FreeLists) -> None:
        """Give a pageblock, its free blocks with it, to other lists of its zone.

        It may not be a part of a larger free block.
        """
        before = self.lists[start >> PAGEBLOCK_ORDER]
        self.lists[start >> PAGEBLOCK_ORDER] = after
        for pfn, order in before.inside(start):
            del before.areas[order][pfn]
            if order == PAGEBLOCK_ORDER:
                self._free_pageblock(pfn, after)
            else:
                after.areas[order][pfn] = None


class Buddy:
    """The free blocks of one zone.

    Not locked: the caller holds the lock of the memory.

    Args:
        pages: how many.
        start: the first page frame, a multiple of `MAX_ORDER_PAGES`.
        blocks: the pageblocks of the memory; the zone's are added.
        kind: the migrate type of all pages to begin with.

    Attributes:
        lists: the free blocks of each migrate type.
        nr_free: the number of free pages.
        freed: how many pages were given back so far.
    """

    __slots__ = ("_by_order", "blocks", "freed", "lists", "nr_free", "pages", "start")

    def __init__(
        self,
        pages: int,
        start: int = 0,
        blocks: PageBlocks | None = None,
        kind: int = UNMOVABLE,
    ) -> None:
        self.pages = pages
        self.start = start
        self.blocks = PageBlocks() if blocks is None else blocks
        self.nr_free = pages
        self.freed = 0
        self.lists = tuple(FreeLists(self, each) for each in TYPES)
        self._by_order = tuple(zip(*(lists.areas for lists in self.lists), strict=True))
        self.blocks.cover(start, pages, self.lists[kind])
        self._seed(self.lists[kind])

    @property
    def taken(self) -> int:
        """How many pages were taken so far; those under pressure, or moved, are among them."""
        return self.pages - self.nr_free + self.freed

    def _seed(self, lists: FreeLists) -> None:
        pfn, end = self.start, self.start + self.pages
        for order in range(MAX_ORDER, -1, -1):
            size = 1 << order
            here = range(pfn, end - size + 1, size)
            # The head of a list is its last entry, and low frames are handed out first.
            lists.areas[order].update(dict.fromkeys(reversed(here)))
            pfn += size * len(here)

    def alloc(self, order: int, kind: int = UNMOVABLE) -> int | None:
        """Take a block of ``1 << order`` pages for a type; None if no block is large enough.

        Where the type has none, a block of another type is taken, and perhaps its
        pageblock. What is set aside for atomic requests is never taken so.
        """
        pfn = self.lists[kind].take(order)
        return self._take_over(order, kind) if pfn is None else pfn

    def _take_over(self, order: int, kind: int) -> int | None:
        found = self._fallback(order, kind)
        if found is None:
            return None
        theirs, current = found
        pfn = next(reversed(theirs.areas[current]))
        if current >= PAGEBLOCK_ORDER:
            for start in range(pfn, pfn + (1 << current), PAGEBLOCK_PAGES):
                self.blocks.lists[start >> PAGEBLOCK_ORDER] = self.lists[kind]
            del theirs.areas[current][pfn]
            self.lists[kind].areas[current][pfn] = None
            return self.lists[kind].take(order)
        if _may_claim(current, kind) and 2 * theirs.free_pages() >= PAGEBLOCK_PAGES:
            start = pfn & ~_BLOCK_OFFSET
            if 2 * sum(1 << o for _, o in theirs.inside(start)) >= PAGEBLOCK_PAGES:
                self.blocks.retype(start, self.lists[kind])
                return self.lists[kind].take(order)
        return self._split(theirs, pfn, current, order)

    def _fallback(self, order: int, kind: int) -> tuple[FreeLists, int] | None:
        for current in range(MAX_ORDER, order - 1, -1):
            for other in FALLBACKS[kind]:
                if self.lists[other].areas[current]:
                    if not _may_claim(current, kind):
                        # Only a block can be had, so the smallest that fits.
                        return self._smallest(order, kind)
                    return self.lists[other], current
        return None

    def _smallest(self, order: int, kind: int) -> tuple[FreeLists, int] | None:
        for current in range(order, ORDERS):
            for other in FALLBACKS[kind]:
                if self.lists[other].areas[current]:
                    return self.lists[other], current
        return None

    def _split(self, lists: FreeLists, pfn: int, current: int, order: int) -> int:
        del lists.areas[current][pfn]
        for half in range(current - 1, order - 1, -1):
            lists.areas[half][pfn + (1 << half)] = None
        self.nr_free -= 1 << order
        return pfn

    def free(self, pfn: int, order: int) -> None:
        """Give a block back, as `PageBlocks.free`."""
        self.blocks.free(pfn, order)

    def lists_of(self, pfn: int) -> FreeLists:
        """Return the lists on which a free block that begins at `pfn` lies."""
        return self.blocks.lists[pfn >> PAGEBLOCK_ORDER]

    def counts(self) -> list[int]:
        """Return the number of free blocks of each order, from 0 up, of all types."""
        return [len(u) + len(m) + len(e) + len(h) for u, m, e, h in self._by_order]

    def counts_by_type(self) -> list[list[int]]:
        """Return, for each migrate type, its number of free blocks of each order."""
        return [[len(area) for area in lists.areas] for lists in self.lists]

    def by_order(self) -> dict[int, list[int]]:
        """Return the non-empty free lists, order -> frame numbers, types one after the other."""
        found: dict[int, list[int]] = {}
        for order in range(ORDERS):
            frames = [pfn for lists in self.lists for pfn in reversed(lists.areas[order])]
            if frames:
                found[order] = frames
        return found


def _may_claim(order: int, kind: int) -> bool:
    """Whether a block of `order` lets a request of `kind` try for the whole pageblock."""
    return kind != MOVABLE or order >= PAGEBLOCK_ORDER // 2
