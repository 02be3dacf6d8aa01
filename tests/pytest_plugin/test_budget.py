"""``--fail-alloc-budget``: a run ends in time, and the next one goes on where it stopped."""

from __future__ import annotations

import pytest
from campaigns import Campaign
from projects import run_apart

pytestmark = pytest.mark.usefixtures("alone")

SLAB = "--fail-alloc-spec=failslab"
LITTLE = "--fail-alloc-budget=0.02"
NOTHING = "--fail-alloc-budget=0.000000001"

# Longer than the budget, so that one or two trials spend it.
SUITE = """
import time

import faultinject as fi


def use():
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    if got is not None:
        fi.kfree(got)


def test_one():
    time.sleep(0.03)
    use()
    use()
    use()


def test_two():
    time.sleep(0.03)
    use()
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    # By the line where it is called from, so that each call of `use` is a call site.
    pytester.makepyfile(test_it=SUITE.replace("use()\n    use()\n    use()", "\n    ".join(THREE)))
    return pytester


THREE = [
    "fi.kfree(fi.kmalloc(8, fi.GFP_KERNEL))",
    "fi.kfree(fi.kmalloc(16, fi.GFP_KERNEL))",
    "fi.kfree(fi.kmalloc(32, fi.GFP_KERNEL))",
]


def tokens(campaign: Campaign) -> list[str]:
    return [token for name in campaign.tests for token in campaign.tokens(name)]


def test_runs_with_little_time_try_everything_once_before_anything_comes_again(
    project: pytest.Pytester,
) -> None:
    seen: list[str] = []

    while len(seen) < 4:
        campaign = run_apart(project, SLAB, LITTLE)
        tried = tokens(campaign)
        new = [token for token in tried if token not in seen]
        assert new, "each run gets on"
        assert len(new) == len(tried) or len(seen + new) == 4
        seen += new
        assert campaign.summary["not_run"] == 4 - len(tried)

    assert len(seen) == 4


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_what_there_was_no_time_for_is_told(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_faultinject.plugin,xdist.plugin")

    campaign = run_apart(project, SLAB, NOTHING, *workers)

    assert (campaign.summary["trials"], campaign.summary["not_run"]) == (0, 4)
    assert campaign.result.ret == pytest.ExitCode.OK
    campaign.result.stdout.fnmatch_lines(
        [
            "4 trials in 2 tests not run: the budget of 1e-09 seconds was spent; the next run "
            "goes on with them (--fail-alloc-budget)"
        ]
    )
    notes = campaign.tests["test_it.py::test_one"]["notes"]
    assert "trials that the budget had no time for: 3" in notes


def test_the_workers_of_xdist_go_on_where_earlier_ones_stopped(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_faultinject.plugin,xdist.plugin")

    first, second = (run_apart(project, SLAB, LITTLE, "-n2") for _ in range(2))

    before, after = ({t for t in tokens(run) if "test_one" in t} for run in (first, second))
    assert len(before) in (1, 2)
    # What was tried is tried again only if there is time left after the rest.
    assert after - before


def test_without_a_forecast_a_test_behind_the_end_is_not_looked_at(
    project: pytest.Pytester,
) -> None:
    campaign = run_apart(project, SLAB, NOTHING, "--fail-alloc-isolation=none")

    assert campaign.tests["test_it.py::test_two"]["baseline"].startswith("not taken: the budget")
    campaign.result.stdout.fnmatch_lines(
        [
            "nobody looked ahead: with isolation none there is no child to look ahead in",
            "3 trials in 1 test not run and 1 test not looked at: the budget of 1e-09 seconds*",
        ]
    )


def test_where_the_time_does_for_everything_nothing_is_left_out(project: pytest.Pytester) -> None:
    usual, timed = run_apart(project, SLAB), run_apart(project, SLAB, "--fail-alloc-budget=600")

    assert tokens(timed) == tokens(usual)
    assert "budget" not in timed.text.replace("--fail-alloc-budget=600", "")


def test_each_call_site_once_in_the_time_there_is(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SUITE + "\n\ndef test_three():\n    use()\n")

    campaign = run_apart(pytester, SLAB, "--fail-alloc-per=suite", "--fail-alloc-budget=600")

    assert campaign.outcomes("test_it.py::test_three") == ["recovered"]
    assert campaign.summary["trials"] == 2  # the first and the last hit of one call site
    assert campaign.outcomes("test_it.py::test_one") == ["recovered"]


def test_a_token_is_replayed_whatever_the_time(project: pytest.Pytester) -> None:
    token = tokens(run_apart(project, SLAB))[0]

    campaign = run_apart(project, NOTHING, f"--fail-alloc-replay={token}")

    assert tokens(campaign) == [token]


@pytest.mark.parametrize("option", ["--fail-alloc-budget=5", "--fail-alloc-last-bad"])
def test_it_is_refused_where_nothing_can_be_kept_for_the_next_run(
    project: pytest.Pytester, option: str
) -> None:
    result = project.runpytest_inprocess(SLAB, option, "-p", "no:cacheprovider")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {option.partition('=')[0]}: *Leave out -p no:cache*"])


def test_without_a_cache_everything_else_works(project: pytest.Pytester) -> None:
    campaign = run_apart(project, SLAB, "-p", "no:cacheprovider")

    assert campaign.summary["trials"] == 4
