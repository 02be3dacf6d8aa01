"""Results: what a session's campaign found, gathered and told at the end.

Lives here: header, words per test, summary section, files. Works on reports
alone, so that it is the same in a single process and in pytest-xdist's controller.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import faultinject
from faultinject.campaign.c_unnamed import cannot_be_told
from faultinject.campaign.known import write_known
from faultinject.campaign.record import TestRecord
from faultinject.report.as_json import as_json
from faultinject.report.findings import Findings
from pytest_faultinject.cache import save_history, save_last_bad
from pytest_faultinject.hints import names_every_test, next_steps, say_strays
from pytest_faultinject.isolations import ONCE_A_RUN
from pytest_faultinject.named_code import OUTPUT
from pytest_faultinject.properties import properties_of
from pytest_faultinject.repeat import Repeat
from pytest_faultinject.result import SweepRepr, record_of
from pytest_faultinject.setup import Setup
from pytest_faultinject.summary import write_summary
from pytest_faultinject.words import plural

if TYPE_CHECKING:
    from pytest_faultinject.error_paths import ErrorPaths


class Results:
    """Collects the records of all tests from their reports.

    Args:
        config: pytest's.
        setup: what the options say.
        repeat: what was bad last time, if that is all that is to run.
        remarks: sentences for the end.
    """

    def __init__(
        self, config: pytest.Config, setup: Setup, repeat: Repeat, remarks: list[str]
    ) -> None:
        self._config = config
        self._setup = setup
        self._repeat = repeat
        self._remarks = remarks
        self._records: list[TestRecord] = []
        self._properties: dict[str, list[tuple[str, str]]] = {}
        self._said: set[str] = set()
        self._collected: list[str] = []
        # Whether tests were left out, and whether somebody has interrupted the run.
        self._is_part = self._is_cut_short = False

    def pytest_report_header(self) -> str:
        """Say in one line what this campaign is."""
        setup, settings = self._setup, self._setup.settings
        names = list(settings.swept) + [mode.spec for mode in settings.random]
        repeats = self._repeat.is_on  # with the options that each trial was found with
        what = self._repeat.headline() if repeats else ", ".join(names)
        parts = [f"faultinject: {what}", f"isolation {setup.isolation}"]
        if setup.jobs > 1:
            parts.append(f"{setup.jobs} jobs")
        if setup.shows_seed:
            parts.append(f"seed {settings.seed}")
        if settings.shard is not None:
            parts.append(f"shard {settings.shard.index}/{settings.shard.count}")
        if setup.token is not None:
            parts.append("one trial replayed")
        if setup.last_bad and not repeats:
            parts.append(self._repeat.headline())
        if "fail_pymem" in settings.swept and (said := cannot_be_told()):
            parts.append(said)
        return "; ".join(parts)

    def pytest_deselected(self) -> None:
        """Remember that tests were left out."""
        self._is_part = True

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember which tests there are."""
        self._collected = [item.nodeid for item in session.items]

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Remember that the run was interrupted: else its numbers look like a whole run's."""
        self._is_part = True
        # pytest ends a run so as well, after an error of the collection for one.
        self._is_cut_short = not isinstance(excinfo.value, pytest.Session.Interrupted)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker of pytest-xdist says of the options; all of them say the same."""
        for line in getattr(node, "workeroutput", {}).get(OUTPUT, ()):
            if line not in self._remarks:
                self._remarks.append(line)

    def pytest_report_collectionfinish(self) -> str | None:
        """Say it where nothing of last time is among the tests."""
        return self._repeat.complaint()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the record that a report carries, and draw its failure here."""
        if report.when == "teardown" and report.nodeid in self._properties:
            # Only here: a JUnit file takes them from the last report of a test.
            report.user_properties += self._properties.pop(report.nodeid)
        record = record_of(report)
        if record is None:
            return
        record.notes = self._not_said(record.notes)
        if record.bad:
            # A report that came from another process has lost everything but text.
            report.longrepr = SweepRepr(record, self._config)
        if not hasattr(self._config, "workerinput"):
            self._records.append(record)
            self._properties[record.nodeid] = properties_of(record)
            for trial in record.trials:  # what another process marked, this one has not met
                self._setup.known.mark_trial(trial)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, Any] | None:
        """With ``-v``, say how many trials stand behind a word."""
        if not isinstance(report, pytest.TestReport) or report.when != "call":
            return None
        record = record_of(report)
        if record is None or not record.trials or self._config.get_verbosity() < 1:
            return None
        trials = plural(len(record.trials), "trial")
        if report.passed:
            return "passed", ".", f"PASSED ({trials})"
        if report.failed and record.bad:
            return "failed", "F", f"FAILED ({len(record.bad)} bad of {trials})"
        return None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the section at the end."""
        if not hasattr(self._config, "workerinput") and not self._config.option.collectonly:
            # What is repeated is repeated in the test that it was bad in.
            setup = replace(self._setup, per="test") if self._repeat.is_on else self._setup
            write_summary(
                terminalreporter,
                self._records,
                setup,
                self._remarks,
                self._written,
                cut_short=self._is_cut_short,
            )
            for line in self._for_github:
                terminalreporter.write_line(line)

    def _not_said(self, notes: list[str]) -> list[str]:
        """Leave out what another worker of pytest-xdist has said of the whole run."""
        kept = []
        for note in notes:
            about = next((words for words in ONCE_A_RUN if note.startswith(words)), "")
            if about not in self._said or not about:
                kept.append(note)
            self._said.add(about)
        return kept

    def _is_whole(self, record: TestRecord) -> bool:
        """Say whether every trial of a test was run, so that what did not come up is mended."""
        whole = self._setup.settings.shard is None and not record.not_run
        whole &= not record.elsewhere and not self._repeat.is_on
        return whole and record.baseline == "passed"

    def _remember(self) -> None:
        """Write down what the next run has to know."""
        setup = self._setup
        repeated, sharded = self._repeat.is_on, setup.settings.shard is not None
        save_last_bad(self._config, self._records, repeated=repeated, sharded=sharded)
        if setup.budget is not None:
            save_history(self._config, self._records)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the files that were asked for, and hold the threshold against the result."""
        self._written: list[str] = []
        self._for_github: list[str] = []
        if hasattr(self._config, "workerinput") or self._config.option.collectonly:
            return
        if self._setup.token is None:  # one trial says nothing about the rest of its test
            self._remember()
        self._report(session)
        if self._setup.update_known and self._setup.known_path is not None:
            trials = [
                trial
                for record in self._records
                for trial in record.trials
                if trial.bad or trial.known
            ]
            swept = [record.nodeid for record in self._records if self._is_whole(record)]
            kept = self._setup.known.of_others(swept)
            count = write_known(self._setup.known_path, trials, kept)
            self._written.append(
                f"{plural(count, 'known problem')} written to {self._setup.known_path}"
            )

    def _report(self, session: pytest.Session) -> None:
        """Write the reports; what could not be written, or reached too little, fails the run."""
        reports = self._setup.reports
        document = as_json(
            self._records,
            version=faultinject.__version__,
            error_paths=self._error_paths(),
            root=self._config.rootpath,
            per="test" if self._repeat.is_on else self._setup.per,
        )
        quiet = self._config.get_verbosity() < 0
        self._written += reports.table(document, short=quiet)
        if not quiet:
            self._written += self._hints(document)
        lines, complete = reports.write(document, self._config.rootpath)
        self._written += lines
        self._for_github = reports.tell_github(document, self._config)
        shortfall = reports.shortfall(document)
        if shortfall is not None:
            self._written.append(shortfall)
        passed = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if passed and (shortfall is not None or not complete):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _hints(self, document: dict[str, Any]) -> list[str]:
        """Say which known problems are of no test, and what would reach more error paths."""
        lines: list[str] = []
        if not self._is_cut_short:
            lines += next_steps(Findings.of(document), self._setup)
        if names_every_test(self._config) and not self._is_part:
            lines += say_strays(self._config, self._setup, self._collected)
        return lines

    def _error_paths(self) -> dict[str, Any] | None:
        """Give what was observed of the error paths, as the JSON report has it."""
        observed: ErrorPaths | None = self._config.pluginmanager.getplugin(
            "faultinject-error-paths"
        )
        if observed is None or not self._setup.observes:
            return None
        return observed.report(self._records)
