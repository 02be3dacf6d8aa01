from typing import NamedTuple

import pytest

import faultinject as fi
from faultinject.engine import task


class Cache(NamedTuple):
    object_size: int = 128
    flags: int = 0
    is_bootstrap: bool = False


def slab(count: int = 1) -> str:
    return "".join(
        "F" if fi.failslab.should_fail(Cache(), fi.GFP_KERNEL) else "." for _ in range(count)
    )


def page(count: int = 1, order: int = 0) -> str:
    return "".join(
        "F" if fi.fail_page_alloc.should_fail(order, fi.GFP_KERNEL) else "." for _ in range(count)
    )


@pytest.fixture(autouse=True)
def _leaves_nothing_armed():
    yield
    assert task.live == 0


def test_a_spec_arms_what_it_names_with_those_knobs() -> None:
    with fi.fail_alloc("failslab:interval=3,times=-1;fail_page_alloc:min_order=2") as armed:
        patterns = [slab(6), page(2), page(2, order=2)]

    assert patterns == ["..F..F", "..", "F."]
    assert list(armed) == ["failslab", "fail_page_alloc"]
    assert [injection.size for injection in armed.injections] == [128, 128, 4]
    assert [len(armed["failslab"].injections), len(armed)] == [2, 2]


def test_a_spec_leaves_alone_what_it_does_not_name() -> None:
    with fi.fail_alloc("failslab"):
        assert (slab(), page()) == ("F", ".")


def test_knobs_arm_every_capability_of_the_model_memory() -> None:
    with fi.fail_alloc(times=-1, min_order=1):
        assert (slab(2), page(2), page(2, order=1)) == ("FF", "..", "FF")


def test_nth_of_all_is_one_countdown() -> None:
    with fi.fail_alloc(nth=3):
        assert [slab(), page(), slab(), page()] == [".", ".", "F", "."]


def test_nth_in_a_spec_is_of_each_capability() -> None:
    with fi.fail_alloc("failslab:nth=2;fail_page_alloc:nth=1"):
        assert [slab(), page(), slab(), page()] == [".", "F", "F", "."]


def test_it_decorates_with_and_without_parentheses() -> None:
    @fi.fail_alloc
    def bare() -> list[str]:
        return [slab(2), page(2)]

    @fi.fail_alloc("failslab:times=2")
    def by_text() -> str:
        return slab(3)

    assert [bare(), bare()] == [["F.", "F."]] * 2
    assert [by_text(), by_text()] == ["FF."] * 2


def test_a_profile_and_all_tasks_can_be_written_in_a_spec() -> None:
    with fi.fail_alloc("fail_page_alloc:profile=kernel,probability=100,times=-1,all_tasks=Y"):
        assert fi.fail_page_alloc.min_order == 1
        assert fi.fail_page_alloc.attr.times == -1


def test_a_text_of_an_attribute_can_follow_a_capability() -> None:
    attr = fi.FaultAttr(100, times=-1, require="a.b|c/*.py", seed=5)

    (arming,) = fi.fail_alloc(f"failslab:{attr}").armings

    with arming as armed:
        assert armed.attr == attr


@pytest.mark.parametrize(
    ("arguments", "knobs", "message"),
    [
        (("failslb",), {}, "Perhaps failslab"),
        (("",), {}, "a capability is missing"),
        (("failslab:nth=0",), {}, "nth is not a whole number from 1: 0"),
        (("failslab:nth=1,times=2",), {}, "nth and times are both given"),
        (("failslab:profile=linux",), {}, "no such profile: 'linux'"),
        (("failslab",), {"times": 2}, "a spec and a knob are both given: 'times'"),
        ((5,), {}, "a spec is not text: 5"),
        ((), {"tims": 2}, "no such knob: 'tims'. Perhaps times"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_armed(
    arguments: tuple, knobs: dict, message: str
) -> None:
    with pytest.raises(fi.SpecError) as caught:
        fi.fail_alloc(*arguments, **knobs)

    assert message in str(caught.value)


def test_the_model_memory_fails_under_it_and_works_after_it() -> None:
    with fi.fail_alloc("failslab"):
        failed = fi.kmalloc(100, fi.GFP_KERNEL)
    pointer = fi.kmalloc(100, fi.GFP_KERNEL)
    fi.kfree(pointer)

    assert failed is None
    assert pointer is not None


def test_the_injections_of_the_model_memory_name_this_file() -> None:
    mark = fi.injections.mark()

    with fi.failslab:
        fi.kmalloc(100, fi.GFP_KERNEL)

    (injection,) = fi.injections.since(mark)
    assert (injection.site.file, injection.size) == (__file__, 128)


def test_requests_that_are_none_reach_no_hook() -> None:
    pointer = fi.kmalloc(100, fi.GFP_KERNEL)

    with fi.fail_nth(1) as countdown:
        nothing = fi.kmalloc(0, fi.GFP_KERNEL)
        pointer = fi.krealloc(pointer, 50, fi.GFP_KERNEL)
        fi.kfree(pointer)

    assert nothing is not None
    assert countdown.remaining == 1
