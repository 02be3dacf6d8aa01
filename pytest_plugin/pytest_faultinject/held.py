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
        self._any_failed = False
        self.call: pytest.TestReport | None = None
        self.seconds = 0.0

    def logstart(self, **kwargs: Any) -> None:
        """Tell what was held of an attempt before: a plugin that retries begins anew."""
        self._tell()
        self._any_failed = False
        self.call = None
        self._ihook.pytest_runtest_logstart(**kwargs)

    def logreport(self, report: pytest.TestReport) -> None:
        """Hold the report of a call that passed, that of the tear-down, and what follows."""
        self._any_failed |= report.failed
        if self._is_clean_call(report) or self._waiting or report.when == "teardown":
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
        """Whether the whole clean run passed, subtests and tear-down included."""
        return self.call is not None and not self._any_failed

    def release(self, real_teardown: Callable[[Any], None], nextitem: pytest.Item | None) -> None:
        """Tear down what the item's wider fixtures need no more, then tell everything."""
        item = self._item
        call = pytest.CallInfo.from_call(
            lambda: real_teardown(nextitem), when="teardown", reraise=(pytest.exit.Exception,)
        )
        if call.excinfo is None:
            self._tell()
            return
        report = item.ihook.pytest_runtest_makereport(item=item, call=call)
        self._add_teardown(report)
        self._tell()
        private.interact(item, call, report)

    def _add_teardown(self, report: pytest.TestReport) -> None:
        """Put a failed tear-down of wider fixtures in the place of one that passed, or after it."""
        name = "pytest_runtest_logreport"
        places = [
            place
            for place, (hook, keywords) in enumerate(self._waiting)
            if hook == name and keywords["report"].when == "teardown"
        ]
        place = places[-1] if places else len(self._waiting)
        if places and self._waiting[place][1]["report"].passed:
            del self._waiting[place]
        elif places:
            place += 1
        self._waiting.insert(place, (name, {"report": report}))

    def _tell(self) -> None:
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
        "pytest_runtest_logstart": held.logstart,
        "pytest_runtest_logreport": held.logreport,
        "pytest_runtest_logfinish": held.logfinish,
    }
    with (
        private.teardown_stops_at(item) as real_teardown,
        private.hooks_relayed(item.session, overrides),
    ):
        yield held, real_teardown
