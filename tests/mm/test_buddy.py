"""The buddy allocator: vectors, then random programs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultinject.mm.buddy import MAX_ORDER, Buddy

STEPS = [
    ("alloc", 0, 0, {0: [1], 1: [2], 2: [4], 3: [8]}),
    ("alloc", 0, 1, {1: [2], 2: [4], 3: [8]}),
    ("alloc", 1, 2, {2: [4], 3: [8]}),
    ("alloc", 2, 4, {3: [8]}),
    ("alloc", 3, 8, {}),
    ("alloc", 0, None, {}),
    ("free", (1, 0), None, {0: [1]}),
    ("free", (2, 1), None, {0: [1], 1: [2]}),
    ("free", (0, 0), None, {2: [0]}),
    ("free", (4, 2), None, {3: [0]}),
    ("free", (8, 3), None, {4: [0]}),
]


def test_sixteen_pages_split_and_merge_as_in_the_kernel() -> None:
    buddy = Buddy(16)
    assert buddy.by_order() == {4: [0]}

    for action, argument, result, after in STEPS:
        if action == "alloc":
            assert buddy.alloc(argument) == result
        else:
            buddy.free(*argument)
        assert buddy.by_order() == after


def test_a_size_that_is_no_power_of_two_seeds_the_largest_aligned_blocks() -> None:
    assert Buddy(1539).by_order() == {10: [0], 9: [1024], 1: [1536], 0: [1538]}


@pytest.mark.parametrize(
    ("pfn", "order", "merged"),
    [(0, 0, 0), (5, 0, 4), (2, 1, 0), (6, 1, 4), (12, 2, 8), (8, 3, 0)],
)
def test_a_block_merges_with_its_buddy(pfn: int, order: int, merged: int) -> None:
    buddy = Buddy(16)
    assert buddy.alloc(4) == 0

    buddy.free(pfn ^ 1 << order, order)
    buddy.free(pfn, order)

    assert buddy.by_order() == {order + 1: [merged]}


def test_blocks_of_the_largest_order_do_not_merge() -> None:
    buddy = Buddy(2048)

    assert [buddy.alloc(10), buddy.alloc(10), buddy.alloc(0)] == [0, 1024, None]
    buddy.free(0, 10)
    buddy.free(1024, 10)

    assert buddy.by_order() == {10: [1024, 0]}


def test_the_last_block_that_was_freed_is_the_first_to_go() -> None:
    buddy = Buddy(16)
    pages = [buddy.alloc(0) for _ in range(16)]
    for pfn in (3, 9, 6):
        buddy.free(pfn, 0)

    again = [buddy.alloc(0) for _ in range(3)]

    assert pages == list(range(16))
    assert again == [6, 9, 3]


def test_a_range_is_given_back_page_by_page_and_merges() -> None:
    buddy = Buddy(16)
    buddy.alloc(4)

    buddy.blocks.free_range(3, 16)

    assert buddy.by_order() == {0: [3], 2: [4], 3: [8]}


@settings(deadline=None)
@given(
    st.integers(1, 3000),
    st.lists(st.one_of(st.integers(0, MAX_ORDER), st.integers(-100, -1)), max_size=120),
)
def test_no_page_is_lost_or_given_twice(pages: int, program: list[int]) -> None:
    buddy = Buddy(pages)
    seeded = {order: sorted(frames) for order, frames in buddy.by_order().items()}
    held: list[tuple[int, int]] = []

    for step in program:
        if step < 0:
            if held:
                buddy.free(*held.pop(step % len(held)))
            continue
        largest = max(buddy.by_order(), default=-1)
        pfn = buddy.alloc(step)
        assert (pfn is None) == (largest < step)
        if pfn is not None:
            assert pfn % (1 << step) == 0
            assert 0 <= pfn <= pages - (1 << step)
            held.append((pfn, step))
        owned = [page for start, o in held for page in range(start, start + (1 << o))]
        assert len(owned) == len(set(owned))
        assert buddy.nr_free == pages - len(owned)

    for block in held:
        buddy.free(*block)
    assert {order: sorted(frames) for order, frames in buddy.by_order().items()} == seeded
