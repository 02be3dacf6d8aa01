"""Defects of CPython that the veto keeps away from the code under test."""

from __future__ import annotations

import gc
import sys

import pytest

from faultinject.engine.attr import FaultAttr
from faultinject.native import CodeScope, RuleArming, call_sites_unavailable

pytestmark = pytest.mark.skipif(
    call_sites_unavailable() is not None, reason=f"no call sites: {call_sites_unavailable()}"
)


class Argument:
    """Something whose references can be counted."""


def keeps(argument: Argument) -> object:
    """Need a cell for its argument before its first line runs."""
    return lambda: argument


def caller(argument: Argument) -> object:
    """Call it, and make a list."""
    return [keeps(argument)]


def test_a_function_that_fails_on_its_way_in_leaks_no_argument() -> None:
    argument = Argument()
    caller(argument)
    references = sys.getrefcount(argument)
    failed = 0

    for number in range(1, 8):
        try:
            with RuleArming(FaultAttr(), scope=CodeScope.of([__file__]), nth=number):
                caller(argument)
        except MemoryError:
            failed += 1
        gc.collect()

    assert failed  # else nothing was shown
    assert sys.getrefcount(argument) == references
