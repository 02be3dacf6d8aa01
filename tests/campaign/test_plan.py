"""The plan: which hits of which sites get a trial, and on which machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultinject.campaign.census import Reached
from faultinject.campaign.plan import Hits, Plan, Shard, make_plan
from faultinject.campaign.site import Site
from faultinject.errors import UsageError


def reached(*hits: int) -> list[Reached]:
    return [
        Reached("failslab", Site("ring.py", "open", 1, line), count, frozenset({(7, 2 * line)}))
        for line, count in enumerate(hits, 1)
    ]


def chosen(plan: Plan) -> list[tuple[int, int]]:
    """The line of each site with the hit that fails."""
    return [(fault.site.line, fault.hit) for fault in plan.faults]


@pytest.mark.parametrize(
    ("text", "of_one", "of_two", "of_five"),
    [
        ("first", [1], [1], [1]),
        ("ends", [1], [1, 2], [1, 5]),
        ("all", [1], [1, 2], [1, 2, 3, 4, 5]),
        ("1", [1], [1], [1]),
        ("3", [1], [1, 2], [1, 2, 3]),
        ("9", [1], [1, 2], [1, 2, 3, 4, 5]),
        (3, [1], [1, 2], [1, 2, 3]),
    ],
)
def test_hits_are_chosen_by_a_word_or_a_number(
    text: str | int, of_one: list[int], of_two: list[int], of_five: list[int]
) -> None:
    hits = Hits.parse(text)

    assert [list(hits.of(count)) for count in (1, 2, 5)] == [of_one, of_two, of_five]


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "last", "1.5", "1e3", "٣", "First", 0, -2, 1.5, True]
)
def test_another_choice_of_hits_is_refused(text: object) -> None:
    with pytest.raises(UsageError, match=r"not a choice of hits: .*\(--fail-alloc-hits\).*ends"):
        Hits.parse(text, option="--fail-alloc-hits")  # type: ignore[arg-type]


def test_trials_come_in_the_order_of_the_sites() -> None:
    plan = make_plan(reached(1, 3), hits=Hits("ends"), persistent=True)

    assert chosen(plan) == [(1, 1), (2, 1), (2, 3)]
    assert plan.not_run == 0
    assert all(fault.persistent for fault in plan.faults)
    assert [fault.instructions for fault in plan.faults] == [{(7, 2)}, {(7, 4)}, {(7, 4)}]


def test_a_limit_counts_what_it_leaves_out() -> None:
    plan = make_plan(reached(1, 3), hits=Hits("ends"), limit=2)

    assert chosen(plan) == [(1, 1), (2, 1)]
    assert plan.not_run == 1


@pytest.mark.parametrize("limit", [3, 4, None])
def test_a_limit_that_is_not_reached_leaves_nothing_out(limit: int | None) -> None:
    plan = make_plan(reached(1, 3), hits=Hits("ends"), limit=limit)

    assert (len(plan.faults), plan.not_run) == (3, 0)


def test_a_census_without_sites_has_no_trials() -> None:
    assert make_plan([], hits=Hits("all")) == Plan(())


@given(
    hits=st.lists(st.integers(1, 4), max_size=12),
    count=st.integers(1, 6),
    test=st.text(max_size=20),
)
def test_the_shards_divide_all_trials_among_them(hits: list[int], count: int, test: str) -> None:
    everything = chosen(make_plan(reached(*hits), hits=Hits("all")))

    parts = [
        make_plan(reached(*hits), hits=Hits("all"), shard=Shard(index, count), test=test)
        for index in range(1, count + 1)
    ]

    assert sorted(fault for part in parts for fault in chosen(part)) == everything
    assert max(len(part.faults) for part in parts) - min(len(part.faults) for part in parts) <= 1
    assert [part.not_run for part in parts] == [0] * count


def test_many_small_tests_do_not_all_fall_to_the_first_machine() -> None:
    shard = Shard(1, 4)

    taken = sum(shard.takes(f"test_ring.py::test_{number}", 0) for number in range(400))

    assert 50 < taken < 150


@pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), (" 2/4 ", (2, 4)), ("4/4", (4, 4))])
def test_a_shard_is_read(text: str, shard: tuple[int, int]) -> None:
    assert Shard.parse(text) == Shard(*shard)


@pytest.mark.parametrize("text", ["", "1", "/", "1/", "0/2", "3/2", "-1/2", "1/0", "1/2/3", "1/²"])
def test_another_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"not a shard: .*\(--fail-alloc-shard\).*1 <= I <= N"):
        Shard.parse(text, option="--fail-alloc-shard")
