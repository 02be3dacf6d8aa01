"""Strikes with two targets, and strikes that count: what is reached because of a fault."""

from __future__ import annotations

import pytest
from native_children import in_a_child

from faultinject.errors import UsageError
from faultinject.native import Census, CodeScope, NativeSite, Strike, Target, why_unavailable

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))

HERE = CodeScope.of([__file__])


def first() -> bytes:
    return bytes(4000)


def recovery() -> bytes:
    return bytes(5000)


def body() -> bytes:
    try:
        return first()
    except MemoryError:
        return recovery()


def named(sites: list[NativeSite], function: str) -> list[NativeSite]:
    return [site for site in sites if site.function == function]


def chain(*functions: str) -> list[Target]:
    """Give targets at the first sites of functions that only a fault leads to, and of others."""
    with Census(HERE) as census:
        first()
        recovery()
    return [Target(named(census.sites, function)[0]) for function in functions]


def test_a_strike_that_counts_tells_what_it_led_to() -> None:
    def run() -> tuple[int, int]:
        (target,) = chain("first")
        with Strike(target, scope=HERE, counts=True) as strike:
            assert body() == bytes(5000)
        return len(named(strike.sites, "recovery")), strike.stats["injected"]

    reached, injected = in_a_child(run)

    assert reached >= 1
    assert injected == 1


def test_one_that_does_not_count_writes_nothing_down() -> None:
    def run() -> list[NativeSite]:
        (target,) = chain("first")
        with Strike(target, scope=HERE) as strike:
            body()
        return strike.sites

    assert in_a_child(run) == []


def test_the_second_of_two_targets_strikes_where_the_first_has_led() -> None:
    def run() -> tuple[list[int], list[tuple[int, bool]]]:
        with Strike(*chain("first", "recovery"), scope=HERE) as strike:
            with pytest.raises(MemoryError):
                body()
            body()  # nothing is left to strike
        return [event.size for event in strike.events], strike.progress

    sizes, progress = in_a_child(run)

    assert [size // 1000 for size in sizes] == [4, 5]
    assert [struck for _, struck in progress] == [True, True]


def test_a_second_target_that_is_not_reached_has_not_struck() -> None:
    def run() -> list[tuple[int, bool]]:
        unmet, recovered = chain("first", "recovery")
        with Strike(unmet._replace(hit=99), recovered, scope=HERE) as strike:
            body()
        return strike.progress

    (met, *unmet), recovered = in_a_child(run)
    assert 1 <= met < 99
    assert (unmet, recovered) == ([False], (0, False))


@pytest.mark.parametrize("count", [0, 3])
def test_a_strike_has_one_target_or_two(count: int) -> None:
    nowhere = NativeSite("/nowhere.py", "f", 1, 1, 0, 0, "", "")

    with pytest.raises(UsageError, match="one target or two"):
        Strike(*[Target(nowhere)] * count)
