"""Campaigns on the workers of pytest-xdist: the controller knows it all."""

from __future__ import annotations

import re

import pytest
from campaigns import Campaign, run_campaign


@pytest.fixture(autouse=True)
def with_xdist(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs load xdist beside this plugin."""
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_faultinject.plugin,xdist.plugin")


PROJECT = """
    import os

    import pytest

    import faultinject as fi


    @pytest.mark.parametrize("number", range(4))
    def test_good(number):
        fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))


    @pytest.mark.parametrize("name", ["a b", "|%'", "größe"])
    def test_bad(name):
        print("printed by", name)
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        assert item is not None, "no item"
        fi.kfree(item)


    def test_crashes():
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        if item is None:
            os.abort()
        fi.kfree(item)


    @pytest.mark.fail_alloc(timeout=0.5)
    def test_hangs():
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        while item is None:
            pass
        fi.kfree(item)
"""


def findings(campaign: Campaign) -> dict[str, list[tuple[str, str]]]:
    """Give each test's outcomes and tokens."""
    return {
        name: list(zip(campaign.outcomes(name), campaign.tokens(name), strict=True))
        for name in campaign.tests
    }


def test_two_workers_find_what_one_process_finds_and_the_controller_tells_it(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_ring=PROJECT)

    alone = run_campaign(pytester, "--fail-alloc-spec=failslab")
    spread = run_campaign(
        pytester, "--fail-alloc-spec=failslab", "-n2", "--junitxml=junit.xml", "-v"
    )

    assert len(alone.tests) == 9
    assert findings(spread) == findings(alone)
    assert spread.summary == alone.summary
    assert spread.all_run_twice
    spread.result.assert_outcomes(passed=4, failed=5)
    assert spread.result.ret == pytest.ExitCode.TESTS_FAILED
    workers = set(re.findall(r"\[(gw\d)\] \[", spread.text))
    assert workers == {"gw0", "gw1"}
    # A bad trial looks the same as without workers, its output and its replay line included.
    for text in ("AssertionError: no item", "> printed by a b", "CRASHED", "HUNG", "SIGABRT"):
        assert text in spread.text, text
    for _, token in findings(alone)["test_ring.py::test_crashes"]:
        assert f"--fail-alloc-replay='{token}'" in spread.text
    assert (pytester.path / "junit.xml").read_text(encoding="utf-8").count("<failure") == 5


def test_a_token_is_replayed_on_a_worker(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_ring=PROJECT)
    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab", "-k", "test_bad")
    (token,) = campaign.tokens("test_ring.py::test_bad[|%']")

    replayed = run_campaign(pytester, f"--fail-alloc-replay={token}", "-n2")

    assert replayed.outcomes("test_ring.py::test_bad[|%']") == ["failed"]
    assert len(replayed.tests) == 1
    replayed.result.assert_outcomes(failed=1)


def test_every_worker_draws_from_the_one_seed_of_the_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_ring=PROJECT)
    options = ("--fail-alloc-trials=8", "-k", "good or bad")
    spec = "--fail-alloc-spec=failslab:probability=50,times=-1"

    drawn = run_campaign(pytester, spec, *options, "-n2")
    match = re.search(r"; seed (\d+)", drawn.text)
    assert match is not None
    seed = match[1]
    given = run_campaign(pytester, spec, *options, f"--fail-alloc-seed={seed}")

    assert findings(drawn) == findings(given)
    tokens = [token for name in drawn.tests for token in drawn.tokens(name)]
    assert {token.split("|")[3] for token in tokens} == {seed}
    assert len(tokens) == 7 * 8


def test_with_x_a_worker_stops_its_sweep_and_the_run_ends(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_many="""
        import faultinject as fi


        def test_bad():
            for _ in range(3):
                item = fi.kmalloc(64, fi.GFP_KERNEL)
                assert item is not None
                fi.kfree(item)
        """
    )

    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab", "-n2", "-x")

    assert campaign.outcomes("test_many.py::test_bad") == ["failed"]
    assert campaign.tests["test_many.py::test_bad"]["not_run"] == 1
    campaign.result.assert_outcomes(failed=1)


def test_known_problems_are_known_to_every_worker_and_written_by_the_controller(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_ring=PROJECT)
    options = ("--fail-alloc-spec=failslab", "-n2", "-k", "bad", "--fail-alloc-known=known.txt")

    first = run_campaign(pytester, *options, "--fail-alloc-update-known")
    second = run_campaign(pytester, *options)

    first.result.stdout.fnmatch_lines(["*3 known problems written to *known.txt"])
    second.result.assert_outcomes(passed=3)
    assert second.result.ret == 0
    assert "did not come up again" not in second.text
