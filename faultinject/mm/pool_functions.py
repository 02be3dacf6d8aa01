"""The kernel's calls for kmem_caches and mempools as functions.

Lives here: their creation in the current memory, and, for code that is ported from C,
functions for what caches and pools do as methods. Not here: which memory is current
(`faultinject.mm.current`), and what the calls do (`faultinject.mm.pool_calls`,
`faultinject.mm.kmem_cache`, `faultinject.mm.mempool`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from faultinject.gfp import ZERO, Gfp, int_gfp
from faultinject.mm.current import current_memory
from faultinject.mm.kmem_cache import KmemCache
from faultinject.mm.mempool import Mempool
from faultinject.mm.pointer import Pointer
from faultinject.mm.slab import Constructor


def kmem_cache_create(
    name: str, size: int, align: int = 0, flags: int = 0, ctor: Constructor | None = None
) -> KmemCache:
    """See `Memory.kmem_cache_create`."""
    return current_memory().kmem_cache_create(name, size, align, flags, ctor)


def kmem_cache_alloc(cache: KmemCache, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `KmemCache.alloc`."""
    return cache.alloc(gfp)


def kmem_cache_zalloc(cache: KmemCache, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """As `kmem_cache_alloc`, filled with zeros."""
    return cache.alloc(int_gfp(gfp) | ZERO)


def kmem_cache_free(cache: KmemCache, obj: Pointer | None) -> None:
    """See `KmemCache.free`."""
    cache.free(obj)


def kmem_cache_alloc_bulk(cache: KmemCache, gfp: int, count: int) -> list[Pointer] | None:
    """See `KmemCache.alloc_bulk`."""
    return cache.alloc_bulk(gfp, count)


def kmem_cache_free_bulk(cache: KmemCache, objects: Iterable[Pointer]) -> None:
    """See `KmemCache.free_bulk`."""
    cache.free_bulk(objects)


def kmem_cache_shrink(cache: KmemCache) -> int:
    """See `KmemCache.shrink`."""
    return cache.shrink()


def kmem_cache_destroy(cache: KmemCache | None) -> None:
    """See `KmemCache.destroy`; None is a no-op."""
    if cache is not None:
        cache.destroy()


def mempool_create(
    min_nr: int,
    alloc: Callable[[int, Any], Any],
    free: Callable[[Any, Any], object],
    pool_data: Any = None,
) -> Mempool | None:
    """See `Memory.mempool_create`."""
    return current_memory().mempool_create(min_nr, alloc, free, pool_data)


def mempool_create_slab_pool(min_nr: int, cache: KmemCache) -> Mempool | None:
    """See `Memory.mempool_create_slab_pool`; the reserve is in the memory of `cache`."""
    memory = cache.memory if isinstance(cache, KmemCache) else current_memory()
    return memory.mempool_create_slab_pool(min_nr, cache)


def mempool_create_kmalloc_pool(min_nr: int, size: int) -> Mempool | None:
    """See `Memory.mempool_create_kmalloc_pool`."""
    return current_memory().mempool_create_kmalloc_pool(min_nr, size)


def mempool_create_page_pool(min_nr: int, order: int) -> Mempool | None:
    """See `Memory.mempool_create_page_pool`."""
    return current_memory().mempool_create_page_pool(min_nr, order)


def mempool_alloc(pool: Mempool, gfp: int = Gfp.KERNEL) -> Any:
    """See `Mempool.alloc`."""
    return pool.alloc(gfp)


def mempool_free(element: object, pool: Mempool) -> None:
    """See `Mempool.free`; the element comes first, as in the kernel."""
    pool.free(element)


def mempool_resize(pool: Mempool, min_nr: int) -> bool:
    """See `Mempool.resize`."""
    return pool.resize(min_nr)


def mempool_destroy(pool: Mempool | None) -> None:
    """See `Mempool.destroy`; None is a no-op."""
    if pool is not None:
        pool.destroy()
