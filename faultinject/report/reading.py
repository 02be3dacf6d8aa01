"""Reading a JSON report back, with an error that names the place if it is none of ours."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import SCHEMA
from faultinject.errors import UsageError
from faultinject.report.findings import KINDS, LEFT, STATES

_OUTCOMES = {outcome.value for outcome in Outcome}

# In lines: a number above it is none of a line, and no page could have it.
_LONGEST_SOURCE = 10_000_000

_CURE = "Give a file that --fail-alloc-report=json:FILE wrote"


def read_report_file(name: str) -> dict[str, Any]:
    """Read a report from a file; ``-`` is standard input.

    Raises:
        UsageError: the file cannot be read, or `read_report` refuses it.
    """
    if name == "-":
        return read_report(sys.stdin, "standard input")
    try:
        with open(name, encoding="utf-8") as stream:
            return read_report(stream, name)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("a report cannot be read", value=name, where=str(error)) from None


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
            _expect(isinstance(test, dict), where)
            _expect(isinstance(test["nodeid"], str) and isinstance(test["sites"], int), where)
            _expect(isinstance(test["baseline"], str), f"{where}.baseline")
            _expect(isinstance(test.get("not_run", 0), int), f"{where}.not_run")
            _expect(_is_lines(test.get("notes", [])), f"{where}.notes")
            for place, trial in enumerate(test["trials"]):
                _check_trial(trial, f"{where}.trials[{place}]")
        _expect(_is_digests(report.get("sources", {})), f"{name}: sources")
        if "error_paths" in report:
            for number, file in enumerate(report["error_paths"]["files"]):
                _check_paths(file, f"{name}: error_paths.files[{number}]")
    except KeyError as error:
        raise UsageError(
            "a report with a part missing", value=error.args[0], where=name, cure=_CURE
        ) from None
    except (TypeError, AttributeError) as error:
        raise UsageError(
            "a report with a wrong value", value=str(error), where=name, cure=_CURE
        ) from None


def _check_trial(trial: dict[str, Any], where: str) -> None:
    _expect(isinstance(trial, dict), where)
    _expect(trial["outcome"] in _OUTCOMES, f"{where}.outcome")
    _expect(isinstance(trial["hit"], int), f"{where}.hit")
    _expect(isinstance(trial["replay"], str), f"{where}.replay")
    _expect(_is_lines(trial["leaks"]), f"{where}.leaks")
    _expect(_is_lines(trial.get("details", [])), f"{where}.details")
    _expect(isinstance(trial["capability"], str), f"{where}.capability")
    _expect(trial["error"] is None or isinstance(trial["error"], str), f"{where}.error")
    site = trial["site"]
    if site is not None:
        _expect(isinstance(site["file"], str), f"{where}.site.file")
        _expect(_is_line(site.get("line")), f"{where}.site.line")
        _expect(isinstance(site.get("function"), str), f"{where}.site.function")
    _expect(trial.get("verdict", "bad") in ("good", "warning", "bad"), f"{where}.verdict")
    for field in ("interpreter", "unit", "domain", "caller", "fault", "traceback"):
        _expect(isinstance(trial.get(field), str | None), f"{where}.{field}")
    _expect(isinstance(trial.get("size"), int | None), f"{where}.size")
    caught = trial.get("caught")
    if isinstance(caught, dict):
        _expect({"file", "line", "kind"} <= caught.keys(), f"{where}.caught")
        _expect(not any(isinstance(part, dict | list) for part in caught.values()), where)
    else:
        _expect(caught in (None, LEFT), f"{where}.caught")


def _check_paths(file: dict[str, Any], where: str) -> None:
    _expect(isinstance(file, dict), where)
    _expect(isinstance(file["file"], str), f"{where}.file")
    _expect(isinstance(file.get("digest"), str | None), f"{where}.digest")
    _expect(isinstance(file.get("unreadable"), str | None), f"{where}.unreadable")
    for number, path in enumerate(file["paths"]):
        at = f"{where}.paths[{number}]"
        _expect(_is_line(path["line"]) and _is_line(path["end_line"]), f"{at}.line")
        _expect(path["kind"] in KINDS, f"{at}.kind")
        _expect(path["reached"] in STATES, f"{at}.reached")
        _expect(isinstance(path.get("function", ""), str), f"{at}.function")
        _expect(_is_lines(path.get("types", [])), f"{at}.types")
        _expect(_is_lines(path.get("entered_by", [])), f"{at}.entered_by")


def _is_line(value: object) -> bool:
    return isinstance(value, int) and 0 <= value <= _LONGEST_SOURCE


def _is_digests(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(digest, str) for digest in value.values())


def _is_lines(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(line, str) for line in value)


def _expect(truth: bool, where: str) -> None:
    if not truth:
        raise UsageError("a report with a wrong value", where=where, cure=_CURE)
