"""The strike: one planned call fails, and no other."""

from dataclasses import replace

import pytest
from observing import census_of, observed_by, strike, watch

import faultinject as fi
from faultinject.campaign.census import Census, Reached, Watch
from faultinject.campaign.site import Identity
from faultinject.campaign.strike import PlannedFault, Strike


def loop(times: int = 5) -> list[bool]:
    """Say for each request whether it was served."""
    served = []
    for _ in range(times):
        pointer = fi.kmalloc(64)
        served.append(pointer is not None)
        fi.kfree(pointer)
    return served


def two_sites() -> list[bool]:
    first, second = fi.kmalloc(64), fi.kmalloc(64)
    third = fi.kmalloc(64)
    served = [pointer is not None for pointer in (first, second, third)]
    for pointer in (first, second, third):
        fi.kfree(pointer)
    return served


def two_lambdas() -> list[bool]:
    left, right = (lambda: fi.kmalloc(64)), (lambda: fi.kmalloc(64))
    pointers = [left(), right()]
    served = [pointer is not None for pointer in pointers]
    for pointer in pointers:
        fi.kfree(pointer)
    return served


def slab(reached: list[Reached]) -> list[Reached]:
    return [item for item in reached if item.capability == "failslab"]


def planned(item: Reached, hit: int = 1, *, persistent: bool = False) -> PlannedFault:
    return PlannedFault(item.capability, item.site, hit, persistent, item.instructions)


@pytest.mark.parametrize("hit", [1, 3, 5])
def test_a_transient_fault_fails_its_hit_and_no_other(hit: int) -> None:
    (item,) = slab(census_of(loop))

    served = strike(loop, planned(item, hit))

    assert served == [number != hit for number in range(1, 6)]


@pytest.mark.parametrize("hit", [1, 3, 5])
def test_a_persistent_fault_fails_from_its_hit_on(hit: int) -> None:
    (item,) = slab(census_of(loop))

    served = strike(loop, planned(item, hit, persistent=True))

    assert served == [number < hit for number in range(1, 6)]


def test_a_hit_that_is_never_reached_fails_nothing() -> None:
    (item,) = slab(census_of(loop))

    assert strike(loop, planned(item, 6)) == [True] * 5


@pytest.mark.parametrize("failed", [0, 1, 2])
def test_other_sites_of_the_function_and_of_the_line_pass(failed: int) -> None:
    item = slab(census_of(two_sites))[failed]

    assert strike(two_sites, planned(item)) == [number != failed for number in range(3)]


def test_a_persistent_fault_goes_on_at_every_site() -> None:
    second = slab(census_of(two_sites))[1]

    assert strike(two_sites, planned(second, persistent=True)) == [True, False, False]


def test_a_persistent_fault_does_not_fail_what_is_not_under_test() -> None:
    def body() -> list[bool]:
        return two_sites() + loop(1)

    view = watch(sources=[f"{__name__}:two_sites"])
    first = slab(census_of(body, view))[0]

    served = strike(body, planned(first, persistent=True), view)

    assert served == [False, False, False, True]


@pytest.mark.parametrize("failed", [0, 1])
def test_two_lambdas_on_one_line_are_told_apart(failed: int) -> None:
    item = slab(census_of(two_lambdas))[failed]

    assert strike(two_lambdas, planned(item)) == [number != failed for number in range(2)]


def test_the_hits_of_a_line_are_those_of_all_its_calls() -> None:
    view = watch(identity=Identity.LINE)
    pair, single = slab(census_of(two_sites, view))

    assert pair.hits == 2
    assert strike(two_sites, planned(pair, 2), view) == [True, False, True]
    assert strike(two_sites, planned(single), view) == [True, True, False]


def test_callers_belong_to_the_site_where_the_identity_says_so() -> None:
    def body() -> list[bool]:
        return [
            *loop(1),
            *loop(1),
        ]

    view = watch(identity=Identity.SITE)
    observer: Census | Strike = Census(view)
    for _ in range(2):  # both runs from one line, which is a caller too
        with observed_by(observer):
            served = body()
        if isinstance(observer, Census):
            first, second = slab(observer.reached())
            observer = Strike(planned(second), view)

    assert first.site.line == second.site.line
    assert served == [True, False]


def test_code_that_is_compiled_anew_in_each_run_is_struck_too() -> None:
    def body() -> list[bool]:
        names = {"fi": fi}
        exec(compile("pointer = fi.kmalloc(64)", "<made>", "exec"), names)
        fi.kfree(names["pointer"])
        return [names["pointer"] is not None]

    (item,) = slab(census_of(body))

    assert strike(body, planned(item)) == [False]


def test_another_capability_at_the_same_site_passes() -> None:
    (item,) = slab(census_of(loop))
    fault = replace(planned(item), capability="fail_page_alloc")

    assert strike(loop, fault) == [True] * 5


def refill() -> object:
    with fi.use_memory(fi.Memory("1M")) as memory:
        cache = memory.kmem_cache_create("wide", 700)
        return cache.alloc()


class Tries:
    """Passes every question on, and keeps the answers about pages."""

    def __init__(self, fault: PlannedFault, view: Watch) -> None:
        self._strike = Strike(fault, view)
        self.pages: list[tuple[bool, bool]] = []

    def eligible_call(self, capability: str, size: int, frame: object, retry: bool) -> bool:
        fails = self._strike.eligible_call(capability, size, frame, retry)  # type: ignore[arg-type]
        if capability == "fail_page_alloc":
            self.pages.append((retry, fails))
        return fails


@pytest.mark.parametrize("persistent", [False, True])
def test_a_refill_fails_with_both_its_tries(persistent: bool) -> None:
    (item,) = (item for item in census_of(refill) if item.capability == "fail_page_alloc")
    tries = Tries(planned(item, persistent=persistent), watch())

    with observed_by(tries):
        served = refill()

    assert served is None
    assert tries.pages == [(False, True), (True, True)]


def test_the_fallback_of_a_try_that_was_let_through_is_let_through() -> None:
    (item,) = (item for item in census_of(refill) if item.capability == "fail_page_alloc")
    observer = Strike(planned(item, hit=2), watch())

    # The first try fails for another reason, so that the model tries again.
    assert not observer.eligible_call("fail_page_alloc", 4, None, retry=False)
    assert not observer.eligible_call("fail_page_alloc", 1, None, retry=True)


def test_each_example_of_a_property_test_meets_the_fault_anew() -> None:
    (item,) = slab(census_of(loop))
    observer = Strike(planned(item, 2), watch())

    with observed_by(observer):
        examples = []
        for _ in range(2):
            observer.begin()
            examples.append(loop(3))

    assert examples == [[True, False, True]] * 2
