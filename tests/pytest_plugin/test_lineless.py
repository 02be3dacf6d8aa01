"""Faults at instructions that belong to no line of the source."""

from __future__ import annotations

import pytest
from projects import run_here

pytestmark = pytest.mark.usefixtures("alone")

SLAB = "--fail-alloc-spec=failslab"

TEST = """
import faultinject as fi


def without_lines(function):
    code = function.__code__
    whole, rest = divmod(len(code.co_code) // 2, 8)
    nowhere = bytes([0b1_1111_111] * whole + [0b1_1111_000 | rest - 1] * (rest > 0))
    function.__code__ = code.replace(co_linetable=nowhere)
    return function


@without_lines
def grab():
    got = fi.kmalloc(8, fi.GFP_KERNEL)
    if got is None:
        raise {error}("no memory")
    fi.kfree(got)


def test_grab():
    grab()
"""


@pytest.mark.parametrize(
    ("error", "outcome"), [("MemoryError", "propagated"), ("KeyError", "failed")]
)
def test_an_error_from_nowhere_is_judged_and_shown_as_any_other(
    pytester: pytest.Pytester, error: str, outcome: str
) -> None:
    pytester.makepyfile(test_it=TEST.format(error=error))

    campaign = run_here(pytester, SLAB)

    assert campaign.outcomes("test_it.py::test_grab") == [outcome]
    assert "outside the test" not in campaign.text
