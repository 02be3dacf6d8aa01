"""kmalloc before there were slabs, as the articles of the 1990s describe it.

Lives here: `BucketKmalloc`, its sizes and its limit. Not here: everything else of that
time. The calls are those of today; what is a set of flags now was a priority then:
GFP_KERNEL may sleep, GFP_ATOMIC must not, GFP_DMA asks for pages that a card can reach.

A page is cut into blocks of one of a few sizes, near to powers of two. A header of 8
bytes lies before each block, a descriptor of 16 before the first: a block of 128 bytes
holds 120. From 4 kB up there is one block to an area, and above 128 kB there is nothing.
``kmalloc(0)`` gives a block like any other.

Source: Linux 2.0 mm/kmalloc.c, with pages of 4 KiB and 32 bits.
"""

from __future__ import annotations

from bisect import bisect_left
from types import FrameType
from typing import Final

from faultinject.engine.message import fail_dump
from faultinject.gfp import ACCOUNT, DMA, NOWARN, RECLAIMABLE, int_gfp
from faultinject.mm.kmalloc import Kmalloc, checked_size
from faultinject.mm.page import get_order
from faultinject.mm.pointer import Pointer
from faultinject.mm.slab import SlabCache
from faultinject.mm.slab_order import SlabLayout

#: What lies before each block, in bytes (struct block_header).
HEADER: Final = 8
#: What lies before the first block of an area, in bytes (struct page_descriptor).
DESCRIPTOR: Final = 16
#: The sizes of the blocks in bytes, headers included.
BLOCKS: Final = (
    *(32, 64, 128, 252, 508, 1020, 2040),
    *((4096 << order) - DESCRIPTOR for order in range(6)),
)
#: How much of them can be used; the last is the largest kmalloc.
USABLE: Final = tuple(block - HEADER for block in BLOCKS)

#: Kinds of memory that nobody told apart then.
_LATER: Final = RECLAIMABLE | ACCOUNT


class BucketKmalloc(Kmalloc):
    """The buckets of one memory; each is made when it is first needed."""

    __slots__ = ()

    def alloc(self, size: int, gfp: int, frame: FrameType | None) -> Pointer | None:
        """Return a block for `frame`, or None; the arguments are not checked."""
        size = checked_size(size)
        gfp, caches = self._unusual(int_gfp(gfp) & ~_LATER, frame)
        if size > self.max_cached:
            if not gfp & NOWARN:
                fail_dump(
                    f"kmalloc of too large a block ({size} bytes).",
                    stack=False,
                    suppressed=0,
                    frame=frame,
                )
            return None
        index = bisect_left(USABLE, size)
        cache = caches[index]
        if cache is None:
            cache = self._make(gfp, index)
        return cache.take(size, gfp, frame)

    def roundup(self, size: int) -> int:
        """Return how many bytes a kmalloc of `size` would make usable; `size`, if it fails."""
        size = checked_size(size)
        return size if size > self.max_cached else USABLE[bisect_left(USABLE, size)]

    def _cache(self, family: str, index: int, page_flags: int) -> SlabCache:
        block = BLOCKS[index]
        order = get_order(block + DESCRIPTOR)
        return SlabCache(
            self.pages,
            f"{family}-{block}",
            USABLE[index],
            kind="kmalloc",
            page_flags=page_flags & DMA,
            # An empty area goes back at once.
            layout=SlabLayout(block, USABLE[index], DESCRIPTOR + HEADER, order, order, 0),
        )
