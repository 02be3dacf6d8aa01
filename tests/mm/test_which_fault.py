"""Which request crosses which capability: a test for each row of the table in the manual."""

from collections.abc import Callable, Iterator

import pytest

from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.capabilities.failslab import failslab
from faultinject.engine import observe
from faultinject.gfp import GFP_ATOMIC, GFP_KERNEL, Gfp
from faultinject.mm import PAGE_SIZE, Memory

Call = tuple[str, int]


class Tape:
    """Notes what is asked; fails nothing."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def eligible_call(self, capability: str, size: int, frame: object, retry: bool) -> bool:
        self.calls.append((capability, size))
        return False


@pytest.fixture
def tape() -> Iterator[Tape]:
    tape = Tape()
    observe.install(tape)
    yield tape
    observe.remove()


def warm_memory() -> Memory:
    """A memory whose caches all have a slab with free objects."""
    memory = Memory("16M")
    for gfp in (GFP_KERNEL, GFP_KERNEL | Gfp.ACCOUNT):
        for size in (8, 64, 72, 128, 2048, 4096, 8192):
            kept = memory.kmalloc(size, gfp), memory.kmalloc(size, gfp)
            memory.kfree(kept[1])
    return memory


def slab(*sizes: int) -> list[Call]:
    return [("failslab", size) for size in sizes]


def pages(*sizes: int) -> list[Call]:
    return [("fail_page_alloc", size) for size in sizes]


def grow(memory: Memory, size: int) -> None:
    small = memory.kmalloc(8)
    observed = memory.krealloc(small, size)
    assert observed is not None


ROWS: dict[str, tuple[Callable[[Memory], object], list[Call]]] = {
    "kmalloc, from a slab": (lambda m: m.kmalloc(100), slab(128)),
    "kmalloc, the largest of a cache": (lambda m: m.kmalloc(8192), slab(8192)),
    "kmalloc, a new slab": (lambda m: m.kmalloc(1000), slab(1024) + pages(2)),
    "kmalloc of nothing": (lambda m: m.kmalloc(0), []),
    "kmalloc of more": (lambda m: m.kmalloc(8193), pages(4)),
    "kmalloc of the most": (lambda m: m.kmalloc(4 << 20), pages(1024)),
    "kmalloc of too much": (lambda m: m.kmalloc((4 << 20) + 1, Gfp.NOWARN), []),
    "kfree": (lambda m: m.kfree(m._ram.live[min(m._ram.live)]), []),  # type: ignore[arg-type]
    "krealloc that grows": (lambda m: grow(m, 100), slab(8, 128)),
    "krealloc that stays": (lambda m: grow(m, 3), slab(8)),
    "krealloc_array": (lambda m: m.krealloc_array(None, 10, 10), slab(128)),
    "kcalloc": (lambda m: m.kcalloc(10, 10), slab(128)),
    "kcalloc that overflows": (lambda m: m.kcalloc(1 << 40, 1 << 40), []),
    "kstrdup": (lambda m: m.kstrdup("x" * 99), slab(128)),
    "kmemdup": (lambda m: m.kmemdup(bytes(100), 100), slab(128)),
    "ksize and roundup": (lambda m: (m.ksize(None), m.kmalloc_size_roundup(9)), []),
    "kmem_cache, a new slab": (
        lambda m: m.kmem_cache_create("inode", 600).alloc(),
        slab(600) + pages(2),
    ),
    "kmem_cache in bulk": (
        lambda m: m.kmem_cache_create("page", PAGE_SIZE).alloc_bulk(GFP_KERNEL, 17),
        slab(PAGE_SIZE) + pages(8, 8, 8),
    ),
    "alloc_page": (lambda m: m.alloc_page(), pages(1)),
    "alloc_pages": (lambda m: m.alloc_pages(GFP_KERNEL, 3), pages(8)),
    "get_free_pages": (lambda m: m.get_free_pages(GFP_KERNEL, 3), pages(8)),
    "alloc_pages_exact": (lambda m: m.alloc_pages_exact(5 * PAGE_SIZE), pages(8)),
    "get_page and put_page": (
        lambda m: [call(m._page) for call in (m.get_page, m.put_page)],  # type: ignore[attr-defined]
        [],
    ),
    "vmalloc": (lambda m: m.vmalloc(10 * PAGE_SIZE), slab(64, 96) + pages(1)),
    "vmalloc, in more than one bulk": (
        lambda m: m.vmalloc(256 * PAGE_SIZE),
        slab(64, 2048) + pages(1, 1, 1),
    ),
    "vmalloc, with an area for its array": (
        lambda m: m.vmalloc(513 * PAGE_SIZE),
        slab(64, 64, 16) + pages(1) * 7,
    ),
    "kvmalloc of a page": (lambda m: m.kvmalloc(PAGE_SIZE), slab(PAGE_SIZE)),
    "kvmalloc, from a cache": (lambda m: m.kvmalloc(2 * PAGE_SIZE), slab(2 * PAGE_SIZE)),
    "kvmalloc, in pages": (lambda m: m.kvmalloc(3 * PAGE_SIZE), pages(4)),
    "mempool of kmallocs": (
        lambda m: m.mempool_create_kmalloc_pool(2, 100),
        slab(96, 16, 128, 128),
    ),
    "mempool of pages": (lambda m: m.mempool_create_page_pool(2, 1), slab(96, 16) + pages(2, 2)),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_request_crosses_what_the_table_says(tape: Tape, row: str) -> None:
    request, crossed = ROWS[row]
    memory = warm_memory()
    for size in (16, 96):
        memory.kfree(memory.kmalloc(size))
    if "put_page" in row:
        memory._page = memory.alloc_page()  # type: ignore[attr-defined]
    tape.calls.clear()

    request(memory)

    assert tape.calls == crossed


def test_a_mempool_asks_once_for_each_try_of_the_underlying_call(tape: Tape) -> None:
    memory = warm_memory()
    pool = memory.mempool_create_kmalloc_pool(1, 100)
    assert pool is not None
    tape.calls.clear()

    pool.alloc()

    assert tape.calls == slab(128)


def test_the_first_try_of_a_slab_fails_although_sleepers_are_exempt() -> None:
    memory = Memory("16M")

    with fail_page_alloc(profile="kernel", probability=100, times=-1, verbose=0) as armed:
        assert memory.kmalloc(1000, GFP_KERNEL) is not None

    # The fallback of order 0 is exempt, by its order and because it may sleep.
    assert [injection.size for injection in armed.injections] == [2]
    (cache,) = memory.caches()
    assert [slab.order for slab in cache.slabs] == [0]


@pytest.mark.parametrize(
    ("knobs", "failed"),
    [
        ({}, [False, False, True, False, False]),
        ({"ignore_gfp_reclaim": False}, [False, True, True, False, False]),
        ({"min_order": 0}, [True, False, True, False, False]),
        (
            {"ignore_gfp_reclaim": False, "ignore_gfp_highmem": False, "min_order": 0},
            [True, True, True, True, False],
        ),
    ],
)
def test_the_kernels_own_gates_exempt_sleepers_single_pages_and_high_memory(
    knobs: dict[str, object], failed: list[bool]
) -> None:
    memory = Memory("16M")
    requests = [
        (GFP_ATOMIC, 0),
        (GFP_KERNEL, 3),
        (GFP_ATOMIC, 3),
        (GFP_KERNEL | Gfp.HIGHMEM, 3),
        (GFP_ATOMIC | Gfp.NOFAIL, 3),
    ]

    with fail_page_alloc(profile="kernel", probability=100, times=-1, verbose=0, **knobs):
        results = [memory.alloc_pages(gfp, order) for gfp, order in requests]

    assert [result is None for result in results] == failed


def test_vmalloc_is_exempt_from_page_faults_by_the_kernels_own_gates() -> None:
    memory = warm_memory()

    with fail_page_alloc(
        profile="kernel", probability=100, times=-1, min_order=0, ignore_gfp_reclaim=False
    ):
        assert memory.vmalloc(10 * PAGE_SIZE) is not None


@pytest.mark.parametrize("size", [3 * PAGE_SIZE, 2 * PAGE_SIZE])
def test_kvmalloc_hides_a_fault_behind_vmalloc(size: int) -> None:
    memory = warm_memory()
    capability = fail_page_alloc if size > 2 * PAGE_SIZE else failslab

    with capability(verbose=0) as armed:
        area = memory.kvmalloc(size)

    assert area is not None
    assert area in [span for span in memory._ram.live.values() if span._home.kind == "vmalloc"]
    assert len(armed.injections) == 1


def test_the_cache_of_caches_is_exempt_from_failslab() -> None:
    memory = warm_memory()
    bootstrap = memory.kmem_cache_create("kmem_cache", 216)
    bootstrap.is_bootstrap = True

    with failslab(times=-1, verbose=0) as armed:
        assert bootstrap.alloc() is not None
        assert memory.kmalloc(8) is None

    assert [injection.size for injection in armed.injections] == [8]
