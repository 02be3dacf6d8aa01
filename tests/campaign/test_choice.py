"""What a SPEC of a campaign sweeps, and what it arms at random."""

import pytest

from faultinject.campaign.choice import Choice, choose, choose_by_value
from faultinject.capabilities import registry
from faultinject.errors import SpecError, UsageError


def test_without_a_spec_every_capability_that_can_be_used_is_swept() -> None:
    choice = choose()

    assert {"failslab", "fail_page_alloc"} <= set(choice.swept) <= set(registry.names())
    assert choice.random == ()
    assert choose_by_value(None) == choice


def test_a_capability_without_probability_is_swept_and_with_it_drawn() -> None:
    choice = choose(["failslab:cache_filter=1;fail_page_alloc:probability=10,times=-1"])

    assert choice.swept == {"failslab": {"cache_filter": True}}
    (mode,) = choice.random
    assert mode.knobs == {"fail_page_alloc": {"probability": 10, "times": -1}}
    assert mode.spec == "failslab:cache_filter=1;fail_page_alloc:probability=10,times=-1"
    assert choice.capabilities == ("failslab", "fail_page_alloc")


def test_each_spec_with_a_probability_is_a_series_of_its_own() -> None:
    texts = ["failslab:probability=10", "failslab:probability=90", "failslab"]

    choice = choose(texts)

    assert [mode.spec for mode in choice.random] == texts[:2]
    assert choice.capabilities == ("failslab",)


def test_the_same_spec_twice_is_one() -> None:
    assert choose(["failslab", "failslab"]) == Choice({"failslab": {}})


@pytest.mark.parametrize("knob", ["interval=2", "times=-1", "space=64", "seed=7", "nth=2"])
def test_a_knob_that_a_sweep_decides_itself_needs_a_probability(knob: str) -> None:
    name = knob.partition("=")[0]

    with pytest.raises(
        SpecError, match=rf"{name} without probability: .*'failslab:{knob}' \(--fail-alloc-spec"
    ):
        choose([f"failslab:{knob}"], option="--fail-alloc-spec")


def test_two_ways_to_sweep_one_capability_are_refused() -> None:
    with pytest.raises(UsageError, match=r"two sets of knobs: 'failslab' \(SPEC 'failslab:cache"):
        choose(["failslab", "failslab:cache_filter=1"])


@pytest.mark.parametrize("value", ["failslab", ["failslab"], ("failslab",), iter(["failslab"])])
def test_a_value_is_a_spec_or_several(value: object) -> None:
    assert choose_by_value(value) == Choice({"failslab": {}})  # type: ignore[arg-type]
