"""The budget: wall time for all trials of a run.

Lives here: counting what is spent, and expecting what a trial will cost. Not here:
what it is spent on first (`faultinject.campaign.assignment`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What a trial costs besides its body, in seconds, before anything is measured.
OVERHEAD = 0.005

# A trial runs the body twice: with its fault, and clean behind it.
RUNS = 2

# What earlier runs have measured weighs as much as so many seconds of this one.
_MEMORY = 0.02


class Budget:
    """Seconds that all trials of a run may take together.

    Args:
        seconds: above 0.
        clock: a clock that never goes back.
        pace: how much longer than `guess` trials took in earlier runs, if there were any.
    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        pace: float | None = None,
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._pace = pace
        self._spent = 0.0
        self._guessed = 0.0
        self._since: float | None = None

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count the time of the block; not to be nested."""
        self._since = self._clock()
        try:
            yield
        finally:
            self._spent += self._clock() - self._since
            self._since = None

    def learn(self, body_seconds: float) -> None:
        """Say that the time of one more trial was spent, so that the next one's is known better."""
        self._guessed += guess(body_seconds)

    @property
    def spent(self) -> float:
        """The seconds spent so far."""
        running = 0.0 if self._since is None else self._clock() - self._since
        return self._spent + running

    @property
    def left(self) -> float:
        """The seconds left; 0 when it is spent."""
        return max(0.0, self.seconds - self.spent)

    @property
    def is_spent(self) -> bool:
        """Whether no trial may begin any more."""
        return self.left <= 0.0

    def cost(self, body_seconds: float) -> float:
        """Expect what one trial of a test will take, by what trials have taken so far."""
        measured = self.spent if self._guessed else 0.0
        guessed = self._guessed
        if self._pace is not None:
            measured, guessed = measured + _MEMORY * self._pace, guessed + _MEMORY
        return guess(body_seconds) * (measured / guessed if guessed else 1.0)


def guess(body_seconds: float) -> float:
    """Give the seconds of one trial of a test, before anything is measured."""
    return OVERHEAD + RUNS * body_seconds
