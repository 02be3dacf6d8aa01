"""What the model memory reports of failures, and how often.

Lives here: `Reports`, which counts every failure and logs as many as the kernel would; the
size that is too large, the flags that had to be fixed or came to nothing. Not here: the words
(`faultinject.mm.failure_text`, `faultinject.mm.show_mem`, `faultinject.mm.meaning`) and the
message of an injected failure (`faultinject.engine.message`). An injected NULL never
comes with one of these, so the log tells the two apart.

Source: Linux kernel/printk.c of 2.6.24; mm/page_alloc.c, nopage_rs; mm/slub.c,
slab_oom_rs; mm/slab_common.c, kmalloc_fix_flags().
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Final, Protocol

from faultinject.callsite import caller_frame
from faultinject.engine.message import RateLimit, fail_dump
from faultinject.gfp import COMP, DMA, NOWARN, format_gfp
from faultinject.mm import marks
from faultinject.mm.attempt import Attempt
from faultinject.mm.buddy import MAX_ORDER
from faultinject.mm.failure_text import (
    SLUB_LIMITED_SINCE,
    dump_stack,
    mem_info_suppressed,
    page_failure,
    slab_failure,
    slab_suppressed,
    suppressed,
)
from faultinject.mm.failures import Failures
from faultinject.mm.meaning import meaning
from faultinject.mm.ram import Ram
from faultinject.mm.show_mem import mem_info, release_of
from faultinject.mm.zones import Zones

if TYPE_CHECKING:
    from faultinject.mm.slab import SlabCache

# By the first release, the latest one first: the length of a window in milliseconds, and
# how many reports it allows.
_WINDOWS: Final = (((6, 1), 10_000, 1), ((2, 6, 26), 5_000, 10))
_SLUB_WINDOW: Final = (5_000, 10)
# For some time Mem-Info had a limit of its own: one a second.
_MEM_INFO_WINDOW: Final = (1_000, 1)
_MEM_INFO_LIMITED: Final = ((4, 11), (5, 0))
# Before, a report cost five seconds, and as much as ten of them was saved up.
_BUCKET_SECONDS: Final = 5
_BUCKET_BURST: Final = 10
# Since then it is no news that there is no such memory at all.
_NO_DMA_SINCE: Final = (6, 1)


class _Limit(Protocol):
    def allow(self) -> tuple[bool, int]:
        """Ask for one report; give whether to print it, and how many were kept back."""


class _Window:
    """So many reports in each stretch of time, as in 2.6.26 and later."""

    def __init__(self, clock: Callable[[], float], interval_ms: int, burst: int) -> None:
        self._limit = RateLimit(clock)
        self._window = interval_ms, burst

    def allow(self) -> tuple[bool, int]:
        return self._limit.allow(*self._window)


class _Bucket:
    """A token for each report, and one more every five seconds, as before 2.6.26."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds: float = _BUCKET_SECONDS * _BUCKET_BURST
        self._last = clock()
        self._missed = 0

    def allow(self) -> tuple[bool, int]:
        now = self._clock()
        most = _BUCKET_SECONDS * _BUCKET_BURST
        self._seconds = min(self._seconds + now - self._last, most)
        self._last = now
        if self._seconds < _BUCKET_SECONDS:
            self._missed += 1
            return False, 0
        self._seconds -= _BUCKET_SECONDS
        missed, self._missed = self._missed, 0
        return True, missed


