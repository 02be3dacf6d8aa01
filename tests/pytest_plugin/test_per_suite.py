"""``--fail-alloc-per=suite``: each call site of a run is tried in one test."""

from __future__ import annotations

import pytest
from campaigns import JOURNAL, Campaign, children_of, read_journal
from projects import run_apart

pytestmark = pytest.mark.usefixtures("alone")

SLAB = "--fail-alloc-spec=failslab"
SUITE = "--fail-alloc-per=suite"

RING = """
import faultinject as fi


def open_ring():
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    if got is None:
        raise MemoryError
    return got


def grow(ring):
    more = fi.krealloc(ring, 128, fi.GFP_KERNEL)
    return more or ring


def close_ring(ring):
    fi.kfree(ring)


def label():
    name = fi.kzalloc(8, fi.GFP_KERNEL)
    name[0:1] = b"x"  # the planted bug
    fi.kfree(name)
"""

# The slow one comes first in the file and last in speed; the one call of its own is `label`.
SUITE_OF_THREE = """
import time

import pytest
import ring


def test_slow():
    time.sleep(0.2)
    got = ring.grow(ring.open_ring())
    ring.close_ring(got)
    ring.label()


def test_quick():
    ring.close_ring(ring.open_ring())


@pytest.mark.parametrize("again", range(3))
def test_medium(again):
    time.sleep(0.05)
    ring.close_ring(ring.grow(ring.open_ring()))
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(ring=RING, test_it=SUITE_OF_THREE)
    return pytester


def tried(campaign: Campaign) -> dict[str, list[str]]:
    """Give the functions whose call sites each test tried, by the test function's name."""
    found: dict[str, list[str]] = {}
    for name, test in campaign.tests.items():
        function = name.partition("::")[2].partition("[")[0]
        functions = [trial["site"]["function"] for trial in test["trials"]]
        if functions:
            found.setdefault(function, []).extend(functions)
    return found


def bad_sites(campaign: Campaign) -> set[tuple[str, int, str]]:
    return {
        (trial["site"]["function"], trial["site"]["line"], trial["outcome"])
        for test in campaign.tests.values()
        for trial in test["trials"]
        if trial["verdict"] == "bad"
    }


def test_each_call_site_is_tried_in_the_quickest_test_that_reaches_it(
    project: pytest.Pytester,
) -> None:
    campaign = run_apart(project, SLAB, SUITE)

    assert tried(campaign) == {
        "test_slow": ["label"],
        "test_quick": ["open_ring"],
        "test_medium": ["grow"],  # one of the three
    }
    assert len(campaign.tests) == 5  # a test that tries nothing is in the report as well
    campaign.result.stdout.fnmatch_lines(
        [
            "5 tests, 3 call sites, 3 trials: *",
            "3 call sites, each tried in the quickest of 5 tests (--fail-alloc-per=suite)",
        ]
    )
    assert campaign.tests["test_it.py::test_slow"]["notes"] == [
        "trials of call sites that other tests try: 2"
    ]


def test_it_finds_the_bad_call_sites_that_every_test_for_itself_finds(
    project: pytest.Pytester,
) -> None:
    usual, once = run_apart(project, SLAB), run_apart(project, SLAB, SUITE)

    assert bad_sites(once) == bad_sites(usual) != set()
    assert (usual.summary["trials"], once.summary["trials"]) == (10, 3)
    assert once.result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_test_with_nothing_to_try_costs_no_census(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        journal=JOURNAL,
        test_it="""
        import pytest

        import faultinject as fi
        import journal


        @pytest.fixture(scope="session")
        def shared():
            journal.note("shared")
            yield
            journal.note("torn down")


        @pytest.mark.parametrize("number", range(3))
        def test_it(shared, number):
            journal.note(number)
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is not None:
                fi.kfree(got)
        """,
    )

    run_apart(pytester, SLAB, SUITE)

    notes = read_journal(pytester)
    assert notes["parent"] == ["shared", "0", "1", "2", "torn down"]
    ahead, *sweeps = sorted(children_of(notes), key=len, reverse=True)
    assert ahead == ["shared", "0", "1", "2", "torn down"]
    # In a fork of that child: what each test reaches. Then one census and one trial.
    number = next(words[0] for words in sweeps if len(words) == 2)
    assert sorted(sweeps) == sorted([["0"], ["1"], ["2"], [number] * 2, [number] * 2])


