"""The fixture ``fail_alloc``: invariants, pauses, and what was made to fail so far."""

from __future__ import annotations

import pytest
from projects import run_here

pytestmark = pytest.mark.usefixtures("alone")

# Each test of these projects notes what happens to it, across processes.
NOTES = """
from pathlib import Path

PATH = Path(__file__).with_name("notes.txt")


def note(*words):
    with PATH.open("a") as file:
        print(*words, file=file)
"""

SLAB = "--fail-alloc-spec=failslab"


def notes_of(pytester: pytest.Pytester) -> list[str]:
    path = pytester.path / "notes.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_without_the_flag_the_fixture_is_there_and_harmless(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        notes=NOTES,
        test_it="""
        import faultinject as fi
        from notes import note


        def test_it(fail_alloc):
            @fail_alloc.invariant
            def check():
                note("checked")

            with fail_alloc.paused():
                assert fi.kmalloc(64, fi.GFP_KERNEL) is not None
            assert fail_alloc.injections == []
            assert check.__name__ == "check"
        """,
    )

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(passed=1)
    assert notes_of(pytester) == []


def test_an_invariant_is_asked_after_the_body_and_before_tear_down_whatever_became_of_it(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        notes=NOTES,
        test_it="""
        import pytest

        import faultinject as fi
        from notes import note


        @pytest.fixture
        def ring():
            yield
            note("torn down")


        def test_it(ring, fail_alloc):
            fail_alloc.invariant(lambda: note("first"))
            fail_alloc.invariant(lambda: note("second"))
            note("body")
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                raise MemoryError
            fi.kfree(got)
            note("end of body")
        """,
    )

    campaign = run_here(pytester, SLAB)

    good = ["body", "end of body", "first", "second", "torn down"]
    # The run that counts asks nothing: it is a test like any other.
    assert notes_of(pytester) == [
        *["body", "end of body", "torn down"],
        *good,  # the census
        *good,
        *["body", "first", "second", "torn down"],  # the trial
        *good,  # its re-run
    ]
    assert campaign.outcomes("test_it.py::test_it") == ["propagated"]


def test_an_invariant_allocates_with_nothing_armed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import pytest

        import faultinject as fi


        def get():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            assert got is not None
            fi.kfree(got)


        @pytest.mark.fail_alloc(raises=AssertionError)
        def test_it(fail_alloc):
            fail_alloc.invariant(get)
            get()
        """
    )

    campaign = run_here(pytester, SLAB, "--fail-alloc-persistent", "--fail-alloc-hits=all")

    assert campaign.outcomes("test_it.py::test_it") == ["propagated"]


def test_each_broken_invariant_is_named_and_the_others_are_asked_all_the_same(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_it="""
        import faultinject as fi


        def test_it(fail_alloc):
            state = {"open": 0, "busy": False}

            @fail_alloc.invariant
            def nothing_open():
                assert state["open"] == 0, "something is open"

            @fail_alloc.invariant
            def returns_false():
                return False  # an assertion is needed: the value means nothing

            @fail_alloc.invariant
            def not_busy():
                if state["busy"]:
                    raise SystemExit("still busy")

            state.update(open=1, busy=True)
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                raise MemoryError
            fi.kfree(got)
            state.update(open=0, busy=False)
        """
    )

    campaign = run_here(pytester, SLAB)

    (trial,) = campaign.tests["test_it.py::test_it"]["trials"]
    assert trial["outcome"] == "corrupted"
    assert [line for line in trial["details"] if line.startswith("invariant")] == [
        "invariant broken: AssertionError: something is open",
        "invariant broken: SystemExit: still busy",
    ]


def test_an_invariant_that_does_not_hold_in_the_clean_run_leaves_the_test_untried(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_it="""
        import faultinject as fi


        def test_it(fail_alloc):
            fail_alloc.invariant(lambda: 1 / 0)
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
        """
    )

    campaign = run_here(pytester, SLAB)

    assert campaign.outcomes("test_it.py::test_it") == []
    campaign.result.stdout.fnmatch_lines(
        ["test_it.py::test_it: no trial was run: *ZeroDivisionError: division by zero"]
    )


def test_an_invariant_of_one_test_is_not_asked_after_another(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        notes=NOTES,
        test_it="""
        import faultinject as fi
        from notes import note


        def test_with(fail_alloc):
            fail_alloc.invariant(lambda: note("asked"))
            note("with")


        def test_without(fail_alloc):
            note("without")
        """,
    )

    run_here(pytester, SLAB)

    notes = notes_of(pytester)
    assert "asked" in notes
    assert "asked" not in notes[notes.index("without") :]


@pytest.mark.parametrize("value", ["None", "3", "'check'"])
def test_an_invariant_must_be_something_to_call(pytester: pytest.Pytester, value: str) -> None:
    pytester.makepyfile(f"def test_it(fail_alloc): fail_alloc.invariant({value})")

    result = pytester.runpytest_inprocess()

    result.stdout.fnmatch_lines(
        [f"*TypeError: fail_alloc.invariant() needs a function, not {value}"]
    )


def test_inside_a_pause_nothing_fails_and_nothing_is_counted(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import faultinject as fi


        def get():
            return fi.kmalloc(64, fi.GFP_KERNEL)


        def test_it(fail_alloc):
            with fail_alloc.paused():
                paused = get()
            counted = get()
            with fail_alloc.paused():
                again = get()
            assert paused is not None
            assert again is not None
            for got in (paused, counted, again):
                fi.kfree(got)
        """
    )

    transient = run_here(pytester, SLAB, "--fail-alloc-hits=all")
    persistent = run_here(pytester, SLAB, "--fail-alloc-hits=all", "--fail-alloc-persistent")

    for campaign in (transient, persistent):
        (trial,) = campaign.tests["test_it.py::test_it"]["trials"]
        assert (trial["hit"], trial["outcome"]) == (1, "recovered")


def test_the_fixture_lists_what_was_made_to_fail_in_this_test_alone(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        notes=NOTES,
        test_it="""
        import faultinject as fi
        from notes import note


        def test_it(fail_alloc):
            with fi.failslab(times=1):
                assert fi.kmalloc(8, fi.GFP_KERNEL) is None
            before = len(fail_alloc.injections)
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            for injection in fail_alloc.injections[before:]:
                note(injection.capability, injection.size, injection.unit, injection.site.function)
            note(before, got is None)
            fi.kfree(got)


        def test_next(fail_alloc):
            assert fail_alloc.injections == []
        """,
    )

    campaign = run_here(pytester, SLAB, "--fail-alloc-isolation=none")

    campaign.result.assert_outcomes(passed=2)
    assert "1 False" in notes_of(pytester)
    assert notes_of(pytester).count("failslab 64 bytes test_it") == 1
    assert notes_of(pytester).count("1 True") == 1


def test_the_fixture_is_listed_with_its_explanation(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")

    result = pytester.runpytest_inprocess("--fixtures")

    result.stdout.fnmatch_lines(
        ["fail_alloc -- *plugin.py:*", "    Talk to the campaign from inside a test; harmless *"]
    )
