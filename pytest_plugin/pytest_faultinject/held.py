"""Held reports: the clean run's own reports wait until the campaign has judged.

A test with a badly handled fault is one failed test, with no second report: so
``--lf``, ``-x``, ``--maxfail``, junit files and xdist need no special case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pytest_faultinject import private


class Held:
    """What the clean run of one item has reported so far, and not yet told."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._ihook = item.ihook
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self.call: pytest.TestReport | None = None
        self.seconds = 0.0

    def logreport(self, report: pytest.TestReport) -> None:
        """Hold the report of a call that passed, and all that comes after it."""
        if self._waiting or self._is_clean_call(report):
            self._waiting.append(("pytest_runtest_logreport", {"report": report}))
        else:
            self._ihook.pytest_runtest_logreport(report=report)

    def logfinish(self, **kwargs: Any) -> None:
        """Hold the end of the test as well."""
        self._waiting.append(("pytest_runtest_logfinish", kwargs))

    def _is_clean_call(self, report: pytest.TestReport) -> bool:
        clean = report.when == "call" and report.passed and not hasattr(report, "wasxfail")
        # A subtest's report is no report of the call; its class is not the plain one.
        if clean and type(report) is pytest.TestReport:
            self.call = report
            self.seconds = report.duration
            return True
        return False

    @property
    def passed(self) -> bool:
        """Whether the whole clean run passed, tear-down included."""
        return self.call is not None and all(
            keywords["report"].passed
            for name, keywords in self._waiting
            if name == "pytest_runtest_logreport"
        )

    def release(self, real_teardown: Callable[[Any], None], nextitem: pytest.Item | None) -> None:
        """Tear down what the item's wider fixtures need no more, then tell everything."""
        item = self._item
        call = pytest.CallInfo.from_call(
            lambda: real_teardown(nextitem), when="teardown", reraise=(pytest.exit.Exception,)
        )
        if call.excinfo is not None:
            report = item.ihook.pytest_runtest_makereport(item=item, call=call)
            place = len(self._waiting)
            while place and self._waiting[place - 1][0] == "pytest_runtest_logfinish":
                place -= 1
            if place and self._waiting[place - 1][1]["report"].when == "teardown":
                place -= 1
                del self._waiting[place]
            self._waiting.insert(place, ("pytest_runtest_logreport", {"report": report}))
        waiting, self._waiting = self._waiting, []
        for name, keywords in waiting:
            getattr(self._ihook, name)(**keywords)


@contextmanager
def held_reports(
    item: pytest.Item,
) -> Iterator[tuple[Held, Callable[[Any], None]]]:
    """Inside the block, the item's run is held; see `Held`.

    Yields:
        the held reports, and the real tear-down.
    """
    held = Held(item)
    overrides = {
        "pytest_runtest_logreport": held.logreport,
        "pytest_runtest_logfinish": held.logfinish,
    }
    with (
        private.teardown_stops_at(item) as real_teardown,
        private.hooks_relayed(item.session, overrides),
    ):
        yield held, real_teardown
