"""The buddy allocator: free page blocks by order, split and coalesced.

Lives here: `Buddy`, page frame numbers only. Not here: the bytes
(`faultinject.mm.ram`), faults, flags and messages (`faultinject.mm.page_alloc`).

A free list is a dict from page frame number to nothing: its end is the list's
head, so that insertion at the head, removal of the head and removal of a buddy
from the middle each take constant time.

Source: Linux mm/page_alloc.c, __rmqueue_smallest() and __free_one_page(), with
plain head insertion and without per-cpu lists.
"""

from __future__ import annotations

from typing import Final

MAX_ORDER: Final = 10  # inclusive, as in 6.4 to 6.7
ORDERS: Final = MAX_ORDER + 1

_Area = dict[int, None]


class Buddy:
    """The free blocks of the page frames ``0 .. pages - 1``.

    Not locked: the caller holds the lock of the memory.
    """

    __slots__ = ("_below", "_from", "_merge", "areas", "pages")

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.areas: tuple[_Area, ...] = tuple({} for _ in range(ORDERS))
        areas = self.areas
        # What each loop below walks, laid out once: these loops are the hot path.
        self._from = [tuple(zip(areas[o:], range(o, ORDERS), strict=True)) for o in range(ORDERS)]
        self._below = [
            [
                tuple((areas[o], 1 << o) for o in range(high - 1, low - 1, -1))
                for low in range(ORDERS)
            ]
            for high in range(ORDERS)
        ]
        self._merge = [
            tuple((areas[o], 1 << o, ~(1 << o)) for o in range(low, MAX_ORDER))
            for low in range(ORDERS)
        ]
        self._seed()

    def _seed(self) -> None:
        pfn = 0
        for order in range(MAX_ORDER, -1, -1):
            size = 1 << order
            while self.pages - pfn >= size:
                self.areas[order][pfn] = None
                pfn += size
        # The head of a list is its last entry, and low frames are handed out first.
        for area in self.areas:
            frames = list(area)
            area.clear()
            area.update(dict.fromkeys(reversed(frames)))

    def alloc(self, order: int) -> int | None:
        """Take a block of ``1 << order`` pages; None if no block is large enough.

        The block comes from the head of the first non-empty list at or above
        `order`. It is halved down to size; the upper halves go back.
        """
        for area, found in self._from[order]:
            if area:
                pfn = area.popitem()[0]
                if found != order:
                    for lower, half in self._below[found][order]:
                        lower[pfn + half] = None
                return pfn
        return None

    def free(self, pfn: int, order: int) -> None:
        """Give a block back and merge it with its free buddies, up to `MAX_ORDER`.

        `pfn` is a multiple of ``1 << order``, and no page of the block is free.
        """
        for area, size, mask in self._merge[order]:
            buddy = pfn ^ size
            if buddy not in area:
                area[pfn] = None
                return
            del area[buddy]
            pfn &= mask
        self.areas[MAX_ORDER][pfn] = None

    def free_range(self, pfn: int, end: int) -> None:
        """Give back the single pages ``pfn .. end - 1``, one by one, upwards."""
        for single in range(pfn, end):
            self.free(single, 0)

    def counts(self) -> list[int]:
        """Return the number of free blocks of each order, from 0 up."""
        return [len(area) for area in self.areas]

    def free_pages(self) -> int:
        """Return the number of free pages."""
        return sum(len(area) << order for order, area in enumerate(self.areas))

    def lists(self) -> dict[int, list[int]]:
        """Return the non-empty free lists, order -> frame numbers from the head on."""
        return {order: list(reversed(area)) for order, area in enumerate(self.areas) if area}
