"""SARIF 2.1.0, for code scanning: what failed at which line, and what never ran.

One result stands for all trials of one call site that came to the same, and for each error
path that was never reached. A result's fingerprint does not know line numbers, so that an
edit elsewhere in the file leaves it the same result. Source: OASIS SARIF 2.1.0.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from faultinject.campaign.outcome import Outcome
from faultinject.report.findings import Findings, FoundPath, StruckTrial

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_HOME = "%SRCROOT%"
_NEVER = "error-path-never-reached"

# What a result of each outcome says about the code; the outcomes that say nothing are left out.
_MEANINGS = {
    Outcome.CRASHED: "The process dies when this allocation fails",
    Outcome.HUNG: "The code hangs when this allocation fails",
    Outcome.CORRUPTED: "State is damaged after this allocation failed",
    Outcome.LEAKED: "Something is left behind when this allocation fails",
    Outcome.UNRAISABLE: "An error is lost when this allocation fails",
    Outcome.FAILED: "The error path after this allocation is wrong",
    Outcome.PROPAGATED: "The error reaches the caller when this allocation fails",
}


def as_sarif(findings: Findings, root: Path) -> str:
    """Give the report as the text of a SARIF file.

    Args:
        findings: the report.
        root: the folder that its files are relative to.
    """
    results = [*_failures(findings), *_never_reached(findings)]
    _add_fingerprints(results)
    rules = sorted({result["ruleId"] for result in results})
    run = {
        "tool": {
            "driver": {
                "name": "faultinject",
                "version": findings.version,
                "rules": [_rule(name) for name in rules],
            }
        },
        "originalUriBaseIds": {_HOME: {"uri": root.resolve().as_uri().rstrip("/") + "/"}},
        "columnKind": "unicodeCodePoints",
        "results": [{**result, "ruleIndex": rules.index(result["ruleId"])} for result in results],
    }
    document = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _rule(name: str) -> dict[str, Any]:
    if name == _NEVER:
        text, level = "An error path that no test and no injected fault has ever run", "note"
    else:
        text, level = _MEANINGS[Outcome(name)], "error"
    return {
        "id": name,
        "shortDescription": {"text": text},
        "defaultConfiguration": {"level": level},
    }


def _failures(findings: Findings) -> Iterator[dict[str, Any]]:
    groups: dict[tuple[object, ...], list[StruckTrial]] = {}
    for trial in findings.trials:
        if trial.verdict == "bad" and trial.file and trial.outcome in _MEANINGS:
            key = (trial.file, trial.line, trial.function, trial.capability, trial.outcome)
            groups.setdefault((*key, trial.known, trial.interpreter), []).append(trial)
    for trials in groups.values():
        yield _failure(trials)


def _failure(trials: list[StruckTrial]) -> dict[str, Any]:
    first = trials[0]
    tests = sorted({trial.test for trial in trials})
    text = f"{_MEANINGS[first.outcome]}: {first.outcome.value} with a {first.capability} fault"
    text += f" in {first.function}." if first.function else "."
    for line in [first.error, *first.leaks, *first.details]:
        text += f"\n{line}" if line else ""
    text += f"\nTest: {tests[0]}" + (f" and {len(tests) - 1} more" if len(tests) > 1 else "")
    text += f"\nReplay: {first.command}"
    result: dict[str, Any] = {
        "ruleId": first.outcome.value,
        "level": "note" if first.interpreter else "error",
        "message": {"text": text},
        "locations": [_location(first.file, first.line, first.line, first.function)],
        "occurrenceCount": len(trials),
        "properties": {"capability": first.capability, "tests": tests},
    }
    entered = {id(path): path for trial in trials for path in trial.entered}
    if entered:
        result["relatedLocations"] = [
            {
                **_location(path.file, path.line, path.end_line, path.function),
                "id": number,
                "message": {"text": f"entered this error path: {path.label}"},
            }
            for number, path in enumerate(entered.values(), 1)
        ]
    if first.known:
        reason = "listed in the known-problems file"
        result["suppressions"] = [{"kind": "external", "justification": reason}]
    return result


def _never_reached(findings: Findings) -> Iterator[dict[str, Any]]:
    for path in findings.paths:
        if path.reached == "never":
            yield {
                "ruleId": _NEVER,
                "level": "note",
                "message": {"text": _never_text(path)},
                "locations": [_location(path.file, path.line, path.end_line, path.function)],
                "properties": {"kind": path.kind},
            }


def _never_text(path: FoundPath) -> str:
    where = f" in {path.function}" if path.function else ""
    return f"Never ran, with or without a fault: {path.label}{where}."


def _location(file: str, line: int, end_line: int, function: str) -> dict[str, Any]:
    # A name may hold what is no character.
    uri = quote(file.replace("\\", "/"), errors="backslashreplace")
    artifact = {"uri": uri, "uriBaseId": _HOME}
    if file.startswith("/"):
        artifact = {"uri": f"file://{uri}"}
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": artifact}}
    if line > 0:
        region = {"startLine": line, "endLine": max(line, end_line)}
        location["physicalLocation"]["region"] = region
    if function:
        location["logicalLocations"] = [{"fullyQualifiedName": function, "kind": "function"}]
    return location


def _add_fingerprints(results: list[dict[str, Any]]) -> None:
    """Name each result by what it is about; the lines only say which of several comes first."""
    seen: Counter[tuple[object, ...]] = Counter()
    for result in sorted(results, key=_start):
        place = result["locations"][0]
        function = place.get("logicalLocations", [{}])[0].get("fullyQualifiedName", "")
        artifact = place["physicalLocation"]["artifactLocation"]["uri"]
        about = (result["ruleId"], artifact, function, *sorted(_about(result)))
        seen[about] += 1
        text = "\0".join(map(str, (*about, seen[about])))
        digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:32]
        result["partialFingerprints"] = {"faultinject/v1": digest}


def _about(result: dict[str, Any]) -> Iterator[str]:
    for name in ("capability", "kind"):
        if name in result["properties"]:
            yield str(result["properties"][name])


def _start(result: dict[str, Any]) -> int:
    region = result["locations"][0]["physicalLocation"].get("region", {})
    return int(region.get("startLine", 0))
