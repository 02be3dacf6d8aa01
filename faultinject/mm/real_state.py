"""The state of a real machine, put into a memory.

Lives here: what ``Memory.from_proc`` takes over: sizes, marks, reserves, free blocks. Not
here: how the texts are read (`faultinject.mm.proc_text`).

Who holds the pages that are not free is not in the texts: they are held by nobody, as
those of ``Memory.consume`` are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from faultinject.errors import SpecError
from faultinject.mm.marks import DMA, DMA32, MOVABLE, NORMAL, ZONES, Marks, in_kb
from faultinject.mm.page_alloc import PageAllocator
from faultinject.mm.pressure import fragment
from faultinject.mm.proc_text import ProcZone, parse_buddyinfo, parse_zoneinfo
from faultinject.mm.ram import PAGE_SHIFT

# A zone that the kernel may have, and the model has not: no request of ours ends there.
_DEVICE: Final = "Device"


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
    """

    name: str
    pages: int
    marks: Marks
    boost: int
    reserve: dict[str, int]
    blocks: tuple[int, ...]


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
    nodes = sorted({place[0] for place in blocks})
    if node is None and len(nodes) > 1:
        raise SpecError("a machine of several nodes", value=nodes, cure="Name one: node=0")
    node = nodes[0] if node is None else node
    if node not in nodes:
        raise SpecError("the machine has no such node", value=node, cure=f"Pass one of {nodes}")
    own = [zone for zone in zones if zone.place[0] == node]
    names = _configured(own)
    found = []
    for zone in own:
        name, counts = zone.place[1], blocks.get(zone.place)
        if not zone.managed or name == _DEVICE:
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
        marks = Marks(zone.min - zone.boost, zone.low - zone.boost, zone.high - zone.boost)
        if min(marks) < 0:
            raise SpecError("a boost above the mark", value=zone.boost, where=where)
        reserve = {each: zone.protection[at] for at, each in enumerate(names) if each in ZONES}
        found.append(
            RealZone(name, max(zone.spanned, zone.managed), marks, zone.boost, reserve, counts)
        )
    return found


def _configured(zones: Sequence[ProcZone]) -> tuple[str, ...]:
    """Give the zones that the kernel was built with: each protection has a number for each."""
    size = max((len(zone.protection) for zone in zones), default=0)
    listed = tuple(zone.place[1] for zone in zones)
    if len(listed) == size:
        return listed
    # Older kernels list only zones that have pages; these two are always there.
    found = tuple(name for name in (*ZONES, _DEVICE) if name in {*listed, NORMAL, MOVABLE})
    if len(found) != size or any(len(zone.protection) != size for zone in zones if zone.managed):
        raise SpecError(
            f"a protection of {size} zones, where the text has {len(listed)}",
            value=list(listed),
            where="zoneinfo",
            cure="Pass the whole text of the file, as it is",
        )
    return found


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
            pages.zones.set_marks(zone, state.marks)
            pages.zones.set_boost(zone, state.boost)
            pages.zones.set_reserve(zone, tuple(reserve))
            fragment(pages, None, state.blocks, zone.name, movable=True)
