"""``--fail-alloc-fork-after=fixtures``: what is costly to set up is set up once."""

from __future__ import annotations

import pytest
from campaigns import JOURNAL, children_of, read_journal
from projects import run_apart

pytestmark = pytest.mark.usefixtures("alone")

SLAB = "--fail-alloc-spec=failslab"
ONCE = "--fail-alloc-fork-after=fixtures"

COSTLY = """
import pytest

import faultinject as fi
import journal


@pytest.fixture
def costly():
    journal.note("set-up")
    yield {"made": True}
    journal.note("tear-down")


def test_it(costly):
    journal.note("body")
    assert costly.pop("made")  # each trial finds it as it was set up
    for _ in range(2):
        got = fi.kmalloc(64, fi.GFP_KERNEL)
        if got is not None:
            fi.kfree(got)
"""

WHOLE = ["set-up", "body", "tear-down"]


def test_each_trial_runs_its_own_set_up_by_default(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(journal=JOURNAL, test_it=COSTLY)

    campaign = run_apart(pytester, SLAB)

    assert campaign.outcomes("test_it.py::test_it") == ["recovered"] * 2
    notes = read_journal(pytester)
    assert notes["parent"] == WHOLE
    assert children_of(notes) == [[*WHOLE, *WHOLE]] * 3  # the census and two trials


def test_function_scoped_fixtures_are_set_up_once_and_torn_down_in_every_child(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(journal=JOURNAL, test_it=COSTLY)

    campaign = run_apart(pytester, SLAB, ONCE)

    assert campaign.outcomes("test_it.py::test_it") == ["recovered"] * 2
    campaign.result.assert_outcomes(passed=1)
    notes = read_journal(pytester)
    assert notes["parent"] == [*WHOLE, "set-up", "tear-down"]
    # The clean re-run in the same process sets up by itself.
    assert children_of(notes) == [["body", "tear-down", *WHOLE]] * 3


VARIETY = """
import os
import unittest

import pytest

import faultinject as fi


def use():
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    if got is None:
        raise MemoryError
    fi.kfree(got)


class TestClass:
    def setup_method(self):
        self.made = []

    def test_method(self):
        self.made.append(1)
        assert self.made == [1]
        use()


class TestCase(unittest.TestCase):
    def setUp(self):
        self.made = []

    def test_case(self):
        self.made.append(1)
        assert self.made == [1]
        use()


def test_capfd(capfd):
    os.write(1, b"by descriptor")
    print("by print", end="", flush=True)
    use()
    assert capfd.readouterr().out == "by descriptorby print"


def test_capsys(capsys):
    print("by print", end="")
    use()
    assert capsys.readouterr().out == "by print"


def test_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SEEN", "yes")
    (tmp_path / str(os.getpid())).touch(exist_ok=False)
    use()


def test_error_path(tmp_path):
    assert fi.kmalloc(64, fi.GFP_KERNEL)
"""


@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_every_kind_of_test_has_the_outcomes_that_it_has_anyway(
    pytester: pytest.Pytester, capture: str
) -> None:
    pytester.makepyfile(test_it=VARIETY)

    usual = run_apart(pytester, SLAB, f"--capture={capture}")
    once = run_apart(pytester, SLAB, f"--capture={capture}", ONCE)

    assert all(test["baseline"] == "passed" for test in once.tests.values())
    for name, test in usual.tests.items():
        assert once.outcomes(name) == [trial["outcome"] for trial in test["trials"]]
    assert once.summary["failed"] == 1


def test_a_token_says_how_its_trial_was_set_up(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(journal=JOURNAL, test_it=COSTLY)
    token = run_apart(pytester, SLAB, ONCE).tokens("test_it.py::test_it")[0]
    (pytester.path / "journal.txt").unlink()

    run_apart(pytester, f"--fail-alloc-replay={token}")

    assert children_of(read_journal(pytester)) == [["body", "tear-down", *WHOLE]] * 2


def test_a_set_up_that_fails_the_second_time_is_no_trial(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        from pathlib import Path

        import pytest

        import faultinject as fi


        @pytest.fixture
        def once():
            Path("made").touch(exist_ok=False)


        def test_it(once):
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
        """
    )

    campaign = run_apart(pytester, SLAB, ONCE)

    assert campaign.outcomes("test_it.py::test_it") == []
    assert "FileExistsError" in campaign.tests["test_it.py::test_it"]["baseline"]


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--fail-alloc-isolation=none", "with isolation none nothing is forked"),
        ("--fail-alloc-phases=call,setup", "calls of the set-up are to fail"),
    ],
)
def test_it_is_refused_where_it_has_no_meaning(
    pytester: pytest.Pytester, option: str, reason: str
) -> None:
    pytester.makepyfile(test_it="def test_it(): pass")

    result = pytester.runpytest_inprocess(SLAB, ONCE, option)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--fail-alloc-fork-after: 'fixtures'*{reason}*"])
