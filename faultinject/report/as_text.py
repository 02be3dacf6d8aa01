"""The report as plain text: what ``faultinject report FILE.json`` prints.

Lives here: totals, and every bad trial with the line that replays it. Not here:
pytest's own section at the end of a run (`pytest_faultinject.summary`).
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from typing import Any

from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import count_tried, requested, say_defects, told_apart
from faultinject.report.findings import Findings
from faultinject.report.table import path_table


def as_text(report: dict[str, Any], *, everything: bool = False, missing: bool = False) -> str:
    """Render a report of schema 1, as `faultinject.report.reading.read_report` gives it.

    Args:
        report: the document.
        everything: also the trials that are good, those of known problems, and those
            that met a defect of CPython itself.
        missing: the table of error paths names the lines that were never reached.
    """
    trials = [trial for test in report["tests"] for trial in test["trials"]]
    defects = say_defects(str(trial.get("interpreter") or "") for trial in trials)
    findings = Findings.of(report)
    table = [*path_table(findings, missing=missing), ""] if findings.has_paths else []
    found = [*_tests(report, everything=everything), *table, _totals(report), *defects]
    return "\n".join(found)


def _tests(report: dict[str, Any], *, everything: bool) -> Iterator[str]:
    for test in report["tests"]:
        shown = [trial for trial in test["trials"] if everything or _is_bad(trial)]
        tokens = [trial["replay"] for trial in shown]
        places = told_apart([_place(trial) for trial in shown], tokens, list(map(_asked, shown)))
        lines = [line for at in zip(shown, places, strict=True) for line in _trial(*at)]
        lines += [f"  {note}" for note in test.get("notes", ())]
        if lines:
            yield test["nodeid"]
            yield from lines


def _is_bad(trial: dict[str, Any]) -> bool:
    excused = trial.get("known") or trial.get("interpreter")
    return trial.get("verdict", _verdict(trial)) == "bad" and not excused


def _place(trial: dict[str, Any]) -> str:
    site = trial["site"]
    place = f"{site['file']}:{site['line']} in {site['function']}" if site else "no call site"
    hit = f", hit {trial['hit']}" if trial["hit"] > 1 else ""
    return f"{trial['capability']} at {place}{hit}"


def _asked(trial: dict[str, Any]) -> str:
    unit, domain, caller, fault = (
        str(trial.get(name) or "") for name in ("unit", "domain", "caller", "fault")
    )
    return requested(trial.get("size") or 0, unit, domain, caller, fault)


def _trial(trial: dict[str, Any], place: str) -> Iterator[str]:
    own = trial.get("interpreter")
    known = " (known)" if trial.get("known") else ""
    known += f" (CPython: {own})" if own else ""
    error = f": {trial['error']}" if trial["error"] else ""
    outcome = trial["outcome"].upper()
    yield f"  {outcome:<11} {place}{known}{error}"
    if _is_bad(trial):
        yield from (f"              left behind: {line}" for line in trial["leaks"])
        yield from (f"              {line}" for line in trial.get("details", ()))
        yield f"              replay: pytest --fail-alloc-replay={shlex.quote(trial['replay'])}"


def _verdict(trial: dict[str, Any]) -> str:
    return Outcome(trial["outcome"]).verdict().value


def _totals(report: dict[str, Any]) -> str:
    trials = [trial for test in report["tests"] for trial in test["trials"]]
    counts = Counter(trial["outcome"] for trial in trials)
    parts = [
        f"{counts[outcome.value]} {outcome.value}"
        for outcome in reversed(Outcome)
        if counts[outcome.value]
    ]
    if report.get("per") == "suite":
        sites = count_tried(trial["replay"] for trial in trials)
    else:
        sites = sum(test["sites"] for test in report["tests"])
    return (
        f"{_plural(len(report['tests']), 'test')}, {_plural(sites, 'call site')}, "
        f"{_plural(len(trials), 'trial')}" + (f": {', '.join(parts)}" if parts else "")
    )


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
