"""One test's result: the record of its sweep, carried by its own report.

Lives here: how a record travels on a `pytest.TestReport`, also between the
processes of pytest-xdist, and how a bad one looks under FAILURES.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from _pytest._code.code import ReprFileLocation, TerminalRepr
from _pytest._io import TerminalWriter

from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import TestRecord, TrialRecord
from pytest_faultinject.stacks import cut_stacks
from pytest_faultinject.words import colours_of, place_of, plural, replay_line

ATTRIBUTE = "faultinject"

# So many tracebacks of one test are shown in full; the rest is in the JSON report
# and under -vv.
SHOWN_TRACEBACKS = 3

# Of these the record says what is wrong afterwards, wherever the fault struck.
_DAMAGE = (Outcome.CORRUPTED, Outcome.LEAKED, Outcome.UNRAISABLE)


def attach(report: pytest.TestReport, record: TestRecord, config: pytest.Config) -> None:
    """Put a record on the call's report; bad trials make it a failure."""
    setattr(report, ATTRIBUTE, record.as_plain())
    if record.bad:
        report.outcome = "failed"
        report.longrepr = SweepRepr(record, config)


def attach_no_replay(report: pytest.TestReport, record: TestRecord) -> None:
    """Make a replay that could not run a failure: silence would look like a mended bug."""
    setattr(report, ATTRIBUTE, record.as_plain())
    report.outcome = "failed"
    report.longrepr = "nothing was replayed: " + "; ".join(record.notes or ["no trial was planned"])


def record_of(report: pytest.TestReport) -> TestRecord | None:
    """Give the record that a report carries, if it does."""
    plain: dict[str, Any] | None = getattr(report, ATTRIBUTE, None)
    return None if plain is None else TestRecord.from_plain(plain)


class SweepRepr(TerminalRepr):
    """What stands under FAILURES for a test whose error paths are wrong."""

    def __init__(self, record: TestRecord, config: pytest.Config) -> None:
        self._record = record
        self._config = config
        first = record.bad[0]
        counts = f"{len(record.bad)} bad of {plural(len(record.trials), 'trial')}"
        # The short summary takes its line from here.
        self.reprcrash = ReprFileLocation(
            first.file,
            first.line,
            f"{first.outcome.value.upper()} at {place_of(first)} ({counts})",
        )

    def toterminal(self, tw: TerminalWriter) -> None:
        """Write every bad trial: what failed, what became of it, how to run it again."""
        record = self._record
        tw.line("The test passes without faults. With one injected fault:")
        everything = self._config.get_verbosity() >= 2
        groups = [[group] for group in _alike(record.bad)]
        if not everything:
            groups = _of_one_cause(groups)
        for number, ((trial, *others), *elsewhere) in enumerate(groups):
            tw.line()
            _write_trial(tw, trial, full=everything or number < SHOWN_TRACEBACKS)
            tw.line(f"  replay: {replay_line(trial, record.nodeid, self._config)}")
            if elsewhere:
                more = others + [other for group in elsewhere for other in group]
                # The one that is farthest from the first says most about the rest.
                again = replay_line(more[-1], record.nodeid, self._config)
                tw.line(f"  and {_count_more(more)}; replay {'one' if more[1:] else 'it'}: {again}")
                continue
            for other in others:
                tw.line(f"  the same{_which_hit(other)}{_request(other)}")
                tw.line(f"  replay: {replay_line(other, record.nodeid, self._config)}")

    def __str__(self) -> str:
        import io

        stream = io.StringIO()
        self.toterminal(TerminalWriter(stream))
        return stream.getvalue().strip()


def _alike(trials: Iterable[TrialRecord]) -> list[list[TrialRecord]]:
    """Put real allocations, and calls, of one line that come to the same together.

    A line has many of them; of the model memory's requests it has one or two.
    """
    groups: dict[tuple[object, ...], list[TrialRecord]] = {}
    for number, trial in enumerate(trials):
        place = (trial.capability, trial.file, trial.line, trial.function)
        came_to = (trial.outcome, trial.error, *trial.leaks, None, *trial.details)
        alone = None if trial.domain or trial.fault else number
        groups.setdefault((place, came_to, alone), []).append(trial)
    return list(groups.values())


def _of_one_cause(groups: list[list[list[TrialRecord]]]) -> list[list[list[TrialRecord]]]:
    """Put those together that left the same behind, or broke the same, wherever they struck.

    One bug is met once for each call site on the way. An error alone is not enough: many
    end in the same ``MemoryError``, for many reasons.
    """
    found: dict[object, list[list[TrialRecord]]] = {}
    for number, (group,) in enumerate(groups):
        trial = group[0]
        left = (trial.outcome, *trial.leaks, None, *trial.details)
        error = None if trial.leaks else trial.error
        is_told = trial.outcome in _DAMAGE and (trial.leaks or trial.details)
        cause = (left, error) if is_told else number
        found.setdefault(cause, []).append(group)
    return list(found.values())


def _count_more(trials: list[TrialRecord]) -> str:
    """Give ``3 more with faults at cache.py:5, 7; ring.py:30``."""
    lines: dict[str, dict[int, None]] = {}
    for trial in trials:
        lines.setdefault(trial.file, {})[trial.line] = None
    places = "; ".join(f"{file}:{', '.join(map(str, sorted(at)))}" for file, at in lines.items())
    return f"{len(trials)} more with {'faults' if trials[1:] else 'a fault'} at {places}"


def _request(trial: TrialRecord) -> str:
    """Tell allocations and calls of one line apart; a request of the model memory is its line."""
    return f" ({trial.request})" if trial.domain or trial.fault else ""


def _write_trial(tw: TerminalWriter, trial: TrialRecord, *, full: bool) -> None:
    word = trial.outcome.value.upper()
    tw.write(word, bold=True, **colours_of(trial.outcome))
    tw.line(
        f" with a {trial.capability} fault at {place_of(trial)}{_which_hit(trial)}{_request(trial)}"
    )
    if trial.error and not any(line.endswith(trial.error) for line in trial.details):
        tw.line(f"  {trial.error}")
    for line in trial.leaks:
        tw.line(f"  left behind: {line}")
    for line in trial.details:
        tw.line(f"  {line}")
    if full:
        for line in cut_stacks(trial.text).rstrip().splitlines():
            tw.line(f"  | {line}".rstrip())
        for line in trial.output.rstrip().splitlines():
            tw.line(f"  > {line}".rstrip())


def _which_hit(trial: TrialRecord) -> str:
    persistent = ", and every call after it" if trial.persistent else ""
    return (f", hit {trial.hit}" if trial.hit > 1 else "") + persistent
