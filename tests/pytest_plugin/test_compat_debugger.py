"""The debugger under a campaign: it stops in this process, in the trial that went wrong."""

from __future__ import annotations

import sys

import pytest
from campaigns import FIXED_ORDER, Campaign, campaign_of, run_campaign

pytestmark = pytest.mark.usefixtures("alone")

PROJECT = """
    import os

    import pytest

    import faultinject as fi

    FIRST = os.getpid()


    @pytest.fixture
    def ring():
        ring = []
        yield ring
        print("RING IS EMPTIED")
        for item in ring:
            fi.kfree(item)


    def test_bad(ring):
        for number in range(3):
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            assert item is not None
            ring.append(item)


    def test_propagates():
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        if item is None:
            raise MemoryError("no item")
        fi.kfree(item)


    def test_good():
        fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
"""


def debug(pytester: pytest.Pytester, commands: str, *arguments: str) -> Campaign:
    """Run a campaign with ``--pdb`` and type the commands."""
    result = pytester.run(
        sys.executable,
        "-mpytest",
        "--pdb",
        "--fail-alloc",
        "--fail-alloc-report=term",
        "--fail-alloc-report=json:campaign.json",
        "--fail-alloc-spec=failslab",
        *FIXED_ORDER,
        *arguments,
        stdin=commands.encode(),
        timeout=60,
    )
    return campaign_of(pytester, result)


def test_pdb_stops_in_the_first_bad_trial_of_a_test_and_the_run_goes_on(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_ring=PROJECT)

    campaign = debug(
        pytester,
        "p 'number', number, 'same process', os.getpid() == FIRST\n"
        "p 'alive', len(ring), 'item', item\n"
        "c\n",
    )

    assert campaign.text.count("(Pdb)") == 3
    campaign.result.stdout.fnmatch_lines(
        [
            "*AssertionError*",
            "*entering PDB*",
            "*> *test_ring.py(22)test_bad()*",
            "*('number', 0, 'same process', True)*",
            "*('alive', 0, 'item', None)*",
        ]
    )
    assert campaign.outcomes("test_ring.py::test_bad") == ["failed", "failed"]
    assert campaign.outcomes("test_ring.py::test_propagates") == ["propagated"]
    assert campaign.outcomes("test_ring.py::test_good") == ["recovered"]
    campaign.result.assert_outcomes(passed=2, failed=1)


def test_a_token_with_pdb_stops_in_the_very_trial_that_it_names(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_ring=PROJECT)
    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab")
    (_, last) = campaign.tokens("test_ring.py::test_bad")

    replayed = debug(
        pytester,
        "p 'number', number, 'alive', len(ring), 'same process', os.getpid() == FIRST\nc\n",
        f"--fail-alloc-replay={last}",
    )

    replayed.result.stdout.fnmatch_lines(
        ["*entering PDB*", "*('number', 2, 'alive', 2, 'same process', True)*"]
    )
    assert replayed.text.count("entering PDB") == 1
    assert list(replayed.tests) == ["test_ring.py::test_bad"]
    replayed.result.assert_outcomes(failed=1)


@pytest.mark.parametrize("kind", ["fork", "none"])
def test_leaving_the_debugger_ends_the_run(pytester: pytest.Pytester, kind: str) -> None:
    pytester.makepyfile(test_ring=PROJECT)

    campaign = debug(pytester, "q\n", f"--fail-alloc-isolation={kind}")

    campaign.result.stdout.fnmatch_lines(["*Exit: Quitting debugger*"])
    campaign.result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert "test_ring.py::test_good" not in campaign.tests


def test_pdb_has_nothing_to_stop_at_where_every_trial_is_good(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_ring=PROJECT)

    campaign = debug(pytester, "", "-k", "propagates or good")

    assert "entering PDB" not in campaign.text
    campaign.result.assert_outcomes(passed=2, deselected=1)


def test_a_test_case_is_debugged_before_its_tear_down(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_case="""
        import unittest

        import faultinject as fi


        class TestCase(unittest.TestCase):
            def setUp(self):
                self.open = True

            def tearDown(self):
                self.open = False

            def test_bad(self):
                self.item = fi.kmalloc(64, fi.GFP_KERNEL)
                self.assertIsNotNone(self.item)
                fi.kfree(self.item)
        """
    )

    campaign = debug(pytester, "p 'open', self.open, 'item', self.item\nc\n")

    campaign.result.stdout.fnmatch_lines(["*('open', True, 'item', None)*"])
    assert campaign.outcomes("test_case.py::TestCase::test_bad") == ["failed"]
    campaign.result.assert_outcomes(failed=1)
