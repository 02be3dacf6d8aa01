"""The templates of the HTML report, and what they may ask.

Lives here: jinja2's environment, which escapes everything, and the words and numbers that
the templates in ``html/`` share. Not here: what is on a page (`faultinject.report.page`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from faultinject.campaign.outcome import Outcome
from faultinject.report.counts import PathCounts
from faultinject.report.findings import STATES, FileFindings, Findings
from faultinject.report.page import Detail, count_outcomes, make_page, origins
from faultinject.report.picture import LEFT, RIGHT, WIDTH, draw
from faultinject.report.source import Source, State
from faultinject.report.visible import visible

FOLDER = Path(__file__).with_name("html")

# A sign beside the colour, for who does not see it, and the words.
STATE_WORDS = {
    "clean": ("\N{CHECK MARK}", "ran without faults"),
    "injected": ("\N{BLACK DIAMOND}", "ran only under injection"),
    "never": ("\N{MULTIPLICATION SIGN}", "never ran"),
    "undecided": ("?", "not known whether it ran"),
}

_BAD_TRIALS = 50


class Templates:
    """Renders the pages of one report.

    Args:
        findings: the report.
        page_name: names the page of a source file.
    """

    def __init__(self, findings: Findings, page_name: Callable[[str], str]) -> None:
        self._findings = findings
        names = {file: page_name(file) for file in findings.files}
        environment = Environment(
            loader=FileSystemLoader(FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_shown,
        )
        environment.globals.update(
            counts_of=PathCounts.of,
            findings=findings,
            origins=origins,
            outcomes_of=count_outcomes,
            page_of=names.get,
            plural=_plural,
            signs=STATE_WORDS,
            states=STATES,
            verdict_of=_verdict,
        )
        self._index = environment.get_template("index.html.j2")
        self._source = environment.get_template("source.html.j2")

    def index(self, rows: int) -> str:
        """Render the index, with at most so many files; the ones to look at come first."""
        findings = self._findings
        files = sorted(findings.files.values(), key=_urgency)
        bad = [trial for trial in findings.trials if trial.fails_run]
        told = [test for test in findings.tests if test.get("notes") or not _passed(test)]
        return self._index.render(
            bad=bad[: min(rows, _BAD_TRIALS)],
            bad_count=len(bad),
            counts=PathCounts.of(findings.paths),
            files=files[:rows],
            left_out=len(files[rows:]),
            told=told[:rows],
        )

    def source(
        self, file: FileFindings, source: Source, html: Sequence[Markup], detail: Detail
    ) -> str:
        """Render the page of one source file."""
        return self._source.render(
            page=make_page(file, source, html, detail),
            detail=detail,
            notice=_notice(source.state),
            picture=draw(file),
            across={"left": LEFT, "right": RIGHT, "width": WIDTH},
        )


def _shown(value: Any) -> Any:
    return visible(value) if type(value) is str else value


def _passed(test: dict[str, Any]) -> bool:
    return bool(test["baseline"] == "passed")


def _urgency(file: FileFindings) -> tuple[bool, int, str]:
    bad = sum(trial.fails_run for trial in file.trials)
    return not bad, -PathCounts.of(file.paths).never, file.name


def _verdict(outcome: Outcome) -> str:
    return outcome.verdict().value


def _notice(state: State) -> str | None:
    if state is State.CHANGED:
        return (
            "The source has changed since the run, so it is not shown: its lines are not the "
            "lines of this report. Run the tests again, or give the folder of the sources "
            "that ran."
        )
    if state is State.MISSING:
        return (
            "The source could not be read where this report was made, so it is not shown. "
            "Render the report again with --root=DIR."
        )
    if state is State.UNKNOWN:
        return "The report does not say what the source was like in the run; it may have changed."
    return None


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
