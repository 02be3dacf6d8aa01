"""Reclaim: what a shrinker is asked for, by whom, and what its code may do."""

import threading

import pytest

from faultinject.errors import SpecError, UsageError
from faultinject.gfp import GFP_ATOMIC, GFP_KERNEL, GFP_NOWAIT, Gfp
from faultinject.mm import SHRINK_EMPTY, SHRINK_STOP, Memory, Pointer, Pressure, ShrinkControl
from faultinject.mm.shrinker import Shrinker

QUIET = Gfp.NOWARN


def starved(kernel: str = "6.6") -> tuple[Memory, Pressure]:
    memory = Memory("64M", kernel=kernel)
    return memory, memory.consume(leave=0)


def event(memory: Memory, name: str) -> int:
    return dict(line.split() for line in memory.vmstat().splitlines())[name]


def asked(freeable: int, *, freed: bool = True, **knobs: int) -> list[list[int]]:
    """What a shrinker of so many objects is asked for, from priority 12 down to 0."""
    calls: list[int] = []
    left = [freeable]

    def scan(sc: ShrinkControl) -> int:
        calls.append(sc.nr_to_scan)
        if freed:
            left[0] -= min(sc.nr_to_scan, left[0])
        return sc.nr_to_scan if freed else 0

    shrinker = Shrinker(
        {}, scan, lambda sc: left[0], None, knobs.get("seeks", 2), knobs.get("batch", 128)
    )
    found = []
    for priority in range(12, -1, -1):
        shrinker.shrink(GFP_KERNEL, priority)
        found.append(calls.copy())
        calls.clear()
    return found


def test_a_shrinker_is_asked_for_a_share_that_grows() -> None:
    # 2 of 4096, twice that, and so on: less than a batch is put off to the next pass.
    assert asked(1 << 18, freed=False)[:3] == [[128], [128, 128], [128] * 4]
    few = asked(100, freed=False)
    assert few[:11] == [[]] * 11  # less than all, and less than a batch: 94 are put off
    assert few[11:] == [[128], [128]]  # 100 + 94 // 2, and at most 200


def test_a_shrinker_of_costly_objects_is_asked_for_less_and_of_free_ones_for_half() -> None:
    assert asked(1 << 18, freed=False, seeks=8)[1] == []
    assert asked(1 << 18, freed=False, seeks=8)[2] == [128]
    assert asked(512, freed=False, seeks=0)[0] == [128, 128]
    assert asked(512, freed=False, seeks=0, batch=256)[0] == [256]


@pytest.mark.parametrize("count", [0, SHRINK_EMPTY])
def test_a_shrinker_that_has_nothing_is_not_asked(count: int) -> None:
    memory, _ = starved()
    memory.register_shrinker(lambda sc: pytest.fail("asked"), lambda sc: count)

    assert memory.alloc_page(GFP_KERNEL | QUIET) is None


def test_a_shrinker_that_stops_is_not_asked_again_in_that_pass() -> None:
    memory, _ = starved()
    calls = []

    def scan(sc: ShrinkControl) -> int:
        calls.append(sc.nr_to_scan)
        return SHRINK_STOP

    memory.register_shrinker(scan, lambda sc: 1 << 18)
    memory.alloc_page(GFP_KERNEL | Gfp.NORETRY | QUIET)

    assert len(calls) == 13
    assert memory.attempts[-1].scanned == 0


def test_a_shrinker_may_say_that_it_looked_at_fewer() -> None:
    memory, _ = starved()

    def scan(sc: ShrinkControl) -> int:
        sc.nr_scanned = 3
        return 0

    memory.register_shrinker(scan)
    memory.alloc_page(GFP_KERNEL | Gfp.NORETRY | QUIET)

    assert memory.attempts[-1].scanned == 13 * 3
    assert event(memory, "slabs_scanned") == event(memory, "pgscan_direct") == "39"


def test_reclaim_is_content_with_32_pages_and_asks_the_others_all_the_same() -> None:
    memory = Memory("64M", kernel="6.6")
    own = [memory.consume(8 * 4096) for _ in range(20)]
    memory.consume(leave=0)
    order = []

    def give_back(name: str) -> None:
        order.append(name)
        own.pop().release()

    memory.register_shrinker(lambda sc: give_back("first"))
    memory.register_shrinker(lambda sc: give_back("second"))
    memory.alloc_page(GFP_KERNEL | Gfp.NORETRY | QUIET)

    assert order == ["first", "second"] * 2
    assert memory.attempts[-1].reclaimed == 32
    assert event(memory, "pgsteal_direct") == "32"


def test_progress_is_pages_not_what_a_shrinker_says() -> None:
    memory, _ = starved()
    memory.register_shrinker(lambda sc: 1000)

    assert memory.alloc_page(GFP_KERNEL | QUIET) is None
    assert memory.attempts[-1].reclaimed == 0


