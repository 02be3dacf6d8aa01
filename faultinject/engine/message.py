"""What the kernel prints when it forces a failure.

Lives here: the message, its stack dump, and the rate limit. Not here: whether a call
fails (`faultinject.engine.attr`) and the log that programs read
(`faultinject.engine.log`).

Source: Linux 6.6 lib/fault-inject.c, fail_dump(); lib/ratelimit.c, ___ratelimit().
The text is the kernel's, the channel is the logger ``faultinject`` at WARNING: a
reader must see that a failure was injected, or hunts for a bug that is not there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Final

from faultinject.callsite import caller_frame
from faultinject.engine import task

if TYPE_CHECKING:
    import logging

LOGGER: Final = "faultinject"


class RateLimit:
    """Decides which messages are printed; it never keeps a call from failing.

    Args:
        clock: seconds from any start; never runs backwards.
    """

    __slots__ = ("_begin", "_clock", "_missed", "_printed")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begin: float | None = None
        self._printed = 0
        self._missed = 0

    def allow(self, interval_ms: int, burst: int) -> tuple[bool, int]:
        """Ask for one message.

        Args:
            interval_ms: the length of a window in milliseconds; 0 allows everything.
            burst: how many messages a window allows; 0 allows none.

        Returns:
            Whether to print, and how many messages were suppressed in a window that has
            just ended, 0 if none or none has ended.
        """
        if interval_ms == 0:
            return True, 0
        now = self._clock()
        suppressed = 0
        if self._begin is None:
            self._begin = now
        if now > self._begin + interval_ms / 1000:
            suppressed, self._missed = self._missed, 0
            self._begin = now
            self._printed = 0
        if burst > self._printed:
            self._printed += 1
            return True, suppressed
        self._missed += 1
        return False, suppressed


def fail_dump(text: str, *, stack: bool, suppressed: int, frame: FrameType | None) -> None:
    """Print that a failure was forced.

    A logging handler may allocate: inside it nothing fails and nothing is counted.

    Args:
        text: the two lines of the kernel's message; "" to print none.
        stack: whether to add the stack of the code under test.
        suppressed: how many earlier messages to own up to, 0 for none.
        frame: where to look for that code.
    """
    import logging

    quiet = task.Exemption()
    task.push(quiet)
    try:
        logger = logging.getLogger(LOGGER)
        if not logger.isEnabledFor(logging.WARNING):
            return
        at = caller_frame(frame)
        if suppressed:
            _emit(logger, at, f"fail_dump: {suppressed} callbacks suppressed", stack=False)
        if text:
            _emit(logger, at, text, stack=stack)
    finally:
        task.pop(quiet)


def _emit(logger: logging.Logger, at: FrameType | None, text: str, *, stack: bool) -> None:
    import logging

    # Built by hand: logging would name faultinject's own line as the origin.
    record = logger.makeRecord(
        logger.name,
        logging.WARNING,
        at.f_code.co_filename if at else "(unknown file)",
        at.f_lineno or 0 if at else 0,
        text,
        (),
        None,
        func=at.f_code.co_name if at else None,
        sinfo=_dump_stack(at) if stack else None,
    )
    logger.handle(record)


def _dump_stack(frame: FrameType | None) -> str:
    import traceback

    frames: list[tuple[FrameType, int]] = []
    at = caller_frame(frame) if frame else None
    while at is not None:
        frames.append((at, at.f_lineno or 0))
        at = caller_frame(at.f_back) if at.f_back else None
    frames.reverse()
    lines = traceback.StackSummary.extract(iter(frames)).format()
    return "Stack (most recent call last):\n" + "".join(lines).rstrip("\n")
