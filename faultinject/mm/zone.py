"""A zone: a stretch of page frames with free blocks and marks of its own.

Lives here: `Zone`, its state and its own check. Not here: which zones a request may
use (`faultinject.mm.zones`), how a memory is cut into them
(`faultinject.mm.zone_layout`), and the marks' arithmetic (`faultinject.mm.marks`).
"""

from __future__ import annotations

from collections.abc import Sequence

from faultinject.mm.alloc_flags import NO_WATERMARKS, WMARK_MASK
from faultinject.mm.buddy import Buddy
from faultinject.mm.kernel_version import KernelVersion, Rule
from faultinject.mm.marks import Marks
from faultinject.mm.watermark_rules import steps


class Zone:
    """A zone of a memory; what it tells changes with every allocation.

    Attributes:
        name: DMA, DMA32, Normal, HighMem or Movable.
        index: among the zones that are configured, empty ones included, from the lowest.
        buddy: its free blocks.
        marks: min, low and high, in pages; change them with `Zones.set_marks`.
        lowmem_reserve: by the index of the highest zone that a request may use: pages
            that are kept from it here; change it with `Zones.set_reserve`.
        boost: pages that are added to every mark for now; change it with `Zones.set_boost`.
        reserved_highatomic: pages of the pageblocks that are set aside for atomic requests.
        uncounted: free pages that its counter does not have. Always 0, but where a real
            machine's state was loaded: there the counter lags behind, or, if negative,
            has pages that are in no free block.
        rule: the watermark rule.
        version: of the kernel.
    """

    __slots__ = (
        "boost",
        "buddy",
        "index",
        "lowmem_reserve",
        "marks",
        "name",
        "reserved_highatomic",
        "rule",
        "uncounted",
        "version",
    )

    def __init__(
        self,
        name: str,
        index: int,
        buddy: Buddy,
        marks: Marks,
        lowmem_reserve: tuple[int, ...],
        rule: Rule,
        version: KernelVersion,
    ) -> None:
        self.name = name
        self.index = index
        self.buddy = buddy
        self.marks = marks
        self.lowmem_reserve = lowmem_reserve
        self.boost = 0
        self.reserved_highatomic = 0
        self.uncounted = 0
        self.rule = rule
        self.version = version

    @property
    def pages(self) -> int:
        """How many pages it has, free or not."""
        return self.buddy.pages

    @property
    def start_pfn(self) -> int:
        """Its first page frame."""
        return self.buddy.start

    @property
    def free(self) -> int:
        """How many of its pages are free, by its counter, which the marks are compared with."""
        return self.buddy.nr_free - self.uncounted

    @property
    def min(self) -> int:
        """The min mark, in pages: only requests with rights go below."""
        return self.marks.min

    @property
    def low(self) -> int:
        """The low mark, in pages: below, kswapd is woken."""
        return self.marks.low

    @property
    def high(self) -> int:
        """The high mark, in pages: kswapd stops there."""
        return self.marks.high

    def blocks(self) -> list[int]:
        """Return the number of free blocks of each order, from 0 up."""
        return self.buddy.counts()

    def holds(self, pfn: int) -> bool:
        """Whether a page frame is one of its pages."""
        return 0 <= pfn - self.buddy.start < self.buddy.pages

    def allows(self, order: int, flags: int, highest: int, *, spare: int = 0) -> bool:
        """Whether the watermarks let a request have ``1 << order`` pages from here.

        Args:
            order: of the request.
            flags: alloc_flags.
            highest: the index of the highest zone that the request may use.
            spare: pages that count as free although they are not, or, if negative, do
                not count although they are.
        """
        if flags & NO_WATERMARKS:
            return True
        buddy = self.buddy
        counts: Sequence[Sequence[int]] = ()  # not looked at for a single page
        if order:
            # Only the modern rule asks for the types.
            counts = buddy.counts_by_type() if self.rule == "modern" else (buddy.counts(),)
        found = steps(
            self.rule,
            buddy.nr_free - self.uncounted + spare,
            counts,
            order,
            self.marks[flags & WMARK_MASK],
            flags,
            self.lowmem_reserve[highest],
            self.reserved_highatomic,
            self.boost,
            self.version,
        )
        return found[-1][3]

    def __repr__(self) -> str:
        low = ", ".join(
            f"{name} {pages}" for name, pages in zip(Marks._fields, self.marks, strict=True)
        )
        return f"<Zone {self.name}, {self.free} of {self.pages} pages free, {low}>"
