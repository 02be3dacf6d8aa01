"""The known-problems file: what a project has decided to live with for now."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import run_here

from faultinject.campaign.known import HEADER

pytestmark = pytest.mark.usefixtures("alone")

# Two bugs: the first call is not checked, and the second failure leaks the first object.
TEST = """
import faultinject as fi


def test_unchecked():
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    got[0:1] = b"x"
    fi.kfree(got)


def test_leaky():
    one = fi.kmalloc(32, fi.GFP_KERNEL)
    if one is None:
        raise MemoryError
    two = fi.kmalloc(64, fi.GFP_KERNEL)
    if two is None:
        raise MemoryError
    fi.kfree(one)
    fi.kfree(two)
"""

MENDED = TEST.replace("    if two is None:\n", "    if two is None:\n        fi.kfree(one)\n")

UNCHECKED = (
    "failed 1|failslab|test_it.py|test_unchecked+1.10|1|transient|test_it.py::test_unchecked"
)
LEAKY = "leaked 1|failslab|test_it.py|test_leaky+4.10|1|transient|test_it.py::test_leaky"

SLAB = ("--fail-alloc-spec=failslab", "--fail-alloc-known=known.txt")


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(test_it=TEST)
    return pytester


def write(project: pytest.Pytester, *lines: str) -> Path:
    path = project.path / "known.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_a_known_problem_does_not_fail_the_run_and_the_summary_counts_it(
    project: pytest.Pytester,
) -> None:
    write(project, "# A comment.", "", UNCHECKED, LEAKY)

    campaign = run_here(project, *SLAB, "-v")

    assert campaign.result.ret == 0
    assert (campaign.summary["known"], campaign.summary["bad"]) == (2, 0)
    assert [
        (trial["outcome"], trial["verdict"], trial["known"])
        for test in campaign.tests.values()
        for trial in test["trials"]
    ] == [("failed", "bad", True), ("propagated", "good", False), ("leaked", "bad", True)]
    campaign.result.stdout.fnmatch_lines(
        [
            "  FAILED      failslab at test_it.py:5 in test_unchecked (known): TypeError*",
            f"2 known problems ({project.path / 'known.txt'}) did not fail the run",
        ]
    )


def test_a_problem_that_is_not_in_the_file_fails_the_run(project: pytest.Pytester) -> None:
    write(project, UNCHECKED)

    campaign = run_here(project, *SLAB)

    campaign.result.assert_outcomes(passed=1, failed=1)
    assert campaign.result.ret == 1
    assert "LEAKED with a failslab fault at" in campaign.text
    assert "FAILED with a failslab fault at" not in campaign.text


def test_another_outcome_of_a_known_trial_fails_the_run(project: pytest.Pytester) -> None:
    write(project, UNCHECKED.replace("failed", "leaked"), LEAKY)

    assert run_here(project, *SLAB).result.ret == 1


def test_a_known_problem_is_still_known_after_an_edit_of_its_function(
    project: pytest.Pytester,
) -> None:
    write(project, UNCHECKED, LEAKY)
    project.makepyfile(test_it=TEST.replace("    got = fi", "    # New here.\n    got = fi"))

    assert run_here(project, *SLAB).result.ret == 0


def test_update_writes_every_bad_trial_sorted_under_an_explanation(
    project: pytest.Pytester,
) -> None:
    path = project.path / "known.txt"

    first = run_here(project, *SLAB, "--fail-alloc-update-known")
    second = run_here(project, *SLAB)

    assert path.read_text() == f"{HEADER}{UNCHECKED}\n{LEAKY}\n"
    assert f"2 known problems written to {path}" in first.result.outlines
    assert first.result.ret == 1  # they were new in this run
    assert second.result.ret == 0


def test_a_mended_problem_is_pointed_out_and_an_update_drops_it(project: pytest.Pytester) -> None:
    path = write(project, UNCHECKED, LEAKY)
    project.makepyfile(test_it=MENDED)

    plain = run_here(project, *SLAB)
    updated = run_here(project, *SLAB, "--fail-alloc-update-known")

    hint = f"1 known problem of {path} did not come up again: *--fail-alloc-update-known*"
    plain.result.stdout.fnmatch_lines([hint])
    assert path.read_text() == f"{HEADER}{UNCHECKED}\n"
    assert updated.result.ret == 0


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-k", "unchecked"], id="a test that was not selected"),
        pytest.param(["--fail-alloc-max=1", "-k", "leaky"], id="a trial beyond the limit"),
        pytest.param(["--fail-alloc-shard=1/9"], id="a trial of another machine"),
    ],
)
def test_a_run_that_leaves_trials_out_says_nothing_about_their_problems(
    project: pytest.Pytester, arguments: list[str]
) -> None:
    path = write(project, UNCHECKED, LEAKY)
    project.makepyfile(test_it=MENDED)

    campaign = run_here(project, *SLAB, *arguments, "--fail-alloc-update-known")

    assert LEAKY in path.read_text()
    assert UNCHECKED in path.read_text()
    assert "did not come up again" not in campaign.text


def test_with_x_a_known_problem_does_not_end_the_sweep(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=TEST.replace("raise MemoryError", "assert 0"))
    write(
        pytester,
        UNCHECKED,
        "failed 1|failslab|test_it.py|test_leaky+1.10|1|transient|test_it.py::test_leaky",
    )

    campaign = run_here(pytester, *SLAB, "-x")

    assert campaign.outcomes("test_it.py::test_leaky") == ["failed", "leaked"]


def test_a_replay_shows_a_known_problem_as_any_other_and_writes_no_file(
    project: pytest.Pytester,
) -> None:
    path = write(project, UNCHECKED, LEAKY)
    before = path.read_text()
    token = LEAKY.partition(" ")[2]

    campaign = run_here(
        project,
        f"--fail-alloc-replay={token}",
        "--fail-alloc-known=known.txt",
        "--fail-alloc-update-known",
    )

    assert campaign.result.ret == 1
    assert "LEAKED with a failslab fault at" in campaign.text
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("broken 1|failslab|a.py|f+1.2|1|transient|t.py::t", "crashed, hung"),
        ("failed nonsense", "nonsense"),
        ("failed", "not a replay token"),
        ("failed 2|failslab|a.py|f+1.2|1|transient|t.py::t", "version 1"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_with_the_files_name_and_its_number(
    project: pytest.Pytester, line: str, said: str
) -> None:
    path = write(project, "# A comment.", UNCHECKED, line)

    result = project.runpytest_inprocess(*SLAB)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"{path}:3" in result.stderr.str()
    assert said in result.stderr.str()


def test_random_trials_can_be_known_as_well(project: pytest.Pytester) -> None:
    random = (
        "--fail-alloc-spec=failslab:probability=50,times=-1",
        "--fail-alloc-seed=3",
        "--fail-alloc-trials=4",
        "--fail-alloc-known=known.txt",
    )
    run_here(project, *random, "--fail-alloc-update-known")

    again = run_here(project, *random)

    assert again.summary["known"] > 0
    assert again.result.ret == 0
