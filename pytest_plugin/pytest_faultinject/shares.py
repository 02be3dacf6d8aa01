"""Who tried what, in words: the part of the summary about large suites.

Lives here: the sentences on ``--fail-alloc-per=suite`` and ``--fail-alloc-budget``.
Not here: the choice itself (`faultinject.campaign.assignment`).
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from faultinject.campaign.record import BUDGET_SPENT, TestRecord, count_tried
from pytest_faultinject.forecast import is_controller, is_wanted, obstacle
from pytest_faultinject.setup import Setup
from pytest_faultinject.words import plural


def count_sites(records: Iterable[TestRecord]) -> int:
    """Count the call sites that were tried, those of several tests once."""
    return count_tried(trial.replay for record in records for trial in record.trials)


def write_shares(
    tr: pytest.TerminalReporter,
    records: list[TestRecord],
    setup: Setup,
    remarks: list[str],
    *,
    quiet: bool,
) -> None:
    """Say in which tests the call sites were tried, and what there was no time for."""
    notes = list(remarks)
    if is_controller(tr.config) and is_wanted(setup):
        notes.append(f"nobody looked ahead: {obstacle(tr.config, setup)}")
    if setup.per == "suite" and is_wanted(setup) and records and not quiet:
        sites, tests = plural(count_sites(records), "call site"), plural(len(records), "test")
        ahead = not any(note.startswith("nobody looked ahead") for note in notes)
        which = f"the quickest of {tests}" if ahead else f"the first of {tests} to reach it"
        tr.write_line(f"{sites}, each tried in {which} (--fail-alloc-per=suite)")
    for note in notes:
        tr.write_line(note, yellow=True)
    _write_budget(tr, records, setup)


def _write_budget(tr: pytest.TerminalReporter, records: list[TestRecord], setup: Setup) -> None:
    short = [record.over_budget for record in records if record.over_budget]
    blind = sum(record.baseline == BUDGET_SPENT for record in records)
    parts = []
    if short:
        tests = plural(len(short), "test")
        parts.append(f"{plural(sum(short), 'trial')} in {tests} not run")
    if blind:
        parts.append(f"{plural(blind, 'test')} not looked at")
    if parts:
        tr.write_line(
            f"{' and '.join(parts)}: the budget of {setup.budget:g} seconds was spent; "
            "the next run goes on with them (--fail-alloc-budget)",
            yellow=True,
        )
