"""Mem-Info: the state of a memory as each kernel prints it below a failure.

Lives here: the lines, in the format of the memory's version. Not here: the lines above
them (`faultinject.mm.failure_text`), reading such lines (`faultinject.mm.mem_info`), the
state as files of /proc (`faultinject.mm.text`).

What a kernel counts and the model has not is printed as 0, so that whatever reads a
kernel's log reads ours.

Source: Linux lib/show_mem.c and mm/page_alloc.c, show_free_areas(); arch/x86/mm of 2.6.24.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from faultinject.gfp import RECLAIMABLE
from faultinject.mm.kernel_version import KernelVersion
from faultinject.mm.marks import HIGHMEM, MOVABLE, in_kb
from faultinject.mm.migrate import LETTERS
from faultinject.mm.ram import PAGE_SHIFT, PAGE_SIZE
from faultinject.mm.zone import Zone
from faultinject.mm.zones import Zones

if TYPE_CHECKING:
    from faultinject.mm.slab import SlabCache

_Rows: TypeAlias = tuple[str, ...]
_Form = TypeVar("_Form")

# The first release with each form, the latest one first. A row of names is one line.
_TOTALS: Final[tuple[tuple[tuple[int, ...], _Rows], ...]] = (
    (
        (6, 1),
        (
            "active_anon inactive_anon isolated_anon",
            " active_file inactive_file isolated_file",
            " unevictable dirty writeback",
            " slab_reclaimable slab_unreclaimable",
            " mapped shmem pagetables",
            " sec_pagetables bounce",
            " kernel_misc_reclaimable",
            " free free_pcp free_cma",
        ),
    ),
    (
        (4, 0),
        (
            "active_anon inactive_anon isolated_anon",
            " active_file inactive_file isolated_file",
            " unevictable dirty writeback unstable",
            " slab_reclaimable slab_unreclaimable",
            " mapped shmem pagetables bounce",
            " free free_pcp free_cma",
        ),
    ),
    (
        (2, 6, 28),
        (
            "active_anon inactive_anon isolated_anon",
            " active_file inactive_file isolated_file",
            " unevictable dirty writeback unstable",
            " free slab_reclaimable slab_unreclaimable",
            " mapped shmem pagetables bounce",
        ),
    ),
    (
        (0,),
        (
            "Active inactive dirty writeback unstable",
            " free slab mapped pagetables bounce",
        ),
    ),
)
_LRU: Final = "active_anon inactive_anon active_file inactive_file unevictable"
_FIGURES: Final[tuple[tuple[tuple[int, ...], str], ...]] = (
    (
        (5, 10),
        f"free boost min low high reserved_highatomic {_LRU} writepending present managed "
        "mlocked bounce free_pcp local_pcp free_cma",
    ),
    (
        (4, 8),
        f"free min low high {_LRU} writepending present managed mlocked kernel_stack "
        "pagetables bounce free_pcp local_pcp free_cma",
    ),
    (
        (3, 9),
        f"free min low high {_LRU} isolated(anon) isolated(file) present managed mlocked dirty "
        "writeback mapped shmem slab_reclaimable slab_unreclaimable kernel_stack pagetables "
        "unstable bounce free_cma writeback_tmp",
    ),
    (
        (2, 6, 28),
        f"free min low high {_LRU} isolated(anon) isolated(file) present mlocked dirty writeback "
        "mapped shmem slab_reclaimable slab_unreclaimable kernel_stack pagetables unstable bounce "
        "writeback_tmp",
    ),
    ((0,), "free min low high active inactive present"),
)
_NODE: Final = f"{_LRU} isolated(anon) isolated(file) mapped dirty writeback shmem writeback_tmp"
_PER_CPU_UNTIL: Final = (3, 15)
_HOT_AND_COLD_UNTIL: Final = (2, 6, 25)
_LOWER_CASE_UNTIL: Final = (2, 6, 28)
#: Since then the lists of pages in use are a node's, no longer a zone's.
_NODE_SINCE: Final = (4, 8)
_CMA_SINCE: Final = (3, 15)


def release_of(version: KernelVersion) -> tuple[int, ...]:
    """Give a version as numbers that compare: ``(2, 6, 32)``."""
    return tuple(int(number) for number in version.name.split("."))


def mem_info(zones: Zones, caches: Iterable[SlabCache]) -> list[str]:
    """Give the lines; the caller holds the lock of the memory."""
    version = zones.machine.version
    release = release_of(version)
    slabs = slab_pages(zones.populated, caches)
    pages = sum(zone.pages for zone in zones.populated)
    totals = {
        "free": sum(zone.free for zone in zones.populated),
        "slab": sum(sum(both) for both in slabs.values()),
        "slab_reclaimable": sum(both[0] for both in slabs.values()),
        "slab_unreclaimable": sum(both[1] for both in slabs.values()),
    }
    lines = ["Mem-info:" if release < _LOWER_CASE_UNTIL else "Mem-Info:"]
    if release < _PER_CPU_UNTIL:
        for zone in zones.populated:
            lines += [f"Node 0 {zone.name} per-cpu:", _per_cpu(release)]
    for row in _since(_TOTALS, release):
        told = [f"{name}:{totals.get(name, 0)}" for name in row.split()]
        lines.append(" " * row.startswith(" ") + " ".join(told))
    if release >= _NODE_SINCE:
        told = [f"{name}:0kB" for name in _NODE.split()]
        lines.append(f"Node 0 {' '.join(told)} all_unreclaimable? no")
    for zone in zones.populated:
        lines += [_zone_line(zone, slabs[zone.name], release), _reserve_line(zone)]
    letters = version.letters if zones.machine.min_free_kbytes is not None else ""
    lines += [zone_blocks(zone, letters) for zone in zones.populated]
    lines += ["0 total pagecache pages", "0 pages in swap cache", "Free swap  = 0kB"]
    lines += ["Total swap = 0kB", f"{pages} pages RAM"]
    if release >= _CMA_SINCE:
        high = sum(zone.pages for zone in zones.populated if zone.name in (HIGHMEM, MOVABLE))
        lines.append(f"{high} pages HighMem/MovableOnly")
    lines.append("0 pages reserved")
    return lines


def show_mem(zones: Zones, caches: Iterable[SlabCache], live: int) -> str:
    """Give the same and what no kernel tells: the slabs of each cache, and live objects.

    It ends in a newline. The caller holds the lock of the memory.
    """
    known = [cache for cache in caches if cache.slabs]
    lines = [*mem_info(zones, known), f"{live} live objects"]
    for cache in known:
        total = sum(slab.total for slab in cache.slabs)
        used = total - sum(len(slab.free) for slab in cache.slabs)
        pages = sum(1 << slab.order for slab in cache.slabs)
        lines.append(
            f"slab {cache.name}: object size: {cache.object_size}, "
            f"objects: {used}/{total}, pages: {pages}"
        )
    return "\n".join(lines) + "\n"


def zone_blocks(zone: Zone, letters: str) -> str:
    """The free blocks of a zone, as show_mem prints them.

    Args:
        zone: whose.
        letters: the migrate types that are told after a count, in their order.
    """
    by_type = zone.buddy.counts_by_type()
    columns = []
    for order, count in enumerate(zone.blocks()):
        kinds = "".join(each for each in letters if by_type[LETTERS.index(each)][order])
        told = f" ({kinds})" if kinds else ""
        columns.append(f"{count}*{PAGE_SIZE // 1024 << order}kB{told}")
    return f"Node 0 {zone.name}: {' '.join(columns)} = {in_kb(zone.buddy.nr_free)}kB"


def slab_pages(zones: Sequence[Zone], caches: Iterable[SlabCache]) -> Mapping[str, tuple[int, int]]:
    """Give the pages of reclaimable and of other slabs, by the name of their zone."""
    found = {zone.name: [0, 0] for zone in zones}
    for cache in caches:
        other = 0 if cache._page_flags & RECLAIMABLE else 1
        for slab in cache.slabs:
            pfn = slab.offset >> PAGE_SHIFT
            at = next(zone.name for zone in zones if zone.holds(pfn))
            found[at][other] += 1 << slab.order
    return {name: (both[0], both[1]) for name, both in found.items()}


def _zone_line(zone: Zone, slabs: tuple[int, int], release: tuple[int, ...]) -> str:
    known = {
        "free": zone.free,
        "boost": zone.boost,
        "min": zone.min + zone.boost,
        "low": zone.low + zone.boost,
        "high": zone.high + zone.boost,
        "reserved_highatomic": zone.reserved_highatomic,
        "present": zone.pages,
        "managed": zone.pages,
        "slab_reclaimable": slabs[0],
        "slab_unreclaimable": slabs[1],
    }
    told = [
        # The kernel's own slip: this one unit has a large K.
        f"{name}:{in_kb(known.get(name, 0))}{'KB' if name == 'reserved_highatomic' else 'kB'}"
        for name in _since(_FIGURES, release).split()
    ]
    tail = " pages_scanned:0 all_unreclaimable? no" if release < _NODE_SINCE else ""
    return f"Node 0 {zone.name} {' '.join(told)}{tail}"


def _reserve_line(zone: Zone) -> str:
    return f"lowmem_reserve[]: {' '.join(map(str, zone.lowmem_reserve))}"


def _per_cpu(release: tuple[int, ...]) -> str:
    one = "hi:    0, btch:   1 usd:   0"
    if release < _HOT_AND_COLD_UNTIL:
        return f"CPU    0: Hot: {one}   Cold: {one}"
    return f"CPU    0: {one}"


def _since(table: Sequence[tuple[tuple[int, ...], _Form]], release: tuple[int, ...]) -> _Form:
    return next(form for since, form in table if release >= since)
