"""pytest-randomly and pytest-rerunfailures beside a campaign."""

from __future__ import annotations

import re

import pytest
from campaigns import FIXED_ORDER, JOURNAL, children_of, read_journal, run_campaign

RANDOM = """
    import random

    import pytest

    import faultinject as fi

    draws = {}


    @pytest.fixture
    def sizes():
        return [random.randrange(1, 100) for _ in range(3)]


    @pytest.mark.parametrize("name", "abcd")
    def test_takes(name, sizes):
        # How often, how much and which of two places: all of it is drawn.
        taken = []
        for size in sizes * random.randrange(1, 4):
            if random.random() < 0.5:
                taken.append(fi.kmalloc(size, fi.GFP_KERNEL))
            else:
                taken.append(fi.kmalloc(2 * size, fi.GFP_KERNEL))
        drawn = (sizes, len(taken), random.random())
        # Each run of a test in one process draws the same.
        assert draws.setdefault(name, drawn) == drawn
        for item in taken:
            fi.kfree(item)
"""


@pytest.mark.parametrize("seed", [1, 2, 20260])
def test_trials_draw_what_the_clean_run_drew_whatever_the_seed_and_the_order(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, alone: None, seed: int
) -> None:
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_faultinject.plugin,pytest_randomly")
    pytester.makepyfile(test_random=RANDOM)

    options = (f"--randomly-seed={seed}", "--fail-alloc-spec=failslab")

    campaign = run_campaign(pytester, *options, order=())
    again = run_campaign(pytester, *options, order=())

    assert campaign.summary["trials"] == campaign.summary["recovered"] > 4
    assert campaign.all_run_twice
    assert list(again.tests) == list(campaign.tests)
    assert all(again.tokens(name) == campaign.tokens(name) for name in campaign.tests)


def test_seeds_change_the_order_of_tests_under_a_campaign(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, alone: None
) -> None:
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_faultinject.plugin,pytest_randomly")
    pytester.makepyfile(test_random=RANDOM)
    options = ("--fail-alloc-max=1",)

    orders = {
        tuple(run_campaign(pytester, f"--randomly-seed={seed}", *options, order=()).tests)
        for seed in range(3)
    }

    assert len(orders) > 1


FLAKY = """
    from pathlib import Path

    import pytest

    import faultinject as fi
    from journal import note


    @pytest.fixture(scope="module")
    def device():
        note("device")


    def test_bad(device):
        note("bad")
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        assert item is not None
        fi.kfree(item)


    def test_flaky(device):
        note("flaky")
        seen = Path(__file__).with_name("seen")
        if not seen.exists():
            seen.touch()
            pytest.fail("the first time")
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        if item is None:
            raise MemoryError("no item")
        fi.kfree(item)


    def test_never(device):
        note("never")
        fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
        pytest.fail("every time")
"""


TELLING = """
    import sys


    def tell(nodeid, *words):
        print("TOLD", nodeid.rpartition("_")[2], *words, file=sys.__stdout__)


    def pytest_runtest_logstart(nodeid):
        tell(nodeid, "start")


    def pytest_runtest_logreport(report):
        tell(report.nodeid, report.when, report.outcome)


    def pytest_runtest_logfinish(nodeid):
        tell(nodeid, "finish")
"""


def test_a_clean_run_is_retried_and_a_trial_is_not(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, alone: None
) -> None:
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_faultinject.plugin,pytest_rerunfailures")
    pytester.makepyfile(journal=JOURNAL, test_flaky=FLAKY)
    pytester.makeconftest(TELLING)

    without = pytester.runpytest_subprocess("--reruns=2", *FIXED_ORDER)
    for name in ("seen", "journal.txt"):
        pytester.path.joinpath(name).unlink()
    campaign = run_campaign(pytester, "--reruns=2", "--fail-alloc-spec=failslab")

    assert campaign.outcomes("test_flaky.py::test_bad") == ["failed"]
    assert campaign.outcomes("test_flaky.py::test_flaky") == ["propagated"]
    assert "test_flaky.py::test_never" not in campaign.tests
    assert campaign.result.parseoutcomes() == {"failed": 2, "passed": 1, "rerun": 3}
    notes = read_journal(pytester)
    assert notes["parent"] == ["device", "bad", "flaky", "flaky", "never", "never", "never"]
    # A census and a trial of each test, both of them twice, and nothing more.
    assert children_of(notes) == 2 * [["bad"] * 2] + 2 * [["flaky"] * 2]
    # Every attempt is told as it is told without a campaign, and in that order.
    told, plain = (re.findall(r"TOLD (.*)", run.stdout.str()) for run in (campaign.result, without))
    assert [line.replace("bad call failed", "bad call passed") for line in told] == plain
