"""Compaction: movable pages are moved up, so that a large block comes free below.

Lives here: `Compaction`. Not here: what makes a page movable (`faultinject.mm.movable`),
and when a request tries this (`faultinject.mm.slow_path`).

Two scanners walk through a zone, pageblock by pageblock: one from below, for movable
pages, one from above, for free ones to move them to. It ends as soon as the request could
be met, or where the scanners meet.

Source: Linux 6.6 mm/compaction.c, compact_zone(), compaction_suitable(),
defer_compaction(). The kernel's scanners meet between pageblocks; here they share the
last one, so that a zone of a few megabytes can be compacted too. There are no skip hints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from faultinject.mm.alloc_flags import WMARK_LOW, WMARK_MASK
from faultinject.mm.migrate import HIGHATOMIC, MOVABLE, PAGEBLOCK_ORDER, PAGEBLOCK_PAGES
from faultinject.mm.movable import HeldPages, MovablePage, move_page
from faultinject.mm.ram import PAGE_SHIFT, Ram
from faultinject.mm.retry_rules import COSTLY_ORDER
from faultinject.mm.zone import Zone
from faultinject.mm.zones import Plan, Zones

# The kernel's priorities; a lower one tries harder.
SYNC_FULL: Final = 0  # pages may go to pageblocks of any type
SYNC_LIGHT: Final = 1  # pages may come from pageblocks of any type
ASYNC: Final = 2  # only movable pageblocks are looked at

SKIPPED: Final = "skipped"  # too few pages are free to move anything to
DEFERRED: Final = "deferred"  # it failed a moment ago
COMPLETE: Final = "complete"  # the scanners met
SUCCESS: Final = "success"
_RANK: Final = (SKIPPED, DEFERRED, COMPLETE, SUCCESS)

_MAX_DEFER_SHIFT: Final = 6


class Outcome(NamedTuple):
    """What compaction came to.

    Attributes:
        result: one of the words above.
        moved: how many pages were moved.
    """

    result: str
    moved: int


class _Deferral:
    """How often compaction of a zone is left out, after it failed.

    Attributes:
        considered: how often it was left out.
        shift: it is left out ``1 << shift`` times.
        order: the smallest that failed.
    """

    __slots__ = ("considered", "order", "shift")

    def __init__(self) -> None:
        self.considered = 0
        self.shift = 0
        self.order = 0

    def note(self, result: str, order: int) -> None:
        """Learn what compaction for an order has come to."""
        if result == SUCCESS:
            self.shift = self.order = 0
            return
        self.considered = 0
        self.shift = min(self.shift + 1, _MAX_DEFER_SHIFT)
        self.order = min(self.order, order) if self.order else order

    def is_deferred(self, order: int) -> bool:
        if not self.order or order < self.order:
            return False
        self.considered = min(self.considered + 1, 1 << self.shift)
        return self.considered < 1 << self.shift


class Compaction:
    """Compaction of the zones of one memory. Not locked: the caller holds the lock."""

    __slots__ = ("_deferrals", "_events", "_grouped", "_held", "_ram", "_zones")

    def __init__(self, ram: Ram, zones: Zones, held: HeldPages, events: dict[str, int]) -> None:
        self._ram = ram
        self._zones = zones
        self._held = held
        self._events = events
        self._grouped = zones.grouped
        self._deferrals = {zone: _Deferral() for zone in zones.populated}

    def for_request(self, plan: Plan, order: int, flags: int, priority: int) -> Outcome:
        """Compact the zones of a request until one could meet it.

        Args:
            plan: whose zones.
            order: of the request.
            flags: its alloc_flags.
            priority: `ASYNC`, `SYNC_LIGHT` or `SYNC_FULL`.
        """
        best, moved = SKIPPED, 0
        for zone in plan.zones:
            deferral = self._deferrals[zone]
            if priority != SYNC_FULL and deferral.is_deferred(order):
                found = Outcome(DEFERRED, 0)
            elif not self.is_suitable(zone, order, flags, plan.highest):
                found = Outcome(SKIPPED, 0)
            else:
                found = self._compact(zone, priority, _met(zone, order, flags, plan.highest))
                if found.result == SUCCESS or priority != ASYNC:
                    deferral.note(found.result, order)
            moved += found.moved
            best = max(best, found.result, key=_RANK.index)
            if best == SUCCESS:
                break
        return Outcome(best, moved)

    def for_kswapd(self, zone: Zone, order: int) -> Outcome:
        """Compact a zone until it has a block of an order, unless that failed a moment ago."""
        deferral = self._deferrals[zone]
        if deferral.is_deferred(order):
            return Outcome(DEFERRED, 0)
        if not self.is_suitable(zone, order, WMARK_LOW, zone.index):
            return Outcome(SKIPPED, 0)
        self._count("compact_daemon_wake", 1)
        found = self._compact(zone, SYNC_LIGHT, _met(zone, order, WMARK_LOW, zone.index))
        deferral.note(found.result, order)
        return found

    def whole(self, zone: Zone) -> Outcome:
        """Compact a zone until the scanners meet."""
        return self._compact(zone, SYNC_FULL, lambda: False)

    def is_suitable(
        self, zone: Zone, order: int, flags: int, highest: int, *, spare: int = 0
    ) -> bool:
        """Whether enough single pages are free to move others to; `spare` are those to come."""
        mark = WMARK_LOW if order > COSTLY_ORDER else flags & WMARK_MASK
        # Pages are taken twice for a moment, those of the request and those moved.
        return zone.allows(0, mark, highest, spare=spare - (2 << order))

    def _compact(self, zone: Zone, priority: int, met: Callable[[], bool]) -> Outcome:
        if met():
            return Outcome(SUCCESS, 0)
        moved = 0
        free = _FreeScanner(zone, self._grouped and priority != SYNC_FULL)
        for block in range(zone.start_pfn, zone.start_pfn + zone.pages, PAGEBLOCK_PAGES):
            if block > free.block:
                break
            if priority == ASYNC and self._grouped and zone.buddy.lists_of(block).kind != MOVABLE:
                continue
            self._count("compact_migrate_scanned", PAGEBLOCK_PAGES)
            here = 0
            for pfn in self._movable_pages(block):
                target = free.take(above=pfn)
                if target is None:
                    break
                self._move(zone, pfn, target)
                here += 1
            moved += here
            # The kernel finishes a pageblock too before it looks.
            if here and met():
                return self._ended(SUCCESS, moved, free)
        return self._ended(COMPLETE, moved, free)

    def _ended(self, result: str, moved: int, free: _FreeScanner) -> Outcome:
        self._count("compact_free_scanned", free.scanned)
        self._count("compact_isolated", 2 * moved)
        self._count("pgmigrate_success", moved)
        return Outcome(result, moved)

    def _movable_pages(self, block: int) -> Iterator[int]:
        """Go through the pages of a pageblock that may be moved, from the lowest.

        Each is moved, or the walk is over, before the next one is asked for.
        """
        live, owners = self._ram.live, self._held.owners
        pfn, end = block, block + PAGEBLOCK_PAGES
        while pfn < end:
            if pfn in owners:
                yield pfn
            else:
                page = live.get(pfn << PAGE_SHIFT)
                if type(page) is MovablePage and not page.is_pinned:
                    yield pfn
            pfn += 1

    def _move(self, zone: Zone, pfn: int, target: int) -> None:
        if pfn in self._held.owners:
            self._held.move(pfn, target)
        else:
            page = self._ram.live[pfn << PAGE_SHIFT]
            assert isinstance(page, MovablePage)
            move_page(self._ram, page, target)
        zone.buddy.free(pfn, 0)

    def _count(self, event: str, by: int) -> None:
        if event in self._events:
            self._events[event] += by


def _met(zone: Zone, order: int, flags: int, highest: int) -> Callable[[], bool]:
    def met() -> bool:
        usable = zone.buddy.lists[:HIGHATOMIC]
        return zone.allows(order, flags, highest) and any(
            lists.largest() >= order for lists in usable
        )

    return met


class _FreeScanner:
    """Takes free pages of a zone, from the highest down.

    Args:
        zone: whose.
        movable_only: whether pages of other pageblocks may not be taken.

    Attributes:
        block: the pageblock that it has come to.
        scanned: how many pages it went over.
    """

    __slots__ = ("_blocks", "_movable_only", "_zone", "block", "scanned")

    def __init__(self, zone: Zone, movable_only: bool) -> None:
        last = zone.start_pfn + zone.pages - 1
        self.block = last >> PAGEBLOCK_ORDER << PAGEBLOCK_ORDER
        self.scanned = 0
        self._zone = zone
        self._movable_only = movable_only
        self._blocks = self._look()

    def take(self, *, above: int) -> int | None:
        """Take the highest page that is free; None if none is above a page frame."""
        while True:
            while not self._blocks:
                if self.block <= above:  # it has met the other scanner
                    return None
                self.block -= PAGEBLOCK_PAGES
                self._blocks = self._look()
            pfn, order = self._blocks.pop()
            lists = self._zone.buddy.lists_of(pfn)
            if pfn not in lists.areas[order]:
                # It has merged with a page that was moved away meanwhile.
                self._blocks = [each for each in self._look() if each[0] > above]
                continue
            if pfn <= above:
                return None
            del lists.areas[order][pfn]
            self._zone.buddy.nr_free -= 1
            for piece in range(order - 1, -1, -1):
                # What is left ends just below the page that is taken: it cannot merge.
                lists.areas[piece][pfn] = None
                self._blocks.append((pfn, piece))
                pfn += 1 << piece
            return pfn

    def _look(self) -> list[tuple[int, int]]:
        """Return the free blocks of the pageblock that may be used, the highest last."""
        self.scanned += PAGEBLOCK_PAGES
        lists = self._zone.buddy.lists_of(self.block)
        if lists.kind == HIGHATOMIC or (self._movable_only and lists.kind != MOVABLE):
            return []
        # To fill a pageblock that is free as a whole would help nobody.
        return sorted(each for each in lists.inside(self.block) if each[1] < PAGEBLOCK_ORDER)
