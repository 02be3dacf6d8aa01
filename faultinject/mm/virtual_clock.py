"""Virtual time: what a request waits, nobody waits for.

Lives here: `VirtualClock`. Not here: who waits how long (`faultinject.mm.slow_path`).
"""

from __future__ import annotations

from collections.abc import Callable

from faultinject.errors import UsageError
from faultinject.mm.ram import Ram


class VirtualClock:
    """The seconds that have passed on a model machine; they pass at once.

    A request that blocks moves it on, and nothing else does, except `advance`. What works
    in the background (kswapd) gets its turn whenever time passes.

    Args:
        ram: whose lock guards it.
        passed: called after each step, in the thread that made it.
    """

    __slots__ = ("_now", "_passed", "_ram")

    def __init__(self, ram: Ram, passed: Callable[[], None]) -> None:
        self._ram = ram
        self._now = 0.0
        self._passed = passed

    @property
    def now(self) -> float:
        """Seconds since the memory was made."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass; a shrinker that would wait for a disk does it too.

        Raises:
            UsageError: `seconds` is no number of 0 or more.
        """
        known = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not known or not 0 <= seconds < float("inf"):
            raise UsageError("not a time that can pass", value=seconds, cure="Pass seconds")
        with self._ram.lock:
            self._now += seconds
        self._passed()

    def __repr__(self) -> str:
        return f"<VirtualClock at {self._now:.3f} s>"
