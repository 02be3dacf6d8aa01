"""What the model memory reports, in the kernel's words.

Lives here: the page allocation failure, the size that is too large, the flags
that had to be fixed. Not here: the message of an injected failure
(`faultinject.engine.message`). An injected NULL never comes with one of these,
so the log tells the two apart.

Source: Linux 6.6 mm/page_alloc.c, warn_alloc(); mm/slab_common.c,
kmalloc_fix_flags().
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

from faultinject.engine.message import RateLimit, fail_dump
from faultinject.gfp import NOWARN, format_gfp
from faultinject.mm.buddy import MAX_ORDER
from faultinject.mm.ram import Ram

INTERVAL_MS: Final = 10_000
BURST: Final = 1

#: The kernel's TASK_COMM_LEN without the closing zero byte.
_COMM_LENGTH: Final = 15


class Reports:
    """The failure reports of one memory, one in ten seconds as in 6.6.

    Args:
        ram: whose lock guards the rate limit.
        clock: seconds from any start; never runs backwards.
    """

    __slots__ = ("_limit", "_ram")

    def __init__(self, ram: Ram, clock: Callable[[], float]) -> None:
        self._ram = ram
        self._limit = RateLimit(clock)

    def page_allocation_failure(self, order: int, gfp: int, frame: FrameType | None) -> None:
        """Log that no block of `order` was free, unless ``__GFP_NOWARN`` forbids it."""
        if gfp & NOWARN:
            return
        with self._ram.lock:
            allowed, suppressed = self._limit.allow(INTERVAL_MS, BURST)
        if suppressed:
            _log(f"warn_alloc: {suppressed} callbacks suppressed", frame)
        if allowed:
            _log(page_allocation_failure(order, gfp), frame)


def page_allocation_failure(order: int, gfp: int) -> str:
    """Word the kernel's report of a request that could not be met; `order` is at least 0."""
    comm = threading.current_thread().name[:_COMM_LENGTH]
    return (
        f"{comm}: page allocation failure: order:{order}, mode:{gfp:#x}({format_gfp(gfp)}), "
        "nodemask=(null),cpuset=/,mems_allowed=0"
    )


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


def fixed_flags(invalid: int, fixed: int, frame: FrameType | None) -> None:
    """Log that kmalloc dropped flags that make no sense for it."""
    _log(
        f"Unexpected gfp: {invalid:#x} ({format_gfp(invalid)}). "
        f"Fixing up to gfp: {fixed:#x} ({format_gfp(fixed)}). Fix your code!",
        frame,
    )


def _log(text: str, frame: FrameType | None) -> None:
    fail_dump(text, stack=False, suppressed=0, frame=frame)