class Reports:
    """The failures of one memory.

    Args:
        ram: whose lock guards the limits and the counts.
        zones: whose version decides on format and limit.
        clock: seconds from any start; never runs backwards.

    Attributes:
        failures: how often, by call site.
    """

    __slots__ = (
        "_limit",
        "_mem_info_limit",
        "_ram",
        "_release",
        "_slub_limit",
        "_zones",
        "failures",
    )

    def __init__(self, ram: Ram, zones: Zones, clock: Callable[[], float]) -> None:
        self._ram = ram
        self._zones = zones
        self._release = release_of(zones.machine.version)
        self._limit = _limit(self._release, clock)
        self._slub_limit = _Window(clock, *_SLUB_WINDOW)
        since, until = _MEM_INFO_LIMITED
        limited = since <= self._release < until
        self._mem_info_limit = _Window(clock, *_MEM_INFO_WINDOW) if limited else None
        self.failures = Failures()

    def page_allocation_failure(
        self,
        order: int,
        gfp: int,
        frame: FrameType | None,
        cache: SlabCache | None = None,
        attempt: Attempt | None = None,
    ) -> None:
        """Count that no block of `order` could be had, and log it unless ``__GFP_NOWARN`` forbids.

        Args:
            order: of the request.
            gfp: its flags.
            frame: who asked.
            cache: which the pages were for, if that has no other way to get any.
            attempt: what the slow path did for it, if it got there.
        """
        ram = self._ram
        with ram.lock:
            what = "pages" if cache is None else cache.name
            self.failures.add(what, order, gfp, caller_frame(frame) if frame else None)
            if gfp & NOWARN:
                return
            allowed, missed = False, 0
            if not self._is_no_news(gfp):
                allowed, missed = self._limit.allow()
            told = [[suppressed(missed, self._release)]] if missed else []
            if allowed:
                told.append(self._report(order, gfp, frame, cache, attempt))
            if cache is not None:
                told += self._slab_report(gfp, cache)
        for lines in told:
            _log("\n".join(lines), frame)

    def _report(
        self,
        order: int,
        gfp: int,
        frame: FrameType | None,
        cache: SlabCache | None,
        attempt: Attempt | None,
    ) -> list[str]:
        machine = self._zones.machine
        tried = str(attempt).splitlines() if attempt is not None else []
        return [
            meaning(self._zones, order, gfp, None if cache is None else cache.name),
            *(f"faultinject: {line}" for line in tried),
            *page_failure(order, gfp, self._release),
            *dump_stack(frame, self._release, machine.version.name),
            *self._mem_info(),
        ]

    def _mem_info(self) -> list[str]:
        allowed, missed = True, 0
        if self._mem_info_limit is not None:
            allowed, missed = self._mem_info_limit.allow()
        told = [mem_info_suppressed(missed)] if missed else []
        return [*told, *mem_info(self._zones, self._ram.memory.caches())] if allowed else told

    def _slab_report(self, gfp: int, cache: SlabCache) -> list[list[str]]:
        allowed, missed = True, 0
        if self._release >= SLUB_LIMITED_SINCE:
            allowed, missed = self._slub_limit.allow()
        told = [[slab_suppressed(missed)]] if missed else []
        # What the cache itself adds for its pages is not told.
        lines = slab_failure(cache, gfp & ~COMP, self._release) if allowed else []
        return [*told, lines] if lines else told

    def _is_no_news(self, gfp: int) -> bool:
        if not gfp & DMA or self._release < _NO_DMA_SINCE:
            return False
        return not self._zones.machine.zones.get(marks.DMA)


def _limit(release: tuple[int, ...], clock: Callable[[], float]) -> _Limit:
    for since, interval_ms, burst in _WINDOWS:
        if release >= since:
            return _Window(clock, interval_ms, burst)
    return _Bucket(clock)


def too_large(order: int, gfp: int, frame: FrameType | None) -> None:
    """Log that no block can have this order, unless ``__GFP_NOWARN`` forbids it.

    The kernel does it once per boot; here each such request is logged, so that a
    test sees it whatever ran before.
    """
    if not gfp & NOWARN:
        _log(
            f"WARNING: page allocation of order:{order} is above the largest order {MAX_ORDER}, "
            f"mode:{gfp:#x}({format_gfp(gfp)})",
            frame,
        )


def nofail_failed(order: int, gfp: int, frame: FrameType | None) -> None:
    """Log that ``__GFP_NOFAIL`` came to nothing, because the request must not sleep.

    The kernel does it once per boot; here each such request is logged, as in `too_large`.
    """
    if not gfp & NOWARN:
        _log(
            "WARNING: __GFP_NOFAIL without __GFP_DIRECT_RECLAIM can fail, and has: "
            f"order:{order}, mode:{gfp:#x}({format_gfp(gfp)})",
            frame,
        )


def fixed_flags(invalid: int, fixed: int, frame: FrameType | None) -> None:
    """Log that kmalloc dropped flags that make no sense for it."""
    _log(
        f"Unexpected gfp: {invalid:#x} ({format_gfp(invalid)}). "
        f"Fixing up to gfp: {fixed:#x} ({format_gfp(fixed)}). Fix your code!",
        frame,
    )


def _log(text: str, frame: FrameType | None) -> None:
    fail_dump(text, stack=False, suppressed=0, frame=frame)
