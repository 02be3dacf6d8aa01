"""Phases: in which part of a test calls are made to fail."""

from __future__ import annotations

from typing import Any

import pytest
from campaigns import Campaign
from projects import run_here

pytestmark = pytest.mark.usefixtures("alone")

SLAB = "--fail-alloc-spec=failslab"
NODE = "test_it.py::test_it"

TEST = """
import pytest

import faultinject as fi


def get():
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    if got is None:
        raise MemoryError
    fi.kfree(got)


def wide_set_up():
    get()


@pytest.fixture(scope="module")
def wide():
    wide_set_up()
    yield
    get()


@pytest.fixture
def inner():
    get()


@pytest.fixture
def outer(wide, request):
    request.getfixturevalue("inner")
    got = fi.kmalloc(32, fi.GFP_KERNEL)
    if got is None:
        raise MemoryError
    yield
    fi.kfree(got)
    fi.kmalloc(16, fi.GFP_KERNEL)


def test_it(outer):
    fi.kfree(fi.kmalloc(8, fi.GFP_KERNEL))
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(test_it=TEST)
    return pytester


def trials_of(campaign: Campaign) -> list[dict[str, Any]]:
    trials: list[dict[str, Any]] = campaign.tests[NODE]["trials"]
    return trials


def found(campaign: Campaign) -> list[tuple[str, int, str]]:
    """Give each trial's function, line below its start, and outcome."""
    return [
        (
            trial["site"]["function"],
            int(trial["replay"].split("|")[3].partition("+")[2].partition(".")[0]),
            trial["outcome"],
        )
        for trial in trials_of(campaign)
    ]


INNER = ("get", 1, "propagated")
OUTER = ("outer", 3, "propagated")
BODY = ("test_it", 1, "recovered")
TEAR_DOWN = ("outer", 8, "recovered")


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ("call", [BODY]),
        ("setup", [INNER, OUTER]),
        ("teardown", [TEAR_DOWN]),
        ("setup,call", [INNER, OUTER, BODY]),
        ("teardown, setup", [INNER, OUTER, TEAR_DOWN]),
        ("call,setup,teardown", [INNER, OUTER, BODY, TEAR_DOWN]),
    ],
)
def test_calls_fail_in_the_phases_that_are_named_and_in_function_fixtures_alone(
    project: pytest.Pytester, phases: str, expected: list[tuple[str, int, str]]
) -> None:
    campaign = run_here(project, SLAB, f"--fail-alloc-phases={phases}")

    assert found(campaign) == expected
    assert campaign.result.ret == 0


def test_an_error_in_a_phase_where_nothing_fails_is_a_bug(pytester: pytest.Pytester) -> None:
    text = """
        import pytest

        import faultinject as fi


        @pytest.fixture
        def ring():
            slots = []
            yield slots
            if not slots:
                raise MemoryError("the tear-down wants it")
            fi.kfree(slots[0])


        def test_it(ring):
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is not None:
                ring.append(got)
        """
    pytester.makepyfile(test_it=text)

    call = run_here(pytester, SLAB)
    both = run_here(pytester, SLAB, "--fail-alloc-phases=call,teardown")

    assert call.outcomes(NODE) == ["failed"]
    assert both.outcomes(NODE) == ["propagated"]


def test_a_bug_in_set_up_and_one_in_tear_down_are_found(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import pytest

        import faultinject as fi


        @pytest.fixture
        def ring():
            one = fi.kmalloc(64, fi.GFP_KERNEL)
            one[0:1] = b"x"
            yield
            log = fi.kmalloc(8, fi.GFP_KERNEL)
            if log is not None:
                fi.kfree(log)
                fi.kfree(one)


        def test_it(ring):
            pass
        """
    )

    campaign = run_here(pytester, SLAB, "--fail-alloc-phases=setup,teardown")

    assert campaign.outcomes(NODE) == ["failed", "leaked"]
    assert campaign.result.ret == 1
    assert "TypeError" in trials_of(campaign)[0]["error"]


def test_a_fixture_that_the_body_asks_for_belongs_to_the_body(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import pytest

        import faultinject as fi


        @pytest.fixture
        def late():
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))


        def test_it(request):
            request.getfixturevalue("late")
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
        """
    )

    both = run_here(pytester, SLAB, "--fail-alloc-phases=setup,call")
    call = run_here(pytester, SLAB)
    setup = run_here(pytester, SLAB, "--fail-alloc-phases=setup")

    for campaign, functions in (
        (both, ["late", "test_it"]),
        (call, ["late", "test_it"]),
        (setup, ["late"]),
    ):
        assert [trial["site"]["function"] for trial in trials_of(campaign)] == functions
        assert campaign.result.ret == 0


def test_hits_are_counted_through_all_phases(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import pytest

        import faultinject as fi


        def get():
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))


        @pytest.fixture
        def ring():
            get()
            yield
            get()


        def test_it(ring):
            get()
        """
    )

    campaign = run_here(
        pytester, SLAB, "--fail-alloc-phases=setup,call,teardown", "--fail-alloc-hits=all"
    )

    assert [trial["hit"] for trial in trials_of(campaign)] == [1, 2, 3]
    assert campaign.outcomes(NODE) == ["recovered"] * 3


def test_the_class_style_of_set_up_counts_as_function_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import faultinject as fi


        def get():
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))


        class TestRing:
            @classmethod
            def setup_class(cls):
                get()

            def setup_method(self):
                get()

            def teardown_method(self):
                get()

            def test_it(self):
                pass
        """
    )

    setup = run_here(pytester, SLAB, "--fail-alloc-phases=setup")
    both = run_here(pytester, SLAB, "--fail-alloc-phases=setup,teardown")

    (sweep,) = setup.tests.values()
    assert [trial["hit"] for trial in sweep["trials"]] == [1]
    (sweep,) = both.tests.values()
    assert [trial["hit"] for trial in sweep["trials"]] == [1, 2]
