"""A census in a child, and a strike at every one of its sites in children of the same parent."""

from __future__ import annotations

import sys
import traceback
from collections import Counter

import native_bodies
import pytest
from native_children import Ended, in_a_child

from faultinject.native import Census, CodeScope, NativeSite, Strike, Target, why_unavailable

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))

BODIES = CodeScope.of([native_bodies.__file__])


def census_of(name: str, by_caller: bool) -> list[NativeSite]:
    with Census(BODIES, all_tasks=True, by_caller=by_caller) as census:
        native_bodies.BODIES[name]()
    return census.sites


def trial(site: NativeSite, name: str, hit: int) -> str:
    strike = Strike(Target(site, hit), scope=BODIES, all_tasks=True)
    try:
        with strike:
            native_bodies.BODIES[name]()
    except MemoryError as error:
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == site.file
        ]
        return "at its line" if site.line in lines else "elsewhere"
    except Exception as error:
        return type(error).__name__
    return "swallowed" if strike.struck else "not reached"


def sweep(by_caller: bool) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for name, body in native_bodies.BODIES.items():
        for _ in range(3):
            body()
        for site in in_a_child(lambda name=name: census_of(name, by_caller)):
            for hit in {1, site.hits}:
                try:
                    outcome = in_a_child(lambda s=site, n=name, h=hit: trial(s, n, h))
                except Ended:
                    outcome = "crashed"
                outcomes[outcome] += 1
    return outcomes


@pytest.mark.parametrize("by_caller", [False, True], ids=["by instruction", "by C caller"])
def test_every_site_of_the_census_is_reached_again_and_fails_at_its_line(by_caller: bool) -> None:
    outcomes = sweep(by_caller)

    total = outcomes.total()
    sys.stderr.write(f"{sys.version_info[:3]} {dict(outcomes)}\n")
    assert total > 150
    assert outcomes["not reached"] <= total / 1000
    assert outcomes["crashed"] <= total / 100
    assert outcomes["at its line"] >= 0.94 * total
