"""Compaction: which pages move, where to, and what becomes of their contents."""

import threading

import pytest

from faultinject.errors import UsageError
from faultinject.gfp import GFP_ATOMIC, GFP_KERNEL, GFP_NOFS, GFP_NOIO, Gfp
from faultinject.mm import Memory, Page
from faultinject.mm.migrate import HIGHATOMIC, MOVABLE, UNMOVABLE

QUIET = Gfp.NOWARN
MOVABLE_PAGE = GFP_KERNEL | Gfp.MOVABLE


def event(memory: Memory, name: str) -> int:
    return int(dict(line.split() for line in memory.vmstat().splitlines())[name])


def movable_page(memory: Memory, mark: int = 7) -> Page:
    page = memory.alloc_page(MOVABLE_PAGE | Gfp.MEMALLOC)
    assert page is not None
    page[0:4096] = bytes([mark]) * 4096
    return page


def scattered(memory: Memory) -> list[Page]:
    """One page of the caller's in sixteen, all others free."""
    pages = [movable_page(memory, at % 251) for at in range(memory.size // 4096)]
    kept = [page for page in pages if page.pfn % 16 == 3]
    for page in pages:
        if page not in kept:
            memory.free_page(page)
    return kept


@pytest.mark.parametrize("kernel", ["3.6", "3.14", "4.9", "4.19", "6.1", "6.6"])
@pytest.mark.parametrize("gfp", [GFP_KERNEL, GFP_KERNEL | Gfp.NORETRY], ids=str)
def test_a_fragmented_memory_gives_a_large_block_after_movable_pages_moved(
    kernel: str, gfp: int
) -> None:
    memory = Memory("64M", kernel=kernel)
    pressure = memory.fragment(4, movable=True)
    held, free = pressure.size, memory.free_bytes

    page = memory.alloc_pages(gfp, 6)

    assert page is not None
    attempt = memory.attempts[-1]
    assert (attempt.compaction, attempt.rounds) == ("success", 0)
    assert 4 <= attempt.moved == event(memory, "pgmigrate_success") <= 512
    assert (pressure.size, memory.free_bytes) == (held, free - (4096 << 6))
    assert (event(memory, "compact_stall"), event(memory, "compact_success")) == (1, 1)
    memory.check()
    pressure.release()
    memory.free_pages(page, 6)
    assert memory.free_bytes == memory.size
    memory.check()


@pytest.mark.parametrize(
    ("kernel", "gfp", "moves"),
    [
        ("3.6", GFP_NOFS, False),
        ("4.9", GFP_NOFS, False),
        ("4.19", GFP_NOFS, True),
        ("6.6", GFP_NOFS, True),
        ("3.6", GFP_NOIO, False),
        ("6.6", GFP_NOIO, False),
    ],
)
def test_who_must_not_start_io_moves_nothing(kernel: str, gfp: int, moves: bool) -> None:
    memory = Memory("64M", kernel=kernel)
    memory.fragment(4, movable=True)

    page = memory.alloc_pages(gfp | QUIET, 4)

    assert (page is not None) is moves
    assert memory.attempts[-1].compaction == ("success" if moves else "skipped")
    assert event(memory, "compact_stall") == moves


@pytest.mark.parametrize("kernel", ["2.6.24", "2.6.32"])
def test_before_2_6_35_no_page_moves(kernel: str) -> None:
    memory = Memory("64M", kernel=kernel)
    memory.fragment(4, movable=True)

    assert memory.alloc_pages(GFP_KERNEL | QUIET, 4) is None
    assert memory.attempts[-1].compaction is None
    with pytest.raises(UsageError, match="cannot compact"):
        memory.compact()


@pytest.mark.parametrize("gfp", [GFP_ATOMIC, GFP_KERNEL & ~Gfp.DIRECT_RECLAIM], ids=str)
def test_who_must_not_sleep_moves_nothing(gfp: int) -> None:
    memory = Memory("64M", kernel="6.6")
    memory.fragment(4, movable=True)

    assert memory.alloc_pages(gfp | QUIET, 4) is None
    assert memory.attempts[-1].compaction is None


def test_pages_that_cannot_move_stay_and_the_request_fails() -> None:
    memory = Memory("64M", kernel="6.6")
    before = memory.buddyinfo(), memory.fragment(4, movable=False).blocks.copy()

    assert memory.alloc_pages(GFP_KERNEL | QUIET, 4) is None

    assert memory.attempts[-1].compaction == "complete"
    assert memory.attempts[-1].moved == 0
    assert memory._pages.held == before[1]
    assert event(memory, "compact_fail") >= 1


def test_the_pages_of_code_under_test_move_with_their_contents() -> None:
    memory = Memory("64M", kernel="6.6")
    kept = scattered(memory)
    before = {page: (page.pfn, bytes(page)) for page in kept}
    assert memory.zones["Normal"].blocks()[4:] == [0] * 7

    block = memory.alloc_pages(GFP_KERNEL, 9)

    assert block is not None
    moved = [page for page in kept if page.pfn != before[page][0]]
    assert 32 <= len(moved) == memory.attempts[-1].moved
    assert all(page.pfn > before[page][0] for page in moved)
    for page in kept:
        assert bytes(page) == before[page][1]
        page[1:3] = b"ok"
        assert page[0:4] == before[page][1][:1] + b"ok" + before[page][1][:1]
    assert len(memory.leaks()) == len(kept) + 1
    memory.check()
    for page in kept:
        memory.free_page(page)
    memory.free_pages(block, 9)
    assert memory.free_bytes == memory.size


def test_a_page_whose_data_was_taken_or_that_is_held_twice_does_not_move() -> None:
    memory = Memory("8M", kernel="6.6")
    kept = scattered(memory)
    places = [page.pfn for page in kept]
    kept[0].data[0] = 1
    memory.get_page(kept[1])

    memory.compact()

    assert [page.pfn for page in kept[:2]] == places[:2]
    assert kept[2].pfn != places[2]
    assert kept[0].data[0] == 1
    memory.put_page(kept[1])
    memory.compact()
    assert kept[1].pfn != places[1]
    memory.check()


def test_blocks_of_several_pages_and_pointers_do_not_move() -> None:
    memory = Memory("8M", kernel="6.6")
    block = memory.alloc_pages(MOVABLE_PAGE, 1)
    pointer = memory.get_free_pages(MOVABLE_PAGE)
    small = memory.kmalloc(64)
    page = movable_page(memory)
    assert block is not None
    assert pointer is not None
    assert small is not None
    places = [thing.address for thing in (block, pointer, small)]

    assert memory.compact() == 1

    assert [thing.address for thing in (block, pointer, small)] == places
    assert page.pfn == 511  # not into a pageblock that is free as a whole


def test_compaction_by_hand_moves_all_up_as_far_as_it_goes() -> None:
    memory = Memory("64M")  # no watermarks are needed for that
    pressure = memory.fragment(4, movable=True)

    moved = memory.compact()

    assert moved >= pressure.size // 4096 * 3 // 4
    assert memory.zones["Normal"].blocks()[10] == 15
    memory.check()
    assert memory.compact() == 0


def test_compaction_can_be_of_one_zone() -> None:
    memory = Memory(zones={"DMA": "4M", "Normal": "12M"}, kernel="6.6")
    memory.fragment(4, movable=True)

    memory.compact("DMA")

    assert memory.zones["DMA"].blocks()[6:] != [0] * 5
    assert memory.zones["Normal"].blocks()[6:] == [0] * 5
    with pytest.raises(UsageError, match=r"no such zone: 'HighMem'.*DMA, Normal"):
        memory.compact("HighMem")


@pytest.mark.parametrize("pages", [1, 2, 16, 511, 512, 513, 1539])
def test_a_memory_of_any_size_can_be_compacted(pages: int) -> None:
    memory = Memory(pages * 4096)
    kept = scattered(memory)

    memory.compact()

    memory.check()
    assert memory.free_bytes == (pages - len(kept)) * 4096
    top = range(pages - len(kept), pages)
    assert pages > 1024 or all(page.pfn in top for page in kept)


def test_a_request_puts_pages_into_movable_pageblocks_only() -> None:
    memory = Memory("64M", kernel="6.6")
    memory.fragment(4, movable=True)
    blocks, lists = memory._pages.blocks, memory.zones["Normal"].buddy.lists
    for block in range(32):
        blocks.retype(block << 9, lists[UNMOVABLE])

    assert memory.alloc_pages(GFP_KERNEL | QUIET, 4) is None
    assert memory.attempts[-1].moved == 0
    blocks.retype(31 << 9, lists[MOVABLE])
    places = set(memory._pages.held)
    assert memory.alloc_pages(GFP_KERNEL | QUIET, 4) is not None

    assert {pfn >> 9 for pfn in set(memory._pages.held) - places} == {31}
    memory.check()


def test_compaction_by_hand_puts_them_anywhere() -> None:
    memory = Memory("64M", kernel="6.6")
    memory.fragment(4, movable=True)
    for block in range(32):
        memory._pages.blocks.retype(block << 9, memory.zones["Normal"].buddy.lists[UNMOVABLE])

    assert memory.compact() > 900
    memory.check()


def test_too_few_free_pages_are_no_room_to_move_to() -> None:
    memory = Memory("64M", kernel="6.6")
    memory.fragment(4, movable=True)
    memory.consume(leave=(memory.zones["Normal"].low + 32) * 4096)

    assert memory.alloc_pages(GFP_KERNEL | QUIET, 4) is None

    assert memory.attempts[-1].compaction == "skipped"
    assert event(memory, "compact_stall") == 0


def test_after_a_failure_compaction_is_put_off_for_longer_and_longer() -> None:
    memory = Memory("64M", kernel="6.6")
    memory.fragment(4)
    results = []

    for _ in range(12):
        memory.alloc_pages(GFP_KERNEL | QUIET, 4)
        results.append(memory.attempts[-1].compaction)

    # Each request asks twice; what is left out is 1, 3, 7, …
    assert results[0] == "complete"
    assert results.count("deferred") > results.count("complete") >= 2
    memory.compact()  # by hand, whatever was put off


def test_a_small_request_of_several_pages_can_be_compacted_too() -> None:
    memory = Memory("64M", kernel="6.6")
    memory.fragment(1, movable=True)

    assert memory.alloc_pages(GFP_KERNEL, 3) is not None
    assert memory.attempts[-1].compaction == "success"


def test_kswapd_compacts_for_those_who_cannot_wait() -> None:
    memory = Memory("64M", kernel="6.6")
    memory.fragment(4, movable=True)
    assert memory.alloc_pages(GFP_ATOMIC | QUIET, 5) is None

    memory.clock.advance(0.1)

    assert memory.alloc_pages(GFP_ATOMIC | QUIET, 5) is not None
    assert event(memory, "compact_daemon_wake") == 1


def test_what_is_set_aside_for_atomic_requests_is_no_target() -> None:
    memory = Memory("64M", kernel="6.6")
    memory.fragment(4, movable=True)
    zone = memory.zones["Normal"]
    aside = zone.buddy.lists[HIGHATOMIC]
    memory._pages.blocks.retype(31 << 9, aside)  # where the scanner for free pages begins
    zone.reserved_highatomic = 512
    free = aside.free_pages()

    assert memory.compact() > 800

    assert aside.free_pages() == free > 0
    memory.check()


def test_a_light_attempt_takes_pages_from_movable_pageblocks_only() -> None:
    memory = Memory("64M", kernel="6.6")
    memory.fragment(4, movable=True)
    blocks, lists = memory._pages.blocks, memory.zones["Normal"].buddy.lists
    for block in range(31):
        blocks.retype(block << 9, lists[UNMOVABLE])
    for pfn in [pfn for pfn in memory._pages.held if pfn >> 9 == 31]:
        del memory._pages.held.owners[pfn]  # the only movable pageblock has none to move

    assert memory.alloc_pages(GFP_KERNEL | Gfp.NORETRY | QUIET, 4) is None
    assert memory.attempts[-1].moved == 0

    assert memory.alloc_pages(GFP_KERNEL, 4) is not None
    assert memory.attempts[-1].moved > 0
    memory.check()


def test_pages_move_while_other_threads_write_to_them() -> None:
    memory = Memory("8M", kernel="6.6")
    kept = scattered(memory)[:64]
    stop = threading.Event()
    torn = []

    def work(page: Page, value: int) -> None:
        while not stop.is_set():
            page[0:8] = bytes([value]) * 8
            if page[0:8] != bytes([value]) * 8:
                torn.append(page)

    threads = [
        threading.Thread(target=work, args=(page, at + 1)) for at, page in enumerate(kept[:4])
    ]
    for thread in threads:
        thread.start()
    for _ in range(30):
        memory.compact()
        holes = [movable_page(memory) for _ in range(200)]
        memory.compact()
        for page in holes:
            memory.free_page(page)
    stop.set()
    for thread in threads:
        thread.join()

    assert torn == []
    memory.check()
