"""Merging: one report of several runs, as of shards, machines, or versions of Python.

A trial is the same trial where test and replay token are; of its outcomes the worse one
counts. An error path ran if it ran anywhere. Lives here: that. Not here: how a report is
read (`faultinject.report.reading`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import count_tried
from faultinject.errors import UsageError

# What decides the state of a path that several runs looked at: the first that any of them saw.
_STRENGTH = ("clean", "injected", "undecided", "never")

_VERDICTS = ("bad", "warning", "good")
_OUTCOMES = tuple(outcome.value for outcome in Outcome)


def merge(documents: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Give one report of several.

    Args:
        documents: checked documents of schema 1, at least one.
        names: what to call each of them in an error.

    Raises:
        UsageError: two of them are about different versions of one source file, so that a
            line of the one is not a line of the other.
    """
    if len(documents) == 1:
        return documents[0]
    digests = _digests(documents, names)
    tests = _tests(documents)
    per = "suite" if all(document.get("per") == "suite" for document in documents) else "test"
    merged: dict[str, Any] = {
        "schema": documents[0]["schema"],
        "faultinject": _each(documents, "faultinject"),
        "python": _each(documents, "python"),
        "per": per,
        "tests": tests,
        "sources": digests,
        "summary": _summary(tests, per),
    }
    with_paths = [document for document in documents if "error_paths" in document]
    if with_paths:
        merged["error_paths"] = _error_paths(with_paths)
    return merged


def _each(documents: Sequence[dict[str, Any]], key: str) -> str:
    return ", ".join(dict.fromkeys(str(document.get(key, "?")) for document in documents))


def _digests(documents: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, str]:
    """Give the digest of each file; refuse two of one file."""
    seen: dict[str, tuple[str, str]] = {}
    for document, name in zip(documents, names, strict=True):
        found = dict(document.get("sources", {}))
        for file in document.get("error_paths", {"files": ()})["files"]:
            if file.get("digest"):
                found[file["file"]] = file["digest"]
        for file, digest in found.items():
            other, where = seen.setdefault(file, (digest, name))
            if other != digest:
                raise UsageError(
                    "reports of different versions of a source file",
                    value=file,
                    where=f"{where}, {name}",
                    cure="Merge reports of one version of the code only",
                )
    return {file: digest for file, (digest, _) in sorted(seen.items())}


def _tests(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    merged: dict[str, dict[str, Any]] = {}
    for document in documents:
        for test in document["tests"]:
            kept = merged.setdefault(test["nodeid"], {**test, "trials": [], "notes": []})
            kept["sites"] = max(kept["sites"], test["sites"])
            if kept["baseline"] == "passed":
                kept["baseline"] = test["baseline"]
            if "not_run" in test:
                # What one run left out another may have run; nobody knows which ones.
                kept["not_run"] = min(kept.get("not_run", 0), test["not_run"])
            kept["runs_twice"] = kept.get("runs_twice", True) and test.get("runs_twice", True)
            kept["notes"] += [note for note in test.get("notes", ()) if note not in kept["notes"]]
            kept["trials"] += test["trials"]
    for test in merged.values():
        test["trials"] = _worst(test["trials"])
    return list(merged.values())


def _worst(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept: dict[str, dict[str, Any]] = {}
    for trial in trials:
        other = kept.setdefault(trial["replay"], trial)
        if _badness(trial) < _badness(other):
            kept[trial["replay"]] = trial
    return list(kept.values())


def _badness(trial: dict[str, Any]) -> tuple[int, bool, int]:
    verdict = trial.get("verdict", Outcome(trial["outcome"]).verdict().value)
    known = bool(trial.get("known")) or trial.get("interpreter") is not None
    return _VERDICTS.index(verdict), known, _OUTCOMES.index(trial["outcome"])


def _summary(tests: list[dict[str, Any]], per: str) -> dict[str, int]:
    trials = [trial for test in tests for trial in test["trials"]]
    reached = sum(test["sites"] for test in tests)
    counts = Counter(trial["outcome"] for trial in trials)
    return {
        "tests": len(tests),
        "sites": count_tried(trial["replay"] for trial in trials) if per == "suite" else reached,
        "trials": len(trials),
        "not_run": sum(test.get("not_run", 0) for test in tests),
        "bad": sum(_badness(trial)[:2] == (0, False) for trial in trials),
        "known": sum(bool(trial.get("known")) for trial in trials),
        "interpreter": sum(bool(trial.get("interpreter")) for trial in trials),
        **{outcome: counts[outcome] for outcome in _OUTCOMES},
    }


def _error_paths(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    files: dict[str, dict[str, Any]] = {}
    paths: dict[str, dict[tuple[object, ...], dict[str, Any]]] = {}
    for document in documents:
        for file in document["error_paths"]["files"]:
            files.setdefault(file["file"], file)
            known = paths.setdefault(file["file"], {})
            # Two paths may look the same, as two handlers on one line do: told apart by order.
            seen: Counter[tuple[object, ...]] = Counter()
            for path in file["paths"]:
                key = _key(path)
                seen[key] += 1
                kept = known.setdefault((*key, seen[key]), {**path, "entered_by": []})
                _join(kept, path)
    merged = [{**file, "paths": list(paths[name].values())} for name, file in sorted(files.items())]
    counts = Counter(path["reached"] for file in merged for path in file["paths"])
    decided = {state: counts[state] for state in ("clean", "injected", "never")}
    total = sum(decided.values())
    return {"files": merged, "total": total, **decided, "undecided": counts["undecided"]}


def _key(path: dict[str, Any]) -> tuple[object, ...]:
    names = ("line", "end_line", "kind", "function")
    return (*(path.get(name) for name in names), *path.get("types", ()))


def _join(kept: dict[str, Any], path: dict[str, Any]) -> None:
    kept["reached"] = min(kept["reached"], path["reached"], key=_STRENGTH.index)
    kept["entered_by"] += [
        token for token in path.get("entered_by", ()) if token not in kept["entered_by"]
    ]
    if "unreachable" in kept:
        kept["unreachable"] = kept["unreachable"] and path.get("unreachable", False)
