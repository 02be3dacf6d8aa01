"""unittest's tests under a campaign: fresh instances, subtests, coroutines."""

from __future__ import annotations

import pytest
from campaigns import JOURNAL, children_of, read_journal, run_campaign

pytestmark = pytest.mark.usefixtures("alone")


def test_every_trial_of_a_test_case_gets_a_fresh_instance_and_its_set_up_and_tear_down(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        journal=JOURNAL,
        test_ring="""
        import unittest

        import faultinject as fi
        from journal import note


        def setUpModule():
            note("setUpModule")


        def tearDownModule():
            note("tearDownModule")


        class TestRing(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                note("setUpClass")

            @classmethod
            def tearDownClass(cls):
                note("tearDownClass")

            def setUp(self):
                note("setUp", hasattr(self, "slots"))
                self.slots = []
                self.addCleanup(note, "cleanup")

            def tearDown(self):
                note("tearDown")
                for slot in self.slots:
                    fi.kfree(slot)

            def test_fills(self):
                note("body", self.slots)
                slot = fi.kmalloc(64, fi.GFP_KERNEL)
                if slot is None:
                    raise MemoryError("no slot")
                self.slots.append(slot)
                self.assertEqual(len(self.slots), 1)

            def test_forgets(self):
                self.slots.append(fi.kmalloc(64, fi.GFP_KERNEL))
                self.assertIsNotNone(self.slots[0])
        """,
    )

    campaign = run_campaign(pytester)

    notes = read_journal(pytester)
    once = ["setUp False", "body []", "tearDown", "cleanup"]
    again = ["setUp False", "tearDown", "cleanup"]
    assert notes["parent"] == [
        "setUpModule",
        "setUpClass",
        *once,
        *again,
        "tearDownClass",
        "tearDownModule",
    ]
    # The census and each trial run the test twice: the second time without a fault.
    assert children_of(notes) == 3 * [once + once] + 3 * [again + again]
    assert campaign.all_run_twice
    assert campaign.outcomes("test_ring.py::TestRing::test_fills") == ["propagated"] * 2
    assert campaign.outcomes("test_ring.py::TestRing::test_forgets") == ["failed"] * 2
    campaign.result.assert_outcomes(passed=1, failed=1)
    campaign.result.stdout.fnmatch_lines(["*AssertionError: unexpectedly None*"])


SUBTESTS = """
    import unittest

    import faultinject as fi


    def take():
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        if item is None:
            raise MemoryError("no item")
        fi.kfree(item)


    class TestSizes(unittest.TestCase):
        def test_propagates(self):
            for size in range(3):
                with self.subTest(size=size):
                    take()

        def test_fails(self):
            for size in range(3):
                with self.subTest(size=size):
                    item = fi.kmalloc(64, fi.GFP_KERNEL)
                    self.assertIsNotNone(item)
                    fi.kfree(item)


    def test_fixture_propagates(subtests):
        for size in range(3):
            with subtests.test(size=size):
                take()


    def test_fixture_fails(subtests):
        for size in range(3):
            with subtests.test(msg="size", size=size):
                item = fi.kmalloc(64, fi.GFP_KERNEL)
                assert item is not None
                fi.kfree(item)


    def test_clean_failure(subtests):
        for size in range(2):
            with subtests.test(size=size):
                take()
                assert size == 0
"""


@pytest.mark.parametrize("kind", ["fork", "none"])
@pytest.mark.skipif(
    not hasattr(pytest, "Subtests"), reason="this release of pytest has no fixture subtests"
)
def test_a_fault_inside_a_subtest_is_judged_and_no_subtest_of_a_trial_is_reported(
    pytester: pytest.Pytester, kind: str
) -> None:
    pytester.makepyfile(test_sizes=SUBTESTS)

    # With -v, subtests that pass are counted as well.
    options = ["-v"] if kind == "fork" else []
    campaign = run_campaign(pytester, f"--fail-alloc-isolation={kind}", *options)

    # Slab: first and last of three hits; pages: the first alone needs a new slab.
    for name in ("TestSizes::test_propagates", "test_fixture_propagates"):
        expected = ["propagated"] * 3
        assert campaign.outcomes(f"test_sizes.py::{name}") == expected, name
    for name in ("TestSizes::test_fails", "test_fixture_fails"):
        assert campaign.outcomes(f"test_sizes.py::{name}") == ["failed"] * 3, name
    assert campaign.all_run_twice
    # Each subtest is told once, of the clean run; none of a trial's fails.
    last = campaign.result.outlines[-1]
    # A clean subtest that fails is a failure of the clean test, which has no campaign.
    assert "4 failed, 2 passed" in last
    assert ("13 subtests passed" in last) == (kind == "fork")
    # Told as a failure, and once more in the short summary.
    assert campaign.text.count("contains 1 failed subtest") == 2
    assert "test_sizes.py::test_clean_failure" not in campaign.tests


def test_an_async_test_case_runs_in_a_fresh_loop_in_every_trial(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_async_case="""
        import asyncio
        import unittest

        import faultinject as fi

        loops = []


        class TestStream(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                assert asyncio.get_running_loop() not in loops
                loops.append(asyncio.get_running_loop())
                self.open = []

            async def asyncTearDown(self):
                for item in self.open:
                    fi.kfree(item)

            async def take(self):
                await asyncio.sleep(0)
                item = fi.kmalloc(64, fi.GFP_KERNEL)
                if item is None:
                    raise MemoryError("no item")
                self.open.append(item)

            async def test_propagates(self):
                assert not self.open
                await self.take()

            async def test_recovers_in_another_task(self):
                results = await asyncio.gather(self.take(), self.take(), return_exceptions=True)
                assert len(self.open) >= 1
                assert len(results) == 2
        """
    )

    campaign = run_campaign(pytester)

    case = "test_async_case.py::TestStream"
    assert campaign.outcomes(f"{case}::test_propagates") == ["propagated"] * 2
    assert campaign.outcomes(f"{case}::test_recovers_in_another_task") == ["recovered"] * 3
    assert campaign.all_run_twice
    campaign.result.assert_outcomes(passed=2)


def test_a_trial_with_many_errors_leaves_none_of_them_to_its_clean_re_run(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_many="""
        import unittest

        import faultinject as fi


        class TestMany(unittest.TestCase):
            def setUp(self):
                self.item = None
                self.addCleanup(lambda: self.assertTrue(self.item, "cleanup"))
                self.addCleanup(lambda: self.assertTrue(self.item, "cleanup before it"))

            def tearDown(self):
                self.assertTrue(self.item, "tearDown")
                fi.kfree(self.item)

            def test_takes(self):
                self.item = fi.kmalloc(64, fi.GFP_KERNEL)
                self.assertTrue(self.item, "body")
        """
    )

    campaign = run_campaign(pytester)

    # A re-run that inherits an error would be "corrupted".
    assert campaign.outcomes("test_many.py::TestMany::test_takes") == ["failed", "failed"]
    assert campaign.all_run_twice
