"""The zones of a memory: which ones a request may use, and the walk over them.

Lives here: `Zones`, and `Plan`, what the zone and mobility bits of gfp flags come
down to. Not here: one zone's state (`faultinject.mm.zone`), the rules of its check
(`faultinject.mm.watermark_rules`), reclaim and whatever else follows a walk that
found nothing (`faultinject.mm.slow_path`).

Source: Linux include/linux/gfp.h, gfp_zone(); mm/page_alloc.c,
get_page_from_freelist(), rmqueue(), reserve_highatomic_pageblock(). One node. The
kernel's ALLOC_NOFRAGMENT, which only chooses among the zones that would do, and the
boost of marks after a takeover, which kswapd would end at once, are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from faultinject.errors import SpecError
from faultinject.gfp import DMA, DMA32, HIGHMEM, RECLAIMABLE, Gfp
from faultinject.mm import marks, migrate
from faultinject.mm.alloc_flags import HIGHATOMIC, OOM
from faultinject.mm.buddy import MAX_ORDER_PAGES, ORDERS, Buddy, PageBlocks
from faultinject.mm.zone import Zone
from faultinject.mm.zone_layout import Machine

#: The bits of gfp flags that choose a `Plan`.
PLAN_BITS: Final = 0x1F
#: More pages than any zone has: the quick test cannot answer.
_NEVER: Final = 1 << 62

_MOVABLE: Final = int(Gfp.MOVABLE)
_ZONE_BITS: Final = DMA | HIGHMEM | DMA32
_MOBILITY: Final = _MOVABLE | RECLAIMABLE


class Plan:
    """Where requests with the same zone and mobility bits are met.

    Attributes:
        zones: in the order in which they are tried; empty ones are left out.
        highest: the index of the highest zone that may be used.
        kind: the migrate type of the pages.
        buddy: of the first zone.
        needs: by order: as long as this many pages are free in the first zone, its low
            mark lets the request pass if its own type has a block.
        take: takes such a block.
    """

    __slots__ = ("buddy", "highest", "kind", "needs", "take", "zones")

    def __init__(self, zones: tuple[Zone, ...], highest: int, kind: int) -> None:
        self.zones = zones
        self.highest = highest
        self.kind = kind
        self.buddy = zones[0].buddy if zones else _NOTHING
        self.take: Callable[[int], int | None] = self.buddy.lists[kind].take
        self.needs: tuple[int, ...] = ()
        self.renew()

    def renew(self) -> None:
        """Compute `needs` anew, after a mark or a reserve of the first zone has changed."""
        if not self.zones:
            self.needs = (_NEVER,) * ORDERS
            return
        zone = self.zones[0]
        limit = zone.low + zone.boost + zone.lowmem_reserve[self.highest] + zone.uncounted
        if zone.rule == "modern":
            limit += zone.reserved_highatomic
            self.needs = tuple(limit + (1 << order) for order in range(ORDERS))
        else:
            single = limit + (1 if zone.rule == "iterative" else 2)
            self.needs = (single, *(_NEVER,) * (ORDERS - 1))


_NOTHING: Final = Buddy(0)


class Zones:
    """The zones of one memory. Not locked: the caller holds the memory's lock.

    Attributes:
        machine: what the memory is to be.
        populated: the zones that have pages, from the lowest.
        blocks: takes pages back, whichever zone they are of.
        grouped: whether pageblocks have types; a small memory's are all unmovable.
        plans: by the `PLAN_BITS` of gfp flags; None where they contradict each other.
        spanned: the page frames from the first to the last, holes between zones included.
    """

    __slots__ = ("_reserves", "blocks", "grouped", "machine", "plans", "populated", "spanned")

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.blocks = PageBlocks()
        self.spanned = 0
        marked = machine.min_free_kbytes is not None
        self._reserves = marked and machine.version.highatomic and machine.rule == "modern"
        self.grouped = sum(machine.zones.values()) >= migrate.GROUPED_FROM
        self.populated = self._populate(machine)
        by_use: dict[tuple[int, int], Plan] = {}
        self.plans = [self._plan(bits, by_use) for bits in range(PLAN_BITS + 1)]

    def _populate(self, machine: Machine) -> tuple[Zone, ...]:
        reserves = marks.lowmem_reserve(machine.zones, machine.version)
        all_marks = dict.fromkeys(machine.zones, marks.NO_MARKS)
        if machine.min_free_kbytes is not None:
            all_marks = marks.zone_marks(machine.zones, machine.min_free_kbytes, machine.version)
        kind = migrate.MOVABLE if self.grouped else migrate.UNMOVABLE
        zones = []
        for index, (name, pages) in enumerate(machine.zones.items()):
            if pages:
                # Blocks are aligned by their frame numbers, so zones begin at whole ones.
                start = -(-self.spanned // MAX_ORDER_PAGES) * MAX_ORDER_PAGES
                self.spanned = start + pages
                buddy = Buddy(pages, start, self.blocks, kind)
                zones.append(
                    Zone(
                        name,
                        index,
                        buddy,
                        all_marks[name],
                        reserves[name],
                        machine.rule,
                        machine.version,
                    )
                )
        return tuple(zones)

    def _plan(self, bits: int, by_use: dict[tuple[int, int], Plan]) -> Plan | None:
        highest = self._highest(bits)
        if highest is None or bits & _MOBILITY == _MOBILITY:
            return None
        kind = migrate.UNMOVABLE
        if self.grouped and bits & _MOBILITY:
            kind = migrate.MOVABLE if bits & _MOVABLE else migrate.RECLAIMABLE
        plan = by_use.get((highest, kind))
        if plan is None:
            zones = tuple(zone for zone in reversed(self.populated) if zone.index <= highest)
            plan = by_use[highest, kind] = Plan(zones, highest, kind)
        return plan

    def _highest(self, bits: int) -> int | None:
        name = {
            0: marks.NORMAL,
            DMA: marks.DMA,
            HIGHMEM: marks.MOVABLE if bits & _MOVABLE else marks.HIGHMEM,
            DMA32: marks.DMA32,
        }.get(bits & _ZONE_BITS)
        if name is None:
            return None
        names = list(self.machine.zones)
        return names.index(name if name in names else marks.NORMAL)

    def take(self, plan: Plan, order: int, flags: int) -> int | None:
        """Take a block from the first zone whose watermarks allow it; `flags` are alloc_flags."""
        for zone in plan.zones:
            if zone.allows(order, flags, plan.highest):
                pfn = self._take_from(zone, plan.kind, order, flags)
                if pfn is not None:
                    return pfn
        return None

    def _take_from(self, zone: Zone, kind: int, order: int, flags: int) -> int | None:
        buddy = zone.buddy
        reserved = buddy.lists[migrate.HIGHATOMIC]
        pfn = reserved.take(order) if flags & HIGHATOMIC else None
        if pfn is None:
            pfn = buddy.alloc(order, kind)
        if pfn is None and flags & OOM:
            pfn = reserved.take(order)
        if pfn is not None and flags & HIGHATOMIC and self._reserves:
            self._reserve(zone, pfn)
        return pfn

    def _reserve(self, zone: Zone, pfn: int) -> None:
        if zone.reserved_highatomic >= zone.pages // 100 + migrate.PAGEBLOCK_PAGES:
            return
        # The kernel would give all of a very small zone away.
        if 2 * (zone.reserved_highatomic + migrate.PAGEBLOCK_PAGES) > zone.pages:
            return
        reserved = zone.buddy.lists[migrate.HIGHATOMIC]
        at = pfn >> migrate.PAGEBLOCK_ORDER
        if self.blocks.lists[at] is not reserved:
            self.blocks.retype(at << migrate.PAGEBLOCK_ORDER, reserved)
            zone.reserved_highatomic += migrate.PAGEBLOCK_PAGES
            self._renew()

    def unreserve(self, zone: Zone, kind: int) -> bool:
        """Give one pageblock that is set aside for atomic requests to another migrate type.

        Returns:
            Whether there was one with a free page.
        """
        for area in zone.buddy.lists[migrate.HIGHATOMIC].areas:
            if area:
                at = next(reversed(area)) >> migrate.PAGEBLOCK_ORDER
                zone.reserved_highatomic -= migrate.PAGEBLOCK_PAGES
                self.blocks.retype(at << migrate.PAGEBLOCK_ORDER, zone.buddy.lists[kind])
                self._renew()
                return True
        return False

    def set_marks(self, zone: Zone, new: marks.Marks) -> None:
        """Give a zone other marks."""
        zone.marks = new
        self._renew()

    def set_reserve(self, zone: Zone, pages: tuple[int, ...]) -> None:
        """Give a zone another lowmem reserve: pages, by the index of the highest zone allowed."""
        zone.lowmem_reserve = pages
        self._renew()

    def set_boost(self, zone: Zone, pages: int) -> None:
        """Raise all marks of a zone by so many pages for now; 0 ends it."""
        zone.boost = pages
        self._renew()

    def _renew(self) -> None:
        for plan in self.plans:
            if plan is not None:
                plan.renew()


def contradiction(gfp: int) -> SpecError:
    """Word the refusal of flags that have no `Plan`."""
    if gfp & _ZONE_BITS & (gfp & _ZONE_BITS) - 1:
        return SpecError(
            "gfp flags name more than one zone",
            value=Gfp(gfp & _ZONE_BITS),
            cure="Pass one of GFP_DMA, GFP_DMA32 and __GFP_HIGHMEM at most",
        )
    return SpecError(
        "gfp flags say that the pages are both movable and reclaimable",
        value=Gfp(gfp & _MOBILITY),
        cure="Pass __GFP_MOVABLE or __GFP_RECLAIMABLE",
    )
