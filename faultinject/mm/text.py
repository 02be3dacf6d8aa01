"""The state of a memory as text, in the kernel's formats.

Lives here: ``/proc/buddyinfo`` and a short Mem-Info. Not here: the messages of
failures (`faultinject.mm.warn`).

Source: Linux 6.6 mm/vmstat.c, frag_show_print(); mm/show_mem.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from faultinject.mm.page_alloc import PageAllocator
from faultinject.mm.ram import PAGE_SIZE
from faultinject.mm.slab import SlabCache

ZONE: Final = "Normal"


def buddyinfo(pages: PageAllocator) -> str:
    """One line with the number of free blocks of each order; it ends in a newline."""
    with pages.ram.lock:
        counts = pages.buddy.counts()
    columns = "".join(f"{count:6d} " for count in counts)
    return f"Node 0, zone {ZONE:>8} {columns}\n"


def show_mem(pages: PageAllocator, caches: Sequence[SlabCache]) -> str:
    """Free pages, slabs and live objects, one subject a line; it ends in a newline."""
    with pages.ram.lock:
        counts = pages.buddy.counts()
        free = pages.buddy.free_pages()
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
    blocks = " ".join(
        f"{count}*{PAGE_SIZE // 1024 << order}kB" for order, count in enumerate(counts)
    )
    lines = [
        "Mem-Info:",
        f"{pages.buddy.pages} pages RAM, {free} pages free, "
        f"{sum(row[4] for row in slabs)} pages slab, {live} live objects",
        f"Node 0 {ZONE}: {blocks} = {free * PAGE_SIZE // 1024}kB",
    ]
    lines += [
        f"slab {name}: object size: {size}, objects: {used}/{total}, pages: {held}"
        for name, size, used, total, held in slabs
    ]
    return "\n".join(lines) + "\n"
