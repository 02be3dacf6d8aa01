"""The watermark check: the worked example in exact figures, then the thresholds of each right."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultinject.errors import SpecError
from faultinject.gfp import GFP_ATOMIC
from faultinject.mm import Memory
from faultinject.mm.watermark import Step, Verdict, check

# Node 0 DMA32 free:12560kB min:7076kB low:8844kB high:10612kB, of a real server.
BLOCKS = [2360, 80, 21, 7, 4, 1, 2, 0, 1, 0, 0]
MIN, LOW, HIGH = 1769, 2211, 2653


def answers(rule: str, mark: int, **rights: bool) -> str:
    """Pass or fail for the orders 0 to 10, as ones and zeros."""
    return "".join(
        str(int(bool(check(BLOCKS, order, mark=mark, rule=rule, **rights)))) for order in range(11)
    )


def test_the_iterative_rule_refuses_the_worked_example_at_its_first_step() -> None:
    verdict = check(BLOCKS, 4, mark=MIN, rule="iterative")

    assert not verdict
    assert verdict.steps == (Step(None, 3125, 1769, True), Step(0, 765, 884, False))
    assert [4 * step.free for step in verdict.steps] == [12500, 3060]
    assert [4 * step.min for step in verdict.steps] == [7076, 3536]


@pytest.mark.parametrize(("mark", "halved"), [(LOW, 1105), (HIGH, 1326)])
def test_the_worked_example_fails_in_the_same_way_at_the_other_marks(
    mark: int, halved: int
) -> None:
    verdict = check(BLOCKS, 4, mark=mark, rule="iterative")

    assert verdict.steps[-1] == Step(0, 765, halved, False)


@pytest.mark.parametrize(
    ("rights", "minima"),
    [
        ({"harder": True}, [1327, 663, 331, 165, 82]),
        ({"high": True}, [885, 442, 221, 110, 55]),
        ({"high": True, "harder": True}, [664, 332, 166, 83, 41]),
    ],
    ids=["harder", "high", "atomic"],
)
def test_a_request_with_rights_would_have_passed_in_the_worked_example(
    rights: dict[str, bool], minima: list[int]
) -> None:
    verdict = check(BLOCKS, 4, mark=MIN, rule="iterative", **rights)

    assert verdict
    assert [step.free for step in verdict.steps] == [3125, 765, 605, 521, 465]
    assert [step.min for step in verdict.steps] == minima


def test_the_direct_rule_passes_the_worked_example() -> None:
    verdict = check(BLOCKS, 4, mark=MIN, rule="direct")

    assert verdict.steps == (Step(4, 464, 110, True),)  # 480 pages less the request; 110.56
    assert verdict


def test_the_modern_rule_passes_the_worked_example_with_one_block() -> None:
    verdict = check(BLOCKS, 4, mark=MIN, rule="modern")

    assert verdict.steps == (Step(None, 3125, 1769, True), Step(4, 64, 0, True))
    assert verdict


def test_the_modern_rule_fails_where_no_block_is_large_enough() -> None:
    verdict = check(BLOCKS, 9, mark=MIN, rule="modern")

    assert not verdict
    assert verdict.steps == (
        Step(None, 2629, 1769, True),
        Step(9, 0, 0, False),
        Step(10, 0, 0, False),
    )


@pytest.mark.parametrize(
    ("rule", "rights", "mark", "expected"),
    [
        ("iterative", {}, MIN, "10000000000"),
        ("iterative", {}, LOW, "10000000000"),
        ("iterative", {}, HIGH, "10000000000"),
        ("iterative", {"high": True}, MIN, "11111111000"),
        ("iterative", {"high": True}, LOW, "11111111000"),
        ("iterative", {"high": True}, HIGH, "11111110000"),
        *(
            ("modern", rights, mark, "11111111100")
            for rights in ({}, {"high": True}, {"harder": True}, {"oom": True})
            for mark in (MIN, LOW, HIGH)
        ),
    ],
)
def test_each_order_of_the_worked_example_passes_or_fails_as_in_the_kernel(
    rule: str, rights: dict[str, bool], mark: int, expected: str
) -> None:
    assert answers(rule, mark, **rights) == expected


@pytest.mark.parametrize(("reserve", "passes"), [(1370, True), (1371, False)])
def test_the_reserve_is_added_to_the_count_of_all_pages(reserve: int, passes: bool) -> None:
    verdict = check(BLOCKS, 0, mark=MIN, rule="iterative", lowmem_reserve=reserve)

    assert bool(verdict) is passes
    assert verdict.steps == (Step(None, 3140, 1769, passes),)


def test_the_reserve_is_not_added_in_the_loop_of_the_iterative_rule() -> None:
    verdict = check([10, 200], 1, mark=100, rule="iterative", lowmem_reserve=300)

    assert verdict.steps == (Step(None, 409, 100, True), Step(0, 399, 50, True))


@pytest.mark.parametrize(
    ("rights", "least"),
    [({}, 1770), ({"high": True}, 886), ({"harder": True}, 1770), ({"oom": True}, 886)],
    ids=["plain", "min reserve", "non block", "oom"],
)
def test_the_smallest_count_that_passes_the_modern_rule(
    rights: dict[str, bool], least: int
) -> None:
    assert check([least], 0, mark=MIN, rule="modern", **rights)
    assert not check([least - 1], 0, mark=MIN, rule="modern", **rights)


@pytest.mark.parametrize(
    ("kernel", "rights", "least"),
    [
        ("4.19", {"harder": True}, 1328),
        ("4.19", {"high": True, "harder": True}, 665),
        ("4.19", {"oom": True}, 886),
        ("4.19", {"oom": True, "harder": True}, 886),
        ("6.6", {"high": True, "harder": True}, 665),
        ("6.6", {"high": True, "oom": True}, 444),
        ("6.6", {"high": True, "harder": True, "oom": True}, 333),
    ],
)
def test_the_cuts_of_the_modern_rule_depend_on_the_version(
    kernel: str, rights: dict[str, bool], least: int
) -> None:
    assert check([least], 0, mark=MIN, rule="modern", kernel=kernel, **rights)
    assert not check([least - 1], 0, mark=MIN, rule="modern", kernel=kernel, **rights)


@pytest.mark.parametrize(("mark", "passes"), [(3139, True), (3140, False)])
def test_a_mark_must_be_exceeded_not_reached(mark: int, passes: bool) -> None:
    assert bool(check(BLOCKS, 0, mark=mark, rule="modern")) is passes


def test_a_boosted_mark_stops_plain_requests_only() -> None:
    assert not check(BLOCKS, 0, mark=MIN, boost=2000, rule="modern")
    assert check(BLOCKS, 0, mark=MIN, boost=2000, rule="modern", high=True)


def test_an_order_0_request_with_high_is_tested_again_without_the_boost() -> None:
    verdict = check(BLOCKS, 0, mark=MIN, boost=10_000, rule="modern", high=True)

    assert verdict.steps == (Step(None, 3140, 5885, False), Step(None, 3140, 885, True))
    assert not check(BLOCKS, 1, mark=MIN, boost=10_000, rule="modern", high=True)


def test_what_is_set_aside_for_atomic_requests_does_not_count_for_others() -> None:
    plain = check(BLOCKS, 0, mark=MIN, rule="modern", reserved_highatomic=1400)
    atomic = check(BLOCKS, 0, mark=MIN, rule="modern", reserved_highatomic=1400, harder=True)

    assert plain.steps == (Step(None, 1740, 1769, False),)
    assert atomic


def test_blocks_that_are_set_aside_serve_only_who_may_use_them() -> None:
    blocks = {"U": BLOCKS[:4], "H": [0, 0, 0, 0, *BLOCKS[4:]]}

    assert not check(blocks, 4, mark=MIN, rule="modern")
    assert not check(blocks, 4, mark=MIN, rule="modern", harder=True)
    assert check(blocks, 4, mark=MIN, rule="modern", highatomic=True)
    assert check(blocks, 4, mark=MIN, rule="modern", oom=True)
    assert check(blocks, 4, mark=MIN, rule="modern", harder=True, kernel="4.9")


def test_a_verdict_prints_as_a_table() -> None:
    assert str(check(BLOCKS, 4, mark=MIN, rule="iterative")).splitlines() == [
        "iterative rule, order 4, mark 1769 (7076 kB): fails",
        "                                      free            must exceed",
        "all free pages             3125 (12500 kB)         1769 (7076 kB)   ok",
        "above order 0                765 (3060 kB)          884 (3536 kB)   FAILS",
    ]
    reserved = str(check(BLOCKS, 0, mark=MIN, rule="modern", lowmem_reserve=1371))
    assert "reserve 1371 (5484 kB): fails" in reserved
    assert "3140 (12560 kB)        3140 (12560 kB)   FAILS" in reserved
    assert "order 4 and above" in str(check(BLOCKS, 4, mark=MIN, rule="direct"))


def test_a_zone_brings_its_counts_marks_rule_and_version() -> None:
    memory = Memory(zones={"DMA32": "64M"}, kernel="2.6.32", min_free_kbytes=7076)
    memory.fragment(blocks=BLOCKS)
    zone = memory.zones["DMA32"]

    assert (zone.min, zone.low, zone.high) == (MIN, LOW, HIGH)
    verdict = check(zone, 4, mark="min")
    assert (verdict.rule, verdict.mark) == ("iterative", MIN)
    assert verdict.steps == check(BLOCKS, 4, mark=MIN, rule="iterative").steps
    assert check(zone, 4, mark="low").mark == LOW
    assert check(zone, 4, mark="high", rule="modern")


def test_the_atomic_reserve_of_a_zone_is_known() -> None:
    memory = Memory("64M", kernel="6.6")
    zone = memory.zones["Normal"]
    memory.consume(leave="low")
    assert memory.alloc_pages(GFP_ATOMIC, 1) is not None
    assert zone.reserved_highatomic == 512

    plain, atomic = check(zone, 0, mark=0), check(zone, 0, mark=0, highatomic=True)

    assert atomic.steps[0].free - plain.steps[0].free == 512


@pytest.mark.parametrize(
    ("blocks", "order", "named"),
    [
        (BLOCKS, -1, {}),
        (BLOCKS, 11, {}),
        (BLOCKS, True, {}),
        (BLOCKS, 0, {"mark": -1}),
        (BLOCKS, 0, {"mark": 1.5}),
        (BLOCKS, 0, {"mark": "min"}),
        (BLOCKS, 0, {"rule": "strict"}),
        (BLOCKS, 0, {"rule": None}),
        (BLOCKS, 0, {"rule": "iterative", "oom": True}),
        (BLOCKS, 0, {"lowmem_reserve": -1}),
        (BLOCKS, 0, {"boost": "1"}),
        (BLOCKS, 0, {"kernel": "2.2"}),
        ([*BLOCKS, 0], 0, {}),
        ([1, -1], 0, {}),
        ([True], 0, {}),
        ("12", 0, {}),
        ({"X": [1]}, 0, {}),
        ({"UM": [1]}, 0, {}),
        (None, 0, {}),
        (3140, 0, {}),
    ],
)
def test_an_impossible_check_is_refused(
    blocks: object, order: object, named: dict[str, object]
) -> None:
    with pytest.raises(SpecError):
        check(blocks, order, **{"mark": 1, "rule": "modern", **named})  # type: ignore[arg-type]


def kernels_loop(blocks: Sequence[int], order: int, mark: int, reserve: int) -> bool:
    """The old rule, written down once more from its five steps."""
    free, least = sum(n << o for o, n in enumerate(blocks)) - 2**order + 1, mark
    if free <= least + reserve:
        return False
    for o in range(order):
        free, least = free - blocks[o] * 2**o, least // 2
        if free <= least:
            return False
    return True


@given(
    st.lists(st.integers(0, 40), min_size=11, max_size=11),
    st.integers(0, 10),
    st.integers(0, 3000),
    st.integers(0, 500),
)
def test_the_rules_agree_with_their_definitions(
    blocks: list[int], order: int, mark: int, reserve: int
) -> None:
    def ask(rule: str) -> Verdict:
        return check(blocks, order, mark=mark, rule=rule, lowmem_reserve=reserve)

    free = sum(n << o for o, n in enumerate(blocks))
    large = sum(n << o for o, n in enumerate(blocks) if o >= order)
    enough = free - 2**order + 1 > mark + reserve

    assert bool(ask("iterative")) == kernels_loop(blocks, order, mark, reserve)
    assert bool(ask("modern")) == (enough and large > 0)
    assert bool(ask("direct")) == (large - 2**order > mark / 2**order + reserve)
    for rule in ("iterative", "direct", "modern"):
        steps = ask(rule).steps
        limits = [
            step.min + (reserve if step.order is None or rule == "direct" else 0) for step in steps
        ]
        assert [step.ok for step in steps] == [
            step.free > limit for step, limit in zip(steps, limits, strict=True)
        ]
