"""The state of a memory as text, in the kernel's formats.

Lives here: ``/proc/buddyinfo`` and a short Mem-Info. Not here: the messages of
failures (`faultinject.mm.warn`).

Source: Linux 6.6 mm/vmstat.c, frag_show_print(); mm/show_mem.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from faultinject.mm.migrate import LETTERS
from faultinject.mm.page_alloc import PageAllocator
from faultinject.mm.ram import PAGE_SIZE
from faultinject.mm.slab import SlabCache
from faultinject.mm.zone import Zone


def buddyinfo(pages: PageAllocator) -> str:
    """One line per zone with the number of free blocks of each order; each ends in a newline."""
    with pages.ram.lock:
        zones = [(zone.name, zone.blocks()) for zone in pages.zones.populated]
    return "".join(
        f"Node 0, zone {name:>8} {''.join(f'{count:6d} ' for count in counts)}\n"
        for name, counts in zones
    )


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
    return f"Node 0 {zone.name}: {' '.join(columns)} = {zone.free * PAGE_SIZE // 1024}kB"


def show_mem(pages: PageAllocator, caches: Sequence[SlabCache]) -> str:
    """Free pages, slabs and live objects, one subject a line; it ends in a newline."""
    with pages.ram.lock:
        zones = pages.zones.populated
        described = pages.zones.machine.min_free_kbytes is not None
        letters = pages.zones.machine.version.letters if described else ""
        free = sum(zone.free for zone in zones)
        blocks = [zone_blocks(zone, letters) for zone in zones]
        live = len(pages.ram.live)
        slabs = [
            (
                cache.name,
                cache.object_size,
                sum(slab.total - len(slab.free) for slab in cache.slabs),
                sum(slab.total for slab in cache.slabs),
                sum(1 << slab.order for slab in cache.slabs),
            )
            for cache in caches
            if cache.slabs
        ]
    lines = [
        "Mem-Info:",
        f"{sum(zone.pages for zone in zones)} pages RAM, {free} pages free, "
        f"{sum(row[4] for row in slabs)} pages slab, {live} live objects",
        *blocks,
    ]
    lines += [
        f"slab {name}: object size: {size}, objects: {used}/{total}, pages: {held}"
        for name, size, used, total, held in slabs
    ]
    return "\n".join(lines) + "\n"