def test_an_object_that_leaves_its_slab_standing_is_no_progress() -> None:
    memory = Memory("64M", kernel="6.6")
    objects = [memory.kmalloc(512) for _ in range(64)]
    memory.consume(leave=0)

    def free_all(sc: ShrinkControl) -> int:
        freed = len(objects)
        while objects:
            memory.kfree(objects.pop())
        return freed

    shrinker = memory.register_shrinker(free_all)
    assert memory.alloc_page(GFP_KERNEL | QUIET) is None
    shrinker.unregister()
    memory.register_shrinker(lambda sc: memory.shrink())

    assert memory.alloc_pages(GFP_KERNEL | Gfp.MEMALLOC) is not None


def test_each_version_counts_a_stall_under_its_own_name() -> None:
    for kernel, name in [("2.6.24", "allocstall"), ("4.9", "allocstall")]:
        memory, _ = starved(kernel)
        memory.alloc_page(GFP_KERNEL | Gfp.NORETRY | QUIET)
        assert event(memory, name) == "1"
    memory = Memory(zones={"DMA": "8M", "Normal": "8M"}, kernel="6.6")
    memory.consume(leave=0)
    memory.alloc_page(GFP_KERNEL | Gfp.NORETRY | QUIET)
    memory.alloc_page(GFP_KERNEL | Gfp.DMA | Gfp.NORETRY | QUIET)
    assert event(memory, "allocstall_normal") == event(memory, "allocstall_dma") == "1"


# What the code of a shrinker may do.


def test_a_shrinker_that_allocates_takes_from_the_reserve_and_is_not_asked_in_turn() -> None:
    memory = Memory("64M", kernel="6.6")
    pressure = memory.consume(leave="min")
    notes: list[Pointer | None] = []

    def scan(sc: ShrinkControl) -> int:
        notes.append(memory.kmalloc(64))  # to remember what was freed
        pressure.release()
        return 1

    memory.register_shrinker(scan)

    assert memory.alloc_page(GFP_KERNEL) is not None
    assert len(notes) == 1
    assert notes[0] is not None
    memory.check()


def test_a_shrinker_that_allocates_in_an_exhausted_memory_gets_none_at_once() -> None:
    memory, pressure = starved()
    notes = []

    def scan(sc: ShrinkControl) -> int:
        notes.append(memory.alloc_page(GFP_KERNEL | QUIET))
        pressure.release()
        return 1

    memory.register_shrinker(scan)

    assert memory.alloc_page(GFP_KERNEL) is not None
    assert notes == [None]
    assert [attempt.gave_up for attempt in memory.attempts] == ["memalloc", None]


def test_what_a_shrinker_raises_reaches_who_asked_for_memory_and_breaks_nothing() -> None:
    memory, _ = starved()

    def scan(sc: ShrinkControl) -> int:
        raise ValueError("the cache is broken")

    with memory.register_shrinker(scan), pytest.raises(ValueError, match="the cache is broken"):
        memory.alloc_page(GFP_KERNEL)

    assert memory.attempts[-1].gave_up == "raised"
    memory.check()
    assert memory.alloc_page(GFP_KERNEL | QUIET) is None  # it is not the shrinker's task any more
    assert memory.attempts[-1].gave_up == "oom"


def test_a_shrinker_runs_without_the_lock() -> None:
    memory, pressure = starved()
    freed = threading.Event()

    def free_elsewhere() -> None:
        pressure.release()
        freed.set()

    def scan(sc: ShrinkControl) -> int:
        threading.Thread(target=free_elsewhere).start()
        assert freed.wait(30)
        return 1

    memory.register_shrinker(scan)

    assert memory.alloc_page(GFP_KERNEL) is not None


def test_a_shrinker_may_unregister_itself_and_let_time_pass() -> None:
    memory, pressure = starved()

    def scan(sc: ShrinkControl) -> int:
        memory.clock.advance(0.25)  # it waits for a disk
        pressure.release()
        shrinker.unregister()
        return 1

    shrinker = memory.register_shrinker(scan)

    assert memory.alloc_page(GFP_KERNEL) is not None
    assert memory.attempts[-1].seconds == memory.clock.now == 0.25
    shrinker.unregister()  # a second time is a no-op


@pytest.mark.parametrize("answer", [-1, True, "7", 1.5])
def test_a_shrinker_that_answers_nonsense_is_named(answer: object) -> None:
    memory, _ = starved()

    def scan_of_mine(sc: ShrinkControl) -> int:
        return answer  # type: ignore[return-value]

    with (
        memory.register_shrinker(scan_of_mine, name="mine"),
        pytest.raises(UsageError, match=r"not a number of objects: .* \(mine\)"),
    ):
        memory.alloc_page(GFP_KERNEL)
    with (
        memory.register_shrinker(lambda sc: 0, scan_of_mine),
        pytest.raises(UsageError, match="the count of a shrinker"),
    ):
        memory.alloc_page(GFP_KERNEL)


