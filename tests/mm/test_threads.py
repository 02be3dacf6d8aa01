"""Many threads at once lose nothing; one thread alone always sees the same."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.capabilities.failslab import failslab
from faultinject.gfp import GFP_ATOMIC, GFP_KERNEL, Gfp
from faultinject.mm import PAGE_SIZE, KmemCache, Memory, Mempool
from faultinject.mm.span import Span

THREADS = 8
TURNS = 400
MACHINES: dict[str, dict[str, Any]] = {
    "plain": {"size": "16M"},
    "small": {"size": "2M"},
    "iterative": {"zones": {"DMA": "4M", "Normal": "4M"}, "watermark_rule": "iterative"},
    "modern": {"zones": {"DMA": "4M", "Normal": "4M"}, "watermark_rule": "modern"},
    "2.6.24": {"zones": {"DMA": "4M", "Normal": "4M"}, "kernel": "2.6.24"},
    "2.0": {"size": "8M", "kernel": "2.0"},
}

Give = Callable[[], object]
Taken = tuple[Span, bytes, Give]


class Worker:
    """Takes, writes, resizes, shares and frees at random, and tells what it saw."""

    def __init__(self, memory: Memory, cache: KmemCache, pool: Mempool, seed: int) -> None:
        self.memory = memory
        self.cache = cache
        self.pool = pool
        self.random = Random(seed)
        self.mine: list[Taken] = []
        self.seen: list[int] = []

    def work(self) -> None:
        for _ in range(TURNS):
            if self.random.randrange(8) < 5 and len(self.mine) < 40:
                self.take()
            elif self.mine:
                self.give(self.mine.pop(self.random.randrange(len(self.mine))))
        while self.mine:
            self.give(self.mine.pop())

    def keep(self, span: Span | None, give: Callable[[Any], object]) -> None:
        if span is None:
            self.seen.append(0)
            return
        content = bytes([self.random.randrange(256)]) * len(span)
        span[:] = content
        self.mine.append((span, content, lambda: give(span)))
        self.seen.append(span.address)

    def take(self) -> None:
        memory, quiet = self.memory, GFP_KERNEL | Gfp.NOWARN
        size = self.random.randrange(1, 3000)
        match self.random.randrange(10):
            case 0:
                self.keep(memory.kmalloc(size, quiet), memory.kfree)
            case 1:
                self.keep(memory.kzalloc(9000, quiet), memory.kfree_sensitive)
            case 2:
                self.keep(memory.alloc_pages(quiet | Gfp.MOVABLE), memory.free_page)
            case 3:
                page = memory.alloc_pages(GFP_ATOMIC | Gfp.NOWARN, 1)
                if page is not None:
                    memory.get_page(page)
                    memory.put_page(page)
                self.keep(page, lambda span: memory.free_pages(span, 1))
            case 4:
                self.keep(self.cache.alloc(quiet), self.cache.free)
            case 5:
                for obj in self.cache.alloc_bulk(quiet, 5) or []:
                    self.keep(obj, memory.kfree)
            case 6:
                self.keep(memory.vmalloc(10 * size, quiet), memory.vfree)
            case 7:
                self.keep(memory.kvmalloc(10 * size, quiet), memory.kvfree)
            case 8:
                self.keep(self.pool.alloc(GFP_ATOMIC), self.pool.free)
            case _:
                exact = memory.alloc_pages_exact(9000, quiet)
                self.keep(exact, lambda span: memory.free_pages_exact(span, 9000))

    def give(self, taken: Taken) -> None:
        span, content, give = taken
        assert bytes(span) == content
        give()


def team(machine: str, number: int) -> list[Worker]:
    memory = Memory(**MACHINES[machine])
    cache = memory.kmem_cache_create("inode", 600)
    pool = memory.mempool_create_slab_pool(4, cache)
    assert pool is not None
    return [Worker(memory, cache, pool, seed) for seed in range(number)]


def assert_nothing_is_lost(worker: Worker) -> None:
    memory = worker.memory
    memory.check()
    assert worker.pool.curr_nr == 4
    worker.pool.destroy()
    assert memory.leaks() == []
    worker.cache.destroy()
    memory.shrink()
    memory.check()
    assert memory.free_bytes == memory.size


@pytest.mark.usefixtures("eager_switches")
@pytest.mark.parametrize("machine", MACHINES)
def test_threads_lose_nothing(machine: str) -> None:
    workers = team(machine, THREADS)
    start = threading.Barrier(THREADS)

    def work(worker: Worker) -> None:
        start.wait()
        worker.work()

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(work, workers))

    assert_nothing_is_lost(workers[0])


@pytest.mark.usefixtures("eager_switches")
def test_threads_lose_nothing_to_faults_and_pressure_either() -> None:
    workers = team("modern", THREADS)
    done = threading.Event()

    def press() -> None:
        while not done.is_set():
            with workers[0].memory.consume(leave="min"):
                workers[0].memory.shrink()

    with (
        failslab(probability=20, times=-1, verbose=0, all_tasks=True, seed=1),
        fail_page_alloc(probability=20, times=-1, verbose=0, all_tasks=True, seed=2),
        ThreadPoolExecutor(THREADS + 1) as threads,
    ):
        pressing = threads.submit(press)
        list(threads.map(Worker.work, workers))
        done.set()
        pressing.result()

    assert_nothing_is_lost(workers[0])


@pytest.mark.parametrize("machine", MACHINES)
def test_one_thread_alone_always_gets_the_same_addresses(machine: str) -> None:
    (first,), (second,) = team(machine, 1), team(machine, 1)

    for worker in (first, second):
        worker.work()

    assert first.seen == second.seen
    assert len(set(first.seen)) > TURNS // 8
    assert first.memory.buddyinfo() == second.memory.buddyinfo()


@pytest.mark.usefixtures("eager_switches")
@pytest.mark.parametrize("what", ["kmalloc", "pages", "vmalloc", "mempool"])
def test_of_two_frees_at_once_one_is_a_double_free(what: str) -> None:
    memory = Memory("1M")
    pool = memory.mempool_create_kmalloc_pool(0, 8)
    assert pool is not None
    pool.min_nr = 1000  # never full, so that each free keeps the element
    faults: list[str] = []
    take, give = {
        "kmalloc": (lambda: memory.kmalloc(8), memory.kfree),
        "pages": (memory.alloc_page, memory.free_page),
        "vmalloc": (lambda: memory.vmalloc(PAGE_SIZE), memory.vfree),
        "mempool": (pool.alloc, pool.free),
    }[what]

    def free(barrier: threading.Barrier, span: Any) -> None:
        barrier.wait()
        try:
            give(span)
        except Exception as error:
            faults.append(type(error).__name__)

    with ThreadPoolExecutor(2) as threads:
        for _ in range(50):
            barrier, span = threading.Barrier(2), take()
            for future in [threads.submit(free, barrier, span) for _ in range(2)]:
                future.result()

    assert faults == ["DoubleFree"] * 50
    memory.check()


@pytest.mark.usefixtures("eager_switches")
def test_references_that_threads_drop_at_once_free_a_page_once() -> None:
    memory = Memory("1M")

    with ThreadPoolExecutor(4) as threads:
        for _ in range(50):
            page, barrier = memory.alloc_pages(GFP_KERNEL, 1), threading.Barrier(4)
            assert page is not None
            for _ in range(3):
                memory.get_page(page)

            def drop(page: Any = page, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                memory.free_pages(page, 1)

            for future in [threads.submit(drop) for _ in range(4)]:
                future.result()

    assert memory.leaks() == []
    assert memory.free_bytes == memory.size
    memory.check()
