"""What stops a run, and what goes on where the last one stopped."""

from __future__ import annotations

import pytest
from campaigns import FIXED_ORDER, JOURNAL, children_of, read_journal, run_campaign

pytestmark = pytest.mark.usefixtures("alone")

PROJECT = """
    import faultinject as fi
    from journal import note


    def take(name):
        note(name)
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        fi.kfree(item)
        return item is not None


    def test_a_good():
        take("a")


    def test_b_bad():
        assert take("b1")
        assert take("b2")
        assert take("b3")


    def test_c_good():
        take("c")


    def test_d_bad():
        assert take("d")
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(journal=JOURNAL, test_order=PROJECT)
    return pytester


def test_with_x_the_sweep_itself_stops_at_its_first_bad_trial(project: pytest.Pytester) -> None:
    campaign = run_campaign(project, "-x", "--fail-alloc-spec=failslab", "-v")

    assert list(campaign.tests) == ["test_order.py::test_a_good", "test_order.py::test_b_bad"]
    stopped = campaign.tests["test_order.py::test_b_bad"]
    assert campaign.outcomes("test_order.py::test_b_bad") == ["failed"]
    # One site in take(): its first hit was failed, its last was not.
    assert stopped["not_run"] == 1
    assert stopped["notes"] == ["stopped after 1 of 2 trials"]
    campaign.result.assert_outcomes(passed=1, failed=1)
    campaign.result.stdout.fnmatch_lines(["*1 trial not run*", "*stopping after 1 failures*"])
    bodies = [words for words in children_of(read_journal(project)) if words[0] == "b1"]
    assert len(bodies) == 2  # the census and one trial


def test_maxfail_counts_tests_and_each_counted_test_is_swept_to_its_end(
    project: pytest.Pytester,
) -> None:
    campaign = run_campaign(project, "--maxfail=2", "--fail-alloc-spec=failslab")

    assert campaign.outcomes("test_order.py::test_b_bad") == ["failed", "failed"]
    assert campaign.outcomes("test_order.py::test_d_bad") == ["failed"]
    assert not any(test["not_run"] for test in campaign.tests.values())
    campaign.result.assert_outcomes(passed=2, failed=2)
    campaign.result.stdout.fnmatch_lines(["*stopping after 2 failures*"])


def test_last_failed_and_failed_first_know_the_tests_with_bad_trials(
    project: pytest.Pytester,
) -> None:
    run_campaign(project, "--fail-alloc-spec=failslab")

    last = run_campaign(project, "--lf", "--fail-alloc-spec=failslab")
    first = run_campaign(project, "--ff", "--fail-alloc-spec=failslab")
    without = project.runpytest_subprocess("--lf", *FIXED_ORDER)
    after = project.runpytest_subprocess("--lf", "--lfnf=none", *FIXED_ORDER)

    bad = ["test_order.py::test_b_bad", "test_order.py::test_d_bad"]
    assert list(last.tests) == bad
    assert list(first.tests)[:2] == bad
    assert len(first.tests) == 4
    # Without faults the two pass, and are forgotten.
    without.assert_outcomes(passed=2)
    after.assert_outcomes(deselected=4)


def test_stepwise_stops_at_a_test_with_bad_trials_and_goes_on_there(
    project: pytest.Pytester,
) -> None:
    first = run_campaign(project, "--sw", "--fail-alloc-spec=failslab")
    again = run_campaign(project, "--sw", "--sw-skip", "--fail-alloc-spec=failslab")

    assert list(first.tests) == ["test_order.py::test_a_good", "test_order.py::test_b_bad"]
    assert list(again.tests) == [
        "test_order.py::test_b_bad",
        "test_order.py::test_c_good",
        "test_order.py::test_d_bad",
    ]
    again.result.stdout.fnmatch_lines(["*Test failed, continuing from this test next run*"])
