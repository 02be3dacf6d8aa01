"""The methods of a `Memory` that make kmem_caches and mempools.

Lives here: what they promise. Not here: what caches and pools do
(`faultinject.mm.kmem_cache`, `faultinject.mm.mempool`), and the same calls without a
memory in front (`faultinject.mm.pool_functions`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from faultinject.callsite import outer_frame
from faultinject.mm.kmem_cache import KmemCache, create_kmem_cache
from faultinject.mm.mempool import Mempool, create_mempool
from faultinject.mm.mempool_supply import Supply, kmalloc_supply, page_supply, slab_supply
from faultinject.mm.slab import Constructor

if TYPE_CHECKING:
    from faultinject.mm.memory import Memory


def kmem_cache_create(
    self: Memory,
    name: str,
    size: int,
    align: int = 0,
    flags: int = 0,
    ctor: Constructor | None = None,
) -> KmemCache:
    """Make a cache of objects of one size.

    Args:
        self: the memory.
        name: without blanks; need not be unique.
        size: of an object, in bytes, up to 4 MiB.
        align: 0, or a power of two up to the page size.
        flags: SLAB_HWCACHE_ALIGN, SLAB_RECLAIM_ACCOUNT, SLAB_ACCOUNT, SLAB_FAILSLAB.
        ctor: called with each object once, when its slab is made.

    Raises:
        SpecError: an argument is impossible.
    """
    cache = create_kmem_cache(self._pages, name, size, align, flags, ctor)
    with self._ram.lock:
        self._kmem_caches[cache] = None
    return cache


def mempool_create(
    self: Memory,
    min_nr: int,
    alloc: Callable[[int, Any], Any],
    free: Callable[[Any, Any], object],
    pool_data: Any = None,
) -> Mempool | None:
    """Make a pool that keeps `min_nr` elements in reserve, or None if memory is short.

    The pool's descriptor is a kmalloc: a pool that is never destroyed is a leak.

    Args:
        self: the memory that the reserve is kept in.
        min_nr: how many, 0 or more.
        alloc: makes an element from gfp flags and `pool_data`, or gives None.
        free: takes an element and `pool_data`.
        pool_data: whatever the two need.

    Raises:
        SpecError: an argument is impossible.
    """
    return create_mempool(self._heap, min_nr, Supply(alloc, free, pool_data), outer_frame())


def mempool_create_slab_pool(self: Memory, min_nr: int, cache: KmemCache) -> Mempool | None:
    """As `mempool_create`, of objects of a kmem_cache.

    Raises:
        SpecError: an argument is impossible, or the cache has a constructor.
        UseAfterFree: the cache was destroyed.
    """
    return create_mempool(self._heap, min_nr, slab_supply(self._heap, cache), outer_frame())


def mempool_create_kmalloc_pool(self: Memory, min_nr: int, size: int) -> Mempool | None:
    """As `mempool_create`, of kmallocs of `size` bytes, at least 1."""
    return create_mempool(self._heap, min_nr, kmalloc_supply(self._heap, size), outer_frame())


def mempool_create_page_pool(self: Memory, min_nr: int, order: int) -> Mempool | None:
    """As `mempool_create`, of blocks of ``1 << order`` pages."""
    return create_mempool(self._heap, min_nr, page_supply(self._heap, order), outer_frame())
