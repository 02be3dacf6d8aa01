"""Slabs: blocks of pages cut into objects of one size, and their caches.

Lives here: `SlabCache`, which asks failslab first, and `Slab`. Not here: what users
see of a cache (`faultinject.mm.kmem_cache`), the kmalloc sizes
(`faultinject.mm.kmalloc`), the size of a slab (`faultinject.mm.slab_order`), pages
(`faultinject.mm.page_alloc`).

One slab is active: objects come from its free list, last freed first. A full slab
is known to nobody but its objects; the first free puts it on the partial list. An
empty slab goes back to the page allocator once enough partial ones are kept.

Contents: an object is filled with 0x5a, at most its first 8 KiB, unless
``__GFP_ZERO`` was given or the cache has a constructor: code that forgets to
initialise an object meets something else than zeros. A constructor runs once per
object when its slab is made, and an object keeps its contents over a free.

Source: Linux 6.6 mm/slub.c, with one CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Final

from faultinject.capabilities.failslab import failslab
from faultinject.engine import task
from faultinject.errors import UseAfterFree
from faultinject.gfp import (
    COMP,
    DIRECT_RECLAIM,
    NOFAIL,
    NOMEMALLOC,
    NORETRY,
    NOWARN,
    RECLAIM,
    RECLAIMABLE,
    ZERO,
    Gfp,
)
from faultinject.mm.bad_free import double_free
from faultinject.mm.ledger import NOWHERE, recorded
from faultinject.mm.page_alloc import PageAllocator
from faultinject.mm.pointer import Pointer
from faultinject.mm.ram import PAGE_SHIFT, POISON_INUSE, POISON_LIMIT
from faultinject.mm.slab_order import SlabLayout, slub_layout
from faultinject.mm.span import Home, Span

SLAB_HWCACHE_ALIGN: Final = 0x0000_2000
SLAB_RECLAIM_ACCOUNT: Final = 0x0002_0000
SLAB_FAILSLAB: Final = 0x0200_0000
SLAB_ACCOUNT: Final = 0x0400_0000

#: What a new slab takes over of a request's flags; ``__GFP_ZERO`` is not among them.
_TO_PAGES: Final = int(
    Gfp.RECLAIM
    | Gfp.HIGH
    | Gfp.IO
    | Gfp.FS
    | Gfp.NOWARN
    | Gfp.RETRY_MAYFAIL
    | Gfp.NOFAIL
    | Gfp.NORETRY
    | Gfp.MEMALLOC
    | Gfp.NOMEMALLOC
    | Gfp.NOLOCKDEP
    | Gfp.HARDWALL
    | Gfp.THISNODE
)

Constructor = Callable[[Pointer], None]


class Slab(Home):
    """One block of pages, cut into the objects of a cache.

    Attributes:
        cache: whose objects these are.
        offset: where the block begins.
        order: how large it is.
        free: the offsets of the free objects; the last is handed out first.
        total: how many objects it holds, free or not.
    """

    __slots__ = ("cache", "free", "offset", "order", "total")

    def __init__(self, cache: SlabCache, offset: int, order: int) -> None:
        super().__init__(cache.kind)
        self.cache = cache
        self.offset = offset
        self.order = order
        size, first = cache.size, offset + cache.layout.lead
        self.total = cache.layout.objects(order)
        self.free = list(range(first + (self.total - 1) * size, first - 1, -size))


class SlabCache:
    """Objects of one size.

    Attributes:
        name: as given.
        object_size: the size of an object in bytes, as given.
        size: the distance of two objects: `object_size`, aligned.
        layout: how its slabs are cut.
        align: of every object, in bytes.
        flags: SLAB_* bits.
        order: of a slab, if that many pages can be had; `min_order` otherwise.
        min_partial: how many partial slabs are kept before empty ones are given back.
        is_bootstrap: whether the cache holds caches; never so yet.
    """

    __slots__ = (
        "_active",
        "_ctor",
        "_dead",
        "_fill",
        "_none",
        "_page_flags",
        "_pages",
        "_partial",
        "_ram",
        "_zeros",
        "align",
        "flags",
        "is_bootstrap",
        "kind",
        "layout",
        "min_order",
        "min_partial",
        "name",
        "object_size",
        "order",
        "size",
        "slabs",
    )

    def __init__(
        self,
        pages: PageAllocator,
        name: str,
        object_size: int,
        *,
        kind: str,
        align: int = 8,
        flags: int = 0,
        page_flags: int = 0,
        ctor: Constructor | None = None,
        layout: SlabLayout | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.object_size = object_size
        self.layout = layout or slub_layout(object_size, align)
        self.size = self.layout.size
        self.align = align
        self.flags = flags
        self.is_bootstrap = False
        self.order = self.layout.order
        self.min_order = self.layout.min_order
        self.min_partial = self.layout.min_partial
        self._pages = pages
        self._ram = pages.ram
        self._page_flags = page_flags | (COMP if self.order else 0)
        if flags & SLAB_RECLAIM_ACCOUNT:
            self._page_flags |= RECLAIMABLE
        self._ctor = ctor
        room = self.layout.room
        self._fill = POISON_INUSE * min(room, POISON_LIMIT)
        self._zeros = bytes(room) if room <= POISON_LIMIT else b""
        self._dead = False
        # Stands for "no slab is active": an empty one, so that the hot path need not ask.
        self._none = Slab(self, 0, 0)
        self._none.free = []
        self._none.total = -1
        self._active = self._none
        self._partial: dict[Slab, None] = {}  # its end is the list's head
        self.slabs: set[Slab] = set()

    @property
    def destroyed(self) -> bool:
        """Whether the cache has ended."""
        return self._dead

    def shrink(self) -> int:
        """Give all empty slabs back to the page allocator; return how many pages that were."""
        freed = 0
        with self._ram.lock:
            active = self._active
            if len(active.free) == active.total:
                self._active = self._none
                freed += self._discard(active)
            for slab in [slab for slab in self._partial if len(slab.free) == slab.total]:
                del self._partial[slab]
                freed += self._discard(slab)
        return freed

    def objects(self) -> list[Span]:
        """Return the objects that are allocated, oldest first."""
        with self._ram.lock:
            live = self._ram.live.values()
            return [
                span for span in live if isinstance(span._home, Slab) and span._home.cache is self
            ]

    def __repr__(self) -> str:
        state = "destroyed" if self._dead else f"{len(self.slabs)} slabs"
        return f"<SlabCache {self.name!r}, {self.object_size} bytes, {state}>"

    def take(
        self, size: int, gfp: int, frame: FrameType | None, asked: bool = False
    ) -> Pointer | None:
        """Return an object of `size` requested bytes for `frame`; flags are checked already.

        `asked` tells that failslab has had its say about a larger whole.
        """
        if not asked and task.live and failslab.should_fail(self, gfp, frame):
            return None
        ram = self._ram
        trace = NOWHERE if frame is None else (frame.f_code, frame.f_lasti, frame.f_globals)
        while True:
            with ram.lock:
                slab = self._active
                free = slab.free
                if not free and self._partial:
                    slab = self._active = self._partial.popitem()[0]
                    free = slab.free
                if free:
                    offset = free.pop()
                    pointer = ram.live[offset] = Pointer(ram, offset, size, slab, trace)
                    break
            if not self._refill(gfp, frame):
                return None
        if gfp & ZERO:
            if self._zeros:
                ram.bytes[offset : offset + len(self._zeros)] = self._zeros
            else:
                ram.zero(offset, self.layout.room)
        elif self._ctor is None:
            fill = self._fill
            ram.bytes[offset : offset + len(fill)] = fill
        return pointer

    def _refill(self, gfp: int, frame: FrameType | None) -> bool:
        """Make a new slab; False if neither order can be had."""
        if self._dead:
            raise recorded(
                UseAfterFree(
                    "a destroyed kmem_cache was asked for an object",
                    value=self.name,
                    cure="Destroy a cache after its last use",
                )
            )
        flags = gfp & _TO_PAGES | self._page_flags
        # The large order is a bonus: ask without noise and without reclaim.
        first = (flags | NOWARN | NORETRY) & ~NOFAIL
        if first & DIRECT_RECLAIM and self.order > self.min_order:
            first = (first | NOMEMALLOC) & ~RECLAIM
        order = self.order
        offset = self._pages.obtain(order, first, frame, cache=self)
        if offset is None:
            order = self.min_order
            offset = self._pages.obtain(order, flags, frame, retry=True, cache=self)
            if offset is None:
                return False
        slab = Slab(self, offset, order)
        if self._ctor is not None:
            self._construct(slab, self._ctor)
        with self._ram.lock:
            self.slabs.add(slab)
            if self._active.free:  # another thread was quicker
                self._partial[slab] = None
            else:
                self._active = slab
        return True

    def _construct(self, slab: Slab, ctor: Constructor) -> None:
        under_construction = Home("kmem_cache constructor")
        try:
            for offset in reversed(slab.free):
                pointer = Pointer(self._ram, offset, self.object_size, under_construction, NOWHERE)
                ctor(pointer)
                with self._ram.lock:
                    pointer._gone = NOWHERE
                    pointer._revoke_view(poison=False)
        except BaseException:
            with self._ram.lock:
                self._pages.blocks.free(slab.offset >> PAGE_SHIFT, slab.order)
            raise

    def settle(self, slab: Slab) -> None:
        """Put a slab that has just become empty, or is no longer full, where it belongs."""
        if slab is self._active:
            return
        free = len(slab.free)
        if free == slab.total and len(self._partial) >= self.min_partial:
            self._partial.pop(slab, None)
            self._discard(slab)
        elif free == 1:
            self._partial[slab] = None

    def _discard(self, slab: Slab) -> int:
        self.slabs.discard(slab)
        self._pages.blocks.free(slab.offset >> PAGE_SHIFT, slab.order)
        return 1 << slab.order


def free_object(pointer: Pointer, slab: Slab, frame: FrameType | None) -> None:
    """Give an object back to its slab.

    Raises:
        DoubleFree: it was freed before.
    """
    trace = NOWHERE if frame is None else (frame.f_code, frame.f_lasti, frame.f_globals)
    ram = pointer._ram
    with ram.lock:
        if pointer._gone is None:
            pointer._gone = trace
            offset = pointer._offset
            del ram.live[offset]
            if pointer._view is not None:
                pointer._revoke_view(poison=slab.cache._ctor is None)
            free = slab.free
            free.append(offset)
            number = len(free)
            if number == 1 or number == slab.total:
                slab.cache.settle(slab)
            return
    raise double_free(pointer)
