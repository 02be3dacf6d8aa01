"""``--fail-alloc-last-bad``: only what was bad last time runs, until nothing is bad any more."""

from __future__ import annotations

import pytest
from campaigns import Campaign
from projects import run_apart

pytestmark = pytest.mark.usefixtures("alone")

SLAB = "--fail-alloc-spec=failslab"
AGAIN = "--fail-alloc-last-bad"

RING = """
import faultinject as fi


def label():
    name = fi.kzalloc(8, fi.GFP_KERNEL)
    name[0:1] = b"x"
    fi.kfree(name)


def colour():
    name = fi.kzalloc(8, fi.GFP_KERNEL)
    name[0:1] = b"x"
    fi.kfree(name)
"""

TESTS = """
import ring

import faultinject as fi


def test_good():
    fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))


def test_label():
    fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
    ring.label()


def test_colour():
    ring.colour()
"""

MENDED = RING.replace('name[0:1] = b"x"', 'if name is None:\n        return\n    name[0:1] = b"x"')


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(ring=RING, test_it=TESTS)
    return pytester


def tried(campaign: Campaign) -> list[tuple[str, str]]:
    """Give the functions that were tried, with the outcomes."""
    return [
        (trial["site"]["function"], trial["outcome"])
        for test in campaign.tests.values()
        for trial in test["trials"]
    ]


BOTH = [("label", "failed"), ("colour", "failed")]


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_the_bad_trials_alone_run_until_they_are_mended(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_faultinject.plugin,xdist.plugin")
    whole = run_apart(project, SLAB, *workers)

    again = run_apart(project, AGAIN, *workers)
    project.makepyfile(ring=MENDED)
    mended = run_apart(project, AGAIN, *workers)
    clean = run_apart(project, SLAB, AGAIN, *workers)

    assert whole.summary["trials"] == 4
    assert sorted(tried(again)) == sorted(BOTH)
    assert again.result.ret == pytest.ExitCode.TESTS_FAILED
    assert "last time bad: 2 trials of 2 tests" in again.text
    assert sorted(tried(mended)) == [("colour", "recovered"), ("label", "recovered")]
    assert mended.result.ret == pytest.ExitCode.OK
    assert "no bad trial is remembered: the whole campaign runs" in clean.text
    assert clean.summary["trials"] == 4


def test_what_is_not_repeated_is_deselected(project: pytest.Pytester) -> None:
    run_apart(project, SLAB)

    again = run_apart(project, AGAIN)

    again.result.assert_outcomes(failed=2, deselected=1)
    assert list(again.tests) == ["test_it.py::test_label", "test_it.py::test_colour"]


def test_what_is_mended_is_forgotten_and_what_is_not_stays(project: pytest.Pytester) -> None:
    run_apart(project, SLAB)
    project.makepyfile(ring=RING.replace(*_MEND_LABEL))
    run_apart(project, AGAIN)

    last = run_apart(project, AGAIN)

    assert tried(last) == [("colour", "failed")]


_MEND_LABEL = (
    'name = fi.kzalloc(8, fi.GFP_KERNEL)\n    name[0:1] = b"x"\n    fi.kfree(name)\n\n\ndef colour',
    "name = fi.kzalloc(8, fi.GFP_KERNEL)\n    fi.kfree(name)\n\n\ndef colour",
)


def test_a_trial_is_found_again_when_an_edit_has_moved_its_call_site(
    project: pytest.Pytester,
) -> None:
    run_apart(project, SLAB)
    project.makepyfile(ring=RING.replace("def label():\n", "def label():\n    size = 8\n"))

    first, second = run_apart(project, AGAIN), run_apart(project, AGAIN)

    assert tried(first) == tried(second) == BOTH


def test_a_trial_is_repeated_with_the_options_that_it_was_found_with(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(test_it="import ring\n\n\ndef test_label():\n    ring.label()\n")
    options = ["--fail-alloc-persistent", "--fail-alloc-oracle=none"]
    (found,) = run_apart(project, SLAB, *options).tokens("test_it.py::test_label")

    (again,) = run_apart(project, AGAIN).tokens("test_it.py::test_label")

    assert again == found
    assert "persistent" in again
    assert "oracle=none" in again


def test_random_trials_are_repeated_with_their_seed(project: pytest.Pytester) -> None:
    random = ["--fail-alloc-spec=failslab:probability=50,times=-1", "--fail-alloc-seed=3"]
    first = run_apart(project, *random)
    bad = {
        trial["replay"]
        for test in first.tests.values()
        for trial in test["trials"]
        if trial["verdict"] == "bad"
    }

    again = run_apart(project, AGAIN)

    assert bad
    assert {token for name in again.tests for token in again.tokens(name)} == bad
    assert {outcome for _, outcome in _named(again)} == {"failed"}


def _named(campaign: Campaign) -> list[tuple[str, str]]:
    return [(name, outcome) for name in campaign.tests for outcome in campaign.outcomes(name)]


def test_if_none_of_its_tests_is_selected_the_whole_campaign_runs(
    project: pytest.Pytester,
) -> None:
    run_apart(project, SLAB)

    other = run_apart(project, SLAB, AGAIN, "-k", "good")
    again = run_apart(project, AGAIN)

    assert len(tried(other)) == 1
    other.result.stdout.fnmatch_lines(
        ["faultinject: 2 trials of 2 tests were bad last time, none of them selected: the whole*"]
    )
    assert tried(again) == BOTH  # still remembered


def test_what_was_bad_in_a_file_that_is_gone_is_forgotten(project: pytest.Pytester) -> None:
    run_apart(project, SLAB)
    (project.path / "test_it.py").unlink()
    project.makepyfile(test_other="def test_it(): pass")

    campaign = run_apart(project, SLAB, AGAIN)

    assert "no bad trial is remembered" in campaign.text


def test_a_replay_does_not_change_what_is_remembered(project: pytest.Pytester) -> None:
    whole = "import ring\n\n\ndef test_it():\n    ring.label()\n    ring.colour()\n"
    project.makepyfile(test_it=whole)
    tokens = run_apart(project, SLAB).tokens("test_it.py::test_it")

    run_apart(project, f"--fail-alloc-replay={tokens[0]}")

    assert run_apart(project, AGAIN).tokens("test_it.py::test_it") == tokens


def test_it_goes_with_each_call_site_once_and_with_a_budget(project: pytest.Pytester) -> None:
    run_apart(project, SLAB, "--fail-alloc-per=suite")

    again = run_apart(project, AGAIN, "--fail-alloc-per=suite", "--fail-alloc-budget=600")

    assert tried(again) == BOTH
    assert "each tried in" not in again.text


def test_it_is_refused_beside_a_token(project: pytest.Pytester) -> None:
    token = "1|failslab|ring.py|label+4.11|1|transient|test_it.py::test_label"

    result = project.runpytest_inprocess(AGAIN, f"--fail-alloc-replay={token}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --fail-alloc-last-bad and --fail-alloc-replay: each says*"]
    )
