"""Marks: what one test, class or module says about its own trials, and its refusals."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest
from campaigns import Campaign
from projects import run_here

pytestmark = pytest.mark.usefixtures("alone")

# What else could fail depends on the machine.
MODEL = "--fail-alloc-spec=failslab;fail_page_alloc"

PREAMBLE = """
import pytest

import faultinject as fi


class PoolEmpty(Exception):
    pass


class RingFull(Exception):
    pass


def take():
    for _ in range(3):
        got = fi.kmalloc(64, fi.GFP_KERNEL)
        if got is None:
            raise PoolEmpty
        fi.kfree(got)
"""


def make(pytester: pytest.Pytester, text: str) -> None:
    pytester.makepyfile(test_it=PREAMBLE + dedent(text))


def marked(pytester: pytest.Pytester, mark: str) -> None:
    """Make a project of one test under one mark."""
    make(pytester, f"\n@pytest.mark.{mark}\ndef test_it():\n    take()\n")


def trials_of(campaign: Campaign, name: str = "test_it") -> list[dict[str, Any]]:
    trials: list[dict[str, Any]] = campaign.tests[f"test_it.py::{name}"]["trials"]
    return trials


def places(campaign: Campaign, name: str = "test_it") -> list[tuple[str, int]]:
    return [(trial["capability"], trial["hit"]) for trial in trials_of(campaign, name)]


def verdicts(campaign: Campaign, name: str = "test_it") -> list[tuple[str, str]]:
    return [(trial["outcome"], trial["verdict"]) for trial in trials_of(campaign, name)]


DEFAULT = [("failslab", 1), ("failslab", 3), ("fail_page_alloc", 1)]


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        ("fail_alloc", DEFAULT),
        ("fail_alloc()", DEFAULT),
        ('fail_alloc("failslab")', DEFAULT[:2]),
        ('fail_alloc("failslab;fail_page_alloc:min_order=0")', DEFAULT),
        ('fail_alloc("fail_page_alloc", min_order=3)', []),
        ('fail_alloc("failslab", require="test_it:take")', DEFAULT[:2]),
        ('fail_alloc("failslab", reject=["nowhere", "test_it:take"])', []),
        ('fail_alloc(require="test_it:elsewhere")', []),
        ('fail_alloc(hits="first")', [DEFAULT[0], DEFAULT[2]]),
        ("fail_alloc(hits=2)", [("failslab", 1), ("failslab", 2), DEFAULT[2]]),
        ("fail_alloc(max=1)", DEFAULT[:1]),
        ("fail_alloc(hits=None, max=None, strict=None, persistent=None, timeout=None)", DEFAULT),
    ],
)
def test_a_mark_decides_which_trials_its_test_gets(
    pytester: pytest.Pytester, mark: str, expected: list[tuple[str, int]]
) -> None:
    marked(pytester, mark)

    campaign = run_here(pytester, MODEL)

    assert places(campaign) == expected


@pytest.mark.parametrize(
    ("raises", "outcome"),
    [
        ("PoolEmpty", "propagated"),
        ("(RingFull, PoolEmpty)", "propagated"),
        ("Exception", "propagated"),
        ("RingFull", "failed"),
        ("()", "failed"),
    ],
)
def test_a_mark_declares_what_may_answer_a_failure(
    pytester: pytest.Pytester, raises: str, outcome: str
) -> None:
    marked(pytester, f"fail_alloc(raises={raises})")

    campaign = run_here(pytester, MODEL)

    assert {trial["outcome"] for trial in trials_of(campaign)} == {outcome}


def test_a_mark_can_make_one_test_strict_or_none(pytester: pytest.Pytester) -> None:
    make(
        pytester,
        """
        @pytest.mark.fail_alloc("failslab", raises=PoolEmpty, strict=True, max=1)
        def test_strict():
            take()


        @pytest.mark.fail_alloc("failslab", raises=PoolEmpty, strict=False, max=1)
        def test_lenient():
            take()


        @pytest.mark.fail_alloc("failslab", raises=PoolEmpty, max=1)
        def test_as_the_option_says():
            take()
        """,
    )

    plain = run_here(pytester, MODEL)
    strict = run_here(pytester, MODEL, "--fail-alloc-strict")

    bad, good = [("propagated", "bad")], [("propagated", "good")]
    assert [verdicts(plain, name) for name in ("test_strict", "test_lenient")] == [bad, good]
    assert [verdicts(strict, name) for name in ("test_strict", "test_lenient")] == [bad, good]
    assert verdicts(plain, "test_as_the_option_says") == good
    assert verdicts(strict, "test_as_the_option_says") == bad


def test_a_mark_can_make_faults_persistent_or_transient(pytester: pytest.Pytester) -> None:
    make(
        pytester,
        """
        @pytest.mark.fail_alloc("failslab", persistent=True)
        def test_persistent():
            assert fi.kmalloc(64, fi.GFP_KERNEL) or fi.kmalloc(64, fi.GFP_KERNEL)


        @pytest.mark.fail_alloc("failslab", persistent=False)
        def test_transient():
            assert fi.kmalloc(64, fi.GFP_KERNEL) or fi.kmalloc(64, fi.GFP_KERNEL)
        """,
    )

    campaign = run_here(pytester, MODEL, "--fail-alloc-persistent")

    assert campaign.outcomes("test_it.py::test_persistent") == ["failed"]
    assert campaign.outcomes("test_it.py::test_transient") == ["recovered"]


def test_the_nearest_mark_wins_and_what_it_leaves_out_comes_from_the_others(
    pytester: pytest.Pytester,
) -> None:
    make(
        pytester,
        """
        pytestmark = pytest.mark.fail_alloc("failslab", raises=PoolEmpty, hits="first")


        def test_module():
            take()


        @pytest.mark.fail_alloc(hits="all")
        class TestRing:
            def test_class(self):
                take()

            @pytest.mark.fail_alloc("fail_page_alloc", raises=RingFull)
            def test_function(self):
                take()


        @pytest.mark.parametrize(
            "size", [1, pytest.param(2, marks=pytest.mark.fail_alloc(hits=2))]
        )
        def test_case(size):
            take()
        """,
    )

    campaign = run_here(pytester, MODEL)

    assert places(campaign, "test_module") == [("failslab", 1)]
    assert places(campaign, "TestRing::test_class") == [("failslab", hit) for hit in (1, 2, 3)]
    assert places(campaign, "TestRing::test_function") == [("fail_page_alloc", 1)]
    assert places(campaign, "test_case[1]") == [("failslab", 1)]
    assert places(campaign, "test_case[2]") == [("failslab", 1), ("failslab", 2)]
    # Declared types add up: the module's holds for the function as well.
    assert campaign.outcomes("test_it.py::TestRing::test_function") == ["propagated"]


@pytest.mark.parametrize(
    "mark", ["no_fail_alloc", 'no_fail_alloc(reason="talks to a device")', 'no_fail_alloc("slow")']
)
def test_a_marked_test_is_left_out(pytester: pytest.Pytester, mark: str) -> None:
    make(
        pytester,
        f"""
        def test_it():
            take()


        @pytest.mark.{mark}
        def test_left_out():
            take()
        """,
    )

    campaign = run_here(pytester, MODEL)

    assert list(campaign.tests) == ["test_it.py::test_it"]
    campaign.result.assert_outcomes(passed=1, failed=1)


def test_without_the_flag_marks_do_nothing_and_are_not_even_read(
    pytester: pytest.Pytester,
) -> None:
    marked(pytester, 'fail_alloc("failslob", strict="perhaps")')

    result = pytester.runpytest_inprocess("--strict-markers")

    result.assert_outcomes(passed=1)


def test_the_marks_are_listed_with_what_they_take(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--markers")

    result.stdout.fnmatch_lines(
        [
            "@pytest.mark.fail_alloc(SPEC=None, *, raises=(), strict=None, max=None, *knobs): *",
            "@pytest.mark.no_fail_alloc(reason=None): *",
        ]
    )


def test_an_oracle_can_be_left_out_for_one_test(pytester: pytest.Pytester) -> None:
    make(
        pytester,
        """
        import os


        def keep():
            descriptor, got = os.dup(0), fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                raise MemoryError
            fi.kfree(got)
            os.close(descriptor)


        @pytest.mark.fail_alloc(oracles="no-descriptors")
        def test_it():
            keep()


        @pytest.mark.fail_alloc(oracles=["no-locks", "no-files"])
        def test_other():
            keep()


        @pytest.mark.fail_alloc(oracles="descriptors")
        def test_alone():
            keep()
        """,
    )

    campaign = run_here(pytester, "--fail-alloc-spec=failslab")
    narrow = run_here(pytester, "--fail-alloc-spec=failslab", "--fail-alloc-oracle=locks")

    assert verdicts(campaign) == verdicts(narrow) == [("propagated", "good")]
    assert verdicts(campaign, "test_other") == [("leaked", "bad")]
    assert verdicts(narrow, "test_other") == [("propagated", "good")]  # takes away from locks
    assert verdicts(narrow, "test_alone") == [("leaked", "bad")]


WRONG = {
    'fail_alloc("failslob")': "failslab",
    'fail_alloc("")': "spec",
    'fail_alloc("failslab", intervall=3)': "interval",
    'fail_alloc("failslab", strickt=True)': "strickt",
    'fail_alloc("failslab", interval=3)': "probability",
    'fail_alloc("failslab:times=3")': "probability",
    'fail_alloc("failslab:require=a", reject="b")': "not in both",
    'fail_alloc("failslab", "fail_page_alloc")': "takes one SPEC, not 2",
    "fail_alloc(3)": "the SPEC is a text such as 'failslab'",
    'fail_alloc(oracles="no-lock")': "Perhaps no-locks",
    "fail_alloc(oracles=[])": "no oracle is named",
    "fail_alloc(rais=PoolEmpty)": "no such argument: 'rais'. Perhaps raises is meant",
    "fail_alloc('failslab', min_ordr=1)": "no such argument: 'min_ordr'",
    'fail_alloc(raises="PoolEmpty")': "raises takes exception types, not 'PoolEmpty'",
    "fail_alloc(raises=[PoolEmpty])": "raises takes exception types",
    "fail_alloc(raises=(PoolEmpty, 3))": "raises takes exception types, not 3",
    "fail_alloc(raises=PoolEmpty())": "raises takes exception types",
    "fail_alloc(max=0)": "max is a whole number of at least 1, not 0",
    "fail_alloc(max=True)": "max is a whole number of at least 1, not True",
    'fail_alloc(max="3")': "max is a whole number of at least 1, not '3'",
    'fail_alloc(hits="some")': "first, ends, all, or a whole number",
    "fail_alloc(hits=0)": "first, ends, all, or a whole number",
    "fail_alloc(timeout=0)": "timeout is a number of seconds above 0, not 0",
    'fail_alloc(timeout=float("inf"))': "timeout is a number of seconds above 0, not inf",
    'fail_alloc(timeout="1")': "timeout is a number of seconds above 0, not '1'",
    'fail_alloc(strict="yes")': "strict is True or False, not 'yes'",
    "fail_alloc(persistent=1)": "persistent is True or False, not 1",
}


@pytest.mark.parametrize("mark", WRONG)
def test_a_wrong_mark_is_refused_at_collection_with_the_tests_node_id(
    pytester: pytest.Pytester, mark: str
) -> None:
    make(
        pytester,
        f"""
        def test_before():
            raise AssertionError("nothing may run")


        class TestRing:
            @pytest.mark.{mark}
            @pytest.mark.parametrize("size", [16])
            def test_it(self, size):
                take()
        """,
    )

    result = pytester.runpytest_inprocess("--fail-alloc")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: test_it.py::TestRing::test_it[[]16]: mark fail_alloc: *"])
    assert WRONG[mark] in result.stderr.str()
    assert "nothing may run" not in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str()


def test_a_wrong_mark_of_a_test_that_is_not_run_is_no_matter(pytester: pytest.Pytester) -> None:
    make(
        pytester,
        """
        def test_it():
            pass


        @pytest.mark.fail_alloc("failslob")
        def test_not_selected():
            take()


        @pytest.mark.fail_alloc("failslob")
        @pytest.mark.no_fail_alloc
        def test_left_out():
            pass
        """,
    )

    campaign = run_here(pytester, MODEL, "-k", "not selected")

    campaign.result.assert_outcomes(passed=2, deselected=1)
