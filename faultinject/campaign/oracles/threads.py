"""Threads that still run.

Lives here: which threads there are, and the patience with one that is about to end.
Not here: the errors that end a thread (`faultinject.campaign.oracles.lost`).
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from faultinject.campaign.oracles.leftovers import Leftovers, without_numbers
from faultinject.campaign.oracles.makers import Makers, Mark, Stack, unmarked

_PAUSE = 0.001  # seconds

# Its private names that this file rests on; a test holds them.
_threading: Any = threading


class Threads:
    """The threads that run now, to be compared with those that run later.

    Args:
        makers: tells who started one.
    """

    def __init__(self, makers: Makers) -> None:
        self._makers = makers
        self._started: dict[int, Stack] = {}  # by the identity of the thread
        self._before = set(threading.enumerate())

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note who starts threads: stand where `threading` keeps those that are about to run."""
        mine = _NotedStarts(self._note)
        with _threading._active_limbo_lock:
            before = _threading._limbo
            mine.update(before)
            _threading._limbo = mine
        try:
            yield
        finally:
            with _threading._active_limbo_lock:
                if _threading._limbo is mine:
                    before.clear()
                    before.update(mine)
                    _threading._limbo = before

    def left(self, mark: Mark = unmarked) -> Leftovers:
        """Name each thread that runs now and did not then."""
        return Counter(
            mark(f"thread: {without_numbers(thread.name)}", self._started.get(id(thread), ()))
            for thread in self._more()
        )

    def _note(self, thread: object, frame: FrameType | None) -> None:
        self._started[id(thread)] = self._makers.stack(frame)

    def settle(self, deadline: float) -> None:
        """Let the new ones end, until the time `deadline` of ``time.monotonic``."""
        # Not by join: threads that Python did not start cannot be joined.
        while self._more() and time.monotonic() < deadline:
            time.sleep(_PAUSE)

    def _more(self) -> list[threading.Thread]:
        return [
            thread
            for thread in threading.enumerate()
            if thread not in self._before and thread.is_alive()
        ]


class _NotedStarts(dict[threading.Thread, threading.Thread]):
    """The threads that are about to run; tells of each that comes, and who started it."""

    def __init__(self, note: Callable[[object, FrameType | None], None]) -> None:
        super().__init__()
        self._note = note

    def __setitem__(self, thread: threading.Thread, value: threading.Thread) -> None:
        super().__setitem__(thread, value)
        self._note(thread, sys._getframe(1))
