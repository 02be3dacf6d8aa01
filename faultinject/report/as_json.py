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
from faultinject.campaign.record import SCHEMA, TestRecord, count_outcomes

SCHEMA_FILE = Path(__file__).with_name("schema-1.json")


def as_json(records: Sequence[TestRecord], *, version: str) -> dict[str, Any]:
    """Give the whole report as plain values.

    Args:
        records: one per test.
        version: of faultinject, for the reader of the file.
    """
    counts = count_outcomes(records)
    return {
        "schema": SCHEMA,
        "faultinject": version,
        "python": platform.python_version(),
        "tests": [record.as_json() for record in records],
        "summary": {
            "tests": len(records),
            "sites": sum(record.sites for record in records),
            "trials": sum(counts.values()),
            "not_run": sum(record.not_run for record in records),
            "bad": sum(len(record.bad) for record in records),
            "known": sum(trial.known for record in records for trial in record.trials),
            **{outcome.value: counts[outcome] for outcome in Outcome},
        },
    }


def write_json(path: Path, records: Sequence[TestRecord], *, version: str) -> None:
    """Write the report to a file, whole or not at all."""
    text = json.dumps(as_json(records, version=version), indent=1, ensure_ascii=False) + "\n"
    partial = path.with_name(path.name + ".partial")
    # A name of a file may hold what is no character; JSON has an escape of that very form.
    partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    partial.replace(path)
