"""The plan: which hits of a call site get a trial, and on which machine."""

import pytest

from faultinject.campaign.plan import Hits, Shard
from faultinject.errors import UsageError


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
