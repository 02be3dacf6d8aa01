"""The state of a real machine, put into a memory.

Lives here: what ``Memory.from_proc`` takes over: sizes, marks, reserves, free blocks; and
how a memory gets so. Not here: how the texts are read (`faultinject.mm.proc_text`), a log's
(`faultinject.mm.logged_state`).

Who holds the pages that are not free is not in the texts: they are held by nobody, as
those of ``Memory.consume`` are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from faultinject.errors import SpecError
from faultinject.mm.buddy import MAX_ORDER, ORDERS
from faultinject.mm.built_zones import DEVICE, built_with
from faultinject.mm.cutting import Block, cut
from faultinject.mm.marks import DMA, DMA32, NORMAL, ZONES, Marks, in_kb
from faultinject.mm.migrate import HIGHATOMIC, PAGEBLOCK_ORDER, PAGEBLOCK_PAGES
from faultinject.mm.page_alloc import PageAllocator
from faultinject.mm.pressure import Pressure, fragment
from faultinject.mm.proc_text import Place, ProcZone, parse_buddyinfo, parse_zoneinfo
from faultinject.mm.ram import PAGE_SHIFT
from faultinject.mm.zone import Zone

# The counters of many CPUs lag behind by so many pages, and some change between two reads.
_MOST_APART: Final = 4096


class RealZone(NamedTuple):
    """One zone, as it is to be.

    Attributes:
        name: DMA, DMA32, Normal, HighMem or Movable.
        pages: from its first to its last, free or not. Those that do not exist (holes) are
            never free either, and free blocks of the real zone may lie between them.
        marks: without the boost.
        boost: pages that are added to each mark for now.
        reserve: by the name of the highest zone that a request may use: pages kept from it.
        blocks: free blocks by order.
        set_aside: pages of the pageblocks that are set aside for atomic requests.
        atomic: the blocks of those, by order; they are among `blocks`.
        uncounted: by how much there are more free blocks than the counter of free pages says.
    """

    name: str
    pages: int
    marks: Marks
    boost: int
    reserve: dict[str, int]
    blocks: tuple[int, ...]
    set_aside: int = 0
    atomic: tuple[int, ...] = ()
    uncounted: int = 0


def read_state(buddyinfo: str, zoneinfo: str, node: int | None = None) -> list[RealZone]:
    """Read one node's zones that have pages, from the lowest.

    Args:
        buddyinfo: the text of /proc/buddyinfo.
        zoneinfo: the text of /proc/zoneinfo, of the same moment.
        node: which one; needed where there are several.

    Raises:
        SpecError: a text is not of such a file, or the two are not of one machine.
    """
    blocks, zones = parse_buddyinfo(buddyinfo), parse_zoneinfo(zoneinfo)
    node = chosen_node([place[0] for place in blocks], node)
    own = [zone for zone in zones if zone.place[0] == node]
    names = _configured(own)
    _verify_all_are_told(blocks, own, node)
    found = []
    for zone in own:
        name, counts = zone.place[1], blocks.get(zone.place)
        if not zone.managed or name == DEVICE:
            continue
        where = f"node {node}, zone {name}"
        if counts is None or name not in ZONES:
            raise SpecError(
                "a zone of zoneinfo that buddyinfo does not have"
                if counts is None
                else "not a zone that the model has",
                value=name,
                where=where,
                cure="Pass both texts, whole, of one machine",
            )
        free = sum(count << order for order, count in enumerate(counts))
        if free > zone.managed:
            raise SpecError(
                "more free pages in buddyinfo than the zone has in zoneinfo",
                value=free,
                where=f"{where}: {zone.managed} pages",
                cure="Pass two texts of one machine and moment",
            )
        if abs(free - zone.free) > max(_MOST_APART, max(free, zone.free) // 4):
            raise SpecError(
                "buddyinfo and zoneinfo tell different numbers of free pages",
                value=(free, zone.free),
                where=where,
                cure="Pass two texts of one machine and moment",
            )
        marks = Marks(zone.min - zone.boost, zone.low - zone.boost, zone.high - zone.boost)
        if min(marks) < 0:
            raise SpecError("a boost above the mark", value=zone.boost, where=where)
        reserve = {each: zone.protection[at] for at, each in enumerate(names) if each in ZONES}
        pages = max(zone.spanned, zone.managed)
        # Pages of contiguous areas (CMA) are none for most requests.
        uncounted = free - (zone.free - min(zone.free_cma, zone.free))
        found.append(RealZone(name, pages, marks, zone.boost, reserve, counts, uncounted=uncounted))
    return found


def _verify_all_are_told(blocks: Iterable[Place], told: Sequence[ProcZone], node: int) -> None:
    places = {zone.place for zone in told}
    missing = [name for at, name in blocks if at == node and (at, name) not in places]
    if missing:
        raise SpecError(
            "a zone of buddyinfo that zoneinfo does not have",
            value=missing[0],
            where=f"node {node}, zone {missing[0]}",
            cure="Pass both texts, whole, of one machine",
        )


def chosen_node(present: Iterable[int], node: int | None) -> int:
    """Give the node that is meant.

    Raises:
        SpecError: it is none of those that are there, or none is named and there are several.
    """
    nodes = sorted(set(present))
    if node is None and len(nodes) > 1:
        raise SpecError("a machine of several nodes", value=nodes, cure="Name one: node=0")
    node = nodes[0] if node is None else node
    if node not in nodes:
        raise SpecError("the machine has no such node", value=node, cure=f"Pass one of {nodes}")
    return node


def _configured(zones: Sequence[ProcZone]) -> tuple[str, ...]:
    """Give the zones that the kernel was built with: each protection has a number for each."""
    size = max((len(zone.protection) for zone in zones), default=0)
    listed = tuple(zone.place[1] for zone in zones)
    if len(listed) == size:
        return listed
    # Older kernels list only zones that have pages.
    found = built_with(frozenset(listed), size)
    if not found or any(len(zone.protection) != size for zone in zones if zone.managed):
        raise SpecError(
            f"a protection of {size} zones, where the text has {len(listed)}",
            value=list(listed),
            where="zoneinfo",
            cure="Pass the whole text of the file, as it is",
        )
    return found[0]


def min_free_kbytes(zones: Sequence[RealZone]) -> int:
    """Give what the marks of the zones come from, as nearly as they tell it."""
    return in_kb(sum(zone.marks.min for zone in zones if zone.name in (DMA, DMA32, NORMAL)))


def sizes(zones: Sequence[RealZone]) -> dict[str, int]:
    """Give each zone's size in bytes, for ``Memory(zones=…)``."""
    return {zone.name: zone.pages << PAGE_SHIFT for zone in zones}


