"""Where the elements of a mempool come from: caches, kmalloc, pages, or anything.

Lives here: `Supply`. Not here: the reserve (`faultinject.mm.mempool`), and what gives the
elements (`faultinject.mm.kmem_cache`, `faultinject.mm.kmalloc`,
`faultinject.mm.page_alloc`).

Source: Linux 6.6 mm/mempool.c, mempool_alloc_slab(), mempool_kmalloc(),
mempool_alloc_pages().
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from faultinject.callsite import caller_frame
from faultinject.errors import SpecError, UseAfterFree
from faultinject.mm.kmalloc import Kmalloc, checked_size, kfree
from faultinject.mm.kmem_cache import KmemCache
from faultinject.mm.ledger import recorded
from faultinject.mm.page import Page
from faultinject.mm.page_alloc import Block
from faultinject.mm.page_free import free_pages
from faultinject.mm.pointer import Pointer
from faultinject.mm.ram import PAGE_SIZE
from faultinject.mm.slab import Slab


class Supply(NamedTuple):
    """Where the elements of a pool come from.

    Attributes:
        alloc: makes one from gfp flags and `data`, or gives None.
        free: takes one and `data`.
        data: whatever the two need.
        is_mine: whether something could be an element; None: nobody can tell.
        length: of an element in bytes, if it is a span of model memory.
    """

    alloc: Callable[[int, Any], Any]
    free: Callable[[Any, Any], object]
    data: Any = None
    is_mine: Callable[[object], bool] | None = None
    length: int = 0


def slab_supply(heap: Kmalloc, cache: KmemCache) -> Supply:
    """Let the elements be objects of a cache.

    Raises:
        SpecError: it is no cache, or of another memory than `heap`, or has a constructor,
            which elements would not keep to.
        UseAfterFree: it was destroyed.
    """
    if not isinstance(cache, KmemCache):
        raise SpecError("not a kmem_cache", value=cache, cure="Pass what kmem_cache_create gave")
    if cache.memory is not heap.pages.ram.memory:
        raise SpecError(
            "a mempool was made of a kmem_cache of another Memory",
            value=cache.name,
            cure="Make it in the Memory of the cache",
        )
    if cache._ctor is not None:
        raise SpecError(
            "a mempool cannot have a cache with a constructor",
            value=cache.name,
            cure="Initialise the elements after mempool_alloc",
        )
    if cache.destroyed:
        raise recorded(
            UseAfterFree(
                "a mempool was made of a destroyed kmem_cache",
                value=cache.name,
                cure="Destroy a cache after its pools",
            )
        )

    def is_mine(element: object) -> bool:
        home = element._home if type(element) is Pointer else None
        return isinstance(home, Slab) and home.cache is cache

    return Supply(
        lambda gfp, source: source.alloc(gfp),
        lambda element, source: source.free(element),
        cache,
        is_mine,
        cache.object_size,
    )


def kmalloc_supply(heap: Kmalloc, size: int) -> Supply:
    """Let the elements be kmallocs of `size` bytes, at least 1.

    Raises:
        SpecError: `size` is none.
    """
    size = checked_size(size)
    if size == 0:
        raise SpecError("elements of 0 bytes", value=size, cure="Pass 1 byte or more")

    def is_mine(element: object) -> bool:
        return (
            type(element) is Pointer
            and element._home.kind == "kmalloc"
            and element._ram is heap.pages.ram
            and heap.roundup(len(element)) == heap.roundup(size)
        )

    return Supply(
        lambda gfp, _: heap.alloc(size, gfp, caller_frame()),
        lambda element, _: kfree(element, caller_frame(), None),
        None,
        is_mine,
        size,
    )


def page_supply(heap: Kmalloc, order: int) -> Supply:
    """Let the elements be blocks of ``1 << order`` pages.

    Raises:
        SpecError: `order` is negative or not an int.
    """
    if isinstance(order, bool) or not isinstance(order, int) or order < 0:
        raise SpecError("not an order of pages", value=order, cure="Pass 0 or more")

    def is_mine(element: object) -> bool:
        home = element._home if isinstance(element, Page) else None
        return isinstance(home, Block) and home.order == order and home.allocator is heap.pages

    return Supply(
        lambda gfp, _: heap.pages.alloc_pages(gfp, order, caller_frame()),
        lambda element, _: free_pages(element, order, caller_frame(), None),
        None,
        is_mine,
        PAGE_SIZE << order,
    )
