"""GitHub Actions: annotations beside the lines of a change, and the job's summary.

An annotation is a line on standard output that the runner understands. Lives here: those
lines, and where the summary goes. Not here: the summary's text
(`faultinject.report.as_markdown`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from faultinject.report.as_markdown import as_markdown
from faultinject.report.findings import Findings, StruckTrial
from faultinject.report.writing import refused_writing

# The runner shows so many of each level for a step, and drops the rest without a word.
_MOST = 10


def annotate(findings: Findings, *, errors: bool = True) -> Iterator[str]:
    """Give the lines that the runner turns into annotations.

    Args:
        findings: the report.
        errors: leave out the bad trials if another program annotates failures already.
    """
    if errors:
        bad = [trial for trial in findings.trials if trial.fails_run]
        yield from (_error(trial) for trial in bad[:_MOST])
    never = [path for path in findings.paths if path.reached == "never"]
    for path in never[:_MOST]:
        where = f" in {path.function}" if path.function else ""
        yield _command(
            "warning",
            {"file": path.file, "line": path.line, "endLine": path.end_line},
            "error path never reached",
            f"No test and no injected fault has ever run: {path.label}{where}",
        )


def write_summary(findings: Findings, environment: Mapping[str, str] | None = None) -> str | None:
    """Add the report to the job's summary, where there is one.

    Args:
        findings: the report.
        environment: where to look for the file's name; that of this process if left out.

    Returns:
        The file, or None outside of a job.

    Raises:
        UsageError: the file cannot be written.
    """
    where = (os.environ if environment is None else environment).get("GITHUB_STEP_SUMMARY")
    if not where:
        return None
    path = Path(where)
    # Other steps of the job have written there before.
    with refused_writing(path), path.open("a", encoding="utf-8", errors="backslashreplace") as out:
        out.write(as_markdown(findings) + "\n")
    return where


def _error(trial: StruckTrial) -> str:
    place = {"file": trial.file, "line": trial.line} if trial.file else {}
    said = [trial.error, *trial.leaks, *trial.details]
    lines = [line for line in said if line]
    lines += [f"test: {trial.test}", f"replay: {trial.command}"]
    title = f"{trial.outcome.value} with a {trial.capability} fault"
    return _command("error", place, title, "\n".join(lines))


def _command(level: str, place: Mapping[str, object], title: str, message: str) -> str:
    properties = [f"{name}={_property(str(value))}" for name, value in place.items() if value]
    properties.append(f"title={_property(f'faultinject: {title}')}")
    return f"::{level} {','.join(properties)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
