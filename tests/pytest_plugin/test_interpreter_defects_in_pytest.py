"""Defects of CPython in a run of pytest: told, and nobody's fault."""

from __future__ import annotations

import re

import pytest
from campaigns import run_campaign

from faultinject.native import call_sites_unavailable

pytestmark = pytest.mark.skipif(
    call_sites_unavailable() is not None, reason=f"no call sites: {call_sites_unavailable()}"
)

STORE = """
import ctypes


def iterators(table):
    # Many, so that the interpreter has no tuple left to use again.
    return [iter(table.items()) for _ in range(50)]


def spoil():
    try:
        return bytes(5000)
    except MemoryError:
        ctypes.string_at(0)
"""

TEST = """
import store


def test_iterators():
    assert len(store.iterators({"a": 1})) == 50
"""

SPOILT = """
import store


def test_spoil():
    assert len(store.spoil()) == 5000
"""

SPEC = "--fail-alloc-spec=fail_pymem"


def test_a_trial_that_meets_one_is_marked_and_fails_no_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(store=STORE, test_it=TEST)

    campaign = run_campaign(pytester, SPEC, "-v")

    assert campaign.result.ret == 0
    assert campaign.summary["interpreter"] >= 1
    assert campaign.summary["bad"] == 0
    crashed = [
        trial
        for trial in campaign.tests["test_it.py::test_iterators"]["trials"]
        if trial["outcome"] == "crashed"
    ]
    assert crashed
    assert {trial["interpreter"] for trial in crashed} == {"gh-152107"}
    campaign.result.stdout.re_match_lines(
        [
            r"  CRASHED     fail_pymem at store.py:6 .*\(CPython: gh-152107\)",
            r"\d+ trials? met a defect of CPython itself \(gh-152107\) and did not fail the run",
        ]
    )


def test_a_crash_that_is_none_is_told_with_the_stacks_of_c_and_of_python(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(store=STORE, test_it=SPOILT)

    campaign = run_campaign(pytester, f"{SPEC}:min_size=5000")

    assert campaign.result.ret == 1
    (trial,) = campaign.tests["test_it.py::test_spoil"]["trials"]
    assert (trial["outcome"], trial["interpreter"]) == ("crashed", None)
    assert re.match("C stack of the crash: .* < string_at < ", trial["details"][0])
    assert trial["details"][1].startswith("C stack of the fault: ")
    campaign.result.stdout.re_match_lines(
        [
            r"CRASHED with a fail_pymem fault at store.py:11 in spoil",
            r"  killed by SIGSEGV",
            r"  C stack of the crash: .* < string_at < ",
            r"  C stack of the fault: .*_PyEval_EvalFrameDefault",
            r'  \|   File ".*store.py", line 13 in spoil',
        ]
    )
