"""The page allocator: whole pages, by order.

Lives here: `PageAllocator`, which asks fail_page_alloc first. Not here: which zone
is asked (`faultinject.mm.zones`), which block is taken (`faultinject.mm.buddy`), the
way back (`faultinject.mm.page_free`), objects smaller than a page
(`faultinject.mm.slab`), and what an exhausted memory logs (`faultinject.mm.warn`).

Two failures look alike to the caller and are told apart by the logs: an injected
one is silent here and stands in the log of injections; an exhausted memory logs
the kernel's page allocation failure.

Contents: the first page of a block is filled with 0x5a unless ``__GFP_ZERO`` was
given; what follows is what the last owner left, or zeros if there was none. To
fill a large block would commit memory that nobody has asked to use.

A request that no zone allows, by its marks and by the request's rights, goes on to the slow
path (`faultinject.mm.slow_path`).

Source: Linux 6.6 mm/page_alloc.c.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Final

from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.engine import task
from faultinject.errors import SpecError
from faultinject.gfp import (
    COMP,
    DIRECT_RECLAIM,
    HIGHMEM,
    NOFAIL,
    UNKNOWN,
    ZERO,
    Gfp,
    plain_gfp,
)
from faultinject.mm.buddy import MAX_ORDER, ORDERS
from faultinject.mm.ledger import NOWHERE, trace_of
from faultinject.mm.movable import HeldPages, MovablePage
from faultinject.mm.page import Page, get_order
from faultinject.mm.pointer import Pointer
from faultinject.mm.ram import PAGE_SHIFT, PAGE_SIZE, POISON_INUSE, Ram
from faultinject.mm.slow_path import SlowPath
from faultinject.mm.span import Home
from faultinject.mm.warn import Reports, nofail_failed, too_large
from faultinject.mm.zones import PLAN_BITS, Plan, Zones, contradiction

if TYPE_CHECKING:
    from faultinject.mm.slab import SlabCache

_FILL: Final = POISON_INUSE * PAGE_SIZE
_MOVABLE: Final = int(Gfp.MOVABLE)

#: The order that is reported for alloc_pages_exact(0): the kernel's get_order(0).
_ORDER_OF_NOTHING: Final = 52


class Block(Home):
    """Whole pages, as the home of a span.

    Attributes:
        allocator: takes the pages back.
        order: of the block that was taken; the pages that remain may be fewer.
        pages: how many pages are held.
        freed_by: the name of the function that frees such a span.
        movable: whether the pages may be moved.
    """

    __slots__ = ("allocator", "freed_by", "movable", "order", "pages")

    def __init__(
        self,
        allocator: PageAllocator,
        kind: str,
        order: int,
        pages: int,
        freed_by: str,
        movable: bool = False,
    ) -> None:
        super().__init__(kind)
        self.allocator = allocator
        self.order = order
        self.pages = pages
        self.freed_by = freed_by
        self.movable = movable


class PageAllocator:
    """The pages of one memory.

    Attributes:
        ram: their bytes.
        zones: who has which of them.
        blocks: takes them back.
        held: pages that are out of reach, but allocated to nobody: order by frame number.
        reports: of requests that could not be met.
        slow_path: what is done for requests that no zone would meet at once.
    """

    __slots__ = (
        "_large",
        "_movable",
        "_plain",
        "blocks",
        "held",
        "ram",
        "reports",
        "slow_path",
        "zones",
    )

    def __init__(self, ram: Ram, zones: Zones, clock: Callable[[], float]) -> None:
        self.ram = ram
        self.zones = zones
        self.blocks = zones.blocks
        self.held = HeldPages()
        self.slow_path = SlowPath(ram, zones, self.held)
        self.reports = Reports(ram, zones, clock)
        # One home per order serves all blocks of that order.
        self._plain = [Block(self, "pages", o, 1 << o, "free_pages") for o in range(ORDERS)]
        self._movable = [Block(self, "pages", o, 1 << o, "free_pages", True) for o in range(ORDERS)]
        self._large = [Block(self, "kmalloc", o, 1 << o, "kfree") for o in range(ORDERS)]

    def alloc_pages(self, gfp: int, order: int, frame: FrameType | None) -> Page | None:
        """Take a block of ``1 << order`` pages for `frame`, or None."""
        if type(gfp) is Gfp:
            gfp = gfp._value_
        if type(gfp) is not int or gfp & UNKNOWN:
            gfp = plain_gfp(gfp)
        if type(order) is not int or not 0 <= order <= MAX_ORDER:
            self._refuse_order(order, gfp, frame)
            return None
        plan = self.zones.plans[gfp & PLAN_BITS]
        if plan is None:
            raise contradiction(gfp)
        if task.live and fail_page_alloc.should_fail(order, gfp, frame):
            return None
        ram = self.ram
        with ram.lock:
            # In the first zone, as long as its marks leave no doubt; else wherever they allow.
            pfn = plan.take(order) if plan.buddy.nr_free >= plan.needs[order] else None
            if pfn is None:
                pfn = self.slow_path.search(plan, order, gfp)
            if pfn is not None:
                offset = pfn << PAGE_SHIFT
                if gfp & _MOVABLE:
                    return self._movable_page(offset, order, gfp, frame)
                page = Page(
                    ram,
                    offset,
                    PAGE_SIZE << order,
                    self._plain[order],
                    NOWHERE if frame is None else (frame.f_code, frame.f_lasti, frame.f_globals),
                )
                ram.live[offset] = page
        if pfn is None:
            return self._slow_page(plan, order, gfp, frame)
        if gfp & ZERO:
            ram.zero(offset, PAGE_SIZE << order)
        else:
            ram.bytes[offset : offset + PAGE_SIZE] = _FILL
        return page

    def _slow_page(self, plan: Plan, order: int, gfp: int, frame: FrameType | None) -> Page | None:
        pfn = self._go_slowly(plan, order, gfp, frame)
        if pfn is None:
            return None
        offset = pfn << PAGE_SHIFT
        if gfp & _MOVABLE:
            return self._movable_page(offset, order, gfp, frame)
        page = Page(self.ram, offset, PAGE_SIZE << order, self._plain[order], trace_of(frame))
        with self.ram.lock:
            self.ram.live[offset] = page
        self._fill(offset, order, gfp)
        return page

    def _movable_page(self, offset: int, order: int, gfp: int, frame: FrameType | None) -> Page:
        make = Page if order else MovablePage  # larger blocks are not moved
        page = make(self.ram, offset, PAGE_SIZE << order, self._movable[order], trace_of(frame))
        with self.ram.lock:
            # From here on another thread may move it.
            self._fill(offset, order, gfp)
            self.ram.live[offset] = page
        return page

    def _go_slowly(
        self,
        plan: Plan,
        order: int,
        gfp: int,
        frame: FrameType | None,
        cache: SlabCache | None = None,
        *,
        bonus: bool = False,
    ) -> int | None:
        pfn, attempt = self.slow_path.go(plan, order, gfp, frame)
        if pfn is None and not bonus:
            # Where nothing was tried, there is nothing to tell.
            told = attempt if attempt.stages else None
            if gfp & NOFAIL and not gfp & DIRECT_RECLAIM and self.slow_path.warns_of_nofail:
                nofail_failed(order, gfp, frame)
            self.reports.page_allocation_failure(order, gfp, frame, cache, told)
        return pfn

    def _fill(self, offset: int, order: int, gfp: int) -> None:
        if gfp & ZERO:
            self.ram.zero(offset, PAGE_SIZE << order)
        else:
            self.ram.bytes[offset : offset + PAGE_SIZE] = _FILL

    def get_free_pages(self, gfp: int, order: int, frame: FrameType | None) -> Pointer | None:
        """Take a block as a pointer; ``__GFP_HIGHMEM`` is dropped, as in the kernel."""
        gfp = checked_gfp(gfp) & ~HIGHMEM
        if type(order) is not int or not 0 <= order <= MAX_ORDER:
            self._refuse_order(order, gfp, frame)
            return None
        offset = self.obtain(order, gfp, frame)
        if offset is None:
            return None
        return self._hand_out(offset, PAGE_SIZE << order, self._plain[order], gfp, frame)

    def alloc_large(self, size: int, gfp: int, frame: FrameType | None) -> Pointer | None:
        """Take pages for a kmalloc of more than 8 KiB; the gate sees ``__GFP_COMP`` too."""
        order = get_order(size)
        offset = self.obtain(order, gfp | COMP, frame)
        if offset is None:
            return None
        return self._hand_out(offset, size, self._large[order], gfp, frame)

    def alloc_pages_exact(self, size: int, gfp: int, frame: FrameType | None) -> Pointer | None:
        """Take as many pages as hold `size` bytes; the rest of the block goes back."""
        gfp = checked_gfp(gfp) & ~(HIGHMEM | COMP)
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise SpecError("not a size in bytes", value=size, cure="Pass an int of 0 or more")
        if size == 0:
            too_large(_ORDER_OF_NOTHING, gfp, frame)
            return None
        order = get_order(size)
        offset = self.obtain(order, gfp, frame)
        if offset is None:
            return None
        pfn, pages = offset >> PAGE_SHIFT, -(-size // PAGE_SIZE)
        home = Block(self, "pages", order, pages, "free_pages_exact")
        pointer = self._hand_out(offset, size, home, gfp, frame)
        with self.ram.lock:
            self.blocks.free_range(pfn + pages, pfn + (1 << order))
        return pointer

    def obtain(
        self,
        order: int,
        gfp: int,
        frame: FrameType | None,
        *,
        retry: bool = False,
        cache: SlabCache | None = None,
    ) -> int | None:
        """Take a block without an entry in the ledger; return its offset.

        `retry` marks the second try of one request, which a campaign counts once; `cache` is
        what the block is to be a slab of.
        """
        if order > MAX_ORDER:
            too_large(order, gfp, frame)
            return None
        plan = self.zones.plans[gfp & PLAN_BITS]
        if plan is None:
            raise contradiction(gfp)
        if task.live and fail_page_alloc.should_fail(order, gfp, frame, retry):
            return None
        with self.ram.lock:
            pfn = plan.take(order) if plan.buddy.nr_free >= plan.needs[order] else None
            if pfn is None:
                pfn = self.slow_path.search(plan, order, gfp)
        if pfn is None:
            # The larger order of a new slab is a bonus: to go without is no failure.
            bonus = cache is not None and not retry
            pfn = self._go_slowly(plan, order, gfp, frame, cache, bonus=bonus)
            if pfn is None:
                return None
        return pfn << PAGE_SHIFT

    def _hand_out(
        self, offset: int, size: int, home: Block, gfp: int, frame: FrameType | None
    ) -> Pointer:
        ram = self.ram
        if gfp & ZERO:
            ram.zero(offset, home.pages << PAGE_SHIFT)
        else:
            ram.bytes[offset : offset + PAGE_SIZE] = _FILL
        pointer = Pointer(ram, offset, size, home, trace_of(frame))
        with ram.lock:
            ram.live[offset] = pointer
        return pointer

    def _refuse_order(self, order: object, gfp: int, frame: FrameType | None) -> None:
        if isinstance(order, bool) or not isinstance(order, int) or order < 0:
            raise SpecError(
                "not an order of pages", value=order, cure=f"Pass an int of 0 to {MAX_ORDER}"
            )
        too_large(order, gfp, frame)


def checked_gfp(gfp: int) -> int:
    """Return flags as a plain int; refuse what is none, and unknown bits."""
    return gfp if type(gfp) is int and not gfp & UNKNOWN else plain_gfp(gfp)
