"""A pytest item as a subject: one run of its whole protocol, observed.

Lives here: how an item is run again with fresh function-scoped fixtures, armed
around its body alone. Not here: the order of runs
(`faultinject.campaign.sweeper`), private pytest surface (``.private``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from traceback import clear_frames, walk_tb
from types import TracebackType
from typing import Any

import pytest

from faultinject.campaign.armable import Armable
from faultinject.campaign.child import note
from faultinject.campaign.evidence import RunResult
from faultinject.campaign.isolation import KEPT_BYTES
from faultinject.campaign.propagation import describe, is_propagated
from faultinject.campaign.scope import Scope
from faultinject.campaign.warned import noting_warnings
from pytest_faultinject import private
from pytest_faultinject.examples import each_example, is_property_test
from pytest_faultinject.fixture import INVARIANTS
from pytest_faultinject.unwrap import unwrap

_QUIET = lambda *args, **kwargs: None  # noqa: E731 - a hook that does nothing


class Run:
    """One run of an item, as the plugin's hooks see it while it lasts."""

    def __init__(
        self,
        arm: Armable | None,
        mark: Callable[[str], None],
        phases: frozenset[str],
        part: private.Part = "all",
    ) -> None:
        self.part = part
        self.arm = arm
        self.mark = mark
        self.phases = phases
        self.reports: list[pytest.TestReport] = []
        self.errors: list[tuple[str, BaseException]] = []
        self.broken: list[str] = []
        self.warnings: list[str] = []
        self.seconds = 0.0
        self._is_armed = False

    def armed(self, phase: str) -> AbstractContextManager[None]:
        """Give the block in which this phase's calls fail, if they do."""
        if self.arm is None or phase not in self.phases or self._is_armed:
            return nullcontext()  # or a fixture that another one, or the body, asks for
        return self._armed_once(self.arm)

    @contextmanager
    def _armed_once(self, arm: Armable) -> Iterator[None]:
        self._is_armed = True
        try:
            with arm.armed():
                yield
        finally:
            self._is_armed = False

    @contextmanager
    def body(self, item: pytest.Item) -> Iterator[None]:
        """Arm around the innermost thing that runs the test, and then ask the invariants."""
        original = item.runtest

        def runtest() -> None:
            self.mark("body")
            started = time.perf_counter()
            try:
                with (
                    noting_warnings() as self.warnings,
                    private.log_noted(item.config, lambda line: note("log", line)),
                    self.armed("call"),
                    self._examples(item),
                ):
                    original()
            finally:
                self.seconds = time.perf_counter() - started

        item.runtest = runtest  # type: ignore[method-assign]
        try:
            yield
        finally:
            del item.runtest
            self.mark("invariants")
            for check in item.stash.get(INVARIANTS, []):
                try:
                    check()
                except BaseException as error:
                    self.broken.append(describe(error))

    def _examples(self, item: pytest.Item) -> AbstractContextManager[None]:
        if not is_property_test(item):
            return nullcontext()
        return each_example(item, self.arm.begin if self.arm is not None else lambda: None)


