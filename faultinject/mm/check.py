"""The invariants of the model itself: no page and no object lost, none given twice.

Lives here: `check`, for tests of the model. Not here: the faults of the code
under test (`faultinject.errors.MemoryFault`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from faultinject.errors import FaultInjectError
from faultinject.mm.buddy import MAX_ORDER, FreeLists
from faultinject.mm.marks import total
from faultinject.mm.migrate import HIGHATOMIC, PAGEBLOCK_ORDER, PAGEBLOCK_PAGES
from faultinject.mm.page_alloc import Block, PageAllocator
from faultinject.mm.ram import PAGE_OFFSET, PAGE_SHIFT, Ram
from faultinject.mm.slab import Slab, SlabCache
from faultinject.mm.vmalloc import VmallocArea
from faultinject.mm.zone import Zone


class BrokenInvariant(FaultInjectError, AssertionError):
    """The model memory contradicts itself: a bug of faultinject."""

    slug = "broken-invariant"


Extent = tuple[int, int, str]
"""First page, page after the last, and who holds them."""


def check(pages: PageAllocator, caches: Sequence[SlabCache]) -> None:
    """Compare free lists, slabs and ledger with each other and with the pages of each zone.

    Raises:
        BrokenInvariant: they do not agree.
    """
    ram = pages.ram
    with ram.lock:
        held = [(pfn, pfn + (1 << order), "held") for pfn, order in pages.held.items()]
        for zone in pages.zones.populated:
            held += _free_extents(zone)
        for cache in caches:
            held += _slab_extents(cache)
        held += _ledger_extents(ram, {slab for cache in caches for slab in cache.slabs})
        _verify_extents(held, pages.zones.populated)
        for zone in pages.zones.populated:
            _verify_counters(zone)


def _broken(what: str, value: object) -> BrokenInvariant:
    return BrokenInvariant(what, value=value, cure="Report this with the program that led to it")


def _free_extents(zone: Zone) -> list[Extent]:
    return [extent for lists in zone.buddy.lists for extent in _listed_extents(lists, zone)]


def _verify_counters(zone: Zone) -> None:
    found = total(zone.blocks())
    if found != zone.buddy.nr_free:
        raise _broken(f"zone {zone.name} miscounts its {found} free pages", zone.buddy.nr_free)
    reserved = zone.buddy.lists[HIGHATOMIC]
    first = zone.start_pfn >> PAGEBLOCK_ORDER
    last = zone.start_pfn + zone.pages - 1 >> PAGEBLOCK_ORDER
    blocks = zone.buddy.blocks.lists[first : last + 1]
    if sum(lists is reserved for lists in blocks) * PAGEBLOCK_PAGES != zone.reserved_highatomic:
        raise _broken(f"zone {zone.name} miscounts its atomic reserve", zone.reserved_highatomic)


def _listed_extents(lists: FreeLists, zone: Zone) -> list[Extent]:
    extents = []
    for order, area in enumerate(lists.areas):
        size = 1 << order
        for pfn in area:
            if pfn % size:
                raise _broken(f"a free block of order {order} is not aligned", pfn)
            if (
                order < MAX_ORDER
                and pfn ^ size in area
                and not (lists.kind == HIGHATOMIC and order >= PAGEBLOCK_ORDER)
            ):
                raise _broken(f"two free buddies of order {order} are not merged", pfn)
            for block in range(pfn, pfn + size, PAGEBLOCK_PAGES):
                if zone.buddy.blocks.lists[block >> PAGEBLOCK_ORDER] is not lists:
                    raise _broken("a free block is on the list of another type", pfn)
            extents.append((pfn, pfn + size, f"free list {order} of {zone.name}"))
    return extents


def _slab_extents(cache: SlabCache) -> list[Extent]:
    extents = []
    for slab in cache.slabs:
        pfn = slab.offset >> PAGE_SHIFT
        extents.append((pfn, pfn + (1 << slab.order), cache.name))
        first = slab.offset + cache.layout.lead
        slots = range(first, first + slab.total * cache.size, cache.size)
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
    for offset, span in [*ram.live.items(), *ram.own.items()]:
        home = span._home
        if span.address != PAGE_OFFSET + offset or span._gone is not None:
            raise _broken("the ledger has a span that is not live", span)
        if isinstance(home, Slab):
            if home not in slabs or offset in home.free:
                raise _broken("the ledger has an object that its slab does not", span)
            live_in[home] = live_in.get(home, 0) + 1
        elif isinstance(home, Block):
            pfn = offset >> PAGE_SHIFT
            extents.append((pfn, pfn + home.pages, home.kind))
        elif isinstance(home, VmallocArea):
            extents += [(pfn, pfn + 1, home.kind) for pfn in home.frames]
    for slab in slabs:
        if live_in.get(slab, 0) != slab.total - len(slab.free):
            raise _broken(f"a slab of {slab.cache.name} has objects nobody owns", slab.offset)
    return extents


def _verify_extents(extents: list[Extent], zones: Sequence[Zone]) -> None:
    extents.sort()
    for one, other in pairwise(extents):
        if one[1] > other[0]:
            raise _broken("pages have two owners", (one, other))
    for extent in extents:
        if not any(zone.holds(extent[0]) and zone.holds(extent[1] - 1) for zone in zones):
            raise _broken("pages lie outside the memory", extent)
    pages = sum(zone.pages for zone in zones)
    found = sum(end - start for start, end, _ in extents)
    if found != pages:
        raise _broken(f"{pages - found} pages are lost", pages)
