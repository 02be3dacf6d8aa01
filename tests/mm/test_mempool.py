"""mempool: its reserve, and the promise that who may sleep always gets an element."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.capabilities.failslab import failslab
from faultinject.errors import (
    Deadlock,
    DoubleFree,
    InvalidFree,
    LeakedObjects,
    SpecError,
    UseAfterFree,
)
from faultinject.gfp import GFP_ATOMIC, GFP_KERNEL, GFP_NOIO, GFP_NOWAIT, Gfp
from faultinject.mm import KmemCache, Memory, Mempool, Page, Pointer, use_memory
from faultinject.mm import mempool as mempool_module
from faultinject.mm import pool_functions as calls


@pytest.fixture
def memory() -> Memory:
    return Memory("1M")


@pytest.fixture
def cache(memory: Memory) -> KmemCache:
    return memory.kmem_cache_create("request", 200)


def made(pool: Mempool | None) -> Mempool:
    assert pool is not None
    return pool


def test_a_pool_prefers_fresh_elements_and_then_empties_its_reserve(
    memory: Memory, cache: KmemCache
) -> None:
    pool = made(memory.mempool_create_slab_pool(2, cache))
    fresh = pool.alloc()

    with failslab(times=-1, verbose=0):
        kept = [pool.alloc(GFP_ATOMIC) for _ in range(2)]
        assert pool.curr_nr == 0
        assert pool.alloc(GFP_ATOMIC) is None
        assert pool.alloc(GFP_NOWAIT) is None

    assert None not in kept
    assert len({obj.address for obj in (fresh, *kept)}) == 3
    memory.check()


def test_a_free_fills_the_reserve_before_anything_goes_back(
    memory: Memory, cache: KmemCache
) -> None:
    pool = made(memory.mempool_create_slab_pool(1, cache))
    elements = [pool.alloc() for _ in range(2)]
    with failslab(times=-1, verbose=0):
        elements.append(pool.alloc())
    assert pool.curr_nr == 0

    pool.free(elements[0])
    assert (pool.curr_nr, len(cache.objects())) == (1, 3)
    pool.free(elements[1])
    assert (pool.curr_nr, len(cache.objects())) == (1, 2)
    pool.free(None)
    memory.check()


def test_who_may_sleep_gets_an_element_although_each_request_fails_once(
    memory: Memory, cache: KmemCache
) -> None:
    pool = made(memory.mempool_create_slab_pool(0, cache))

    with failslab(times=3, verbose=0) as armed:
        assert pool.alloc(GFP_NOIO) is not None

    assert len(armed.injections) == 3


def test_a_wait_that_nobody_could_end_is_told_as_a_deadlock(
    memory: Memory, cache: KmemCache
) -> None:
    pool = made(memory.mempool_create_slab_pool(1, cache))

    with failslab(times=-1, verbose=0):
        held = pool.alloc()
        with pytest.raises(Deadlock, match="of which none is in reserve; 1 should be"):
            pool.alloc()
        pool.free(held)
        assert pool.alloc() is not None


def test_a_sleeper_is_woken_by_the_free_of_another_thread(
    memory: Memory, cache: KmemCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mempool_module, "PATIENCE", 60)  # longer than the result is waited for
    pool = made(memory.mempool_create_slab_pool(1, cache))
    with failslab(times=-1, verbose=0, all_tasks=True), ThreadPoolExecutor(1) as threads:
        held = pool.alloc()
        waiting = threads.submit(pool.alloc)
        while not pool._waiters:
            assert not waiting.done()
        pool.free(held)

        assert waiting.result(timeout=30) is not None
    memory.check()


def test_a_sleeper_from_whom_the_element_is_snatched_sleeps_on(
    memory: Memory, cache: KmemCache
) -> None:
    pool = made(memory.mempool_create_slab_pool(1, cache))
    with failslab(times=-1, verbose=0, all_tasks=True), ThreadPoolExecutor(1) as threads:
        held = pool.alloc()
        waiting = threads.submit(pool.alloc)
        for _ in range(3):
            while not pool._waiters:
                assert not waiting.done()
            with memory._ram.lock:
                pool.free(held)
                held = pool.alloc()
        while not pool._waiters:
            assert not waiting.done()
        pool.free(held)

        assert waiting.result() is not None


def test_a_sleeper_whom_no_thread_frees_anything_gives_up(
    memory: Memory, cache: KmemCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mempool_module, "PATIENCE", 0.01)
    pool = made(memory.mempool_create_slab_pool(0, cache))
    leave = threading.Event()
    idle = threading.Thread(target=leave.wait)
    idle.start()
    try:
        with failslab(times=-1, verbose=0), pytest.raises(Deadlock):
            pool.alloc()
    finally:
        leave.set()
        idle.join()
    assert not pool._waiters


def test_a_daemon_is_waited_for_once_it_has_used_the_pool(memory: Memory, cache: KmemCache) -> None:
    pool = made(memory.mempool_create_slab_pool(1, cache))
    taken = threading.Event()

    def borrow() -> None:
        element = pool.alloc()
        taken.set()
        while not pool._waiters:
            pass
        pool.free(element)

    with failslab(times=-1, verbose=0, all_tasks=True):
        daemon = threading.Thread(target=borrow, daemon=True)
        daemon.start()
        taken.wait()

        assert pool.alloc() is not None
    daemon.join()


@pytest.mark.usefixtures("eager_switches")
@pytest.mark.parametrize(("min_nr", "probability"), [(3, 70), (1, 100)])
def test_many_threads_share_a_small_reserve_and_lose_nothing(
    memory: Memory, cache: KmemCache, min_nr: int, probability: int
) -> None:
    pool = made(memory.mempool_create_slab_pool(min_nr, cache))

    def work(seed: int) -> None:
        for turn in range(50):
            element = pool.alloc()
            element[:] = bytes([seed]) * 200
            assert bytes(element) == bytes([seed]) * 200
            pool.free(element)
            del turn

    with (
        failslab(probability=probability, times=-1, verbose=0, all_tasks=True, seed=1),
        ThreadPoolExecutor(8) as threads,
    ):
        list(threads.map(work, range(8)))

    memory.check()
    assert pool.curr_nr == min_nr
    pool.destroy()
    cache.destroy()
    memory.shrink()
    assert memory.free_bytes == memory.size


def test_the_first_try_is_quiet_and_does_not_sleep(memory: Memory) -> None:
    asked: list[int] = []

    def alloc(gfp: int, data: object) -> None:
        asked.append(gfp)

    pool = made(memory.mempool_create(0, alloc, lambda element, data: None))

    with pytest.raises(Deadlock):
        pool.alloc(GFP_KERNEL)
    assert pool.alloc(GFP_ATOMIC) is None

    added = Gfp.NOMEMALLOC | Gfp.NORETRY | Gfp.NOWARN
    assert asked[0] == (GFP_KERNEL | added) & ~(Gfp.DIRECT_RECLAIM | Gfp.IO)
    assert set(asked[1:-1]) == {GFP_KERNEL | added}
    assert asked[-1] == GFP_ATOMIC | added


@pytest.mark.parametrize("failing", range(1, 6))
def test_a_pool_that_cannot_be_filled_is_none_and_leaves_nothing(
    memory: Memory, cache: KmemCache, failing: int
) -> None:
    with failslab(nth=failing, verbose=0) as armed:
        assert memory.mempool_create_slab_pool(3, cache) is None

    assert len(armed.injections) == 1
    assert memory.leaks() == []
    memory.check()
    cache.destroy()


def test_a_pool_asks_failslab_for_descriptor_array_and_each_element(
    memory: Memory, cache: KmemCache
) -> None:
    with failslab(nth=6, verbose=0) as armed:
        pool = made(memory.mempool_create_slab_pool(3, cache))
    assert armed.injections == []

    assert [(leak.kind, leak.size) for leak in memory.leaks()] == [
        ("kmalloc", 72),
        *[("kmem_cache:request", 200)] * 3,
    ]
    pool.destroy()
    assert memory.leaks() == []


def test_an_element_of_the_reserve_is_freed_to_whoever_kept_it(
    memory: Memory, cache: KmemCache
) -> None:
    pool = made(memory.mempool_create_slab_pool(1, cache))
    with failslab(times=-1, verbose=0):
        element = pool.alloc()
    view = element.data
    pool.free(element)

    with pytest.raises(UseAfterFree):
        element[0]
    with pytest.raises(ValueError, match="released"):
        view[0]
    with pytest.raises(DoubleFree):
        pool.free(element)
    assert pool.curr_nr == 1
    memory.check()


def test_a_leaked_element_names_who_took_it_from_the_reserve(
    memory: Memory, cache: KmemCache
) -> None:
    pool = made(memory.mempool_create_slab_pool(1, cache))

    def take() -> None:
        with failslab(times=-1, verbose=0):
            pool.alloc()

    take()

    assert memory.leaks()[-1].site.function.endswith("take")


def test_a_foreign_element_is_refused_and_nothing_changes(memory: Memory) -> None:
    cache, other = (memory.kmem_cache_create(name, 64) for name in ("one", "two"))
    slab_pool = made(memory.mempool_create_slab_pool(1, cache))
    byte_pool = made(memory.mempool_create_kmalloc_pool(1, 64))
    page_pool = made(memory.mempool_create_page_pool(1, 1))
    strangers = [other.alloc(), memory.alloc_pages(GFP_KERNEL, 0), memory.kmalloc(500), 7, "x"]
    strangers += [Memory("64K").kmalloc(64), Memory("64K").alloc_pages(GFP_KERNEL, 1)]
    before = [str(leak) for leak in memory.leaks()]

    for pool in (slab_pool, byte_pool, page_pool):
        for stranger in strangers:
            with pytest.raises(InvalidFree, match="not its own"):
                pool.free(stranger)

    assert [str(leak) for leak in memory.leaks()] == before
    memory.check()


def test_pools_of_kmallocs_and_of_pages(memory: Memory) -> None:
    byte_pool = made(memory.mempool_create_kmalloc_pool(2, 100))
    page_pool = made(memory.mempool_create_page_pool(2, 1))

    with failslab(times=-1, verbose=0), fail_page_alloc(times=-1, verbose=0):
        buffer, pages = byte_pool.alloc(), page_pool.alloc()

    assert isinstance(buffer, Pointer)
    assert len(buffer) == 100
    assert isinstance(pages, Page)
    assert pages.order == 1
    byte_pool.free(buffer)
    page_pool.free(pages)
    for pool in (byte_pool, page_pool):
        assert pool.curr_nr == 2
        pool.destroy()
    memory.shrink()
    assert memory.free_bytes == memory.size


def test_a_pool_of_anything_hands_its_data_on(memory: Memory) -> None:
    freed: list[tuple[object, object]] = []
    names = iter("abcdef")
    pool = made(
        memory.mempool_create(
            2, lambda gfp, data: next(names), lambda element, data: freed.append((element, data)), 9
        )
    )

    assert pool.curr_nr == 2
    pool.free("x")
    assert freed == [("x", 9)]
    assert pool.alloc(GFP_ATOMIC) == "c"
    pool.destroy()
    assert sorted(freed[1:]) == [("a", 9), ("b", 9)]


def test_a_pool_of_anything_tells_a_second_free_into_the_reserve(memory: Memory) -> None:
    names = iter([1, 2, None])
    pool = made(memory.mempool_create(2, lambda gfp, data: next(names), lambda *_: None))
    thing = pool.alloc(GFP_ATOMIC)
    pool.free(thing)

    with pytest.raises(DoubleFree):
        pool.free(thing)


def test_a_pool_of_one_thing_over_and_over_is_full_of_it(memory: Memory) -> None:
    pool = made(memory.mempool_create(3, lambda gfp, data: data, lambda *_: None, "always"))

    assert pool.curr_nr == 3
    assert pool.alloc(GFP_ATOMIC) == "always"


def test_an_error_of_the_pools_own_function_leaves_nothing(memory: Memory) -> None:
    freed: list[object] = []
    names = iter(["only"])

    with pytest.raises(StopIteration):
        memory.mempool_create(
            2, lambda gfp, data: next(names), lambda element, data: freed.append(element)
        )

    assert freed == ["only"]
    assert memory.leaks() == []
    assert memory._ram.own == {}


def test_a_pool_grows_as_far_as_it_can_and_shrinks(memory: Memory, cache: KmemCache) -> None:
    pool = made(memory.mempool_create_slab_pool(2, cache))

    assert pool.resize(4)
    assert (pool.min_nr, pool.curr_nr) == (4, 4)
    with failslab(nth=1, verbose=0):
        assert not pool.resize(9)
    assert (pool.min_nr, pool.curr_nr) == (4, 4)
    with failslab(interval=3, times=1, verbose=0):
        assert pool.resize(9)
    assert (pool.min_nr, pool.curr_nr) == (9, 5)
    assert pool.resize(1)
    assert (pool.curr_nr, len(cache.objects())) == (1, 1)
    memory.check()


@pytest.mark.parametrize("min_nr", [-1, True, "2", None, 1.0])
def test_an_impossible_reserve_is_refused(memory: Memory, cache: KmemCache, min_nr: object) -> None:
    pool = made(memory.mempool_create_slab_pool(1, cache))
    with pytest.raises(SpecError, match="number of elements"):
        memory.mempool_create_slab_pool(min_nr, cache)  # type: ignore[arg-type]
    for number in (min_nr, 0):
        with pytest.raises(SpecError, match="number of elements"):
            pool.resize(number)  # type: ignore[arg-type]
    pool.destroy()
    assert memory.leaks() == []


def test_an_impossible_source_is_refused(memory: Memory) -> None:
    gone = memory.kmem_cache_create("gone", 64)
    gone.destroy()

    with pytest.raises(UseAfterFree, match="gone"):
        memory.mempool_create_slab_pool(0, gone)
    for call in (
        lambda: memory.mempool_create_slab_pool(1, "cache"),  # type: ignore[arg-type]
        lambda: memory.mempool_create_slab_pool(1, Memory("64K").kmem_cache_create("far", 8)),
        lambda: memory.mempool_create_slab_pool(
            1, memory.kmem_cache_create("built", 8, ctor=lambda _: None)
        ),
        lambda: memory.mempool_create_kmalloc_pool(1, 0),
        lambda: memory.mempool_create_kmalloc_pool(1, -5),
        lambda: memory.mempool_create_page_pool(1, -1),
        lambda: memory.mempool_create(1, None, print),  # type: ignore[arg-type]
        lambda: memory.mempool_create(1, lambda gfp, data: 1, 5),  # type: ignore[arg-type]
    ):
        with pytest.raises(SpecError):
            call()
    assert memory.leaks() == []


def test_impossible_flags_are_refused(memory: Memory, cache: KmemCache) -> None:
    pool = made(memory.mempool_create_slab_pool(1, cache))

    for flags in (-1, 0x200, "x", None):
        with pytest.raises(SpecError, match="gfp"):
            pool.alloc(flags)  # type: ignore[arg-type]


def test_zeroing_is_not_promised_and_asking_for_it_is_told(
    memory: Memory, cache: KmemCache, caplog: pytest.LogCaptureFixture
) -> None:
    pool = made(memory.mempool_create_slab_pool(1, cache))

    pool.alloc(GFP_KERNEL | Gfp.ZERO)

    assert "mempool_alloc with __GFP_ZERO" in caplog.text


def test_a_destroyed_pool_cannot_be_used(memory: Memory, cache: KmemCache) -> None:
    pool = made(memory.mempool_create_slab_pool(1, cache))
    element = pool.alloc()
    pool.destroy()

    for use in (pool.alloc, lambda: pool.free(element), lambda: pool.resize(2)):
        with pytest.raises(UseAfterFree, match="destroyed mempool"):
            use()
    with pytest.raises(DoubleFree):
        pool.destroy()
    assert "destroyed" in repr(pool)
    # What is in use is none of the pool's business any more.
    cache.free(element)
    assert memory.leaks() == []


def test_a_cache_whose_pool_still_lives_is_not_destroyed(memory: Memory, cache: KmemCache) -> None:
    pool = made(memory.mempool_create_slab_pool(2, cache))

    with pytest.raises(LeakedObjects, match="2 objects"):
        cache.destroy()

    assert pool.alloc() is not None
    memory.check()


def test_the_functions_do_what_the_methods_do(memory: Memory) -> None:
    with use_memory(memory):
        cache = calls.kmem_cache_create("inode", 64)
        pools = [
            made(calls.mempool_create(1, lambda gfp, data: object(), lambda *_: None)),
            made(calls.mempool_create_kmalloc_pool(1, 64)),
            made(calls.mempool_create_page_pool(1, 0)),
        ]
    pool = made(calls.mempool_create_slab_pool(1, cache))
    element = calls.mempool_alloc(pool, GFP_KERNEL)
    calls.mempool_free(element, pool)
    assert calls.mempool_resize(pool, 2)
    for each in (*pools, pool, None):
        calls.mempool_destroy(each)

    obj = calls.kmem_cache_zalloc(cache)
    assert obj is not None
    assert bytes(obj) == bytes(64)
    calls.kmem_cache_free(cache, obj)
    calls.kmem_cache_free(cache, calls.kmem_cache_alloc(cache))
    objects = calls.kmem_cache_alloc_bulk(cache, GFP_KERNEL, 3)
    assert objects is not None
    calls.kmem_cache_free_bulk(cache, objects)
    assert calls.kmem_cache_shrink(cache) == 1
    calls.kmem_cache_destroy(cache)
    calls.kmem_cache_destroy(None)
    assert memory.leaks() == []
