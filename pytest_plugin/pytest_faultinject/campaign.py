"""The campaign of a session: the plugin object that exists only with ``--fail-alloc``.

Lives here: the hooks, each a few lines that call the files beside. Not here:
any rule of when a fault strikes or what it means (`faultinject`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from faultinject.campaign.assignment import Assignment
from faultinject.campaign.budget import Budget
from faultinject.campaign.forecast import Forecast, Foreseen
from faultinject.campaign.history import History
from faultinject.campaign.isolation import Here
from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import TestRecord, TrialRecord
from faultinject.campaign.replay import Token
from faultinject.campaign.settings import Settings
from faultinject.campaign.sweeper import Sweeper
from faultinject.campaign.turn import Turn
from faultinject.campaign.witness import Witness
from pytest_faultinject import forecast, neighbours, private
from pytest_faultinject.cache import load_history, load_last_bad
from pytest_faultinject.held import Held, held_reports
from pytest_faultinject.isolations import WORKER, Isolations
from pytest_faultinject.marks import check_marks, has_campaign, settings_of
from pytest_faultinject.named_code import check_names
from pytest_faultinject.progress import Progress
from pytest_faultinject.repeat import Repeat, merged
from pytest_faultinject.result import attach, attach_no_replay
from pytest_faultinject.results import Results
from pytest_faultinject.setup import Setup, read_setup
from pytest_faultinject.subject import AsCollected, ItemSubject, Run
from pytest_faultinject.words import plural

if TYPE_CHECKING:
    from pytest_faultinject.worker import Worker

NAME = "faultinject-campaign"

# What ends a whole run, wherever it comes up.
INTERRUPTIONS = (KeyboardInterrupt, pytest.exit.Exception)


def register(config: pytest.Config) -> None:
    """Read every option, and put the campaign's hooks in place.

    Raises:
        pytest.UsageError: an option with a wrong value.
    """
    setup = read_setup(config)
    if setup.token is not None:
        _aim(config, setup.token.test)
    server: Worker | None = config.pluginmanager.getplugin(WORKER)
    if server is not None:
        witness = _witness(config, setup, [])
        server.campaign = Campaign(
            config, setup, Repeat(config, {}), [], witness=witness, serves=True
        )
        config.pluginmanager.register(server.campaign, NAME)
        return
    repeat = Repeat(config, load_last_bad(config) if setup.last_bad else {})
    remarks: list[str] = []
    witness = _witness(config, setup, remarks)
    campaign = Campaign(config, setup, repeat, remarks, witness=witness)
    config.pluginmanager.register(campaign, NAME)
    config.pluginmanager.register(Results(config, setup, repeat, remarks), "faultinject-results")


def _witness(config: pytest.Config, setup: Setup, remarks: list[str]) -> Witness | None:
    if not setup.observes and not setup.merges_coverage:
        return None
    from pytest_faultinject.error_paths import observe_error_paths

    return observe_error_paths(config, setup, remarks)


def _aim(config: pytest.Config, nodeid: str) -> None:
    """Collect only the token's file, where nobody named files on the command line.

    Not its node id: an id may hold what a path cannot, such as ``//``.
    """
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = [str(config.rootpath / nodeid.partition("::")[0])]


class Campaign:
    """Runs the sweep of each test behind its clean run.

    Args:
        config: pytest's.
        setup: what the options say.
        repeat: what was bad last time, if that is all that is to run.
        remarks: sentences for the end are put here.
        witness: observes the error paths that runs enter.
        serves: this process is a worker, whose parent says what is tried.
    """

    def __init__(
        self,
        config: pytest.Config,
        setup: Setup,
        repeat: Repeat,
        remarks: list[str],
        *,
        witness: Witness | None = None,
        serves: bool = False,
    ) -> None:
        self._config = config
        self._setup = setup
        self._repeat = repeat
        self._remarks = remarks
        self._assignment = Assignment(setup.per)
        # In the child that looks ahead: what it has seen so far.
        self._foreseen: dict[str, Foreseen] | None = None
        self._run: Run | None = None
        self._progress = Progress(config)
        self._timed = False
        self._witness = witness
        self._serves = serves
        self._isolations = Isolations(config, setup, self._enter_child)
        # What has ended a sweep before its time, until its test is told.
        self._interruption: BaseException | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> None:
        """With a token, keep its test alone; check every mark; tell tests from tested code."""
        self._setup = self._setup.for_items(self._config, items)
        token = self._setup.token
        if token is not None:
            others = [item for item in items if item.nodeid != token.test]
            if len(others) == len(items) and not session.testsfailed:
                raise pytest.UsageError(
                    f"--fail-alloc-replay: the token's test {token.test!r} was not collected. "
                    "Name its file, or paste a token of a test that exists."
                )
            items[:] = [item for item in items if item.nodeid == token.test]
            if others:
                self._config.hook.pytest_deselected(items=others)
        items[:], others = self._repeat.select(items)
        if others:
            self._config.hook.pytest_deselected(items=others)
        check_marks(items, self._setup.settings)
        check_names(self._config, self._setup.settings.scope, self._remarks)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Before the first test, decide which of them tries what."""
        if self._serves:
            return (yield)
        if forecast.will_run(session):
            self._assignment = self._assign(session)
        try:
            return (yield)
        finally:
            self._isolations.close()
            if untried := self._assignment.untried():
                budget = self._assignment.budget
                spent = "the budget was spent, or " if budget and budget.is_spent else ""
                self._remarks.append(
                    f"{plural(untried, 'foreseen trial')} not run: {spent}the tests that were to "
                    "make them failed, did not run, or did not reach their call sites"
                )

    @pytest.hookimpl(wrapper=True, tryfirst=True, specname="pytest_runtest_protocol")
    def pytest_runtest_protocol_around(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Let the clean run happen, then sweep, then tell the reports.

        Outermost, so that other plugins' wrappers (time limits, warnings) are
        entered and left once for each run, and never around all of them.
        """
        if self._run is not None or not has_campaign(item):
            return (yield)
        collected = AsCollected(item)
        with held_reports(item) as (held, real_teardown):
            try:
                outcome = yield
            except BaseException:
                held.release(real_teardown, nextitem)
                raise
        try:
            if held.passed and self._foreseen is not None:
                self._foresee(self._foreseen, item, held, collected)
            elif held.passed:
                self._sweep(item, held, collected)
        finally:
            held.release(real_teardown, nextitem)
        return outcome

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Run a trial by pytest's own runner: no plugin that retries sees it."""
        if self._run is None:
            return None
        self._run.reports += private.run_protocol(item, self._run.part)
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Arm around the body of a trial, innermost."""
        if self._run is None:
            return (yield)
        with self._run.body(item):
            return (yield)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        """Arm around a function-scoped fixture, where the phase ``setup`` is asked for."""
        if self._run is None or fixturedef.scope != "function":
            return (yield)
        with self._run.armed("setup"):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        """Arm around the tear-down of an item, where that phase is asked for."""
        if self._run is None:
            return (yield)
        self._run.mark("teardown")
        with self._run.armed("teardown"):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Write down what a trial raised."""
        report = yield
        if self._run is not None and call.excinfo is not None and not report.skipped:
            self._run.errors.append((call.when, call.excinfo.value))
        return report

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give every xdist worker the same seed, and a way not to try the same twice."""
        node.workerinput["faultinject_seed"] = self._setup.settings.seed
        if self._setup.per == "suite":
            neighbours.share_claims(self._config, node.workerinput)

    def _enter(self, run: Run | None) -> None:
        self._run = run

    def _assign(self, session: pytest.Session) -> Assignment:
        """Say what each test tries; look ahead where that has to be known."""
        setup, seen = self._setup, None
        if forecast.is_wanted(setup) and not self._repeat.is_on:
            reason = forecast.obstacle(self._config, setup)
            if reason is None:
                seen, reason = self._look_ahead(session)
            if seen is None:
                self._remarks.append(f"nobody looked ahead: {reason}")
        history = History() if setup.budget is None else load_history(self._config)
        budget = None
        if setup.budget is not None and setup.token is None:
            budget = Budget(setup.budget, pace=history.pace)
        return Assignment(
            setup.per,
            [item.nodeid for item in session.items if has_campaign(item)],
            forecast=seen,
            budget=budget,
            history=history,
            shard=setup.settings.shard,
            workers=neighbours.count_workers(self._config),
            claims=neighbours.shared_claims(self._config),
            shown=self._shown,
        )

    def _look_ahead(self, session: pytest.Session) -> tuple[Forecast | None, str]:
        self._progress.show("looking at what each test reaches")
        seen: dict[str, Foreseen] = {}

        def enter_child(out: int, err: int) -> None:
            self._foreseen = seen
            self._enter_child(out, err)

        try:
            return forecast.look_ahead(session, enter_child, seen)
        finally:
            self._progress.clear()

    def _foresee(
        self, seen: dict[str, Foreseen], item: pytest.Item, held: Held, collected: AsCollected
    ) -> None:
        """In the child that looks ahead: write down what a test reaches."""
        # Nobody judges this run, so that nothing but the test itself has to run.
        settings = replace(settings_of(item, self._setup.settings), oracles=frozenset())
        self._timed = neighbours.has_time_limit(item)
        phases, token = self._setup.phases, self._setup.token
        with self._sweeper(item, settings, collected, phases, token) as sweeper:
            foreseen = sweeper.foresee(clean_seconds=held.seconds)
        if foreseen is not None:
            seen[item.nodeid] = foreseen

    def _sweep(self, item: pytest.Item, held: Held, collected: AsCollected) -> None:
        token = self._setup.token
        turn = Turn(self._assignment, item.nodeid)
        assert held.call is not None
        if token is None and not turn.is_wanted:
            attach(held.call, turn.skip(), self._config)
            return
        # What was captured outside any phase is nobody's, and children share the file.
        private.drain_capture(self._config)
        self._timed = neighbours.has_time_limit(item)
        private.prepare_tmp_path(self._config)
        try:
            with self._in_this_process(self._setup.isolation == "none"):
                record = self._record(item, held, collected, turn)
                if self._isolations.gives_up(record):
                    record = self._record(item, held, collected, turn)
        finally:
            self._progress.clear()
            private.remove_tmp_path(self._config)
        record.notes += self._isolations.remarks()
        for trial in record.trials:
            self._setup.known.mark_trial(trial)
        if token is not None and not record.trials:
            attach_no_replay(held.call, record)
        else:
            attach(held.call, record, self._config)
        if self._interruption is not None:
            raise self._interruption
        if self._config.getoption("usepdb", False):
            self._debug(item, record, collected)

    def _record(
        self, item: pytest.Item, held: Held, collected: AsCollected, turn: Turn
    ) -> TestRecord:
        """Run the trials of one test: all that it is to try, or those that tokens name."""
        token, phases = self._setup.token, self._setup.phases
        settings = settings_of(item, self._setup.settings)
        seconds, progress = held.seconds, self._progress.of(item, self._stops)
        if self._repeat.is_on:
            return merged(item.nodeid, self._repeated(item, collected, turn, seconds, progress))
        with self._sweeper(item, settings, collected, phases, token, turn) as sweeper:
            try:
                if token is not None:
                    return sweeper.replay(token, clean_seconds=seconds)
                return sweeper.sweep(clean_seconds=seconds, progress=progress)
            except INTERRUPTIONS as error:
                return self._so_far(sweeper, error)

    def _repeated(
        self,
        item: pytest.Item,
        collected: AsCollected,
        turn: Turn,
        seconds: float,
        progress: Callable[[TrialRecord, int, int], bool],
    ) -> Iterator[TestRecord]:
        for setup, tokens in self._repeat.groups(item):
            session = replace(setup.settings, foreign_code=self._setup.settings.foreign_code)
            settings = settings_of(item, session)
            with self._sweeper(item, settings, collected, setup.phases, tokens[0], turn) as sweeper:
                try:
                    yield sweeper.replay(*tokens, clean_seconds=seconds, progress=progress)
                except INTERRUPTIONS as error:
                    yield self._so_far(sweeper, error)
                    return

    def _so_far(self, sweeper: Sweeper, error: BaseException) -> TestRecord:
        """Give what a sweep has found until it was interrupted, if that is anything."""
        if not sweeper.record.trials:
            raise error
        self._interruption = error
        return sweeper.record

    @contextmanager
    def _sweeper(
        self,
        item: pytest.Item,
        settings: Settings,
        collected: AsCollected,
        phases: frozenset[str],
        token: Token | None,
        turn: Turn | None = None,
    ) -> Iterator[Sweeper]:
        subject = self._subject(item, settings, collected, phases)
        with self._isolations.of(subject, item, token) as isolation:
            yield Sweeper(
                subject,
                settings,
                isolation,
                name=item.nodeid,
                shown=self._shown,
                turn=turn,
                witness=self._witness if self._foreseen is None else None,
            )

    def _subject(
        self,
        item: pytest.Item,
        settings: Settings,
        collected: AsCollected,
        phases: frozenset[str],
    ) -> ItemSubject:
        alone = self._setup.isolation == "none" and not self._serves
        return ItemSubject(
            item,
            collected,
            self._enter,
            phases=phases,
            raises=settings.raises,
            scope=settings.scope,
            markup=private.is_coloured(self._config),
            let_through=(KeyboardInterrupt,) if alone else (),
        )

    def serve(self, item: pytest.Item, token: Token | None) -> tuple[ItemSubject, Sweeper]:
        """In a worker: give what a test's trials are run with; nothing has run yet.

        Args:
            item: the test.
            token: what the options are read with, if they are not the session's own.
        """
        setup = self._setup if token is None else read_setup(self._config, token)
        session = replace(setup.settings, foreign_code=self._setup.settings.foreign_code)
        settings = settings_of(item, session)
        subject = self._subject(item, settings, AsCollected(item), setup.phases)
        sweeper = Sweeper(
            subject,
            settings,
            Here(),
            name=item.nodeid,
            shown=self._shown,
            witness=self._witness,
        )
        return subject, sweeper

    def _enter_child(self, out: int, err: int) -> None:
        """Cut what a forked child shares with the session that made it."""
        config = self._config
        private.redirect_capture(config, out, err)
        private.use_own_tmp_path(config)
        neighbours.leave_in_child(config, timed=self._timed)

    def _stops(self, trial: TrialRecord) -> bool:
        """Say whether a bad trial ends the sweep: with ``-x`` the first one does."""
        self._setup.known.mark_trial(trial)
        return trial.bad and self._config.getoption("maxfail", 0) == 1

    def _debug(self, item: pytest.Item, record: TestRecord, collected: AsCollected) -> None:
        """With ``--pdb``: run the first bad trial again in this process, and stop in it."""
        from faultinject.campaign.replay import parse_token

        lethal = (Outcome.CRASHED, Outcome.HUNG)
        trials = (trial for trial in record.bad if trial.error and trial.outcome not in lethal)
        trial = next(trials, None)
        if trial is None:
            return
        settings = settings_of(item, self._setup.settings)
        subject = ItemSubject(
            item,
            collected,
            self._enter,
            phases=self._setup.phases,
            raises=settings.raises,
            scope=settings.scope,
            interactive=True,
            let_through=INTERRUPTIONS,
        )
        sweeper = Sweeper(subject, settings, Here(), name=item.nodeid, shown=self._shown)
        with self._in_this_process(True):
            sweeper.replay_here(parse_token(trial.replay))

    def _in_this_process(self, here: bool) -> AbstractContextManager[None]:
        return neighbours.coverage_paused(self._config) if here else nullcontext()

    def _shown(self, file: str) -> str:
        root = self._config.rootpath
        with suppress(ValueError, OSError):
            from pathlib import Path

            return Path(file).relative_to(root).as_posix()
        return file
