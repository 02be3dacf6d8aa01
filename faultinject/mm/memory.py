"""`Memory`: one model machine's memory, and every call on it.

Lives here: the methods, each of which finds its caller once and passes it on; the
size of a memory. Not here: what the methods do (the other files of this folder),
and which memory the functions without one use (`faultinject.mm.current`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from faultinject.callsite import outer_frame
from faultinject.gfp import ZERO, Gfp
from faultinject.mm import kmalloc_calls, page_free, page_refs, pool_calls, shortage_calls, text
from faultinject.mm.attempt import Attempt
from faultinject.mm.check import check
from faultinject.mm.failures import Failure
from faultinject.mm.kernel_version import LATEST
from faultinject.mm.kmalloc import Kmalloc
from faultinject.mm.kmalloc_buckets import BucketKmalloc
from faultinject.mm.kmem_cache import KmemCache
from faultinject.mm.ledger import LiveObject
from faultinject.mm.oom import OomKiller
from faultinject.mm.page import Page
from faultinject.mm.page_alloc import PageAllocator, checked_gfp
from faultinject.mm.pointer import Pointer
from faultinject.mm.pressure import Pressure, consume, fragment
from faultinject.mm.ram import PAGE_SHIFT, Ram, every_ram
from faultinject.mm.show_mem import show_mem
from faultinject.mm.slab import SlabCache
from faultinject.mm.tasks import Tasks
from faultinject.mm.virtual_clock import VirtualClock
from faultinject.mm.vmalloc import VmallocAreas
from faultinject.mm.zone import Zone
from faultinject.mm.zone_layout import DEFAULT_SIZE, describe
from faultinject.mm.zones import Zones

if TYPE_CHECKING:
    from faultinject.mm.real_state import RealZone

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
        kernel: whose rules the memory is run by, 2.6.24 to 6.6, or ``"2.0"``, of which kmalloc
            alone is modelled. Default: ``"6.6"``.
        watermark_rule: ``"iterative"``, ``"direct"`` or ``"modern"``. Default: the kernel's.
        min_free_kbytes: what the watermarks are computed from. Default: what the kernel
            would choose.
        clock: seconds from any start, for the rate limit of failure reports.

    Without `zones`, `kernel`, `watermark_rule` and `min_free_kbytes` there are no
    watermarks: every free page may be taken by every request. With any of them there are, and
    a request that they refuse goes on to reclaim, compaction and the OOM killer.

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
        bucketed = machine.version.kmalloc == "buckets"
        self._heap: Final = (BucketKmalloc if bucketed else Kmalloc)(self._pages)
        self._areas: Final = VmallocAreas(self._heap, self.size)
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
        # Here, as below, because it compiles what most programs never need.
        from faultinject.mm.real_state import read_state

        return cls._in_state(read_state(buddyinfo, zoneinfo, node), kernel, watermark_rule)

    @classmethod
    def from_show_mem(
        cls,
        text: str,
        *,
        node: int | None = None,
        kernel: str = LATEST.name,
        watermark_rule: str | None = None,
    ) -> Memory:
        """Make a memory in the state that the Mem-Info of a kernel log tells, as `from_proc`.

        Args:
            text: of one report; its other lines, and the log's prefixes, do no harm.
            node: which NUMA node; needed where there are several.
            kernel: whose rules the memory is run by; the text may not tell.
            watermark_rule: as for `Memory`.

        Raises:
            SpecError: the text has no Mem-Info or several, or one that is cut or
                inconsistent; line and field are named.
        """
        from faultinject.mm.logged_state import read_logged_state

        return cls._in_state(read_logged_state(text, node), kernel, watermark_rule)

    @classmethod
    def _in_state(
        cls, zones: Sequence[RealZone], kernel: str, watermark_rule: str | None
    ) -> Memory:
        from faultinject.mm import real_state

        made = cls(
            zones=real_state.sizes(zones),
            kernel=kernel,
            watermark_rule=watermark_rule,
            min_free_kbytes=real_state.min_free_kbytes(zones),
        )
        real_state.load(made._pages, zones)
        return made

    # Objects of any size.

    kmalloc = kmalloc_calls.kmalloc
    kzalloc = kmalloc_calls.kzalloc
    kmalloc_array = kmalloc_calls.kmalloc_array
    kcalloc = kmalloc_calls.kcalloc
    krealloc = kmalloc_calls.krealloc
    krealloc_array = kmalloc_calls.krealloc_array
    ksize = kmalloc_calls.ksize
    kmalloc_size_roundup = kmalloc_calls.kmalloc_size_roundup
    kfree = kmalloc_calls.kfree
    kfree_sensitive = kmalloc_calls.kfree_sensitive
    kstrdup = kmalloc_calls.kstrdup
    kmemdup = kmalloc_calls.kmemdup
    vmalloc = kmalloc_calls.vmalloc
    vzalloc = kmalloc_calls.vzalloc
    vfree = kmalloc_calls.vfree
    kvmalloc = kmalloc_calls.kvmalloc
    kvzalloc = kmalloc_calls.kvzalloc
    kvmalloc_array = kmalloc_calls.kvmalloc_array
    kvcalloc = kmalloc_calls.kvcalloc
    kvfree = kmalloc_calls.kvfree

    # Caches and pools of objects.

    kmem_cache_create = pool_calls.kmem_cache_create
    mempool_create = pool_calls.mempool_create
    mempool_create_slab_pool = pool_calls.mempool_create_slab_pool
    mempool_create_kmalloc_pool = pool_calls.mempool_create_kmalloc_pool
    mempool_create_page_pool = pool_calls.mempool_create_page_pool

    # Whole pages.

    def alloc_pages(self, gfp: int = Gfp.KERNEL, order: int = 0) -> Page | None:
        """Return a block of ``1 << order`` pages, or None.

        An order above 10 is None, with one logged warning.

        Raises:
            SpecError: `order` is negative or not an int, or `gfp` has unknown bits.
        """
        return self._pages.alloc_pages(gfp, order, outer_frame())

    def alloc_page(self, gfp: int = Gfp.KERNEL) -> Page | None:
        """Return one page, or None."""
        return self._pages.alloc_pages(gfp, 0, outer_frame())

    def get_free_pages(self, gfp: int = Gfp.KERNEL, order: int = 0) -> Pointer | None:
        """As `alloc_pages`, as a pointer."""
        return self._pages.get_free_pages(gfp, order, outer_frame())

    def get_zeroed_page(self, gfp: int = Gfp.KERNEL) -> Pointer | None:
        """Return a pointer to one page of zeros, or None."""
        return self._pages.get_free_pages(checked_gfp(gfp) | ZERO, 0, outer_frame())

    def alloc_pages_exact(self, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
        """Return as few pages as hold `size` bytes, or None; free with `free_pages_exact`."""
        return self._pages.alloc_pages_exact(size, gfp, outer_frame())

    def free_pages(self, pages: Page | Pointer | None, order: int = 0) -> None:
        """Free what alloc_pages or get_free_pages returned; None is a no-op.

        Raises:
            DoubleFree: it was freed before.
            InvalidFree: the order is another one, or it is something else.
        """
        page_free.free_pages(pages, order, outer_frame(), self._ram)

    def free_page(self, page: Page | Pointer | None) -> None:
        """As `free_pages` of order 0."""
        page_free.free_pages(page, 0, outer_frame(), self._ram)

    def free_pages_exact(self, pointer: Pointer | None, size: int) -> None:
        """Free what alloc_pages_exact returned for `size` bytes; None is a no-op."""
        page_free.free_pages_exact(pointer, size, outer_frame(), self._ram)

    def get_page(self, page: Page) -> None:
        """Hold a block of pages once more: it takes one free, or `put_page`, more to free it.

        Raises:
            UseAfterFree: it was freed.
            InvalidFree: it is no `Page`, or of another Memory.
        """
        page_refs.get_page(page, self._ram)

    def put_page(self, page: Page) -> None:
        """Hold a block of pages once less; with the last reference it is freed.

        Raises:
            DoubleFree: it was freed before.
            InvalidFree: it is no `Page`, or of another Memory.
        """
        page_free.put_page(page, outer_frame(), self._ram)

    def page_count(self, page: Page) -> int:
        """Return how often a block of pages is held; 0 once it is free."""
        return page_refs.page_count(page, self._ram)

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

    # Shortage.

    register_shrinker = shortage_calls.register_shrinker
    compact = shortage_calls.compact

    @property
    def tasks(self) -> Tasks:
        """The tasks of the machine: ``tasks.add(…)`` registers one that may be killed."""
        return self._pages.slow_path.tasks

    @property
    def oom(self) -> OomKiller:
        """The OOM killer: its ``policy``, and its ``kills``."""
        return self._pages.slow_path.oom

    @property
    def clock(self) -> VirtualClock:
        """The virtual time in which requests block; ``clock.now``, ``clock.advance(…)``."""
        return self._pages.slow_path.clock

    @property
    def attempts(self) -> list[Attempt]:
        """The last hundred requests that could not be met at once; the last to end is last."""
        return list(self._pages.slow_path.attempts)

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
            return [*self._heap.caches(), *self._kmem_caches]

    def buddyinfo(self) -> str:
        """Return the free blocks of each order, as /proc/buddyinfo prints them."""
        return text.buddyinfo(self._pages)

    def zoneinfo(self) -> str:
        """Return marks, sizes and reserves of the zones, as /proc/zoneinfo prints them."""
        return text.zoneinfo(self._pages)

    def slabinfo(self) -> str:
        """Return the objects and slabs of each cache, as /proc/slabinfo prints them."""
        return text.slabinfo(self._pages, self.caches())

    def meminfo(self) -> str:
        """Return what there is altogether, as /proc/meminfo prints it."""
        return text.meminfo(self._pages, self.caches())

    def vmstat(self) -> str:
        """Return pages by use and what happened so far, as /proc/vmstat prints it."""
        return text.vmstat(self._pages, self.caches(), self._pages.slow_path.events)

    def show_mem(self) -> str:
        """Return the Mem-Info that the kernel would print now, slabs, and live objects."""
        with self._ram.lock:
            return show_mem(self._pages.zones, self.caches(), len(self._ram.live))

    def failures(self) -> list[Failure]:
        """Return how many requests could not be met, by call site; the most first.

        Injected failures do not count, ``__GFP_NOWARN`` and the limit of reports do not
        matter.
        """
        with self._ram.lock:
            return self._pages.reports.failures.rows()

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
