"""What makes faults happen while a body runs, and what is left of it afterwards."""

from collections.abc import Callable

import pytest
from observing import watch

import faultinject as fi
from faultinject.campaign.armable import Armables, RandomFaults, observed
from faultinject.campaign.census import Census
from faultinject.campaign.settings import Settings
from faultinject.engine import observe, task
from faultinject.errors import UsageError


def served(times: int = 12) -> list[bool]:
    pointers = [fi.kmalloc(64) for _ in range(times)]
    for pointer in pointers:
        fi.kfree(pointer)
    return [pointer is not None for pointer in pointers]


def sites(census: Census) -> list[str]:
    return [item.capability for item in census.reached()]


def atomic_and_sleeping() -> None:
    fi.kfree(fi.kmalloc(64, fi.GFP_ATOMIC))
    fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))


def test_an_observer_sees_the_block_and_nothing_after_it() -> None:
    census = Census(watch())

    with observed(census, {"failslab": {}}).armed():
        atomic_and_sleeping()
    atomic_and_sleeping()

    assert sites(census).count("failslab") == 2
    assert observe.current is None


def test_an_error_in_the_block_disarms_as_well() -> None:
    live = task.live

    with (
        pytest.raises(LookupError),
        observed(Census(watch()), {"failslab": {"ignore_gfp_reclaim": True}}).armed(),
    ):
        raise LookupError

    assert (observe.current, task.live) == (None, live)


def test_the_gates_of_a_spec_hold_in_every_thread_of_the_block() -> None:
    census = Census(watch())

    with observed(census, {"failslab": {"ignore_gfp_reclaim": True}}).armed():
        atomic_and_sleeping()

    assert sites(census).count("failslab") == 1
    assert not fi.failslab.ignore_gfp_reclaim


def test_two_campaigns_in_one_process_are_refused() -> None:
    arm = observed(Census(watch()), {})

    with (
        arm.armed(),
        pytest.raises(UsageError, match="a campaign is already running"),
        arm.armed(),
    ):
        pass

    assert observe.current is None


def test_a_stack_knob_narrows_what_is_looked_at_and_is_no_gate() -> None:
    def here() -> None:
        atomic_and_sleeping()

    settings = Settings(swept={"failslab": {"require": f"{__name__}:{here.__qualname__}"}})
    survey = Armables(settings).survey()

    with survey.armed():
        here()
        atomic_and_sleeping()

    assert [item.hits for item in survey.reached()] == [1, 1]


@pytest.fixture
def drawn() -> Callable[[int], list[bool]]:
    def draw(seed: int) -> list[bool]:
        knobs = {"failslab": {"probability": 50, "times": -1}}
        with RandomFaults(knobs, seed).armed():
            return served()

    return draw


def test_random_faults_are_a_function_of_the_seed(drawn: Callable[[int], list[bool]]) -> None:
    assert drawn(7) == drawn(7)
    assert len({tuple(drawn(seed)) for seed in range(5)}) > 1
    assert served() == [True] * 12


def test_random_faults_write_no_lines(
    drawn: Callable[[int], list[bool]], caplog: pytest.LogCaptureFixture
) -> None:
    assert False in drawn(7)

    assert caplog.records == []


def test_each_capability_draws_for_itself() -> None:
    knobs = {"failslab": {"probability": 50, "times": -1}}
    more = {"fail_page_alloc": {"probability": 50, "times": -1}, **knobs}

    runs = []
    for chosen in (knobs, more):
        served()  # so that no slab has to be made
        arm = RandomFaults(chosen, 7)
        arm.begin()
        with arm.armed():
            runs.append(served())

    assert runs[0] == runs[1]


def test_two_capabilities_do_not_draw_alike() -> None:
    knobs = {"probability": 50, "times": -1}
    with RandomFaults({"failslab": knobs}, 7).armed():
        slabs = served(16)
    with RandomFaults({"fail_page_alloc": knobs}, 7).armed():
        pages = [fi.alloc_page() for _ in range(16)]
    for page in pages:
        fi.free_page(page)

    assert slabs != [page is not None for page in pages]
