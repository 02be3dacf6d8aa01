"""Campaigns of a small project in a folder of its own, run as a user would run them.

Lives here: starting one and reading its JSON report, and `JOURNAL`, a module with
which a test in that project writes down what ran in which process. Not here: any
test.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest

REPORT = "campaign.json"

# The capabilities of the model memory: how often CPython allocates is no test's to count.
MODEL = "--fail-alloc-spec=failslab;fail_page_alloc"

# The order of tests and their random state are a subject of their own.
FIXED_ORDER = ("-p", "no:randomly")

JOURNAL = '''
"""Writes down, across processes, what ran: one line for each note."""

import os
from pathlib import Path

PATH = Path(__file__).with_name("journal.txt")
FIRST = os.getpid()


def note(*words):
    place = "parent" if os.getpid() == FIRST else f"child-{os.getpid()}"
    with PATH.open("a", encoding="utf-8") as file:
        file.write(" ".join([place, *map(str, words)]) + "\\n")
'''


class Campaign:
    """One run of pytest with ``--fail-alloc``, and the report that it wrote."""

    def __init__(self, result: pytest.RunResult, report: dict[str, Any]) -> None:
        self.result = result
        self.text = result.stdout.str() + result.stderr.str()
        self.summary: dict[str, Any] = report["summary"]
        self.tests: dict[str, dict[str, Any]] = {test["nodeid"]: test for test in report["tests"]}

    def outcomes(self, nodeid: str) -> list[str]:
        """Name the outcomes of one test's trials, in order."""
        return [trial["outcome"] for trial in self.tests[nodeid]["trials"]]

    def tokens(self, nodeid: str) -> list[str]:
        """Give the replay tokens of one test's trials, in order."""
        return [trial["replay"] for trial in self.tests[nodeid]["trials"]]

    @property
    def all_run_twice(self) -> bool:
        """Whether every test passed its census and could be run again in one process."""
        return all(
            test["runs_twice"] and test["baseline"] == "passed" and not test["notes"]
            for test in self.tests.values()
        )


def run_campaign(
    pytester: pytest.Pytester, *arguments: str, order: tuple[str, ...] = FIXED_ORDER
) -> Campaign:
    """Run pytest on the project with ``--fail-alloc`` and read its report.

    Only the model memory fails, unless the arguments say what does.

    Args:
        pytester: the project's folder.
        arguments: more of the command line.
        order: options that settle the order of tests.
    """
    named = any(item.startswith(("--fail-alloc-spec", "--fail-alloc-replay")) for item in arguments)
    result = pytester.runpytest_subprocess(
        "--fail-alloc" if named else MODEL,
        "--fail-alloc-report=term",
        f"--fail-alloc-report=json:{REPORT}",
        *order,
        *arguments,
    )
    return campaign_of(pytester, result)


def campaign_of(pytester: pytest.Pytester, result: pytest.RunResult) -> Campaign:
    """Read the report that a finished run has written."""
    path = pytester.path / REPORT
    assert path.exists(), result.stdout.str() + result.stderr.str()
    report = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return Campaign(result, report)


def read_journal(pytester: pytest.Pytester) -> dict[str, list[str]]:
    """Give what each process noted: ``parent`` first, then ``child-PID`` by PID."""
    notes: defaultdict[str, list[str]] = defaultdict(list)
    for line in (pytester.path / "journal.txt").read_text(encoding="utf-8").splitlines():
        place, _, words = line.partition(" ")
        notes[place].append(words)
    return dict(notes)


def children_of(notes: dict[str, list[str]]) -> list[list[str]]:
    """Give the notes of each child process: of the census first, then of the trials."""
    return [words for place, words in notes.items() if place != "parent"]