@pytest.mark.parametrize(
    "arguments",
    [(5,), (print, 5), (print, None, -1), (print, None, 2, 0), (print, None, True), (None,)],
    ids=str,
)
def test_an_impossible_shrinker_is_refused(arguments: tuple[object, ...]) -> None:
    memory = Memory("1M")
    names = ("seeks", "batch")

    with pytest.raises(SpecError, match="shrinker"):
        memory.register_shrinker(
            *arguments[:2],  # type: ignore[arg-type]
            **dict(zip(names, arguments[2:], strict=False)),  # type: ignore[arg-type]
        )
    assert not memory._pages.slow_path.reclaim.shrinkers


def test_a_shrinker_shows_its_name() -> None:
    memory = Memory("1M")

    assert repr(memory.register_shrinker(print)) == "<Shrinker print>"
    assert repr(ShrinkControl(0, 5)) == "<ShrinkControl for 5 objects>"


# kswapd.


def test_kswapd_works_once_time_passes_and_fills_up_to_the_high_mark() -> None:
    memory = Memory("64M", kernel="6.6")
    zone = memory.zones["Normal"]
    own = [memory.consume(32 * 4096) for _ in range(20)]
    memory.consume(leave="low")
    memory.register_shrinker(lambda sc: own.pop().release())

    assert memory.alloc_page(GFP_NOWAIT) is not None  # below the low mark: kswapd is woken
    assert (len(own), event(memory, "pageoutrun")) == (20, "0")
    memory.clock.advance(0)

    assert zone.high < zone.free <= zone.high + 32
    assert event(memory, "pageoutrun") == "1"
    assert event(memory, "pgsteal_kswapd") == str(32 * (20 - len(own)))
    assert event(memory, "pgsteal_direct") == "0"
    left = len(own)
    memory.clock.advance(1)
    assert len(own) == left  # it sleeps again


@pytest.mark.parametrize(
    ("kernel", "gfp", "woken"),
    [
        ("6.6", GFP_ATOMIC, True),
        ("6.6", Gfp.HIGH, False),  # without __GFP_KSWAPD_RECLAIM
        ("2.6.24", Gfp.HIGH, True),  # there was no such flag
    ],
)
def test_who_wakes_kswapd(kernel: str, gfp: int, woken: bool) -> None:
    memory = Memory("64M", kernel=kernel)
    memory.consume(leave="low")

    memory.alloc_page(gfp)

    assert (memory._pages.slow_path.reclaim.woken is not None) is woken


def test_a_request_above_the_low_mark_leaves_kswapd_asleep() -> None:
    memory = Memory("64M", kernel="6.6")
    memory.consume(leave="high")

    memory.alloc_page()

    assert memory._pages.slow_path.reclaim.woken is None


def test_kswapd_does_not_run_in_the_middle_of_a_reclaim() -> None:
    memory, pressure = starved()
    running = []

    def scan(sc: ShrinkControl) -> int:
        running.append(sc.gfp_mask)
        assert len(running) == 1
        memory.clock.advance(5)
        running.clear()
        pressure.release()
        return 1

    memory.register_shrinker(scan)
    memory.alloc_page(GFP_ATOMIC | QUIET)

    assert memory.alloc_page(GFP_KERNEL) is not None


def test_kswapd_gives_up_after_16_runs_for_nothing_until_somebody_makes_progress() -> None:
    memory, pressure = starved()
    for _ in range(20):
        memory.alloc_page(GFP_ATOMIC | QUIET)
        memory.clock.advance(1)
    assert event(memory, "pageoutrun") == "16"

    memory.register_shrinker(lambda sc: pressure.release())
    memory.alloc_page(GFP_KERNEL)
    memory.consume(leave=0)
    memory.alloc_page(GFP_ATOMIC | QUIET)
    memory.clock.advance(1)

    assert event(memory, "pageoutrun") == "17"


def test_what_kswapd_meets_is_raised_where_time_passes() -> None:
    memory, _ = starved()

    def scan(sc: ShrinkControl) -> int:
        raise ValueError

    memory.register_shrinker(scan)
    memory.alloc_page(GFP_ATOMIC | QUIET)

    with pytest.raises(ValueError):  # noqa: PT011  # its own
        memory.clock.advance(1)
    memory.clock.advance(1)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "1", None, True])
def test_only_so_many_seconds_can_pass(seconds: object) -> None:
    memory = Memory("1M")

    with pytest.raises(UsageError):
        memory.clock.advance(seconds)  # type: ignore[arg-type]
    assert repr(memory.clock) == "<VirtualClock at 0.000 s>"
