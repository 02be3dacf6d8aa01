"""Pressure: a memory is brought into a state, the same one each time, and back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultinject.errors import SpecError
from faultinject.gfp import GFP_KERNEL, Gfp
from faultinject.mm import Memory
from faultinject.mm.buddy import Buddy

QUIET = GFP_KERNEL | Gfp.NOWARN
TWO = {"DMA": "4M", "Normal": "12M"}


def test_consume_takes_an_amount_and_gives_it_back() -> None:
    memory = Memory("64K")
    memory.alloc_page()

    with memory.consume("40K") as pressure:
        assert pressure.size == 40960
        assert memory.free_bytes == (16 - 1 - 10) * 4096
        assert len(memory.leaks()) == 1  # the page; pressure is nobody's
        memory.check()

    assert memory.free_bytes == 15 * 4096
    pressure.release()
    memory.check()


def test_consume_takes_what_single_pages_would_get() -> None:
    for pages in range(17):
        memory, twin = Memory("64K"), Memory("64K")

        memory.consume(pages * 4096)
        for _ in range(pages):
            twin.alloc_page()

        assert memory.buddyinfo() == twin.buddyinfo()


@pytest.mark.parametrize("movable", [False, True])
def test_consume_takes_pageblocks_as_pages_of_its_kind_would(movable: bool) -> None:
    memory, twin = Memory("16M"), Memory("16M")
    for each in (memory, twin):
        each.alloc_page(QUIET)
        each.alloc_page(QUIET | Gfp.MOVABLE)

    memory.consume(700 * 4096, movable=movable)
    for _ in range(700):
        twin.alloc_page(QUIET | (Gfp.MOVABLE if movable else 0))

    counts = [each.zones["Normal"].buddy.counts_by_type() for each in (memory, twin)]
    assert counts[0] == counts[1]
    memory.check()


def test_consume_begins_with_the_highest_zone() -> None:
    memory = Memory(zones=TWO)

    memory.consume("14M")

    assert {name: zone.free for name, zone in memory.zones.items()} == {"DMA": 512, "Normal": 0}


def test_consume_leaves_so_much_or_a_mark() -> None:
    memory = Memory(zones=TWO)
    zones = memory.zones
    with memory.consume(leave="1M"):
        assert memory.free_bytes == 1 << 20
    with memory.consume(leave="2M", zone="Normal"):
        assert zones["Normal"].free == 512
        assert zones["DMA"].free == 1024
    for name in ("min", "low", "high"):
        with memory.consume(leave=name):
            assert [zone.free for zone in zones.values()] == [
                getattr(zone, name) for zone in zones.values()
            ]
    with memory.consume(leave="low"), memory.consume(leave="high") as nothing:
        assert nothing.size == 0


def test_consume_takes_even_what_is_set_aside_for_atomic_requests() -> None:
    memory = Memory("256M", kernel="6.6")
    memory.consume(leave="low")
    memory.alloc_pages(Gfp.ATOMIC, 1)
    assert memory.zones["Normal"].reserved_highatomic == 512

    pressure = memory.consume(leave=0)

    assert memory.free_bytes == 0
    memory.check()
    pressure.release()
    memory.check()


@pytest.mark.parametrize("order", [1, 2, 5, 10])
def test_fragment_leaves_no_block_of_an_order(order: int) -> None:
    memory = Memory(zones={"DMA": 1539 * 4096, "Normal": "12M"}, watermark_rule="modern")
    memory.alloc_pages(QUIET, 3)
    before = memory.free_bytes

    pressure = memory.fragment(order)

    assert memory.alloc_pages(QUIET, order) is None
    assert memory.alloc_pages(QUIET, order - 1) is not None
    assert all(sum(zone.blocks()[order:]) == 0 for zone in memory.zones.values())
    assert pressure.size <= before >> order
    memory.check()
    pressure.release()
    memory.check()


def test_fragment_can_be_of_one_zone() -> None:
    memory = Memory(zones=TWO)

    memory.fragment(1, zone="DMA")

    assert memory.zones["DMA"].blocks() == [512, *[0] * 10]
    assert memory.zones["Normal"].free == 3072


def test_fragment_brings_the_free_lists_of_a_server_about() -> None:
    blocks = [2360, 80, 21, 7, 4, 1, 2, 0, 1, 0, 0]
    memory = Memory("64M")

    pressure = memory.fragment(blocks=blocks)

    assert memory.zones["Normal"].blocks() == blocks
    assert memory.buddyinfo().split()[4:] == [str(count) for count in blocks]
    assert pressure.size == memory.size - 12560 * 1024
    memory.check()


def test_fragment_uses_free_blocks_as_they_are_where_it_can() -> None:
    memory = Memory(1539 * 4096)

    pressure = memory.fragment(blocks=[1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1])

    assert pressure.size == 0
    memory.check()


def test_the_same_calls_bring_about_the_same_state() -> None:
    states = []
    for _ in range(2):
        memory = Memory("16M")
        memory.alloc_pages(QUIET, 4)
        memory.consume("5M")
        memory.fragment(blocks=[50, 20, 3])
        states.append(
            [[list(area) for area in lists.areas] for lists in memory.zones["Normal"].buddy.lists]
        )

    assert states[0] == states[1]


@settings(deadline=None)
@given(
    st.integers(1, 5000),
    st.lists(st.integers(0, 10), max_size=40),
    st.lists(st.integers(0, 12), max_size=11),
)
def test_fragment_hits_the_counts_or_changes_nothing(
    pages: int, used: list[int], counts: list[int]
) -> None:
    memory = Memory(pages * 4096)
    zone = memory.zones["Normal"]
    for order in used:
        memory.alloc_pages(QUIET, order)
    before = zone.buddy.by_order()
    counts += [0] * (11 - len(counts))

    try:
        pressure = memory.fragment(blocks=counts)
    except SpecError:
        assert zone.buddy.by_order() == before
        return
    assert zone.blocks() == counts
    memory.check()
    pressure.release()
    memory.check()
    assert {order: sorted(frames) for order, frames in zone.buddy.by_order().items()} == {
        order: sorted(frames) for order, frames in before.items()
    }


@settings(deadline=None)
@given(
    st.integers(1, 4000),
    st.lists(st.one_of(st.integers(0, 6), st.integers(-200, -1)), max_size=150),
)
def test_what_one_memory_came_to_another_of_its_size_can_be_cut_into(
    pages: int, program: list[int]
) -> None:
    worn, new = Memory(pages * 4096), Memory(pages * 4096)
    held = []
    for step in program:
        if step >= 0:
            held.append((worn.alloc_pages(QUIET, step), step))
        elif held:
            worn.free_pages(*held.pop(step % len(held)))
    blocks = worn.zones["Normal"].blocks()

    new.fragment(blocks=blocks)

    assert new.zones["Normal"].blocks() == blocks


def test_a_zone_can_be_cut_up_to_its_last_page_but_one_per_buddy() -> None:
    memory = Memory("4M")
    memory.fragment(blocks=[1] * 10)  # 1023 pages free, 1 held
    assert memory.free_bytes == 1023 * 4096

    full = Memory("4M")
    with pytest.raises(SpecError, match=r"blocks of order 0"):
        full.fragment(blocks=[2, *[1] * 9])
    assert full.zones["Normal"].buddy.by_order() == Buddy(1024).by_order()


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"amount": "1M", "leave": "1M"},
        {"amount": "17M"},
        {"leave": "17M"},
        {"amount": -4096},
        {"amount": 100},
        {"amount": "lots"},
        {"amount": True},
        {"leave": ""},
        {"leave": "most"},
        {"amount": "low"},
        {"amount": "1M", "zone": "HighMem"},
        {"amount": "5M", "zone": "DMA"},
        {"amount": "1M", "zone": 0},
    ],
    ids=str,
)
def test_an_impossible_consumption_is_refused_and_changes_nothing(
    arguments: dict[str, object],
) -> None:
    memory = Memory(zones=TWO)

    with pytest.raises(SpecError):
        memory.consume(**arguments)  # type: ignore[arg-type]

    assert memory.free_bytes == memory.size
    memory.check()


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"order": 1, "blocks": [1]},
        {"order": 0},
        {"order": 11},
        {"order": True},
        {"order": "1"},
        {"blocks": [1]},  # of which zone?
        {"blocks": [-1], "zone": "DMA"},
        {"blocks": [0] * 12, "zone": "DMA"},
        {"blocks": "11", "zone": "DMA"},
        {"blocks": 5, "zone": "DMA"},
        {"blocks": [1025], "zone": "DMA"},
        {"blocks": [513], "zone": "DMA"},
        {"order": 1, "zone": "Low"},
    ],
    ids=str,
)
def test_an_impossible_fragmentation_is_refused_and_changes_nothing(
    arguments: dict[str, object],
) -> None:
    memory = Memory(zones=TWO)

    with pytest.raises(SpecError):
        memory.fragment(**arguments)  # type: ignore[arg-type]

    assert memory.free_bytes == memory.size
    memory.check()


def test_pressure_shows_its_size() -> None:
    memory = Memory("64K")

    assert repr(memory.consume("24K")) == "<Pressure of 24576 bytes in 2 blocks>"
