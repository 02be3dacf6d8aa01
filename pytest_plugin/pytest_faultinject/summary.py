"""The section at the end: how many trials, and what became of them.

Not here: what was not tried, what is doubtful and what to do next (``.hints``).
"""

from __future__ import annotations

from typing import Any

import pytest

from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import (
    TestRecord,
    TrialRecord,
    count_outcomes,
    say_defects,
    told_apart,
)
from pytest_faultinject.hints import write_doubts, write_untried
from pytest_faultinject.setup import Setup
from pytest_faultinject.shares import count_sites, write_shares
from pytest_faultinject.words import colours_of, place_of, plural, replay_line, typed_node_id


def write_summary(
    tr: pytest.TerminalReporter,
    records: list[TestRecord],
    setup: Setup,
    remarks: list[str],
    written: list[str],
    *,
    cut_short: bool,
) -> None:
    """Write the section, as long as the verbosity allows.

    What was not tried is said in a quiet run as well.
    """
    quiet = tr.config.get_verbosity() < 0
    if not quiet:
        tr.write_sep("=", "fault injection")
    if tr.config.get_verbosity() >= 1 or setup.token is not None:
        _write_trials(tr, records)
    elif tr.config.getoption("tbstyle", "auto") == "no":
        _write_bad(tr, records)
    _write_totals(tr, records, setup)
    write_shares(tr, records, setup, remarks, quiet=quiet)
    write_untried(tr, records, setup, cut_short=cut_short)
    if not quiet:
        write_doubts(tr, records, setup)
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
        for trial, headline in zip(record.trials, _headlines(record.trials), strict=True):
            tr.write("  ")
            tr.write(f"{trial.outcome.value.upper():<11}", **_markup(trial.outcome))
            tr.line(f" {headline}")
            if tr.config.get_verbosity() >= 2:
                tr.line(f"              {replay_line(trial, record.nodeid, tr.config)}")


def _write_bad(tr: pytest.TerminalReporter, records: list[TestRecord]) -> None:
    """With ``--tb=no`` nothing else would say how to run a bad trial again."""
    for record in records:
        for trial, headline in zip(record.bad, _headlines(record.bad), strict=True):
            tr.write(f"{trial.outcome.value.upper():<11}", **_markup(trial.outcome))
            tr.line(f" {headline}")
            tr.line(f"            {replay_line(trial, record.nodeid, tr.config)}")


def _headlines(trials: list[TrialRecord]) -> list[str]:
    """Give one line for each trial of a test, no two alike if that can be."""
    tokens = [trial.replay for trial in trials]
    requests = [trial.request for trial in trials]
    places = told_apart([_place(trial) for trial in trials], tokens, requests)
    return [f"{place}{_end(trial)}" for place, trial in zip(places, trials, strict=True)]


def _place(trial: TrialRecord) -> str:
    hit = f", hit {trial.hit}" if trial.hit > 1 else ""
    return f"{trial.capability} at {place_of(trial)}{hit}"


def _end(trial: TrialRecord) -> str:
    known = " (known)" if trial.known else ""
    known += f" (CPython: {trial.interpreter})" if trial.interpreter else ""
    reason = _reason(trial)
    return f"{known}: {reason}" if reason else known


def _reason(trial: TrialRecord) -> str | None:
    """Give the one line that says best why the outcome is what it is."""
    if trial.outcome is Outcome.LEAKED:
        more = f" (and {len(trial.leaks) - 1} more)" if len(trial.leaks) > 1 else ""
        return f"left behind: {trial.leaks[0]}{more}"
    damage = trial.outcome in (Outcome.CORRUPTED, Outcome.UNRAISABLE)
    if trial.details and (damage or not trial.error):
        return trial.details[0]
    return trial.error


def _markup(outcome: Outcome) -> dict[str, Any]:
    return dict(colours_of(outcome))
