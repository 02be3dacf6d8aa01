"""The state of a memory as text, in the format of the kernel's files in /proc.

Lives here: buddyinfo, zoneinfo, slabinfo, meminfo and vmstat. Not here: the Mem-Info of
logs (`faultinject.mm.show_mem`), reading such files (`faultinject.mm.proc_text`).

What a kernel counts and the model has not is left out, but for the lines of meminfo that
programs read.

Source: Linux mm/vmstat.c, frag_show_print() and zoneinfo_show_print(), 2.6.24 and 6.6;
mm/slab_common.c, cache_show(); fs/proc/meminfo.c.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from faultinject.mm.marks import NO_MARKS, in_kb, zone_marks
from faultinject.mm.page_alloc import PageAllocator
from faultinject.mm.show_mem import release_of, slab_pages
from faultinject.mm.slab import SlabCache
from faultinject.mm.zone import Zone
from faultinject.mm.zone_layout import Machine
from faultinject.mm.zones import Zones

_MODERN: Final = (4, 9)
_BOOST_SINCE: Final = (5, 10)
_CMA_SINCE: Final = (5, 12)
#: From then on it is counted by node.
_SCANNED_UNTIL: Final = (4, 8)
_SCANNED_BY_KIND_UNTIL: Final = (2, 6, 28)
_MANAGED_SINCE: Final = (3, 9)

#: Of meminfo, what the model has none of; programs look for it.
_NOTHING: Final = ("SwapTotal", "SwapFree", "Dirty", "Writeback", "AnonPages", "Mapped", "Shmem")


def buddyinfo(pages: PageAllocator) -> str:
    """One line per zone with the number of free blocks of each order; each ends in a newline."""
    with pages.ram.lock:
        zones = [(zone.name, zone.blocks()) for zone in pages.zones.populated]
    return "".join(
        f"{_zone_head(name)} {''.join(f'{count:6d} ' for count in counts)}\n"
        for name, counts in zones
    )


def zoneinfo(pages: PageAllocator) -> str:
    """Marks, sizes and reserves of every zone; from 4.9 on also of those without pages."""
    zones = pages.zones
    release = release_of(zones.machine.version)
    lines: list[str] = []
    with pages.ram.lock:
        populated = {zone.name: zone for zone in zones.populated}
        for name in zones.machine.zones:
            if name in populated:
                lines += _zone_lines(populated[name], release)
            elif release >= _MODERN:
                lines += _empty_zone_lines(name, zones.machine, release)
    return "\n".join(lines) + "\n"


def _zone_head(name: str) -> str:
    return f"Node 0, zone {name:>8}"


def _zone_lines(zone: Zone, release: tuple[int, ...]) -> list[str]:
    marks = {name: pages + zone.boost for name, pages in zone.marks._asdict().items()}
    return [
        _zone_head(zone.name),
        *_figures(release, zone.free, zone.boost, marks, zone.pages),
        f"        protection: ({', '.join(map(str, zone.lowmem_reserve))})",
        f"      nr_free_pages {zone.free}",
        "  pagesets",
        f"  start_pfn:           {zone.start_pfn}",
    ]


def _empty_zone_lines(name: str, machine: Machine, release: tuple[int, ...]) -> list[str]:
    none = NO_MARKS
    if machine.min_free_kbytes is not None:
        # The kernel gives HighMem and Movable their least marks without a page to keep.
        none = zone_marks(machine.zones, machine.min_free_kbytes, machine.version)[name]
    return [
        _zone_head(name),
        *_figures(release, 0, 0, none._asdict(), 0),
        f"        protection: ({', '.join(['0'] * len(machine.zones))})",
    ]


def _figures(
    release: tuple[int, ...], free: int, boost: int, marks: Mapping[str, int], pages: int
) -> list[str]:
    # Before there was a figure for the boost the marks had none.
    boosts = {"boost": boost} if release >= _BOOST_SINCE else {}
    managed = {"managed": pages} if release >= _MANAGED_SINCE else {}
    cma = {"cma": 0} if release >= _CMA_SINCE else {}
    scanned = {}
    if release < _SCANNED_UNTIL:
        scanned = {"scanned": "0 (a: 0 i: 0)" if release < _SCANNED_BY_KIND_UNTIL else "0"}
    sizes = {"spanned": pages, "present": pages, **managed, **cma}
    figures = {**boosts, **marks, **scanned, **sizes}
    return [
        f"  pages free     {free}",
        *(f"        {name:<8} {figure}" for name, figure in figures.items()),
    ]


def slabinfo(pages: PageAllocator, caches: Sequence[SlabCache]) -> str:
    """One line per cache: objects, their size, and slabs."""
    lines = [
        "slabinfo - version: 2.1",
        "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
        " : tunables <limit> <batchcount> <sharedfactor>"
        " : slabdata <active_slabs> <num_slabs> <sharedavail>",
    ]
    with pages.ram.lock:
        for cache in caches:
            slabs = list(cache.slabs)
            total = sum(slab.total for slab in slabs)
            used = total - sum(len(slab.free) for slab in slabs)
            each = cache.layout.objects(cache.order)
            lines.append(
                f"{cache.name:<17} {used:6d} {total:6d} {cache.size:6d} {each:4d} "
                f"{1 << cache.order:4d} : tunables {0:4d} {0:4d} {0:4d} "
                f": slabdata {len(slabs):6d} {len(slabs):6d} {0:6d}"
            )
    return "\n".join(lines) + "\n"


def meminfo(pages: PageAllocator, caches: Sequence[SlabCache]) -> str:
    """What there is altogether, in kB."""
    with pages.ram.lock:
        zones = pages.zones.populated
        slabs = list(slab_pages(zones, caches).values())
        total, free = sum(zone.pages for zone in zones), sum(zone.free for zone in zones)
        available = _available(pages.zones)
    reclaimable = sum(both[0] for both in slabs)
    rest = sum(both[1] for both in slabs)
    figures = {
        "MemTotal": total,
        "MemFree": free,
        "MemAvailable": available,
        "Buffers": 0,
        "Cached": 0,
        **dict.fromkeys(_NOTHING, 0),
        "Slab": reclaimable + rest,
        "SReclaimable": reclaimable,
        "SUnreclaim": rest,
    }
    return "".join(f"{name + ':':<16}{in_kb(count):8d} kB\n" for name, count in figures.items())


def _available(zones: Zones) -> int:
    """Give the free pages above what is kept for urgent requests, as the kernel estimates it."""
    kept = sum(
        min(max(zone.lowmem_reserve, default=0) + zone.high, zone.pages) for zone in zones.populated
    )
    return max(sum(zone.free for zone in zones.populated) - kept, 0)


def vmstat(pages: PageAllocator, caches: Sequence[SlabCache], events: Mapping[str, int]) -> str:
    """Pages by use, and what happened so far; a line each.

    Args:
        pages: the memory's.
        caches: all of them.
        events: what the slow path counted, by the kernel's names.
    """
    with pages.ram.lock:
        zones = pages.zones.populated
        slabs = list(slab_pages(zones, caches).values())
        taken = dict.fromkeys(pages.zones.machine.zones, 0)
        taken.update((zone.name, zone.buddy.taken) for zone in zones)
        figures = {
            "nr_free_pages": sum(zone.free for zone in zones),
            "nr_slab_reclaimable": sum(both[0] for both in slabs),
            "nr_slab_unreclaimable": sum(both[1] for both in slabs),
            **{f"pgalloc_{name.lower()}": count for name, count in taken.items()},
            "pgfree": sum(zone.buddy.freed for zone in zones),
            **events,
            # No kernel counts these.
            "alloc_failed": pages.reports.failures.total,
        }
    return "".join(f"{name} {figure}\n" for name, figure in figures.items())
