"""Impossible arguments: each is refused with a clear error, and the memory is as before."""

from collections.abc import Callable
from typing import Any

import pytest

from faultinject.errors import FaultInjectError
from faultinject.gfp import GFP_ATOMIC, GFP_KERNEL, Gfp
from faultinject.mm import ZERO_SIZE_PTR, KmemCache, Memory

NUMBERS: list[Any] = [-1, True, "8", 1.5, None, b"", -(1 << 80)]
FLAGS: list[Any] = [-1, True, "GFP_KERNEL", None, 1.0]
UNKNOWN_BITS = [0x200, 1 << 40]
CONTRADICTIONS = [
    Gfp.DMA | Gfp.DMA32,
    Gfp.DMA | Gfp.HIGHMEM,
    Gfp.MOVABLE | Gfp.RECLAIMABLE,
]
NOTHING_OF_OURS: list[Any] = [7, "pointer", b"", object(), [], 0xFFFF_8880_0000_0000]

Call = Callable[..., object]


class Machine:
    """A memory with one of everything in it, live and freed, and another memory's."""

    def __init__(self) -> None:
        self.memory = Memory("4M")
        self.cache = self.memory.kmem_cache_create("inode", 64)
        self.live = self.one_of_each(self.memory, self.cache)
        self.dead = self.one_of_each(self.memory, self.cache)
        for name, thing in self.dead.items():
            self.free_calls()[name](thing)
        other = Memory("1M")
        self.foreign = self.one_of_each(other, other.kmem_cache_create("inode", 64))

    @staticmethod
    def one_of_each(memory: Memory, cache: KmemCache) -> dict[str, Any]:
        return {
            "kfree": memory.kmalloc(64),
            "kfree, large": memory.kmalloc(9000),
            "cache.free": cache.alloc(),
            "free_pages": memory.alloc_pages(GFP_KERNEL, 1),
            "free_pages, pointer": memory.get_free_pages(GFP_KERNEL, 1),
            "free_pages_exact": memory.alloc_pages_exact(5000),
            "vfree": memory.vmalloc(5000),
        }

    def free_calls(self) -> dict[str, Call]:
        memory = self.memory
        return {
            "kfree": memory.kfree,
            "kfree, large": memory.kfree_sensitive,
            "cache.free": self.cache.free,
            "free_pages": lambda pages: memory.free_pages(pages, 1),
            "free_pages, pointer": lambda pages: memory.free_pages(pages, 1),
            "free_pages_exact": lambda pages: memory.free_pages_exact(pages, 5000),
            "vfree": memory.vfree,
        }

    def state(self) -> tuple[object, ...]:
        memory = self.memory
        memory.check()
        return (
            memory.buddyinfo(),
            [str(leak) for leak in memory.leaks()],
            [(cache.name, len(cache.slabs)) for cache in memory.caches()],
        )


@pytest.fixture
def machine() -> Machine:
    return Machine()


def assert_refused(machine: Machine, call: Call, *arguments: object) -> None:
    before = machine.state()
    with pytest.raises(FaultInjectError) as caught:
        call(*arguments)
    assert machine.state() == before, arguments
    text = str(caught.value)
    assert text.startswith("faultinject: ")
    assert text.endswith(f"[{caught.value.name}]")


SIZED: dict[str, Callable[[Memory], Call]] = {
    name: lambda memory, name=name: getattr(memory, name)  # type: ignore[misc]
    for name in (
        *("kmalloc", "kzalloc", "kmalloc_size_roundup", "alloc_pages_exact"),
        *("vmalloc", "vzalloc", "kvmalloc", "kvzalloc"),
    )
} | {
    "kcalloc": lambda memory: lambda size: memory.kcalloc(3, size),
    "kmalloc_array": lambda memory: lambda count: memory.kmalloc_array(count, 3),
    "krealloc": lambda memory: lambda size: memory.krealloc(None, size),
    "krealloc_array": lambda memory: lambda size: memory.krealloc_array(None, size, 3),
    "kvcalloc": lambda memory: lambda size: memory.kvcalloc(size, 3),
    "kvmalloc_array": lambda memory: lambda size: memory.kvmalloc_array(3, size),
    "kmemdup": lambda memory: lambda size: memory.kmemdup(b"abc", size),
    "alloc_pages": lambda memory: lambda order: memory.alloc_pages(GFP_KERNEL, order),
    "get_free_pages": lambda memory: lambda order: memory.get_free_pages(GFP_KERNEL, order),
    "kmem_cache_create": lambda memory: lambda size: memory.kmem_cache_create("new", size),
    "alloc_bulk": lambda memory: (
        lambda count: memory.kmem_cache_create("bulk", 8).alloc_bulk(GFP_KERNEL, count)
    ),
    "mempool_create": lambda memory: (
        lambda number: memory.mempool_create(number, lambda *_: 1, lambda *_: 1)
    ),
    "kmalloc pool": lambda memory: lambda size: memory.mempool_create_kmalloc_pool(2, size),
    "page pool": lambda memory: lambda order: memory.mempool_create_page_pool(2, order),
}


@pytest.mark.parametrize("name", [name for name in SIZED if name != "alloc_bulk"])
def test_what_is_no_number_is_refused(machine: Machine, name: str) -> None:
    for number in NUMBERS:
        assert_refused(machine, SIZED[name](machine.memory), number)


def test_what_is_no_number_of_objects_is_refused(machine: Machine) -> None:
    cache = machine.memory.kmem_cache_create("bulk", 8)
    for number in NUMBERS:
        assert_refused(machine, cache.alloc_bulk, GFP_KERNEL, number)


