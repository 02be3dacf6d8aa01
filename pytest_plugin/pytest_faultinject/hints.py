"""What a reader of the summary should know besides its totals.

Lives here: what was not tried, and why; what is doubtful; what to try next. Not here: the
totals and the trials (``.summary``), budgets and shares (``.shares``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import pytest

from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import TestRecord
from faultinject.report.findings import Findings
from pytest_faultinject.forecast import is_controller
from pytest_faultinject.setup import Setup
from pytest_faultinject.unreached import why_nothing
from pytest_faultinject.words import place_of, plural, typed_node_id

_CALLS: Final = "fail_function"

# Notes of a test that say that something of it was not tried.
_UNTRIED: Final = (
    "interrupted after",
    "no call of a function was tried",
    "no trial was run",
    "nothing was injected",
    "stopped after",
)

# Which profile of --fail-function raises what a handler waits for, the more special ones first.
_RAISES: Final[Mapping[str, frozenset[str]]] = {
    "network": frozenset(
        {
            "BrokenPipeError",
            "ConnectionAbortedError",
            "ConnectionError",
            "ConnectionRefusedError",
            "ConnectionResetError",
            "TimeoutError",
            "socket.error",
            "socket.gaierror",
            "socket.timeout",
        }
    ),
    "permission": frozenset({"PermissionError"}),
    "process": frozenset({"ChildProcessError", "ProcessLookupError"}),
    "database": frozenset({"sqlite3.DatabaseError", "sqlite3.Error", "sqlite3.OperationalError"}),
    "imports": frozenset({"ImportError", "ModuleNotFoundError"}),
    "disk": frozenset({"EnvironmentError", "FileNotFoundError", "IOError", "OSError"}),
}


def write_untried(
    tr: pytest.TerminalReporter, records: list[TestRecord], setup: Setup, *, cut_short: bool
) -> None:
    """Say what was not tried, a line each: in a quiet run as well, for it looks like success.

    Args:
        tr: where.
        records: of all tests that were tried.
        setup: what the options say.
        cut_short: somebody has interrupted the run.
    """
    if cut_short:
        tr.write_line(
            "The run was interrupted: all that is said here is about what ran until then.",
            yellow=True,
        )
    elif not records:
        tr.write_line("No test was tried: only those are that pass by themselves.", yellow=True)
    elif not any(record.sites or record.trials for record in records) and any(
        record.baseline == "passed" for record in records
    ):
        tr.write_line(why_nothing(tr.config, setup), yellow=True)
    left_out = sum(record.not_run - record.over_budget for record in records)
    if left_out:
        why = "--fail-alloc-max, -x" + (", the interruption" if cut_short else "")
        tr.write_line(f"{plural(left_out, 'trial')} not run ({why})", yellow=True)
    _write_notes(tr, records, untried=True)
    known = sum(trial.known for record in records for trial in record.trials)
    if known:
        tr.write_line(f"{plural(known, 'known problem')} ({setup.known_path}) did not fail the run")


def write_doubts(tr: pytest.TerminalReporter, records: list[TestRecord], setup: Setup) -> None:
    """Say what makes a result doubtful, and what of the known problems is out of date."""
    _write_notes(tr, records, untried=False)
    for record in records:
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


def names_every_test(config: pytest.Config) -> bool:
    """Say whether a run has collected all tests there are, but for those deselected."""
    selects = ("lf", "stepwise", "ignore", "ignore_glob", "deselect", "keyword", "markexpr")
    chosen = any(config.getoption(name, None) for name in selects)
    return (
        not chosen
        and not is_controller(config)  # its workers collect
        and config.args_source is not pytest.Config.ArgsSource.ARGS
    )


def say_strays(config: pytest.Config, setup: Setup, collected: Iterable[str]) -> Iterator[str]:
    """Say which known problems are of tests that do not exist, where that can be told.

    Args:
        config: pytest's.
        setup: what the options say.
        collected: the node ids of a run that has left no test out.
    """
    if setup.settings.shard is not None or setup.last_bad or setup.token is not None:
        return
    strays = setup.known.strays(collected)
    if strays:
        what = f"{plural(len(strays), 'known problem')} of {setup.known_path}"
        test = typed_node_id(config, strays[0])
        yield f"{what} {'is' if len(strays) == 1 else 'are'} of no test that exists: {test}"


def next_steps(findings: Findings, setup: Setup) -> Iterator[str]:
    """Name the campaign that would enter handlers which no failed allocation can enter."""
    settings = setup.settings
    if _CALLS in settings.swept or settings.random or setup.token is not None:
        return
    profiles: dict[str, None] = {}
    types: dict[str, None] = {}
    count = 0
    for path in findings.paths:
        if path.kind not in ("except", "except-star") or path.reached != "never":
            continue
        fitting = {
            kind: name for name, raised in _RAISES.items() for kind in raised & {*path.types}
        }
        count += bool(fitting)
        types.update(dict.fromkeys(sorted(fitting)))
        profiles.update(dict.fromkeys(fitting[kind] for kind in sorted(fitting)))
    if count:
        options = " or ".join(f"--fail-function={name}" for name in profiles)
        wait = "that never ran waits" if count == 1 else "that never ran wait"
        yield (
            f"{plural(count, 'handler')} {wait} for {', '.join(types)}, which no failed "
            f"allocation has raised: try {options}"
        )


def _write_notes(
    tr: pytest.TerminalReporter, records: Iterable[TestRecord], *, untried: bool
) -> None:
    for record in records:
        for note in record.notes:
            if note.startswith(_UNTRIED) is untried:
                tr.write_line(f"{typed_node_id(tr.config, record.nodeid)}: {note}", yellow=True)
