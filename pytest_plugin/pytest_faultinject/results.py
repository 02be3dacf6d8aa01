"""Results: what a session's campaign found, gathered and told at the end.

Lives here: header, words per test, summary section, files. Works on reports
alone, so that it is the same in a single process and in pytest-xdist's controller.
"""

from __future__ import annotations

from typing import Any

import pytest

import faultinject
from faultinject.campaign.known import write_known
from faultinject.campaign.record import TestRecord
from faultinject.report.as_json import write_json
from pytest_faultinject.cache import save_history, save_last_bad
from pytest_faultinject.repeat import Repeat
from pytest_faultinject.result import SweepRepr, record_of
from pytest_faultinject.setup import Setup
from pytest_faultinject.summary import write_summary
from pytest_faultinject.words import plural


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

    def pytest_report_header(self) -> str:
        """Say in one line what this campaign is."""
        setup, settings = self._setup, self._setup.settings
        names = list(settings.swept) + [mode.spec for mode in settings.random]
        parts = [f"faultinject: {', '.join(names)}", f"isolation {setup.isolation}"]
        if setup.jobs > 1:
            parts.append(f"{setup.jobs} jobs")
        if setup.shows_seed:
            parts.append(f"seed {settings.seed}")
        if settings.shard is not None:
            parts.append(f"shard {settings.shard.index}/{settings.shard.count}")
        if setup.token is not None:
            parts.append("one trial replayed")
        if setup.last_bad:
            parts.append(self._repeat.headline())
        return "; ".join(parts)

    def pytest_report_collectionfinish(self) -> str | None:
        """Say it where nothing of last time is among the tests."""
        return self._repeat.complaint()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the record that a report carries, and draw its failure here."""
        record = record_of(report)
        if record is None:
            return
        if record.bad:
            # A report that came from another process has lost everything but text.
            report.longrepr = SweepRepr(record, self._config)
        if not hasattr(self._config, "workerinput"):
            self._records.append(record)
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
        if not hasattr(self._config, "workerinput"):
            write_summary(
                terminalreporter, self._records, self._setup, self._remarks, self._written
            )

    def _is_whole(self, record: TestRecord) -> bool:
        """Say whether every trial of a test was run, so that what did not come up is mended."""
        whole = self._setup.settings.shard is None and not record.not_run
        whole &= not record.elsewhere and not self._repeat.is_on
        return whole and record.baseline == "passed"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Write the files that were asked for."""
        self._written: list[str] = []
        if hasattr(self._config, "workerinput"):
            return
        save_last_bad(self._config, self._records, repeated=self._repeat.is_on)
        if self._setup.budget is not None:
            save_history(self._config, self._records)
        for path in self._setup.json_paths:
            write_json(path, self._records, version=faultinject.__version__)
            self._written.append(f"report written to {path}")
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
