"""Migrate types: whose pageblocks a request takes, and what is set aside for atomic ones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultinject.gfp import GFP_ATOMIC, GFP_KERNEL, Gfp
from faultinject.mm import Memory
from faultinject.mm.buddy import Buddy
from faultinject.mm.migrate import (
    HIGHATOMIC,
    MOVABLE,
    PAGEBLOCK_PAGES,
    RECLAIMABLE,
    UNMOVABLE,
)

QUIET = GFP_KERNEL | Gfp.NOWARN
MOVING = QUIET | Gfp.MOVABLE


def kinds(buddy: Buddy) -> str:
    """The type of each pageblock."""
    return "".join("UMEH"[lists.kind] for lists in buddy.blocks.lists)


def frames(buddy: Buddy, kind: int) -> dict[int, list[int]]:
    return {o: list(area) for o, area in enumerate(buddy.lists[kind].areas) if area}


def test_a_type_that_has_nothing_takes_the_largest_block_with_its_pageblocks() -> None:
    buddy = Buddy(4096, kind=MOVABLE)

    assert buddy.alloc(0, UNMOVABLE) == 0
    assert buddy.alloc(0, RECLAIMABLE) == 1024  # Unmovable has only smaller blocks

    assert kinds(buddy) == "UUEEMMMM"


def test_the_types_are_asked_in_the_kernels_order() -> None:
    def taken(kind: int) -> str:
        buddy = Buddy(3072)
        for start, each in enumerate((UNMOVABLE, MOVABLE, RECLAIMABLE)):
            frame = start * 1024
            if each != UNMOVABLE:
                del buddy.lists[UNMOVABLE].areas[10][frame]
                buddy.lists[each].areas[10][frame] = None
                for block in (frame, frame + 512):
                    buddy.blocks.lists[block >> 9] = buddy.lists[each]
        while buddy.lists[kind].take(10) is not None:
            pass
        pfn = buddy.alloc(10, kind)
        assert pfn is not None
        return "UME"[pfn // 1024]

    assert taken(UNMOVABLE) == "E"
    assert taken(MOVABLE) == "E"
    assert taken(RECLAIMABLE) == "U"


def pageblock_with(free: int, kind: int) -> Buddy:
    """One pageblock of a type, of which the last `free` pages are free; nothing else."""
    buddy = Buddy(PAGEBLOCK_PAGES, kind=kind)
    assert buddy.alloc(9, kind) == 0
    buddy.blocks.free_range(PAGEBLOCK_PAGES - free, PAGEBLOCK_PAGES)
    return buddy


@pytest.mark.parametrize(("free", "after"), [(256, "U"), (255, "M")])
def test_a_pageblock_is_taken_over_if_half_of_it_is_free(free: int, after: str) -> None:
    buddy = pageblock_with(free, MOVABLE)

    assert buddy.alloc(0, UNMOVABLE) is not None

    assert kinds(buddy)[0] == after
    assert buddy.nr_free == free - 1


def test_movable_pages_take_small_blocks_only_one_by_one() -> None:
    buddy = Buddy(PAGEBLOCK_PAGES, kind=UNMOVABLE)
    buddy.alloc(9, UNMOVABLE)
    for start in range(0, PAGEBLOCK_PAGES, 16):  # three quarters free, in blocks of 8 and 4
        buddy.free(start, 3)
        buddy.free(start + 8, 2)

    pfn = buddy.alloc(0, MOVABLE)

    assert kinds(buddy)[0] == "U"
    assert pfn is not None
    assert pfn % 16 == 8  # out of the smallest that fits
    buddy.alloc(0, RECLAIMABLE)
    assert kinds(buddy)[0] == "E"


def test_what_is_freed_goes_to_the_type_that_its_pageblock_has_by_then() -> None:
    buddy = Buddy(PAGEBLOCK_PAGES, kind=MOVABLE)
    assert [buddy.alloc(0, MOVABLE), buddy.alloc(0, MOVABLE)] == [0, 1]
    buddy.blocks.retype(0, buddy.lists[RECLAIMABLE])

    buddy.free(0, 0)

    assert frames(buddy, MOVABLE) == {}
    assert frames(buddy, RECLAIMABLE)[0] == [0]


def test_whole_pageblocks_merge_across_types_but_not_with_what_is_set_aside() -> None:
    buddy = Buddy(1024, kind=MOVABLE)
    assert [buddy.alloc(9, MOVABLE), buddy.alloc(9, MOVABLE)] == [0, 512]
    buddy.blocks.retype(512, buddy.lists[UNMOVABLE])

    buddy.free(0, 9)
    buddy.free(512, 9)
    assert buddy.by_order() == {10: [0]}
    assert kinds(buddy) == "UU"

    assert buddy.alloc(10, UNMOVABLE) == 0
    buddy.blocks.retype(0, buddy.lists[HIGHATOMIC])
    buddy.free(0, 10)
    assert frames(buddy, HIGHATOMIC) == {9: [0]}
    assert frames(buddy, UNMOVABLE) == {9: [512]}
    buddy.blocks.retype(0, buddy.lists[MOVABLE])
    assert frames(buddy, MOVABLE) == {10: [0]}


def test_what_is_set_aside_is_no_fallback() -> None:
    buddy = Buddy(1024, kind=HIGHATOMIC)

    for kind in (UNMOVABLE, MOVABLE, RECLAIMABLE):
        assert buddy.alloc(0, kind) is None
    assert buddy.lists[HIGHATOMIC].take(0) == 0


def test_a_small_memory_is_not_grouped() -> None:
    small, large = Memory(2559 * 4096), Memory(2560 * 4096)

    for memory in (small, large):
        memory.alloc_page(QUIET)
        memory.alloc_page(MOVING)

    assert set(kinds(small.zones["Normal"].buddy)) == {"U"}
    assert set(kinds(large.zones["Normal"].buddy)) == {"U", "M"}


def test_types_lie_apart_until_one_runs_out_and_then_everything_can_be_had() -> None:
    memory = Memory("16M")
    movable = [memory.alloc_page(MOVING) for _ in range(300)]
    fixed = [memory.alloc_page(QUIET) for _ in range(300)]
    blocks = {page.pfn >> 9 for page in movable if page}, {page.pfn >> 9 for page in fixed if page}

    assert not blocks[0] & blocks[1]
    while memory.alloc_page(QUIET | Gfp.RECLAIMABLE) is not None:
        pass
    assert memory.free_bytes == 0
    memory.check()


def test_show_mem_tells_the_types_of_the_free_blocks_in_the_order_of_the_version() -> None:
    def line(kernel: str) -> str:
        memory = Memory("64M", kernel=kernel)
        for gfp in (QUIET, MOVING, QUIET | Gfp.RECLAIMABLE):
            memory.alloc_page(gfp)
        return next(at for at in memory.show_mem().splitlines() if "Normal: " in at)

    assert line("6.6").startswith("Node 0 Normal: 3*4kB (UME) 3*8kB (UME)")
    assert line("3.14").startswith("Node 0 Normal: 3*4kB (UEM) 3*8kB (UEM)")
    assert line("2.6.32").startswith("Node 0 Normal: 3*4kB 3*8kB")


def test_an_atomic_success_below_the_low_mark_sets_a_pageblock_aside() -> None:
    memory = Memory("256M", kernel="6.6")
    zone = memory.zones["Normal"]
    assert memory.alloc_pages(GFP_ATOMIC, 1) is not None
    assert zone.reserved_highatomic == 0  # above the low mark nothing special happens
    memory.consume(leave="low")

    page = memory.alloc_pages(GFP_ATOMIC, 1)

    assert page is not None
    assert zone.reserved_highatomic == 512
    assert kinds(zone.buddy)[page.pfn >> 9] == "H"
    memory.check()


def test_only_atomic_requests_get_what_is_set_aside() -> None:
    memory = Memory("256M", kernel="6.6", min_free_kbytes=64)
    zone = memory.zones["Normal"]
    memory.consume(leave="low")
    first = memory.alloc_pages(GFP_ATOMIC, 1)
    assert first is not None
    free_there = sum(len(area) << o for o, area in enumerate(zone.buddy.lists[HIGHATOMIC].areas))
    assert free_there > 0

    while memory.alloc_page(QUIET | Gfp.MEMALLOC) is not None:
        pass

    assert zone.free == free_there
    assert memory.alloc_pages(QUIET, 0) is None
    again = memory.alloc_pages(GFP_ATOMIC, 1)
    assert again is not None
    assert again.pfn >> 9 == first.pfn >> 9
    memory.check()


def test_what_is_set_aside_is_limited_and_can_be_given_back() -> None:
    memory = Memory("256M", kernel="6.6", min_free_kbytes=16384)
    zones, zone = memory._pages.zones, memory.zones["Normal"]
    memory.consume(leave="low")

    pages = [memory.alloc_pages(GFP_ATOMIC, 9) for _ in range(4)]

    assert None not in pages
    assert zone.reserved_highatomic == 3 * 512  # 1 % of the zone and a pageblock, begun
    for page in pages:
        memory.free_pages(page, 9)
    memory.check()
    assert [zones.unreserve(zone, UNMOVABLE) for _ in range(4)] == [True, True, True, False]
    assert zone.reserved_highatomic == 0
    memory.check()


def test_a_small_zone_does_not_give_itself_away() -> None:
    memory = Memory("2M", kernel="6.6")
    with memory.consume(leave="low"):
        assert memory.alloc_pages(GFP_ATOMIC, 1) is not None

    assert memory.zones["Normal"].reserved_highatomic == 0
    assert memory.alloc_pages(QUIET, 3) is not None


@pytest.mark.parametrize("arguments", [{}, {"kernel": "2.6.24"}, {"watermark_rule": "iterative"}])
def test_other_memories_set_nothing_aside(arguments: dict[str, str]) -> None:
    memory = Memory("64M", **arguments)  # type: ignore[arg-type]
    memory.consume(leave="min")

    memory.alloc_pages(GFP_ATOMIC, 1)

    assert memory.zones["Normal"].reserved_highatomic == 0


@settings(deadline=None)
@given(
    st.integers(1, 6000),
    st.lists(
        st.one_of(
            st.tuples(st.integers(0, 10), st.sampled_from([UNMOVABLE, MOVABLE, RECLAIMABLE])),
            st.integers(-100, -1),
        ),
        max_size=80,
    ),
)
def test_every_free_block_can_be_had_by_every_type(
    pages: int, program: list[tuple[int, int] | int]
) -> None:
    buddy = Buddy(pages, kind=MOVABLE)
    held: list[tuple[int, int]] = []

    for step in program:
        if isinstance(step, int):
            if held:
                buddy.free(*held.pop(step % len(held)))
            continue
        order, kind = step
        largest = max(lists.largest() for lists in buddy.lists)
        pfn = buddy.alloc(order, kind)
        assert (pfn is None) == (largest < order)
        if pfn is not None:
            held.append((pfn, order))
        for lists in buddy.lists:
            for o, area in enumerate(lists.areas):
                assert all(buddy.lists_of(frame) is lists for frame in area)
                assert all(frame % (1 << o) == 0 for frame in area)
        assert buddy.nr_free == pages - sum(1 << o for _, o in held)
        assert buddy.nr_free == sum(n << o for o, n in enumerate(buddy.counts()))

    for block in held:
        buddy.free(*block)
    assert buddy.counts() == Buddy(pages).counts()