def load(pages: PageAllocator, zones: Sequence[RealZone]) -> None:
    """Bring a new memory of these zones into their state."""
    configured = list(pages.zones.machine.zones)
    by_name = {zone.name: zone for zone in zones}
    with pages.ram.lock:
        for zone in pages.zones.populated:
            state = by_name[zone.name]
            kept, reserve = 0, []
            for name in configured:
                # Of a zone that the kernel has not, requests go to the next one below.
                kept = state.reserve.get(name, kept)
                reserve.append(kept)
            _load_blocks(pages, zone, state)
            zone.uncounted = state.uncounted
            pages.zones.set_marks(zone, state.marks)
            pages.zones.set_boost(zone, state.boost)
            pages.zones.set_reserve(zone, tuple(reserve))


def _load_blocks(pages: PageAllocator, zone: Zone, state: RealZone) -> None:
    atomic, aside = [0] * ORDERS, 0
    if zone.version.highatomic and zone.rule == "modern" and state.set_aside:
        atomic[: len(state.atomic)] = state.atomic
        aside = state.set_aside >> PAGEBLOCK_ORDER
    counts = [*state.blocks, *[0] * (ORDERS - len(state.blocks))]
    counts = [count - atomic[order] for order, count in enumerate(counts)]
    largest = -(-aside << PAGEBLOCK_ORDER >> MAX_ORDER)
    counts[MAX_ORDER] += largest
    # What is not free is not known to be movable: nothing gets it out of the way.
    fragment(pages, None, counts, zone.name, movable=False)
    whole: list[Block] = []
    for _ in range(largest):
        pfn = zone.buddy.alloc(MAX_ORDER)
        assert pfn is not None
        end = pfn + (1 << MAX_ORDER)
        whole += [(at, PAGEBLOCK_ORDER) for at in range(pfn, end, PAGEBLOCK_PAGES)]
    _set_aside(pages, zone, whole[:aside], atomic)
    Pressure(pages, whole[aside:], False)


def _set_aside(pages: PageAllocator, zone: Zone, blocks: list[Block], free: list[int]) -> None:
    """Set pageblocks aside for atomic requests, with so many free blocks of each order."""
    kept, taken = cut(blocks, free, where=f"what zone {zone.name} has set aside")
    Pressure(pages, taken, False)
    for pfn, _ in blocks:
        pages.blocks.lists[pfn >> PAGEBLOCK_ORDER] = zone.buddy.lists[HIGHATOMIC]
    for pfn, order in reversed(kept):
        pages.blocks.free(pfn, order)
    zone.reserved_highatomic = len(blocks) << PAGEBLOCK_ORDER
