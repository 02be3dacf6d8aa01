"""Every outcome, from a test that earns it: one run of pytest, a test for each case in it."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from campaigns import Campaign
from hostile_cases import ENDINGS, SPECIAL
from outcome_cases import ANSWERS, PREAMBLE
from projects import run_in

from faultinject.campaign.outcome import Outcome, Verdict

CASES = ANSWERS | ENDINGS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outcomes")


@pytest.fixture(scope="module")
def campaign(folder: Path) -> Campaign:
    """One run over all cases; only the slab is failed, so that each call is one site."""
    sources = [PREAMBLE, *(dedent(case.source) for case in CASES.values())]
    return run_in(
        folder,
        {"test_cases.py": "\n\n".join(sources), "test_special.py": PREAMBLE + SPECIAL},
        "--fail-alloc-spec=failslab",
        "-v",
    )


def trials_of(campaign: Campaign, name: str) -> list[dict[str, Any]]:
    trials: list[dict[str, Any]] = campaign.tests[f"test_cases.py::test_{name}"]["trials"]
    return trials


def what_it_did(trial: dict[str, Any]) -> str:
    return "\n".join([str(trial["error"]), *trial["leaks"], *trial["details"]])


@pytest.mark.parametrize("name", CASES)
def test_each_way_to_end_has_its_outcome(campaign: Campaign, name: str) -> None:
    case = CASES[name]

    trials = trials_of(campaign, name)

    assert [trial["outcome"] for trial in trials] == case.outcomes.split()
    assert case.said in what_it_did(trials[-1])


def test_every_outcome_that_there_is_has_a_case() -> None:
    earned = {outcome for case in CASES.values() for outcome in case.outcomes.split()}

    assert earned == {outcome.value for outcome in Outcome}


@pytest.mark.parametrize("name", CASES)
def test_a_test_fails_if_one_of_its_trials_is_bad_and_passes_otherwise(
    campaign: Campaign, name: str
) -> None:
    verdicts = {Outcome(word).verdict() for word in CASES[name].outcomes.split()}

    expected = "FAILED" if Verdict.BAD in verdicts else "PASSED"

    campaign.result.stdout.fnmatch_lines([f"test_cases.py::test_{name} {expected} (*trial*)*"])


def test_the_run_goes_on_after_every_one_of_them_and_ends_with_status_1(
    campaign: Campaign,
) -> None:
    counts = campaign.result.parseoutcomes()

    assert campaign.result.ret == 1
    assert counts["passed"] + counts["failed"] + counts["skipped"] == len(CASES) + 5
    assert campaign.result.errlines == []


def test_a_child_that_a_trial_left_is_ended_with_it(campaign: Campaign, folder: Path) -> None:
    assert campaign.outcomes("test_cases.py::test_leaked_child") == ["leaked"]
    pids = [int(line) for line in (folder / "children").read_text().split()]

    alive = [pid for pid in pids if os.path.exists(f"/proc/{pid}")]

    assert len(pids) == 5  # the run that counts, the census' two, the trial and its re-run
    assert alive == []


def test_a_dead_trials_stack_begins_where_it_died_and_ends_at_the_test(
    campaign: Campaign,
) -> None:
    lines = campaign.result.outlines
    line = trials_of(campaign, "abort")[0]["site"]["line"]
    start = lines.index(f"CRASHED with a failslab fault at test_cases.py:{line} in test_abort")

    stack = lines[start : next(at for at in range(start, len(lines)) if "replay:" in lines[at])]

    assert stack[1] == "  killed by SIGABRT"
    assert [line.rpartition(" in ")[2] for line in stack if 'File "' in line] == ["test_abort"]


def test_of_much_output_the_last_part_is_shown(campaign: Campaign) -> None:
    assert "x" * 1000 in campaign.text
    assert len(campaign.text) < 1_000_000


@pytest.mark.parametrize(
    ("name", "baseline", "note"),
    [
        (
            "never_runs_again",
            "failed when run again without a fault: AssertionError: it has run before",
            "no trial was run: the test failed when run again without a fault",
        ),
        (
            "dies_when_run_again",
            "the clean census run exited with status 3 without a report",
            "no trial was run: the clean census run exited with status 3",
        ),
    ],
)
def test_a_test_that_cannot_be_run_again_gets_no_trial_and_the_summary_says_why(
    campaign: Campaign, name: str, baseline: str, note: str
) -> None:
    nodeid = f"test_special.py::test_that_{name}"

    record = campaign.tests[nodeid]

    assert record["baseline"].startswith(baseline)
    assert record["trials"] == []
    campaign.result.stdout.fnmatch_lines([f"{nodeid} PASSED*", f"{nodeid}: {note}*"])


def test_where_a_test_runs_only_once_in_a_process_the_re_run_is_off_and_the_summary_says_so(
    campaign: Campaign,
) -> None:
    nodeid = "test_special.py::test_that_runs_once_in_a_process"

    record = campaign.tests[nodeid]

    assert record["runs_twice"] is False
    assert campaign.outcomes(nodeid) == ["recovered"]
    campaign.result.stdout.fnmatch_lines(
        [f"{nodeid}: the test cannot be run twice in one process, so no trial was run again"]
    )


def test_a_test_that_does_not_pass_by_itself_is_not_tried(campaign: Campaign) -> None:
    tried = {nodeid.partition("::")[2] for nodeid in campaign.tests}

    assert "test_that_fails_anyhow" not in tried
    assert "test_that_is_skipped" not in tried
    campaign.result.stdout.fnmatch_lines(
        ["test_special.py::test_that_fails_anyhow FAILED*", "*AssertionError: on its own*"]
    )


def test_the_summary_names_tests_that_do_not_do_the_same_twice(campaign: Campaign) -> None:
    shown = "the test does not do the same twice (first: test_cases.py:*"

    campaign.result.stdout.fnmatch_lines_random(
        [
            f"*::test_failure_before_the_fault: 1 trial failed before the fault struck: {shown}",
            f"*::test_fault_out_of_reach: 1 trial never reached the call site: {shown}",
        ]
    )
