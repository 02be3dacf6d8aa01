"""Random mode: a SPEC with a probability, a seed, and trials that can be had again."""

from __future__ import annotations

import re
from typing import Any

import pytest
from campaigns import Campaign
from projects import paste, run_apart, run_here

pytestmark = pytest.mark.usefixtures("alone")

TEST = """
import faultinject as fi


def test_it():
    made = []
    for _ in range(6):
        got = fi.kmalloc(64, fi.GFP_KERNEL)
        made.append(got)
    failed = [at for at, got in enumerate(made) if got is None]
    for got in made:
        fi.kfree(got)
    assert not failed, failed


def test_that_allocates_nothing():
    pass
"""

NODE = "test_it.py::test_it"
HALF = "--fail-alloc-spec=failslab:probability=50,times=-1"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(test_it=TEST)
    return pytester


def findings(campaign: Campaign) -> list[dict[str, Any]]:
    return [trial | {"duration": 0} for trial in campaign.tests[NODE]["trials"]]


def seed_in_header(campaign: Campaign) -> str:
    header = next(line for line in campaign.result.outlines if line.startswith("faultinject:"))
    found = re.search(r"; seed (\d+)$", header)
    assert found is not None, header
    return found[1]


def test_each_test_gets_the_trials_that_were_asked_for_each_with_its_number(
    project: pytest.Pytester,
) -> None:
    campaign = run_here(project, HALF, "--fail-alloc-trials=3", "--fail-alloc-seed=5")

    assert campaign.tokens(NODE) == [
        f"1|random|failslab:probability=50,times=-1|5|{number}|random|{NODE}" for number in range(3)
    ]
    assert len(campaign.tests["test_it.py::test_that_allocates_nothing"]["trials"]) == 3
    assert [trial["hit"] for trial in campaign.tests[NODE]["trials"]] == [0, 0, 0]


def test_twenty_trials_are_made_if_nobody_says_how_many(project: pytest.Pytester) -> None:
    assert len(run_here(project, HALF).tests[NODE]["trials"]) == 20


def test_the_header_shows_the_seed_with_which_the_same_trials_come_again(
    project: pytest.Pytester,
) -> None:
    given = (HALF, "--fail-alloc-trials=6")

    first = run_here(project, *given)
    again = run_here(project, *given, f"--fail-alloc-seed={seed_in_header(first)}")
    other = run_here(project, *given)

    assert findings(again) == findings(first)
    assert seed_in_header(again) == seed_in_header(first)
    assert seed_in_header(other) != seed_in_header(first)
    assert [t["error"] for t in findings(other)] != [t["error"] for t in findings(first)]


def test_the_trials_of_one_series_differ(project: pytest.Pytester) -> None:
    campaign = run_here(project, HALF, "--fail-alloc-seed=5", "--fail-alloc-trials=8")

    assert len({trial["error"] for trial in findings(campaign)}) > 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["--fail-alloc-jobs=2"],
        ["-k", "not nothing"],
        ["--fail-alloc-trials=9"],
        ["--fail-alloc-isolation=none"],
    ],
    ids=["jobs", "selection", "more trials", "isolation"],
)
def test_a_trial_does_not_depend_on_what_else_is_run(
    project: pytest.Pytester, arguments: list[str]
) -> None:
    given = (HALF, "--fail-alloc-seed=5")

    alone = run_here(project, *given, "--fail-alloc-trials=6")
    among = run_here(project, *given, "--fail-alloc-trials=6", *arguments)

    assert findings(among)[:6] == findings(alone)


def test_a_pasted_line_gives_the_same_random_trial_each_time(project: pytest.Pytester) -> None:
    campaign = run_apart(project, HALF, "-k", "test_it", "--fail-alloc-trials=2", "-v")
    lines = [line for line in campaign.result.outlines if line.startswith("  replay: ")]
    shown = [line for line in campaign.result.outlines if line.startswith("  FAILED ")]

    for line, trial in zip(lines, shown, strict=True):
        pasted = [paste(line.removeprefix("  replay: "), project.path) for _ in range(2)]

        for ended in pasted:
            assert ended.returncode == 1
            assert [x for x in ended.stdout.splitlines() if x.startswith("  FAILED ")] == [trial]


@pytest.mark.parametrize(
    ("knobs", "failed"),
    [
        ("", "[0]"),
        (",times=-1", "[0, 1, 2, 3, 4, 5]"),
        (",times=2", "[0, 1]"),
        (",interval=2,times=-1", "[1, 3, 5]"),
        (",space=128,times=-1", "[1, 2, 3, 4, 5]"),
    ],
)
def test_the_knobs_are_the_kernels(project: pytest.Pytester, knobs: str, failed: str) -> None:
    spec = f"--fail-alloc-spec=failslab:probability=100{knobs}"

    campaign = run_here(project, spec, "--fail-alloc-trials=1")

    (trial,) = campaign.tests[NODE]["trials"]
    assert trial["outcome"] == "failed"
    assert f"AssertionError: {failed}" in trial["error"]


def test_a_trial_that_fails_nothing_has_no_site_and_is_no_matter_for_a_warning(
    project: pytest.Pytester,
) -> None:
    campaign = run_here(project, "--fail-alloc-spec=failslab:probability=0", "-v")

    assert {(t["outcome"], t["site"]) for t in campaign.tests[NODE]["trials"]} == {
        ("not_reached", None)
    }
    assert campaign.result.ret == 0
    assert "does not do the same" not in campaign.text
    campaign.result.stdout.fnmatch_lines(["  NOT_REACHED random at no call site"])


def test_a_capability_can_be_swept_beside_another_one_at_random(project: pytest.Pytester) -> None:
    campaign = run_here(
        project,
        "--fail-alloc-spec=fail_page_alloc;failslab:probability=100",
        "--fail-alloc-trials=2",
        "--fail-alloc-seed=1",
    )

    planned, *random = campaign.tests[NODE]["trials"]
    assert (planned["capability"], planned["hit"]) == ("fail_page_alloc", 1)
    assert [(trial["capability"], trial["hit"]) for trial in random] == [("failslab", 0)] * 2


def test_the_limit_of_trials_counts_random_ones_as_well(project: pytest.Pytester) -> None:
    campaign = run_here(project, HALF, "--fail-alloc-max=3", "-k", "test_it")

    assert campaign.summary["trials"] == 6  # two tests
    assert campaign.summary["not_run"] == 34


def test_all_shards_together_make_the_whole_series_once(project: pytest.Pytester) -> None:
    given = (HALF, "--fail-alloc-seed=5", "--fail-alloc-trials=7")

    whole = run_here(project, *given)
    parts = [run_here(project, *given, f"--fail-alloc-shard={part}/3") for part in (1, 2, 3)]

    together = [trial for part in parts for trial in findings(part)]
    assert sorted(together, key=lambda trial: trial["replay"]) == sorted(
        findings(whole), key=lambda trial: trial["replay"]
    )


def test_a_mark_can_ask_for_random_trials_of_one_test(pytester: pytest.Pytester) -> None:
    mark = '@pytest.mark.fail_alloc("failslab", probability=100, times=-1)\ndef test_it'
    pytester.makepyfile(test_it="import pytest\n" + TEST.replace("def test_it", mark))

    campaign = run_here(pytester, "--fail-alloc", "--fail-alloc-trials=2")

    assert [trial["error"] for trial in findings(campaign)] == [
        "AssertionError: [0, 1, 2, 3, 4, 5]"
    ] * 2
