"""The slow path: who can fail, a row per kind of request and a column per version."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.engine.log import violations
from faultinject.errors import Deadlock
from faultinject.gfp import GFP_ATOMIC, GFP_DMA, GFP_KERNEL, GFP_NOFS, GFP_NOIO, GFP_NOWAIT, Gfp
from faultinject.mm import Attempt, Memory, Pressure, ShrinkControl
from faultinject.mm.kernel_version import VERSIONS
from faultinject.mm.migrate import UNMOVABLE
from faultinject.mm.reclaim import Reclaim
from faultinject.mm.retry_rules import RETRY_RULES
from faultinject.mm.tasks import memalloc_nofs, memalloc_noio, memalloc_noreclaim
from faultinject.mm.zones import Plan

KERNELS = list(RETRY_RULES)
OLD = ["2.6.24", "2.6.32", "3.6", "3.14"]
MODERN = ["4.9", "4.19", "6.1", "6.6"]
QUIET = Gfp.NOWARN


class Cache:
    """Reclaimable pages: a shrinker that gives them back at its `at`-th call."""

    def __init__(self, memory: Memory, pressure: Pressure, at: int = 1) -> None:
        self.calls = 0
        self.pressure = pressure
        self.at = at
        memory.register_shrinker(self.scan)

    def scan(self, sc: ShrinkControl) -> int:
        self.calls += 1
        if self.calls < self.at:
            return 0
        freed = self.pressure.size // 4096
        self.pressure.release()
        return freed


def starved(kernel: str, size: str = "64M") -> tuple[Memory, Pressure]:
    """A memory without one free page, and what holds them all."""
    memory = Memory(size, kernel=kernel)
    return memory, memory.consume(leave=0)


def last(memory: Memory) -> Attempt:
    return memory.attempts[-1]


@pytest.fixture(autouse=True)
def _no_violations_are_left() -> object:
    """A deadlock counts as a fault of the code under test, here as one that was provoked."""
    mark = violations.mark()
    yield
    del violations.since(mark)[:]


def test_every_version_that_is_modelled_has_rules_or_no_slow_path_at_all() -> None:
    assert set(KERNELS) == {name for name in VERSIONS if name != "2.0"}


# Table 6.5, the first row: GFP_ATOMIC and GFP_NOWAIT.


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("order", [0, 2, 5])
@pytest.mark.parametrize("gfp", [GFP_ATOMIC, GFP_NOWAIT, GFP_ATOMIC | Gfp.NOFAIL], ids=str)
def test_a_request_that_must_not_sleep_fails_at_once(kernel: str, order: int, gfp: int) -> None:
    memory, pressure = starved(kernel)
    cache = Cache(memory, pressure)
    memory.tasks.add("hog", rss="1M")

    assert memory.alloc_pages(gfp | QUIET, order) is None

    assert last(memory).gave_up == "atomic"
    assert (last(memory).stages, last(memory).seconds) == (["kswapd"], 0)
    assert (cache.calls, memory.clock.now, memory.oom.kills) == (0, 0, [])


# The second row: up to order 3 it is not allowed to fail.


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("gfp", [GFP_KERNEL, GFP_NOFS, GFP_NOIO], ids=str)
@pytest.mark.parametrize("order", [0, 3])
def test_a_small_request_is_met_from_what_reclaim_frees(kernel: str, gfp: int, order: int) -> None:
    memory, pressure = starved(kernel)
    cache = Cache(memory, pressure)

    assert memory.alloc_pages(gfp, order) is not None

    assert last(memory).met
    assert "reclaim" in last(memory).stages
    assert last(memory).reclaimed == 64 * 256
    assert cache.calls == 1
    memory.check()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("gfp", [GFP_NOFS, GFP_NOIO], ids=str)
def test_a_small_request_that_may_not_kill_goes_on_until_it_is_met(kernel: str, gfp: int) -> None:
    memory, pressure = starved(kernel)
    memory.tasks.add("hog", rss="1M")
    Cache(memory, pressure, at=1000)

    assert memory.alloc_page(gfp) is not None

    assert last(memory).retries > 30
    assert last(memory).seconds == pytest.approx(memory.clock.now)
    assert 10 < memory.clock.now < 120
    assert memory.oom.kills == []


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("gfp", [GFP_NOFS, GFP_NOIO, GFP_NOFS | Gfp.NOFAIL], ids=str)
def test_where_nothing_can_help_it_says_that_the_kernel_would_hang(kernel: str, gfp: int) -> None:
    memory, _ = starved(kernel)

    with pytest.raises(Deadlock, match="the kernel would hang here: a request of order 0") as told:
        memory.alloc_page(gfp)

    assert "GFP_NO" in str(told.value)
    assert last(memory).gave_up == "hang"
    assert 100 < memory.clock.now <= 120
    memory.check()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("order", [0, 3])
def test_a_small_request_has_tasks_killed_until_it_is_met(kernel: str, order: int) -> None:
    memory = Memory("64M", kernel=kernel)
    hog = memory.consume("20M")
    memory.consume(leave=0)
    memory.tasks.add("small", rss="4K")
    memory.tasks.add("hog", rss="20M", on_exit=hog.release)

    assert memory.alloc_pages(GFP_KERNEL, order) is not None

    assert last(memory).victims == ["hog"]
    assert [kill.task.name for kill in memory.oom.kills] == ["hog"]
    memory.check()


@pytest.mark.parametrize("kernel", KERNELS)
def test_where_there_is_nobody_to_kill_a_small_request_fails_with_that_record(kernel: str) -> None:
    memory, _ = starved(kernel)

    assert memory.alloc_page(GFP_KERNEL | QUIET) is None

    assert last(memory).gave_up == "oom"
    assert last(memory).oom == "refused, there is no task to kill"
    assert memory.oom.refusals == 1


@pytest.mark.parametrize("kernel", KERNELS)
def test_noretry_makes_one_light_attempt(kernel: str) -> None:
    memory, pressure = starved(kernel)
    memory.tasks.add("hog", rss="1M")
    cache = Cache(memory, pressure, at=1000)

    assert memory.alloc_page(GFP_KERNEL | Gfp.NORETRY | QUIET) is None

    assert (last(memory).gave_up, last(memory).rounds) == ("noretry", 1)
    assert cache.calls == 13  # once for each priority
    assert (memory.oom.kills, memory.clock.now) == ([], 0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_task_that_frees_memory_takes_every_page_and_then_fails(kernel: str) -> None:
    memory = Memory("64M", kernel=kernel)
    memory.consume(leave=8 * 4096)
    cache = Cache(memory, memory.consume(0))

    with memalloc_noreclaim():
        taken = [memory.alloc_page(GFP_KERNEL | QUIET) for _ in range(9)]

    assert None not in taken[:8]
    assert taken[8] is None
    assert last(memory).gave_up == "memalloc"
    assert cache.calls == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_victim_of_the_oom_killer_fails_instead_of_killing_more(kernel: str) -> None:
    memory, _ = starved(kernel)
    memory.oom.policy = "allocating_task"
    given_back = []
    task = memory.tasks.add("victim", on_exit=lambda: given_back.append(True))
    memory.tasks.add("other", rss="1M")

    with task.running():
        assert memory.alloc_page(GFP_KERNEL | QUIET) is None
        assert task.victim
        assert given_back == []  # it ends when it returns, not in the middle of a call

    assert last(memory).gave_up == "victim"
    assert [kill.task.name for kill in memory.oom.kills] == ["victim"]
    assert given_back == [True]


@pytest.mark.parametrize("flags", [GFP_DMA, Gfp.THISNODE], ids=str)
@pytest.mark.parametrize("kernel", KERNELS)
def test_nobody_is_killed_for_a_low_zone_or_one_node_since_2_6_32(kernel: str, flags: int) -> None:
    memory = Memory(zones={"DMA": "8M", "Normal": "8M"}, kernel=kernel)
    memory.consume(leave=0)
    memory.tasks.add("hog", rss="1M")

    assert memory.alloc_page(GFP_KERNEL | flags | QUIET) is None

    reason = "lowmem" if flags == GFP_DMA else "this-node"
    assert last(memory).gave_up == ("oom" if kernel == "2.6.24" else reason)
    assert len(memory.oom.kills) == (1 if kernel == "2.6.24" else 0)


# The third row: above order 3.


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("gfp", [GFP_KERNEL, GFP_NOFS, GFP_NOIO], ids=str)
def test_a_costly_request_gives_up_after_one_round_and_kills_nobody(kernel: str, gfp: int) -> None:
    memory = Memory("64M", kernel=kernel)
    memory.fragment(4)
    memory.tasks.add("hog", rss="1M")

    assert memory.alloc_pages(gfp | QUIET, 4) is None

    assert (last(memory).gave_up, last(memory).rounds) == ("costly", 1)
    assert memory.oom.kills == []
    assert memory.clock.now == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_costly_request_is_met_if_reclaim_happens_to_free_a_block(kernel: str) -> None:
    memory = Memory("64M", kernel=kernel)
    cache = Cache(memory, memory.fragment(4))

    assert memory.alloc_pages(GFP_KERNEL, 4) is not None
    assert cache.calls == 1


# The fourth row: __GFP_REPEAT, later __GFP_RETRY_MAYFAIL.


class Drip:
    """Gives one page back with each pass."""

    def __init__(self, memory: Memory, pressure: Pressure) -> None:
        self.memory = memory
        self.pressure = pressure
        memory.register_shrinker(self.scan)

    def scan(self, sc: ShrinkControl) -> int:
        if not self.pressure.blocks:
            return 0
        pfn = min(self.pressure.blocks)
        assert self.pressure.blocks.pop(pfn) == 0
        self.memory._pages.held.release(pfn)
        self.memory._pages.blocks.free(pfn, 0)
        return 1


def test_repeat_goes_on_as_long_as_there_is_progress_in_2_6_24() -> None:
    memory = Memory("64M", kernel="2.6.24")
    Drip(memory, memory.fragment(1))

    assert memory.alloc_pages(GFP_KERNEL | Gfp.RETRY_MAYFAIL, 6) is not None

    assert last(memory).reclaimed > 32
    assert last(memory).retries > 1


@pytest.mark.parametrize("kernel", ["2.6.32", "3.6", "3.14"])
def test_repeat_ends_once_as_much_was_reclaimed_as_was_asked_for(kernel: str) -> None:
    memory = Memory("64M", kernel=kernel)
    Drip(memory, memory.fragment(1))

    assert memory.alloc_pages(GFP_NOFS | Gfp.RETRY_MAYFAIL | QUIET, 6) is None

    assert last(memory).gave_up == "reclaimed-enough"
    assert 64 <= last(memory).reclaimed < 64 + 13


@pytest.mark.parametrize("kernel", OLD)
def test_repeat_ends_without_any_progress_unless_it_may_not_kill(kernel: str) -> None:
    memory = Memory("64M", kernel=kernel)
    memory.fragment(4)

    assert memory.alloc_pages(GFP_KERNEL | Gfp.RETRY_MAYFAIL | QUIET, 4) is None
    assert last(memory).gave_up == "costly"
    with pytest.raises(Deadlock):
        memory.alloc_pages(GFP_NOFS | Gfp.RETRY_MAYFAIL, 4)


@pytest.mark.parametrize("kernel", MODERN)
@pytest.mark.parametrize("order", [0, 4])
def test_retry_mayfail_ends_after_16_fruitless_rounds_and_kills_nobody(
    kernel: str, order: int
) -> None:
    memory = Memory("64M", kernel=kernel)
    if order:
        memory.fragment(order)
    else:
        memory.consume(leave=0)
    memory.tasks.add("hog", rss="1M")
    memory.register_shrinker(lambda sc: 0, lambda sc: 300)

    assert memory.alloc_pages(GFP_KERNEL | Gfp.RETRY_MAYFAIL | QUIET, order) is None

    if kernel != "4.9":
        assert last(memory).gave_up == "mayfail"
        assert last(memory).oom == "not run for __GFP_RETRY_MAYFAIL"
    else:  # __GFP_REPEAT said nothing for small requests
        assert last(memory).gave_up == ("costly" if order else "oom")
        assert last(memory).oom is not None
    assert last(memory).rounds >= (1 if order else 17)
    assert len(memory.oom.kills) == (1 if kernel == "4.9" and not order else 0)


# The fifth row: __GFP_NOFAIL.


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("order", [0, 2])
def test_nofail_never_returns_without_pages(kernel: str, order: int) -> None:
    memory, pressure = starved(kernel)
    Cache(memory, pressure, at=600)

    assert memory.alloc_pages(GFP_KERNEL | Gfp.NOFAIL, order) is not None
    assert last(memory).retries > 20

    memory, _ = starved(kernel)
    with pytest.raises(Deadlock):
        memory.alloc_pages(GFP_KERNEL | Gfp.NOFAIL, order)


@pytest.mark.parametrize("kernel", KERNELS)
def test_nofail_of_a_costly_order_is_given_up_in_2_6_24_only(kernel: str) -> None:
    memory = Memory("64M", kernel=kernel)
    memory.fragment(4)

    if kernel == "2.6.24":
        assert memory.alloc_pages(GFP_KERNEL | Gfp.NOFAIL | QUIET, 4) is None
        assert last(memory).gave_up == "costly"
    with pytest.raises(Deadlock):
        memory.alloc_pages(GFP_NOFS | Gfp.NOFAIL, 4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_noretry_outranks_nofail_in_old_kernels_only(kernel: str) -> None:
    memory, _ = starved(kernel)
    gfp = GFP_KERNEL | Gfp.NOFAIL | Gfp.NORETRY | QUIET

    if kernel in OLD:
        assert memory.alloc_page(gfp) is None
        assert last(memory).gave_up == "noretry"
    else:
        with pytest.raises(Deadlock):
            memory.alloc_page(gfp)


def test_nofail_takes_what_is_kept_in_reserve_when_somebody_was_killed() -> None:
    memory = Memory("64M", kernel="6.6")
    memory.consume(leave=4096)
    memory.tasks.add("small")

    assert memory.alloc_page(GFP_KERNEL | Gfp.NOFAIL) is not None
    assert memory.free_bytes == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_nofail_of_a_task_that_frees_memory_has_nobody_to_wait_for(kernel: str) -> None:
    memory, pressure = starved(kernel)
    cache = Cache(memory, pressure)

    with memalloc_noreclaim(), pytest.raises(Deadlock):
        memory.alloc_page(GFP_KERNEL | Gfp.NOFAIL)

    assert cache.calls == 0


# The last two rows: too large, and injected.


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_impossible_order_does_not_come_that_far(kernel: str) -> None:
    memory, pressure = starved(kernel)
    cache = Cache(memory, pressure)

    assert memory.alloc_pages(GFP_KERNEL | QUIET, 11) is None
    assert (memory.attempts, cache.calls) == ([], 0)


@pytest.mark.parametrize("kernel", ["2.6.24", "6.6"])
def test_an_injected_failure_does_nothing_of_all_this(
    kernel: str, caplog: pytest.LogCaptureFixture
) -> None:
    memory, pressure = starved(kernel)
    memory.tasks.add("hog", rss="1M")
    cache = Cache(memory, pressure)
    events = memory.vmstat()

    with fail_page_alloc(times=-1) as armed:
        assert memory.alloc_pages(GFP_KERNEL) is None
        assert memory.alloc_pages(GFP_ATOMIC) is None
        assert len(armed.injections) == 2

        # Only __GFP_NOFAIL is met, by the slow path.
        assert memory.alloc_pages(GFP_KERNEL | Gfp.NOFAIL) is not None
        assert len(armed.injections) == 2

    assert "FAULT_INJECTION: forcing a failure" in caplog.text
    assert "page allocation failure" not in caplog.text
    assert cache.calls == 1
    assert len(memory.attempts) == 1
    assert memory.oom.kills == []
    assert events.count("\n") == memory.vmstat().count("\n")


@pytest.mark.parametrize("kernel", ["2.6.24", "6.6"])
def test_an_injected_failure_leaves_clock_counters_and_kswapd_alone(kernel: str) -> None:
    memory, _ = starved(kernel)
    before = memory.vmstat(), memory.clock.now

    with fail_page_alloc(times=-1, verbose=0):
        assert memory.alloc_pages(GFP_KERNEL) is None

    assert (memory.vmstat(), memory.clock.now) == before
    assert memory._pages.slow_path.reclaim.woken is None
    assert memory.attempts == []


# Rounds of the modern way.


@pytest.mark.parametrize("kernel", ["3.14", *MODERN])
def test_small_steps_of_reclaim_lead_to_a_block_in_the_end(kernel: str) -> None:
    memory = Memory("64M", kernel=kernel)
    memory.consume(leave="high")
    Drip(memory, memory.fragment(1))

    assert memory.alloc_pages(GFP_NOFS, 3) is not None

    assert last(memory).rounds > 1
    assert last(memory).retries >= 1
    memory.check()


def test_rounds_with_progress_are_not_counted() -> None:
    memory = Memory("64M", kernel="6.6", min_free_kbytes=2048)
    memory.fragment(1)
    slow = memory.consume(700 * 4096)
    memory.consume(leave=0)
    Drip(memory, slow)

    # 513 pages later: 13 in a round, and 13 more by kswapd.
    assert memory.alloc_page(GFP_KERNEL) is not None
    assert last(memory).rounds == 20


def test_compaction_without_room_waits_for_reclaim_to_make_some() -> None:
    memory = Memory("64M", kernel="6.6")
    memory.fragment(1, movable=True)
    slow = memory.consume(400 * 4096)
    memory.consume(leave="min")
    Drip(memory, slow)

    assert memory.alloc_pages(GFP_KERNEL, 3) is not None

    assert last(memory).compaction == "success"
    assert last(memory).rounds == 2  # 17 pages are room enough
    memory.check()


def test_progress_lets_compaction_put_pages_anywhere_in_the_end() -> None:
    memory = Memory("64M", kernel="6.6")
    pressure = memory.fragment(1, movable=True)
    zone = memory.zones["Normal"]
    for block in range(32):  # no pageblock is a target for the two light kinds
        memory._pages.blocks.retype(block << 9, zone.buddy.lists[UNMOVABLE])
    held = pressure.size
    pieces = [memory.consume(4096) for _ in range(40)]
    memory.register_shrinker(lambda sc: pieces.pop().release() if pieces else 0)

    assert memory.alloc_pages(GFP_KERNEL, 3) is not None

    assert last(memory).compaction == "success"
    assert last(memory).retries >= 1
    assert pressure.size == held
    memory.check()


def test_a_costly_light_attempt_ends_where_compaction_has_no_room() -> None:
    memory = Memory("64M", kernel="6.6")
    memory.fragment(4, movable=True)
    cache = Cache(memory, memory.consume(leave="min"))

    assert memory.alloc_pages(GFP_KERNEL | Gfp.NORETRY | QUIET, 4) is None

    assert (last(memory).gave_up, last(memory).compaction) == ("noretry", "skipped")
    assert cache.calls == 0
    text = str(last(memory)).splitlines()
    assert text[1:] == ["compaction: skipped, 0 pages moved"]


def test_before_anybody_is_killed_the_atomic_reserve_is_given_up() -> None:
    memory = Memory("256M", kernel="6.6", min_free_kbytes=400)
    with memory.consume(leave="low"):
        page = memory.alloc_pages(GFP_ATOMIC, 1)
    memory.free_pages(page, 1)
    zone = memory.zones["Normal"]
    memory.consume(leave=400 * 4096)
    assert (zone.reserved_highatomic, zone.min) == (512, 100)
    memory.tasks.add("hog", rss="1M")
    memory.register_shrinker(lambda sc: 0, lambda sc: 1000)  # it seems to have more

    assert memory.alloc_page(GFP_KERNEL) is not None

    assert zone.reserved_highatomic == 0
    assert last(memory).rounds == 17
    assert memory.oom.kills == []
    memory.check()


@pytest.mark.parametrize("kernel", ["2.6.24", "3.14", "6.6"])
def test_what_others_freed_meanwhile_keeps_the_oom_killer_from_being_run(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, pressure = starved(kernel)
    memory.tasks.add("hog", rss="1M")

    def in_vain(self: Reclaim, gfp: int, plan: Plan) -> tuple[int, int]:
        pressure.release()  # by another thread
        return 0, 0

    monkeypatch.setattr(Reclaim, "direct", in_vain)

    assert memory.alloc_page(GFP_KERNEL) is not None
    assert memory.oom.kills == []


# Around it.


def test_a_memory_without_watermarks_has_no_slow_path_until_something_is_registered() -> None:
    memory = Memory("1M")
    pressure = memory.consume(leave=0)

    assert memory.alloc_page(GFP_KERNEL | Gfp.NOFAIL | QUIET) is None
    assert last(memory).gave_up == "no-reclaim"
    Cache(memory, pressure)

    assert memory.alloc_page(GFP_KERNEL) is not None


def test_the_kernel_of_the_1990s_has_none_that_is_modelled() -> None:
    memory, _ = starved("2.0")

    assert memory.alloc_page(GFP_KERNEL | QUIET) is None
    assert last(memory).gave_up == "no-slow-path"


def test_kmalloc_and_new_slabs_take_the_slow_path_too() -> None:
    for size in (64, 100_000):
        memory, pressure = starved("6.6")
        Cache(memory, pressure)

        pointer = memory.kmalloc(size)

        assert pointer is not None
        pointer[0:2] = b"ok"
        memory.check()


@pytest.mark.parametrize("kernel", ["2.6.24", "6.6"])
@pytest.mark.parametrize(
    ("scope", "left"), [(memalloc_nofs, GFP_NOFS), (memalloc_noio, GFP_NOIO)], ids=["nofs", "noio"]
)
def test_a_scope_takes_from_each_request_what_its_task_may_not_do(
    kernel: str, scope: Callable[[], AbstractContextManager[None]], left: int
) -> None:
    memory, pressure = starved(kernel)
    seen = []

    def scan(sc: ShrinkControl) -> int:
        seen.append(sc.gfp_mask)
        pressure.release()
        return 1

    with scope(), memory.register_shrinker(scan):
        assert memory.alloc_pages(GFP_KERNEL, 3) is not None

    assert seen == [last(memory).gfp] == [left]


def test_a_request_with_an_answer_at_once_leaves_no_record() -> None:
    memory = Memory("64M", kernel="6.6")

    memory.alloc_page()
    memory.consume(leave="low")
    memory.alloc_page()

    assert memory.attempts == []


def test_the_record_is_text_that_tells_each_stage() -> None:
    memory = Memory("64M", kernel="6.6")
    memory.consume(leave=0)
    memory.tasks.add("imap", rss="1M")
    memory.register_shrinker(lambda sc: 0, lambda sc: 300)

    memory.alloc_page(GFP_KERNEL | QUIET)

    assert last(memory).rights == "ALLOC_WMARK_MIN|ALLOC_CPUSET"
    assert str(last(memory)).splitlines() == [
        "order 0, GFP_KERNEL|__GFP_NOWARN: gave up, only the OOM killer could have helped, "
        "and it refused",
        "reclaim: 34 times, 40192 objects scanned, 0 pages reclaimed",
        "oom: killed imap; refused, there is no task to kill",
        "began anew 33 times, blocked 0.132 s",
    ]
    assert repr(last(memory)).startswith("<Attempt at order 0, GFP_KERNEL|__GFP_NOWARN: gave up")


def test_a_hundred_records_are_kept() -> None:
    memory, _ = starved("6.6")

    for order in range(130):
        memory.alloc_pages(GFP_ATOMIC | QUIET, order % 4)

    assert len(memory.attempts) == 100
    assert last(memory).order == 129 % 4
