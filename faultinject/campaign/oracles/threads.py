"""Threads that still run.

Lives here: which threads there are, and the patience with one that is about to end.
Not here: the errors that end a thread (`faultinject.campaign.oracles.lost`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter

from faultinject.campaign.oracles.leftovers import Leftovers, without_numbers

_PAUSE = 0.001  # seconds


class Threads:
    """The threads that run now, to be compared with those that run later."""

    def __init__(self) -> None:
        self._before = set(threading.enumerate())

    def left(self) -> Leftovers:
        """Name each thread that runs now and did not then."""
        return Counter(f"thread: {without_numbers(thread.name)}" for thread in self._more())

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
