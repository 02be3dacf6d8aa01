"""The JSON report, schema version 1.

Lives here: the document's outer form. Not here: a trial's own form
(`faultinject.campaign.record`), and the schema that validates both
(``schema-1.json`` beside this file).
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import SCHEMA, TestRecord, count_outcomes, count_tried
from faultinject.report.source import digest_of_file
from faultinject.report.writing import write_file

SCHEMA_FILE = Path(__file__).with_name("schema-1.json")


def as_json(
    records: Sequence[TestRecord],
    *,
    version: str,
    error_paths: dict[str, Any] | None = None,
    root: Path | None = None,
    per: str = "test",
) -> dict[str, Any]:
    """Give the whole report as plain values.

    Args:
        records: one per test.
        version: of faultinject, for the reader of the file.
        error_paths: which error paths there are and which of them ran, or None if nobody
            looked.
        root: the folder that the records' files are relative to. With it the report says
            what the files are like now, so that a reader can tell if they changed since.
        per: ``test``, or ``suite``: each call site was tried in one test, and counts once.
    """
    counts = count_outcomes(records)
    sites = sum(record.sites for record in records)
    if per == "suite":
        sites = count_tried(trial.replay for record in records for trial in record.trials)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "faultinject": version,
        "python": platform.python_version(),
        "per": per,
        "tests": [record.as_json() for record in records],
        "summary": {
            "tests": len(records),
            "sites": sites,
            "trials": sum(counts.values()),
            "not_run": sum(record.not_run for record in records),
            "bad": sum(len(record.bad) for record in records),
            "known": sum(trial.known for record in records for trial in record.trials),
            "interpreter": sum(
                bool(trial.interpreter) for record in records for trial in record.trials
            ),
            **{outcome.value: counts[outcome] for outcome in Outcome},
        },
    }
    if error_paths is not None:
        document["error_paths"] = error_paths
    if root is not None:
        document["sources"] = _sources(records, root)
    return document


def _sources(records: Sequence[TestRecord], root: Path) -> dict[str, str]:
    files = {trial.file for record in records for trial in record.trials if trial.file}
    digests = {file: digest_of_file(root / file) for file in sorted(files)}
    return {file: digest for file, digest in digests.items() if digest is not None}


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a report to a file, whole or not at all.

    Raises:
        UsageError: it cannot be written there.
    """
    write_file(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
