"""The section at the end: how many trials, what became of them, what to do next."""

from __future__ import annotations

from typing import Any

import pytest

from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import (
    TestRecord,
    TrialRecord,
    count_outcomes,
    say_defects,
)
from pytest_faultinject.setup import Setup
from pytest_faultinject.shares import count_sites, write_shares
from pytest_faultinject.words import colours_of, place_of, plural, replay_line, typed_node_id


def write_summary(
    tr: pytest.TerminalReporter,
    records: list[TestRecord],
    setup: Setup,
    remarks: list[str],
    written: list[str],
) -> None:
    """Write the section, as long as the verbosity allows."""
    quiet = tr.config.get_verbosity() < 0
    if not setup.reports.term and not written:
        return
    if not quiet:
        tr.section("fault injection", "=")
    if setup.reports.term:
        if tr.config.get_verbosity() >= 1 or setup.token is not None:
            _write_trials(tr, records)
        elif tr.config.getoption("tbstyle", "auto") == "no":
            _write_bad(tr, records)
        _write_totals(tr, records, setup)
        if not quiet:
            write_shares(tr, records, setup, remarks)
            _write_hints(tr, records, setup)
    for line in written:
        tr.write_line(line)


def _write_totals(tr: pytest.TerminalReporter, records: list[TestRecord], setup: Setup) -> None:
    counts = count_outcomes(records)
    sites = sum(record.sites for record in records)
    if setup.per == "suite":
        sites = count_sites(records)
    total = sum(counts.values())
    tr.write(
        f"{plural(len(records), 'test')}, {plural(sites, 'call site')}, {plural(total, 'trial')}"
    )
    separator = ": "
    for outcome in reversed(Outcome):
        if counts[outcome]:
            tr.write(separator)
            tr.write(f"{counts[outcome]} {outcome.value}", **_markup(outcome))
            separator = ", "
    tr.line("")
    for line in say_defects(trial.interpreter for record in records for trial in record.trials):
        tr.write_line(line)


def _write_trials(tr: pytest.TerminalReporter, records: list[TestRecord]) -> None:
    """One line per trial; with -vv good ones can be replayed as well."""
    for record in records:
        if record.trials:
            tr.write_line(typed_node_id(tr.config, record.nodeid))
        for trial in record.trials:
            tr.write("  ")
            tr.write(f"{trial.outcome.value.upper():<11}", **_markup(trial.outcome))
            tr.line(f" {_headline(trial)}")
            if tr.config.get_verbosity() >= 2:
                tr.line(f"              {replay_line(trial, record.nodeid, tr.config)}")


def _write_bad(tr: pytest.TerminalReporter, records: list[TestRecord]) -> None:
    """With ``--tb=no`` nothing else would say how to run a bad trial again."""
    for record in records:
        for trial in record.bad:
            tr.write(f"{trial.outcome.value.upper():<11}", **_markup(trial.outcome))
            tr.line(f" {_headline(trial)}")
            tr.line(f"            {replay_line(trial, record.nodeid, tr.config)}")


def _headline(trial: TrialRecord) -> str:
    hit = f", hit {trial.hit}" if trial.hit > 1 else ""
    known = " (known)" if trial.known else ""
    known += f" (CPython: {trial.interpreter})" if trial.interpreter else ""
    reason = _reason(trial)
    tail = f": {reason}" if reason else ""
    return f"{trial.capability} at {place_of(trial)}{hit}{known}{tail}"


def _reason(trial: TrialRecord) -> str | None:
    """Give the one line that says best why the outcome is what it is."""
    if trial.outcome is Outcome.LEAKED:
        more = f" (and {len(trial.leaks) - 1} more)" if len(trial.leaks) > 1 else ""
        return f"left behind: {trial.leaks[0]}{more}"
    damage = trial.outcome in (Outcome.CORRUPTED, Outcome.UNRAISABLE)
    if trial.details and (damage or not trial.error):
        return trial.details[0]
    return trial.error


def _write_hints(tr: pytest.TerminalReporter, records: list[TestRecord], setup: Setup) -> None:
    if records and not any(record.sites or record.trials for record in records):
        tr.write_line(
            "No test reached a call site that can fail, so there was no trial. What is under "
            "test is said by --fail-alloc-source, what fails by --fail-alloc-spec and "
            "--fail-function.",
            yellow=True,
        )
    if not records:
        tr.write_line("No test was tried: only those are that pass by themselves.", yellow=True)
    left_out = sum(record.not_run - record.over_budget for record in records)
    if left_out:
        tr.write_line(f"{plural(left_out, 'trial')} not run (--fail-alloc-max, -x)", yellow=True)
    for record in records:
        for note in record.notes:
            tr.write_line(f"{typed_node_id(tr.config, record.nodeid)}: {note}", yellow=True)
        for outcome, meaning in (
            (Outcome.DIVERGED, "failed before the fault struck"),
            (Outcome.NOT_REACHED, "never reached the call site"),
        ):
            missed = [trial for trial in record.trials if trial.outcome is outcome and trial.hit]
            if missed:
                tr.write_line(
                    f"{typed_node_id(tr.config, record.nodeid)}: "
                    f"{plural(len(missed), 'trial')} {meaning}: the test does not do the same "
                    f"twice (first: {place_of(missed[0])})",
                    yellow=True,
                )
    known = sum(trial.known for record in records for trial in record.trials)
    if known:
        tr.write_line(f"{plural(known, 'known problem')} ({setup.known_path}) did not fail the run")
    whole = (
        item
        for item in records
        if not item.not_run and not item.elsewhere and item.baseline == "passed"
    )
    gone = setup.known.gone(record.nodeid for record in whole)
    if gone and setup.settings.shard is None:
        tr.write_line(
            f"{plural(gone, 'known problem')} of {setup.known_path} did not come up again: "
            "run with --fail-alloc-update-known to drop what is mended"
        )


def _markup(outcome: Outcome) -> dict[str, Any]:
    return dict(colours_of(outcome))
