"""Lines: what coverage.py measures, where the interpreter has no events of its own.

Lives here: `LineObserver`, for Python 3.11, which tells by lines which error paths ran.
Not here: the user's own measurement. While that runs in this process, nothing is measured
beside it; what it has found can be taken.

A line cannot tell an error path from the normal way where both run it: a ``finally``
block, the exit of a ``with`` statement, ``except E: pass`` on one line. Such a hit is not
sure. Hits have no order, and are known when a run ends: one that dies has none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from coverage import Coverage, CoverageData

from faultinject.errpaths.hits import Hit
from faultinject.errpaths.observe import Sources, Tell

# The harness is no code under test; to measure it would take longer than most trials.
_OURS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "*")
# It measures code that it did not choose, and perhaps none at all.
_QUIET = ["couldnt-parse", "module-not-measured", "module-not-python", "no-data-collected"]


class LineObserver:
    """Notices error paths by their lines.

    Args:
        sources: whose error paths.
    """

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._own: Coverage | None = None
        self._next: Coverage | None = self._made_ready()
        self._entered: set[Hit] = set()

    def start(self) -> None:
        """Begin, if nobody measures this process; see `faultinject.errpaths.observe.Observer`."""
        if Coverage.current() is None:
            self._own = self._measure()
            self._own.start()
            _share_decisions(self._own, self._next)
            self._entered.update(self.sources.missed())

    def stop(self) -> None:
        """End; what was collected is kept."""
        own, self._own = self._own, None
        if own is not None:
            own.stop()
            self.take(own.get_data())

    @contextmanager
    def watching(self, tell: Tell) -> Iterator[None]:
        """Inside the block lines are measured; at its end each hit is told."""
        # That of a fork is its own copy; in this process it serves once.
        measurement, self._next = self._next or self._measure(), None
        measurement.start()
        try:
            yield
        finally:
            measurement.stop()
            self.tell(measurement.get_data(), tell)

    def tell(self, data: CoverageData, tell: Tell) -> None:
        """Tell of each hit that somebody's measurement of a run shows."""
        for hit in self._ran(data):
            tell(str(hit))

    def entered(self) -> set[Hit]:
        """Give what this process has entered outside of such blocks; complete when stopped."""
        return set(self._entered)

    def owns(self, measurement: Coverage | None) -> bool:
        """Say whether a measurement is this observer's own, and not the user's."""
        return measurement is not None and measurement is self._own

    def take(self, data: CoverageData) -> None:
        """Add what another measurement of this process has found, such as the user's."""
        self._entered.update(self._ran(data))

    def _measure(self) -> Coverage:
        """Make a measurement in memory that reads no settings and warns of nothing.

        While it runs, one that ran before is paused. By itself it leaves out what is installed,
        which may be what is under test.
        """
        places = [os.path.join(at, "*") if os.path.isdir(at) else at for at in self.sources.places]
        measurement = Coverage(
            data_file=None, config_file=False, include=places or None, omit=[_OURS]
        )
        measurement.set_option("run:disable_warnings", list(_QUIET))
        return measurement

    def _made_ready(self) -> Coverage:
        """Make one that begins at once: to begin the first time takes longer than a trial."""
        measurement = self._measure()
        measurement.start()
        measurement.stop()
        measurement.get_data().measured_files()
        return measurement

    def _ran(self, data: CoverageData) -> Iterator[Hit]:
        for file in sorted(data.measured_files()):
            found = self.sources.of(file)
            lines = set(data.lines(file) or ()) if found is not None else set()
            if found is None or not lines:
                continue
            for path in found.paths:
                if lines.intersection(path.entry):
                    yield self.sources.hit(path, sure=path.by_line)


def _share_decisions(one: Coverage, other: Coverage | None) -> None:
    """Let what one decides about a file, measured or not, be known to the other.

    Both have the same settings. In each trial anew that took as long as the trial. coverage.py
    has no public way to it; where there is none at all, it is slow and no more.
    """
    theirs, ours = (getattr(item, "_collector", None) for item in (one, other))
    decisions = getattr(theirs, "should_trace_cache", None)
    if ours is not None and decisions is not None:
        ours.should_trace_cache = decisions
