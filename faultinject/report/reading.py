"""Reading a JSON report back, with an error that names the place if it is none of ours."""

from __future__ import annotations

import json
from typing import Any, TextIO

from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import SCHEMA
from faultinject.errors import UsageError

_OUTCOMES = {outcome.value for outcome in Outcome}
_CURE = "Give a file that --fail-alloc-report=json:FILE wrote"


def read_report(stream: TextIO, name: str) -> dict[str, Any]:
    """Read a report.

    Args:
        stream: where it is read from.
        name: what to call it in an error.

    Raises:
        UsageError: no JSON, no report, or a report of another schema version.
    """
    try:
        report = json.load(stream)
    except (ValueError, RecursionError) as error:
        raise UsageError("not JSON", value=name, where=str(error), cure=_CURE) from None
    if not isinstance(report, dict) or "schema" not in report:
        raise UsageError("not a faultinject report", value=name, cure=_CURE)
    if report["schema"] != SCHEMA:
        raise UsageError(
            "a report of another schema version",
            value=report["schema"],
            where=name,
            cure=f"This faultinject reads version {SCHEMA}",
        )
    _check(report, name)
    return report


def _check(report: dict[str, Any], name: str) -> None:
    """Look at every field that is rendered: a report may have been cut or edited."""
    try:
        for number, test in enumerate(report["tests"]):
            where = f"{name}: tests[{number}]"
            _expect(isinstance(test["nodeid"], str) and isinstance(test["sites"], int), where)
            _expect(_is_lines(test.get("notes", [])), f"{where}.notes")
            for place, trial in enumerate(test["trials"]):
                _check_trial(trial, f"{where}.trials[{place}]")
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            "a report with a part missing", value=name, where=repr(error), cure=_CURE
        ) from None


def _check_trial(trial: dict[str, Any], where: str) -> None:
    _expect(trial["outcome"] in _OUTCOMES, f"{where}.outcome")
    _expect(isinstance(trial["hit"], int), f"{where}.hit")
    _expect(isinstance(trial["replay"], str), f"{where}.replay")
    _expect(_is_lines(trial["leaks"]), f"{where}.leaks")
    _expect(_is_lines(trial.get("details", [])), f"{where}.details")
    _expect(isinstance(trial["capability"], str), f"{where}.capability")
    _expect(trial["error"] is None or isinstance(trial["error"], str), f"{where}.error")
    site = trial["site"]
    if site is not None:
        for field in ("file", "line", "function"):
            _expect(field in site, f"{where}.site.{field}")


def _is_lines(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(line, str) for line in value)


def _expect(truth: bool, where: str) -> None:
    if not truth:
        raise UsageError("a report with a wrong value", where=where, cure=_CURE)
