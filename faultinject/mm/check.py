"""The invariants of the model itself: no page and no object lost, none given twice.

Lives here: `check`, for tests of the model. Not here: the faults of the code
under test (`faultinject.errors.MemoryFault`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from faultinject.errors import FaultInjectError
from faultinject.mm.buddy import MAX_ORDER, Buddy
from faultinject.mm.page_alloc import Block
from faultinject.mm.ram import PAGE_SHIFT, Ram
from faultinject.mm.slab import Slab, SlabCache


class BrokenInvariant(FaultInjectError, AssertionError):
    """The model memory contradicts itself: a bug of faultinject."""

    slug = "broken-invariant"


Extent = tuple[int, int, str]
"""First page, page after the last, and who holds them."""


def check(ram: Ram, buddy: Buddy, caches: Sequence[SlabCache]) -> None:
    """Compare free lists, slabs and ledger with each other and with the number of pages.

    Raises:
        BrokenInvariant: they do not agree.
    """
    with ram.lock:
        held = _free_extents(buddy)
        for cache in caches:
            held += _slab_extents(cache)
        held += _ledger_extents(ram, {slab for cache in caches for slab in cache.slabs})
        _verify_extents(held, buddy.pages)


def _broken(what: str, value: object) -> BrokenInvariant:
    return BrokenInvariant(what, value=value, cure="Report this with the program that led to it")


def _free_extents(buddy: Buddy) -> list[Extent]:
    extents = []
    for order, area in enumerate(buddy.areas):
        size = 1 << order
        for pfn in area:
            if pfn % size:
                raise _broken(f"a free block of order {order} is not aligned", pfn)
            if order < MAX_ORDER and pfn ^ size in area:
                raise _broken(f"two free buddies of order {order} are not merged", pfn)
            extents.append((pfn, pfn + size, f"free list {order}"))
    return extents


def _slab_extents(cache: SlabCache) -> list[Extent]:
    extents = []
    for slab in cache.slabs:
        pfn = slab.offset >> PAGE_SHIFT
        extents.append((pfn, pfn + (1 << slab.order), cache.name))
        slots = range(slab.offset, slab.offset + slab.total * cache.size, cache.size)
        if len(set(slab.free)) != len(slab.free) or not all(at in slots for at in slab.free):
            raise _broken(f"a free list of {cache.name} is wrong", slab.free)
        active, partial = slab is cache._active, slab in cache._partial
        if active and partial:
            raise _broken(f"the active slab of {cache.name} is partial too", slab.offset)
        if not active and partial != bool(slab.free):
            raise _broken(f"a slab of {cache.name} is on the wrong list", slab.offset)
    if not cache.slabs.issuperset(cache._partial):
        raise _broken(f"{cache.name} keeps a slab that it gave back", cache.name)
    return extents


def _ledger_extents(ram: Ram, slabs: set[Slab]) -> list[Extent]:
    extents = []
    live_in: dict[Slab, int] = {}
    for offset, span in ram.live.items():
        home = span._home
        if span._offset != offset or span._gone is not None:
            raise _broken("the ledger has a span that is not live", span)
        if isinstance(home, Slab):
            if home not in slabs or offset in home.free:
                raise _broken("the ledger has an object that its slab does not", span)
            live_in[home] = live_in.get(home, 0) + 1
        elif isinstance(home, Block):
            pfn = offset >> PAGE_SHIFT
            extents.append((pfn, pfn + home.pages, home.kind))
    for slab in slabs:
        if live_in.get(slab, 0) != slab.total - len(slab.free):
            raise _broken(f"a slab of {slab.cache.name} has objects nobody owns", slab.offset)
    return extents


def _verify_extents(extents: list[Extent], pages: int) -> None:
    extents.sort()
    for one, other in pairwise(extents):
        if one[1] > other[0]:
            raise _broken("pages have two owners", (one, other))
    if extents and (extents[0][0] < 0 or extents[-1][1] > pages):
        raise _broken("pages lie outside the memory", (extents[0], extents[-1]))
    found = sum(end - start for start, end, _ in extents)
    if found != pages:
        raise _broken(f"{pages - found} pages are lost", pages)