class AsCollected:
    """An item as it was before its clean run, which may change it; made at that time.

    A test adds properties and marks to its own item, and a doctest clears its names.
    """

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._names: dict[str, Any] | None = getattr(getattr(item, "dtest", None), "globs", None)
        self._before = self._now()

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside the block the item is as it was then; afterwards as it is now."""
        now = self._now()
        self._set(*self._before)
        try:
            yield
        finally:
            self._set(*now)

    def _now(self) -> tuple[list[tuple[str, object]], list[pytest.Mark], dict[str, Any]]:
        return self._item.user_properties[:], self._item.own_markers[:], dict(self._names or {})

    def _set(
        self,
        properties: list[tuple[str, object]],
        marks: list[pytest.Mark],
        names: dict[str, Any],
    ) -> None:
        self._item.user_properties[:], self._item.own_markers[:] = properties, marks
        if self._names is not None:
            self._names.clear()
            self._names.update(names)


class ItemSubject:
    """Runs one pytest item, as often as it is asked to.

    Args:
        item: the item; its wider fixtures are set up already.
        collected: the item as it was before its clean run.
        enter: tells the plugin's hooks which run is going on.
        phases: the phases in which calls fail: call, setup, teardown.
        raises: exception types that may answer a failure.
        scope: whose code is under test.
        markup: whether tracebacks are rendered in colour.
        interactive: whether a debugger may stop in the run.
        let_through: exceptions that end the whole campaign, not just a run: where
            nothing is between the run and somebody who presses Ctrl-C.
    """

    def __init__(
        self,
        item: pytest.Item,
        collected: AsCollected,
        enter: Callable[[Run | None], None],
        *,
        phases: frozenset[str],
        raises: tuple[type[BaseException], ...] = (),
        scope: Scope | None = None,
        markup: bool = False,
        interactive: bool = False,
        let_through: tuple[type[BaseException], ...] = (),
    ) -> None:
        self._item = item
        self._collected = collected
        self._enter = enter
        self._phases = phases
        self._raises = raises
        self._scope = scope or Scope()
        self._markup = markup
        self._interactive = interactive
        self._let_through = let_through
        self._is_set_up = False
        self._failures: list[tuple[str, Any]] = []
        self._text = ""

    def run(self, arm: Armable | None, mark: Callable[[str], None]) -> RunResult:
        """Run the item once; see `faultinject.campaign.trial.Subject`."""
        run = Run(arm, mark, self._phases, "rest" if self._is_set_up else "all")
        if arm is not None:
            self._failures, self._text = [], ""
        mark("setup")
        interrupt: BaseException | None = None
        with self._as_inner_run(run, explained=arm is not None):
            try:
                self._item.ihook.pytest_runtest_protocol(
                    item=self._item, nextitem=self._item.parent
                )
            except self._let_through:
                raise
            except BaseException as error:
                # pytest tears nothing down after pytest.exit() or KeyboardInterrupt.
                interrupt = error
                mark("teardown")
                with suppress(BaseException):
                    private.tear_down(self._item)
        self._is_set_up = False  # in this process
        return self._result(run) if interrupt is None else self._interrupted(run, interrupt)

    @contextmanager
    def set_up_once(self) -> Iterator[None]:
        """Set the item up here, so that the first run in each fork of this process need not.

        What fails in it is told by the first run, which then does all by itself.
        """
        quiet: Callable[[str], None] = lambda phase: None  # noqa: E731
        run = Run(None, quiet, self._phases, "setup")
        with suppress(Exception), self._as_inner_run(run, explained=False):
            self._item.ihook.pytest_runtest_protocol(item=self._item, nextitem=self._item.parent)
        self._is_set_up = bool(run.reports) and all(report.passed for report in run.reports)
        try:
            yield
        finally:
            self._is_set_up = False
            run = Run(None, quiet, self._phases, "teardown")
            with suppress(Exception), self._as_inner_run(run, explained=False, afresh=False):
                self._item.ihook.pytest_runtest_protocol(
                    item=self._item, nextitem=self._item.parent
                )

    @contextmanager
    def _as_inner_run(self, run: Run, *, explained: bool, afresh: bool = True) -> Iterator[None]:
        item = self._item
        if afresh and not self._is_set_up:
            private.forget_run(item)
        overrides: dict[str, Any] = {
            "pytest_runtest_logstart": _QUIET,
            "pytest_runtest_logfinish": _QUIET,
            "pytest_runtest_logreport": lambda report: run.reports.append(report),
            "pytest_warning_recorded": _QuietHistoric(),
        }
        terminal: AbstractContextManager[None] = nullcontext()
        if not self._interactive:
            terminal = private.terminal_muted(item.config)
            overrides["pytest_exception_interact"] = _QUIET
            self._postpone_tracebacks(explained)
        self._enter(run)
        try:
            with (
                self._collected.again(),
                private.hooks_relayed(item.session, overrides),
                terminal,
            ):
                yield
        finally:
            self._enter(None)
            item.__dict__.pop("repr_failure", None)
            if run.part != "setup":
                private.forget_run(item)

    def _postpone_tracebacks(self, keep: bool) -> None:
        """Render a failure only if somebody will read it: that costs more than the trial."""
        failures, original = self._failures, self._item.repr_failure

        def repr_failure(excinfo: Any, *args: Any, **kwargs: Any) -> str:
            if keep:
                failures.append(("call", (excinfo, original)))
            return "not rendered"

        self._item.repr_failure = repr_failure  # type: ignore[method-assign]

    def _result(self, run: Run) -> RunResult:
        bad = [report for report in run.reports if not report.passed]
        result = RunResult(passed=not bad and not run.broken, broken=run.broken)
        result.duration, result.warnings = run.seconds, run.warnings
        result.output = _captured(run.reports) if bad or run.broken else ""
        if not bad:
            result.error = run.broken[0] if run.broken else None
            return result
        skipped = [report for report in bad if report.skipped]
        leaves = [(when, leaf) for when, error in run.errors for leaf in unwrap(error)]
        wrong = [leaf for when, leaf in leaves if not self._is_propagated(when, leaf)]
        result.error = _reason(bad[0])
        if skipped:
            result.error = _reason(skipped[0])
        elif leaves:
            result.error = describe(wrong[0] if wrong else leaves[0][1])
        result.propagated = bool(leaves) and not wrong and not skipped
        self._failures += [
            (report.when, report.longrepr)
            for report in bad
            if report.when != "call" and report.longrepr is not None
        ]
        return result

    def _is_propagated(self, when: str, error: BaseException) -> bool:
        return when in self._phases and is_propagated(
            error, raises=self._raises, under_test=self._scope.covers
        )

    def _interrupted(self, run: Run, error: BaseException) -> RunResult:
        if run.arm is not None:
            excinfo = pytest.ExceptionInfo.from_exception(error)
            self._failures.append(("call", (excinfo, self._item.repr_failure)))
        result = RunResult(passed=False, error=describe(error), broken=run.broken)
        result.duration = run.seconds
        return result

    def explain(self, note: str = "") -> str:
        """Render the failures of the last armed run, and let go of the exceptions."""
        # The traceback is cut at the test function, which the item finds anew when asked.
        getattr(self._item, "obj", None)
        rendered = []
        for _, failure in self._failures:
            if isinstance(failure, tuple):
                excinfo, original = failure
                if note:
                    excinfo.value.add_note(note)
                if _has_given_lines(excinfo.value):
                    excinfo = pytest.ExceptionInfo.from_exception(excinfo.value)
                failure = original(excinfo)
                rendered.append(excinfo)
            self._text += private.render(failure, markup=self._markup)
        # Not sooner: the frames say which of them are hidden, and one error is told twice.
        for excinfo in rendered:
            excinfo.traceback = excinfo.traceback[:0]
            _let_go(excinfo.value)
        self._failures.clear()
        private.drop_last_exception()
        return self._text


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error and all that it comes from, each once."""
    seen: set[int] = set()
    chain: list[BaseException | None] = [error]
    while chain:
        each = chain.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        chain += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            chain += each.exceptions