FLAGGED: dict[str, Callable[[Memory], Call]] = {
    "kmalloc": lambda memory: lambda gfp: memory.kmalloc(8, gfp),
    "large kmalloc": lambda memory: lambda gfp: memory.kmalloc(9000, gfp),
    "kcalloc": lambda memory: lambda gfp: memory.kcalloc(8, 8, gfp),
    "krealloc": lambda memory: lambda gfp: memory.krealloc(None, 8, gfp),
    "kstrdup": lambda memory: lambda gfp: memory.kstrdup("x", gfp),
    "kmemdup": lambda memory: lambda gfp: memory.kmemdup(b"x", 1, gfp),
    "kvmalloc": lambda memory: lambda gfp: memory.kvmalloc(8, gfp),
    "kvcalloc": lambda memory: lambda gfp: memory.kvcalloc(8, 8, gfp),
}
STRICTLY_FLAGGED: dict[str, Callable[[Memory], Call]] = {
    "vmalloc": lambda memory: lambda gfp: memory.vmalloc(8, gfp),
    "vzalloc": lambda memory: lambda gfp: memory.vzalloc(8, gfp),
    "alloc_pages": lambda memory: memory.alloc_pages,
    "alloc_page": lambda memory: memory.alloc_page,
    "get_free_pages": lambda memory: memory.get_free_pages,
    "get_zeroed_page": lambda memory: memory.get_zeroed_page,
    "alloc_pages_exact": lambda memory: lambda gfp: memory.alloc_pages_exact(5000, gfp),
}


@pytest.mark.parametrize("name", FLAGGED | STRICTLY_FLAGGED)
def test_what_is_no_set_of_flags_is_refused(machine: Machine, name: str) -> None:
    for gfp in FLAGS:
        assert_refused(machine, (FLAGGED | STRICTLY_FLAGGED)[name](machine.memory), gfp)


@pytest.mark.parametrize("name", STRICTLY_FLAGGED)
def test_unknown_bits_and_contradictions_are_refused(machine: Machine, name: str) -> None:
    for gfp in UNKNOWN_BITS:
        assert_refused(machine, STRICTLY_FLAGGED[name](machine.memory), gfp)
    for gfp in CONTRADICTIONS:
        if name in {"get_free_pages", "get_zeroed_page", "alloc_pages_exact"}:
            gfp &= ~Gfp.HIGHMEM  # these drop it, as in the kernel
        if gfp != Gfp.DMA:
            assert_refused(machine, STRICTLY_FLAGGED[name](machine.memory), gfp)


def test_a_cache_and_a_pool_take_no_impossible_flags(machine: Machine) -> None:
    cache = machine.memory.kmem_cache_create("inode", 64)
    pool = machine.memory.mempool_create_slab_pool(1, cache)
    assert pool is not None

    for gfp in (*FLAGS, *UNKNOWN_BITS):
        for call in (cache.alloc, pool.alloc, lambda flags: cache.alloc_bulk(flags, 2)):
            assert_refused(machine, call, gfp)


@pytest.mark.parametrize("name", Machine().live)
def test_nothing_is_freed_by_a_call_that_is_not_its_own(machine: Machine, name: str) -> None:
    free = machine.free_calls()[name]
    taken = {name}
    if name.startswith("kfree"):
        taken = {"kfree", "kfree, large", "cache.free"}
    elif name.startswith("free_pages") and "exact" not in name:
        taken = {"free_pages", "free_pages, pointer"}

    for kind, thing in machine.live.items():
        if kind not in taken:
            assert_refused(machine, free, thing)
    for thing in (*NOTHING_OF_OURS, *machine.foreign.values()):
        assert_refused(machine, free, thing)


@pytest.mark.parametrize("name", Machine().live)
def test_nothing_is_freed_twice(machine: Machine, name: str) -> None:
    assert_refused(machine, machine.free_calls()[name], machine.dead[name])


@pytest.mark.parametrize("what", ["ksize", "krealloc", "get_page", "page_count", "put_page"])
def test_nothing_else_is_asked_about_or_resized_or_shared(machine: Machine, what: str) -> None:
    memory = machine.memory
    call: Call = getattr(memory, what)
    arguments = (100_000,) if what == "krealloc" else ()
    fitting = {"kfree", "kfree, large", "cache.free"}
    if "page" in what:
        fitting = {"free_pages"}

    for thing in (*NOTHING_OF_OURS, *machine.foreign.values()):
        assert_refused(machine, call, thing, *arguments)
    for kind, thing in machine.live.items():
        if kind not in fitting:
            assert_refused(machine, call, thing, *arguments)
    for kind in fitting:
        if what != "page_count":
            assert_refused(machine, call, machine.dead[kind], *arguments)


def test_a_pool_takes_back_nothing_but_its_elements(machine: Machine) -> None:
    memory = machine.memory
    cache = memory.kmem_cache_create("request", 64)
    pools = [
        memory.mempool_create_slab_pool(1, cache),
        memory.mempool_create_kmalloc_pool(1, 500),
        memory.mempool_create_page_pool(1, 3),
    ]

    for pool in pools:
        assert pool is not None
        strangers = (*NOTHING_OF_OURS, *machine.live.values(), *machine.dead.values())
        for thing in (*strangers, *machine.foreign.values(), ZERO_SIZE_PTR):
            assert_refused(machine, pool.free, thing)
    assert memory.alloc_page(GFP_ATOMIC) is not None