def test_what_the_child_prints_while_it_looks_ahead_is_not_shown(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_it="""
        import warnings

        import faultinject as fi


        def test_prints():
            print("printed", "by the passing one")
            warnings.warn("warned")
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))


        def test_fails():
            print("printed", "by the failing one")
            assert False
        """
    )

    campaign = run_apart(pytester, SLAB, SUITE, "-W", "default")

    campaign.result.assert_outcomes(passed=1, failed=1, warnings=1)
    assert "printed by the passing one" not in campaign.text
    assert campaign.text.count("printed by the failing one") == 1


def test_a_test_that_ends_the_child_that_looks_ahead_is_told_and_the_run_goes_on(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        journal=JOURNAL,
        test_it="""
        import os

        import faultinject as fi
        import journal


        def test_one():
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))


        def test_two():
            if os.getpid() != journal.FIRST:
                os._exit(3)
        """,
    )

    campaign = run_apart(pytester, SLAB, SUITE)

    assert campaign.summary["trials"] == 1
    campaign.result.stdout.fnmatch_lines(
        [
            "1 call site, each tried in the first of 2 tests to reach it*",
            "nobody looked ahead: the child that looked ahead exited with status 3*",
        ]
    )


def test_a_call_site_whose_test_fails_that_day_is_tried_in_the_next_or_told(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        journal=JOURNAL,
        ring=RING,
        test_it="""
        import os
        import time

        import journal
        import ring


        def in_session():
            return os.getpid() == journal.FIRST


        def test_only_ahead():
            ring.close_ring(ring.open_ring())
            ring.label()
            assert not in_session()


        def test_slower():
            time.sleep(0.05)
            ring.close_ring(ring.open_ring())
        """,
    )

    campaign = run_apart(pytester, SLAB, SUITE)

    assert tried(campaign) == {"test_slower": ["open_ring"]}
    campaign.result.stdout.fnmatch_lines(["1 foreseen trial not run: the tests that were to make*"])


@pytest.mark.parametrize("per_worker", [(), ("--dist=each", "--tx=2*popen")])
def test_the_workers_of_xdist_try_each_call_site_once_between_them(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, per_worker: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_faultinject.plugin,xdist.plugin")

    campaign = run_apart(project, SLAB, SUITE, *(per_worker or ("-n2",)))

    functions = sorted(name for names in tried(campaign).values() for name in names)
    if not per_worker:
        assert functions == ["grow", "label", "open_ring"]
    assert bad_sites(campaign) == {("label", 21, "failed")}
    campaign.result.stdout.fnmatch_lines(
        [
            "3 call sites, each tried in the first of * tests to reach it*",
            "nobody looked ahead: each worker of pytest-xdist goes by itself*",
        ]
    )


def test_shards_divide_the_call_sites_between_them(project: pytest.Pytester) -> None:
    runs = [run_apart(project, SLAB, SUITE, f"--fail-alloc-shard={n}/2") for n in (1, 2)]

    functions = [name for run in runs for names in tried(run).values() for name in names]
    assert sorted(functions) == ["grow", "label", "open_ring"]


def test_a_known_problem_is_known_in_whatever_test_meets_it(project: pytest.Pytester) -> None:
    usual = run_apart(project, SLAB)
    (token,) = (
        trial["replay"]
        for test in usual.tests.values()
        for trial in test["trials"]
        if trial["verdict"] == "bad"
    )
    elsewhere = token.replace("test_slow", "test_gone")
    (project.path / "known.txt").write_text(f"failed {elsewhere}\n")

    once = run_apart(project, SLAB, SUITE, "--fail-alloc-known=known.txt")

    assert (once.summary["known"], once.result.ret) == (1, pytest.ExitCode.OK)
