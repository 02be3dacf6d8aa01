"""`Memory`: one model machine's memory, and every call on it.

Lives here: the methods, each of which finds its caller once and passes it on; the
size of a memory. Not here: what the methods do (the other files of this folder),
and which memory the functions without one use (`faultinject.mm.current`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from faultinject.callsite import caller_frame
from faultinject.gfp import ZERO, Gfp
from faultinject.mm import kmalloc_family, text
from faultinject.mm.check import check
from faultinject.mm.kernel_version import LATEST
from faultinject.mm.kmalloc import Kmalloc, kfree, krealloc, ksize
from faultinject.mm.kmem_cache import KmemCache, create_kmem_cache
from faultinject.mm.ledger import LiveObject
from faultinject.mm.page import Page
from faultinject.mm.page_alloc import PageAllocator, checked_gfp
from faultinject.mm.page_free import free_pages, free_pages_exact
from faultinject.mm.pointer import Pointer
from faultinject.mm.pressure import Pressure, consume, fragment
from faultinject.mm.ram import PAGE_SHIFT, Ram, every_ram
from faultinject.mm.real_state import load, min_free_kbytes, read_state, sizes
from faultinject.mm.slab import Constructor, SlabCache
from faultinject.mm.span import BytesLike, Span
from faultinject.mm.zone import Zone
from faultinject.mm.zone_layout import DEFAULT_SIZE, describe
from faultinject.mm.zones import Zones

#: When a list, every Memory that is made appends itself, and is so kept alive.
witnesses: list[Memory] | None = None


class Memory:
    """The memory of one model machine: pages, slabs and their ledger.

    Args:
        size: bytes, or a text such as ``"64M"`` (K, M, G and T are powers of 1024); a
            multiple of the page size, from 4 KiB to 64 TiB. It costs nothing until used.
        zones: zone names (DMA, DMA32, Normal, HighMem, Movable) with their sizes, which add
            up to `size`; or ``"x86_64"`` or ``"x86_32"``, which cut `size` as those machines
            do. Default: all of it is Normal.
        kernel: whose rules the memory is run by, 2.6.24 to 6.6. Default: ``"6.6"``.
        watermark_rule: ``"iterative"``, ``"direct"`` or ``"modern"``. Default: the kernel's.
        min_free_kbytes: what the watermarks are computed from. Default: what the kernel
            would choose.
        clock: seconds from any start, for the rate limit of failure reports.

    Without `zones`, `kernel`, `watermark_rule` and `min_free_kbytes` there are no
    watermarks: every free page may be taken by every request. With any of them there are.

    Flags are `Gfp` values or plain ints everywhere. All methods may be called from
    many threads at once.

    Raises:
        SpecError: the size is none, or impossible; or what describes the machine is.
        UnavailableError: the system cannot map that many bytes.
    """

    def __init__(
        self,
        size: str | int = DEFAULT_SIZE,
        *,
        zones: str | Mapping[str, str | int] | None = None,
        kernel: str | None = None,
        watermark_rule: str | None = None,
        min_free_kbytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        machine = describe(size, zones, kernel, watermark_rule, min_free_kbytes)
        made = Zones(machine)
        self.size: Final = sum(zone.pages for zone in made.populated) << PAGE_SHIFT
        self._ram: Final = Ram(self, made.spanned << PAGE_SHIFT)
        self._pages: Final = PageAllocator(self._ram, made, clock)
        self._heap: Final = Kmalloc(self._pages)
        self._kmem_caches: dict[KmemCache, None] = {}
        if witnesses is not None:
            witnesses.append(self)

    @classmethod
    def from_proc(
        cls,
        buddyinfo: str,
        zoneinfo: str,
        *,
        node: int | None = None,
        kernel: str = LATEST.name,
        watermark_rule: str | None = None,
    ) -> Memory:
        """Make a memory in the state of a real machine: sizes, marks, reserves, free blocks.

        The same request then succeeds or fails as it would there. The pages that are not
        free are held by nobody, and nothing gives them back.

        Args:
            buddyinfo: the text of /proc/buddyinfo.
            zoneinfo: the text of /proc/zoneinfo, of the same moment.
            node: which NUMA node; needed where there are several.
            kernel: whose rules the memory is run by.
            watermark_rule: as for `Memory`.

        Raises:
            SpecError: a text is not of such a file (line and field are named), or the two
                are not of one machine.
        """
        zones = read_state(buddyinfo, zoneinfo, node)
        made = cls(
            zones=sizes(zones),
            kernel=kernel,
            watermark_rule=watermark_rule,
            min_free_kbytes=min_free_kbytes(zones),
        )
        load(made._pages, zones)
        return made

    # Objects of any size.

    def kmalloc(self, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
        """Return `size` bytes that hold no promised value, or None.

        ``kmalloc(0)`` is ZERO_SIZE_PTR. More than 4 MiB is None, with one logged
        warning. Flags that kmalloc cannot honour are dropped with a warning.

        Raises:
            SpecError: `size` is negative or not an int, or `gfp` is not an int.
        """
        return self._heap.alloc(size, gfp, caller_frame())

    def kzalloc(self, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
        """As `kmalloc`, filled with zeros."""
        return kmalloc_family.kzalloc(self._heap, size, gfp, caller_frame())

    def kmalloc_array(self, count: int, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
        """As `kmalloc` of ``count * size`` bytes; None, silently, past 64 bits."""
        return kmalloc_family.kmalloc_array(self._heap, count, size, gfp, caller_frame())

    def kcalloc(self, count: int, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
        """As `kmalloc_array`, filled with zeros."""
        return kmalloc_family.kcalloc(self._heap, count, size, gfp, caller_frame())

    def krealloc(self, pointer: Pointer | None, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
        """Resize an object and keep its contents.

        While `size` fits into ``ksize(pointer)``, the same pointer comes back, nothing
        is allocated and nothing can fail. Otherwise the object moves, and `pointer` is
        freed. None means failure: `pointer` is still valid. A size of 0 frees and
        returns ZERO_SIZE_PTR; a `pointer` of None allocates. ``data`` must be taken
        again. As in the kernel, ``__GFP_ZERO`` does not clear what grows in place.

        Raises:
            UseAfterFree: it was freed.
            InvalidFree: it is nothing that kfree could free, or of another Memory.
        """
        return krealloc(pointer, size, gfp, caller_frame(), self._heap, self._ram)

    def ksize(self, pointer: Pointer | None) -> int:
        """Return how many bytes are usable behind `pointer`; 0 for None and ZERO_SIZE_PTR."""
        return ksize(pointer, self._ram)

    def kfree(self, pointer: Pointer | None) -> None:
        """Free what the kmalloc family or a kmem_cache returned; None is a no-op.

        Raises:
            DoubleFree: it was freed before.
            InvalidFree: it is something else, or of another Memory.
        """
        kfree(pointer, caller_frame(), self._ram)

    def kstrdup(
        self, string: str | BytesLike | Pointer | None, gfp: int = Gfp.KERNEL
    ) -> Pointer | None:
        """Copy a string and its closing zero byte; a ``str`` as UTF-8. None for None."""
        return kmalloc_family.kstrdup(self._heap, string, gfp, caller_frame())

    def kmemdup(self, source: BytesLike | Span, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
        """Copy the first `size` bytes of `source`."""
        return kmalloc_family.kmemdup(self._heap, source, size, gfp, caller_frame())

    def kmem_cache_create(
        self,
        name: str,
        size: int,
        align: int = 0,
        flags: int = 0,
        ctor: Constructor | None = None,
    ) -> KmemCache:
        """Make a cache of objects of one size.

        Args:
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
            for gone in [known for known in self._kmem_caches if known.destroyed]:
                del self._kmem_caches[gone]
            self._kmem_caches[cache] = None
        return cache

    # Whole pages.

    def alloc_pages(self, gfp: int = Gfp.KERNEL, order: int = 0) -> Page | None:
        """Return a block of ``1 << order`` pages, or None.

        An order above 10 is None, with one logged warning.

        Raises:
            SpecError: `order` is negative or not an int, or `gfp` has unknown bits.
        """
        return self._pages.alloc_pages(gfp, order, caller_frame())

    def alloc_page(self, gfp: int = Gfp.KERNEL) -> Page | None:
        """Return one page, or None."""
        return self._pages.alloc_pages(gfp, 0, caller_frame())

    def get_free_pages(self, gfp: int = Gfp.KERNEL, order: int = 0) -> Pointer | None:
        """As `alloc_pages`, as a pointer."""
        return self._pages.get_free_pages(gfp, order, caller_frame())

    def get_zeroed_page(self, gfp: int = Gfp.KERNEL) -> Pointer | None:
        """Return a pointer to one page of zeros, or None."""
        return self._pages.get_free_pages(checked_gfp(gfp) | ZERO, 0, caller_frame())

    def alloc_pages_exact(self, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
        """Return as few pages as hold `size` bytes, or None; free with `free_pages_exact`."""
        return self._pages.alloc_pages_exact(size, gfp, caller_frame())

    def free_pages(self, pages: Page | Pointer | None, order: int = 0) -> None:
        """Free what alloc_pages or get_free_pages returned; None is a no-op.

        Raises:
            DoubleFree: it was freed before.
            InvalidFree: the order is another one, or it is something else.
        """
        free_pages(pages, order, caller_frame(), self._ram)

    def free_page(self, page: Page | Pointer | None) -> None:
        """As `free_pages` of order 0."""
        free_pages(page, 0, caller_frame(), self._ram)

    def free_pages_exact(self, pointer: Pointer | None, size: int) -> None:
        """Free what alloc_pages_exact returned for `size` bytes; None is a no-op."""
        free_pages_exact(pointer, size, caller_frame(), self._ram)

    # Pressure.

    def consume(
        self,
        amount: str | int | None = None,
        *,
        leave: str | int | None = None,
        zone: str | None = None,
        movable: bool = False,
    ) -> Pressure:
        """Take free pages away, as if so many single pages had been allocated.

        Watermarks do not hinder it, no fault is injected into it, and the pages are no
        leaks. The same call on the same state takes the same pages.

        Args:
            amount: bytes, or a text such as ``"16M"``; from the highest zone down.
            leave: instead of `amount`, what is to stay free of all zones together; or
                ``"min"``, ``"low"`` or ``"high"``: each zone down to that mark.
            zone: the name of the only zone to take from.
            movable: whether compaction may move the pages.

        Returns:
            What was taken; ``release()`` or the end of a ``with`` gives it back.

        Raises:
            SpecError: an argument is impossible, or less than that is free. Nothing
                has changed then.
        """
        return consume(self._pages, amount, leave, zone, movable)

    def fragment(
        self,
        order: int | None = None,
        *,
        blocks: Sequence[int] | None = None,
        zone: str | None = None,
        movable: bool = False,
    ) -> Pressure:
        """Take free pages away so that only small blocks, or certain ones, stay free.

        As `consume` otherwise.

        Args:
            order: no block of this order or above stays free, 1 to 10; of each that was,
                a page in ``1 << order`` is taken.
            blocks: instead of `order`, how many blocks of each order are to stay free,
                from 0 up, as in /proc/buddyinfo; of one zone, which is named if there
                are several.
            zone: the name of the only zone to fragment.
            movable: whether compaction may move the pages that are taken.

        Raises:
            SpecError: an argument is impossible, or the free blocks cannot be cut into
                `blocks`. Nothing has changed then.
        """
        return fragment(self._pages, order, blocks, zone, movable)

    # What there is.

    @property
    def zones(self) -> Mapping[str, Zone]:
        """The zones that have pages, by name, from the lowest; they tell the current state."""
        return MappingProxyType({zone.name: zone for zone in self._pages.zones.populated})

    @property
    def kernel(self) -> str:
        """The version whose rules the memory is run by."""
        return self._pages.zones.machine.version.name

    @property
    def watermark_rule(self) -> str:
        """The rule of the watermark check; without watermarks it never refuses."""
        return self._pages.zones.machine.rule

    @property
    def min_free_kbytes(self) -> int | None:
        """What the watermarks come from, or None if there are none."""
        return self._pages.zones.machine.min_free_kbytes

    @property
    def free_bytes(self) -> int:
        """How many bytes are in free pages; free objects of a slab do not count."""
        with self._ram.lock:
            return sum(zone.free for zone in self._pages.zones.populated) << PAGE_SHIFT

    def leaks(self) -> list[LiveObject]:
        """Return what is allocated now, oldest first."""
        ram = self._ram
        with ram.lock:
            live = list(ram.live.values())
        return [LiveObject(span.address, len(span), span._home.kind, span._made) for span in live]

    def shrink(self) -> int:
        """Give the empty slabs of all caches back; return how many pages that freed."""
        return sum(cache.shrink() for cache in self.caches())

    def caches(self) -> list[SlabCache]:
        """Return all caches in use: kmalloc's first, then those that were created."""
        with self._ram.lock:
            created = [cache for cache in self._kmem_caches if not cache.destroyed]
            return [*self._heap.caches(), *created]

    def buddyinfo(self) -> str:
        """Return the free blocks of each order, as /proc/buddyinfo prints them."""
        return text.buddyinfo(self._pages)

    def show_mem(self) -> str:
        """Return what is free and in use, in the manner of the kernel's Mem-Info."""
        return text.show_mem(self._pages, self.caches())

    def check(self) -> None:
        """Verify that no page and no object is lost or handed out twice.

        Raises:
            BrokenInvariant: the model itself is broken; never the fault of code under test.
        """
        check(self._pages, self.caches())

    def __repr__(self) -> str:
        return f"<Memory of {self.size} bytes, {len(self._ram.live)} live objects>"


def all_memories() -> list[Memory]:
    """Return the memories of the process that still exist, oldest first."""
    return [ram.memory for ram in every_ram()]
