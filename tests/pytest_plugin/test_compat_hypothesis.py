"""Property tests under a campaign: the fault is a function of the example."""

from __future__ import annotations

import json

import pytest
from campaigns import JOURNAL, children_of, read_journal, run_campaign


@pytest.fixture(autouse=True)
def neighbours(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs load Hypothesis, and what runs coroutine tests, beside this plugin."""
    runners = "pytest_asyncio.plugin,anyio.pytest_plugin"
    names = f"pytest_faultinject.plugin,_hypothesis_pytestplugin,{runners}"
    monkeypatch.setenv("PYTEST_PLUGINS", names)


def test_every_example_meets_the_fault_and_the_smallest_failing_one_is_shown(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_property="""
        import functools

        from hypothesis import example, given, settings
        from hypothesis import strategies as st

        import faultinject as fi


        @given(st.integers(0, 10_000), st.lists(st.integers(0, 9)))
        def test_fails_from_17_on(number, noise):
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            if item is None:
                assert number < 17
                return
            fi.kfree(item)


        @given(st.integers())
        def test_propagates(number):
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            if item is None:
                raise MemoryError(number)
            fi.kfree(item)


        @given(st.integers())
        def test_recovers(number):
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))


        @given(st.integers(0, 3))
        @example(7)
        def test_fails_for_the_written_example(number):
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            assert item is not None or number != 7
            fi.kfree(item)


        def again(function):
            @functools.wraps(function)
            def test(*args, **kwargs):
                return function(*args, **kwargs)

            return test


        @again
        @given(st.integers(0, 10_000))
        def test_fails_below_a_decorator(number):
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            assert item is not None or number < 19
            fi.kfree(item)


        class TestMethod:
            @settings(max_examples=20)
            @given(number=st.integers(0, 50))
            def test_last_hit(self, number):
                items = [fi.kmalloc(64, fi.GFP_KERNEL) for _ in range(1 + number)]
                for item in items:
                    fi.kfree(item)
                assert None not in items or number < 5
        """
    )

    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab")

    prefix = "test_property.py::"
    assert campaign.outcomes(f"{prefix}test_fails_from_17_on") == ["failed"]
    assert campaign.outcomes(f"{prefix}test_propagates") == ["propagated"]
    assert campaign.outcomes(f"{prefix}test_recovers") == ["recovered"]
    assert campaign.outcomes(f"{prefix}test_fails_for_the_written_example") == ["failed"]
    assert campaign.outcomes(f"{prefix}test_fails_below_a_decorator") == ["failed"]
    # The last hit is the last of the longest example; shorter ones never get there.
    assert campaign.outcomes(f"{prefix}TestMethod::test_last_hit") == ["failed", "failed"]
    assert campaign.all_run_twice
    campaign.result.stdout.fnmatch_lines(
        [
            "*: test_fails_from_17_on(*",
            "*number=17,*",
            "*noise=[[]],*",
            "*: test_fails_for_the_written_example(*",
            "*number=7,*",
            "*: test_fails_below_a_decorator(*",
            "*number=19,*",
            "*: test_last_hit(*",
            "*number=5,*",
        ]
    )
    # Neither our frames nor our lines stand between the reader and the example.
    assert "Flaky" not in campaign.text
    assert "pytest_faultinject/examples.py" not in campaign.text
    assert "capability.py" not in campaign.text


def test_the_same_examples_come_in_the_census_in_every_trial_and_in_a_replay(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        journal=JOURNAL,
        test_examples="""
        from hypothesis import given, settings
        from hypothesis import strategies as st

        import faultinject as fi
        from journal import note


        @settings(max_examples=15)
        @given(st.integers())
        def test_takes(number):
            note(number)
            for _ in range(2):
                fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
        """,
    )

    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab")
    first = children_of(read_journal(pytester))
    pytester.path.joinpath("journal.txt").unlink()
    (token, _) = campaign.tokens("test_examples.py::test_takes")
    replayed = run_campaign(pytester, f"--fail-alloc-replay={token}")

    assert campaign.outcomes("test_examples.py::test_takes") == ["recovered"] * 2
    assert len(first) == 3
    assert len(set(first[0])) > 5
    assert len({json.dumps(words) for words in first}) == 1
    assert replayed.outcomes("test_examples.py::test_takes") == ["recovered"]
    assert children_of(read_journal(pytester)) == first[:2]


def test_a_campaign_leaves_the_users_settings_and_example_database_alone(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_database="""
        from hypothesis import given, settings
        from hypothesis import strategies as st

        import faultinject as fi


        @settings(max_examples=30, deadline=None)
        @given(st.integers(0, 1000))
        def test_fails(number):
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            assert item is not None or number < 17
            fi.kfree(item)


        def test_everything_is_back():
            assert test_fails._hypothesis_internal_use_settings.max_examples == 30
            assert test_fails._hypothesis_internal_use_settings.database is not None
            assert test_fails._hypothesis_internal_use_seed is None
            assert not hasattr(test_fails.hypothesis.inner_test, "__wrapped__")
        """
    )

    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab", "--fail-alloc-isolation=none")

    assert campaign.outcomes("test_database.py::test_fails") == ["failed"]
    campaign.result.assert_outcomes(passed=1, failed=1)
    # A failing example of a trial, if it were kept, would come first in every later run.
    assert not list(pytester.path.glob(".hypothesis/examples/*"))


def test_a_state_machine_meets_the_fault_in_every_example_and_shrinks(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_machine="""
        from hypothesis import settings
        from hypothesis.stateful import RuleBasedStateMachine, rule
        from hypothesis import strategies as st

        import faultinject as fi


        class Ring(RuleBasedStateMachine):
            def __init__(self):
                super().__init__()
                self.items = []

            @rule(size=st.integers(1, 100))
            def push(self, size):
                item = fi.kmalloc(64, fi.GFP_KERNEL)
                assert item is not None or size < 17
                self.items.append(item)

            @rule()
            def pop(self):
                if self.items:
                    fi.kfree(self.items.pop())

            def teardown(self):
                for item in self.items:
                    fi.kfree(item)


        TestRing = Ring.TestCase
        TestRing.settings = settings(max_examples=30, stateful_step_count=5)
        """
    )

    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab", "--fail-alloc-hits=first")

    assert campaign.outcomes("test_machine.py::TestRing::runTest") == ["failed"]
    assert campaign.all_run_twice
    campaign.result.stdout.fnmatch_lines(["*state.push(size=17)"])
    assert "state.pop()" not in campaign.text
    assert "Flaky" not in campaign.text


def test_coroutine_properties_are_failed_example_by_example(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_async_property="""
        import asyncio

        import pytest
        from hypothesis import given
        from hypothesis import strategies as st

        import faultinject as fi


        @pytest.mark.asyncio
        @given(number=st.integers(0, 1000))
        async def test_asyncio(number):
            await asyncio.sleep(0)
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            assert item is not None or number < 17
            fi.kfree(item)


        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        @given(number=st.integers(0, 1000))
        async def test_anyio(number, anyio_backend):
            await asyncio.sleep(0)
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            assert item is not None or number < 18
            fi.kfree(item)
        """
    )

    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab")

    assert campaign.outcomes("test_async_property.py::test_asyncio") == ["failed"]
    assert campaign.outcomes("test_async_property.py::test_anyio[asyncio]") == ["failed"]
    assert campaign.all_run_twice
    campaign.result.stdout.fnmatch_lines(["*number=17,*", "*number=18,*"])
    assert "Flaky" not in campaign.text
