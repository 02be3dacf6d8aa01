"""The report as Markdown: a job's summary on GitHub, or a comment.

Lives here: the text, with everything escaped that Markdown or HTML would take for its own.
Not here: where it goes (`faultinject.report.github`).
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator

from faultinject.campaign.outcome import Outcome
from faultinject.report.counts import PathCounts
from faultinject.report.findings import Findings, StruckTrial, span_text
from faultinject.report.table import total_line

# GitHub drops a summary above 1 MiB as a whole.
_MOST_ROWS = 200
_MOST_TRIALS = 50


def as_markdown(findings: Findings) -> str:
    """Give totals, the trials that failed the run, and the error paths by file."""
    return "\n".join([*_totals(findings), *_failures(findings), *_paths(findings)])


def _totals(findings: Findings) -> Iterator[str]:
    counts = Counter(trial.outcome for trial in findings.trials)
    yield "## Fault injection"
    yield ""
    outcomes = ", ".join(
        f"{counts[outcome]} {_text(outcome.value)}"
        for outcome in reversed(Outcome)
        if counts[outcome]
    )
    tests, trials = len(findings.tests), len(findings.trials)
    yield f"{tests} tests, {trials} trials" + (f": {outcomes}" if outcomes else "")
    if findings.has_paths:
        yield ""
        yield _text(total_line(findings))
    yield ""


def _failures(findings: Findings) -> Iterator[str]:
    bad = [trial for trial in findings.trials if trial.fails_run]
    if not bad:
        return
    yield f"### {len(bad)} bad"
    yield ""
    yield "| outcome | fault | test | what happened |"
    yield "|---|---|---|---|"
    for trial in bad[:_MOST_TRIALS]:
        yield _failure(trial)
    yield ""
    if len(bad) > _MOST_TRIALS:
        yield f"{len(bad) - _MOST_TRIALS} more are in the other reports."
        yield ""
    yield "<details><summary>Replay</summary>"
    yield ""
    yield "<pre>"
    yield from (html.escape(_one_line(trial.command)) for trial in bad[:_MOST_TRIALS])
    yield "</pre>"
    yield "</details>"
    yield ""


def _failure(trial: StruckTrial) -> str:
    place = f"{trial.file}:{trial.line} {trial.function}" if trial.file else "no call site"
    said = next(iter([*trial.leaks, *trial.details, trial.error]), None) or ""
    cells = (
        trial.outcome.value.upper(),
        f"{trial.capability} at {place}",
        trial.test,
        said[:300],
    )
    return f"| {' | '.join(map(_text, cells))} |"


def _paths(findings: Findings) -> Iterator[str]:
    files = [file for file in findings.files.values() if file.paths]
    if not files:
        return
    yield "### Error paths"
    yield ""
    yield "| file | paths | clean | injected | never | reached | never reached |"
    yield "|---|--:|--:|--:|--:|--:|---|"
    for file in files[:_MOST_ROWS]:
        counts = PathCounts.of(file.paths)
        spans = sorted({(p.line, p.end_line) for p in file.paths if p.reached == "never"})
        lines = ", ".join(span_text(*span) for span in spans[:40]) + (
            ", …" if len(spans) > 40 else ""
        )
        yield (
            f"| {_text(file.name)} | {counts.total} | {counts.clean} | {counts.injected} "
            f"| {counts.never} | {counts.shown_percent} | {lines} |"
        )
    yield ""
    if len(files) > _MOST_ROWS:
        yield f"{len(files) - _MOST_ROWS} more files are in the other reports."
        yield ""


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _text(text: str) -> str:
    """Escape a text for a cell: neither Markdown nor HTML, no mention of a user or an issue."""
    quiet = _one_line(text).replace("&", "&amp;").replace("#", "&#35;").replace("@", "&#64;")
    quiet = quiet.replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", quiet)