def _has_given_lines(error: BaseException) -> bool:
    """Give a line to entries of tracebacks that have none; say whether there were any.

    Some instructions belong to no line, such as those that leave a handler; memory can be short
    there as well. pytest cannot show such an entry.
    """
    given = False
    for each in _chain(error):
        entries = list(_entries(each.__traceback__))
        if all(entry.tb_lineno is not None for entry in entries):
            continue
        given, last = True, None
        for entry in reversed(entries):
            line = entry.tb_lineno or entry.tb_frame.f_code.co_firstlineno
            last = TracebackType(last, entry.tb_frame, entry.tb_lasti, line)
        each.__traceback__ = last
    return given


def _let_go(error: BaseException) -> None:
    """Empty the frames of an error: other plugins may keep it, and what its test held with it."""
    for each in _chain(error):
        clear_frames(each.__traceback__)
        for frame, _ in walk_tb(each.__traceback__):
            # Up to 3.12 a frame that was looked at keeps a copy, which this brings up to date.
            frame.f_locals  # noqa: B018
        _cut(each.__traceback__)


def _entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _cut(traceback: TracebackType | None) -> None:
    """Leave of a traceback its first entry: an empty frame has what its function closes over."""
    while traceback is not None:
        entry, traceback = traceback, traceback.tb_next
        entry.tb_next = None


class _QuietHistoric:
    """Stands in for a historic hook: warnings of a trial are not the session's."""

    def __call__(self, **kwargs: Any) -> None:
        return None

    def call_historic(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""


def _reason(report: pytest.TestReport) -> str:
    longrepr: Any = report.longrepr
    if hasattr(report, "wasxfail"):
        return f"xfailed: {str(report.wasxfail).removeprefix('reason: ')}"
    if isinstance(longrepr, tuple):
        return f"skipped: {str(longrepr[2]).removeprefix('Skipped: ')}"
    text = str(longrepr or "").strip()
    return text.splitlines()[-1] if text else report.outcome


def _captured(reports: list[pytest.TestReport]) -> str:
    """Give the last of what the run printed, once, from the report that has it all."""
    longest = max(reports, key=lambda report: len(report.sections), default=None)
    if longest is None:
        return ""
    return "".join(
        f"{'-' * 10} {title} {'-' * 10}\n{text[-KEPT_BYTES:]}"
        for title, text in longest.sections
        if text
    )
