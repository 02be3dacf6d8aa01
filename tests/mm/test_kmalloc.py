"""kmalloc and its family."""

import logging
import math

import pytest

from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.capabilities.failslab import failslab
from faultinject.engine.log import injections, violations
from faultinject.engine.scope import fail_nth
from faultinject.errors import (
    DoubleFree,
    InvalidFree,
    OutOfBounds,
    SpecError,
    UsageError,
    UseAfterFree,
)
from faultinject.gfp import GFP_ATOMIC, GFP_DMA, GFP_KERNEL, Gfp
from faultinject.mm import ZERO_SIZE_PTR, Memory, Pointer

USABLE = [
    *((size, 8) for size in (1, 7, 8)),
    *((size, 16) for size in (9, 16)),
    *((size, 32) for size in (17, 24, 32)),
    *((size, 64) for size in (33, 64)),
    *((size, 96) for size in (65, 96)),
    *((size, 128) for size in (100, 128)),
    *((size, 192) for size in (129, 150, 192)),
    *((size, 256) for size in (200, 256)),
    *((size, 512) for size in (257, 512)),
    *((size, 1024) for size in (513, 1000, 1024)),
    *((size, 2048) for size in (1025, 2048)),
    *((size, 4096) for size in (2049, 4096)),
    *((size, 8192) for size in (4097, 8192)),
    *((size, 4096 << 2) for size in (8193, 12288, 16384)),
    (16385, 4096 << 3),
    (65536, 4096 << 4),
    *((size, 4096 << 5) for size in (65537, 131072)),
    (1 << 20, 4096 << 8),
    (4 << 20, 4096 << 10),
]


@pytest.fixture
def memory() -> Memory:
    return Memory("16M")


def made(pointer: Pointer | None) -> Pointer:
    assert pointer is not None
    return pointer


@pytest.mark.parametrize(("size", "usable"), USABLE)
def test_a_size_gets_the_smallest_class_that_holds_it(
    memory: Memory, size: int, usable: int
) -> None:
    pointer = made(memory.kmalloc(size, GFP_KERNEL))

    assert memory.ksize(pointer) == usable
    assert len(pointer) == size
    memory.kfree(pointer)
    memory.shrink()
    assert memory.free_bytes == memory.size


def test_caches_have_the_kernels_names(memory: Memory) -> None:
    for size in (8, 96, 512, 1024, 8192):
        memory.kmalloc(size)
    memory.kmalloc(8, GFP_KERNEL | GFP_DMA)
    memory.kmalloc(8, GFP_KERNEL | Gfp.RECLAIMABLE)
    memory.kmalloc(8, GFP_KERNEL | Gfp.ACCOUNT)

    assert [cache.name for cache in memory.caches()] == [
        "kmalloc-96",
        "kmalloc-8",
        "kmalloc-512",
        "kmalloc-1k",
        "kmalloc-8k",
        "dma-kmalloc-8",
        "kmalloc-rcl-8",
        "kmalloc-cg-8",
    ]
    memory.check()


def test_kmalloc_of_nothing_is_a_pointer_that_holds_nothing(memory: Memory) -> None:
    pointer = made(memory.kmalloc(0, GFP_KERNEL))

    assert pointer is ZERO_SIZE_PTR
    assert pointer
    assert (len(pointer), bytes(pointer), bytes(pointer.data), pointer.address) == (0, b"", b"", 16)
    assert memory.ksize(pointer) == 0
    assert memory.leaks() == []
    for _ in range(2):
        memory.kfree(pointer)
    with pytest.raises(OutOfBounds):
        pointer[0]
    with pytest.raises(OutOfBounds):
        pointer[0:0]
    with pytest.raises(InvalidFree):
        memory.free_page(pointer)


def test_a_size_above_four_megabytes_is_none_with_one_warning(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    with failslab(times=-1), fail_page_alloc(times=-1):
        assert memory.kmalloc((4 << 20) + 1, GFP_KERNEL) is None
    assert memory.kmalloc(1 << 70, GFP_KERNEL | Gfp.NOWARN) is None

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "order:11" in caplog.text


@pytest.mark.parametrize("size", [-1, True, "8", 1.0, None])
def test_an_impossible_size_is_refused(memory: Memory, size: object) -> None:
    for call in (
        memory.kmalloc,
        memory.kzalloc,
        lambda n: memory.kcalloc(n, 8),
        lambda n: memory.kmalloc_array(8, n),
        lambda n: memory.krealloc(None, n),
        lambda n: memory.kmemdup(b"", n),
    ):
        with pytest.raises(SpecError, match="size"):
            call(size)  # type: ignore[operator]


@pytest.mark.parametrize("flags", [True, "GFP_KERNEL", None, -1])
def test_impossible_flags_are_refused(memory: Memory, flags: object) -> None:
    for call in (memory.kmalloc, memory.kzalloc):
        with pytest.raises(SpecError, match="gfp"):
            call(8, flags)  # type: ignore[arg-type]
    assert memory.leaks() == []


def test_flags_that_kmalloc_cannot_honour_are_fixed_aloud(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    pointer = memory.kmalloc(8, GFP_KERNEL | Gfp.HIGHMEM)

    assert pointer is not None
    assert caplog.messages == [
        "Unexpected gfp: 0x2 (__GFP_HIGHMEM). Fixing up to gfp: 0xcc0 (GFP_KERNEL). Fix your code!"
    ]


def test_an_object_does_not_look_zeroed_unless_it_was_asked_to_be(memory: Memory) -> None:
    for size in (8, 100, 8192, 9000):
        fresh = made(memory.kmalloc(size))
        assert fresh[0:8] == b"\x5a" * 8
        fresh[:] = bytes(size)
        memory.kfree(fresh)
        again = made(memory.kmalloc(size))
        assert again.address == fresh.address
        assert again[0:8] == b"\x5a" * 8
        memory.kfree(again)


def test_zeroed_objects_are_zeroed_over_their_whole_slot(memory: Memory) -> None:
    for size in (8, 100, 8192, 9000, 1 << 20):
        dirty = made(memory.kmalloc(size))
        dirty[:] = b"x" * size
        memory.kfree(dirty)
        for call in (
            lambda n: memory.kzalloc(n),
            lambda n: memory.kcalloc(1, n),
            lambda n: memory.kmalloc(n, GFP_KERNEL | Gfp.ZERO),
        ):
            clean = made(call(size))
            usable = memory.ksize(clean)
            assert memory.krealloc(clean, usable) is clean
            assert bytes(clean) == bytes(usable)
            memory.kfree(clean)


def test_an_array_that_overflows_is_none_silently_and_not_counted(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    with fail_nth(1) as countdown:
        assert memory.kcalloc(1 << 40, 1 << 24) is None
        assert memory.kmalloc_array(1 << 63, 2) is None
        assert countdown.remaining == 1

    assert caplog.messages == []
    assert len(made(memory.kcalloc(3, 5))) == 15
    assert memory.kcalloc(0, 5) is ZERO_SIZE_PTR


def test_krealloc_in_place_keeps_the_pointer_and_takes_the_new_size(memory: Memory) -> None:
    pointer = made(memory.kmalloc(100))
    pointer[:] = b"a" * 100

    with failslab(times=-1) as armed:
        assert memory.krealloc(pointer, 128) is pointer
        assert len(pointer) == 128
        assert memory.krealloc(pointer, 3) is pointer

    assert armed.injections == []
    assert bytes(pointer) == b"aaa"
    with pytest.raises(OutOfBounds):
        pointer[3]


def test_krealloc_beyond_the_class_moves_the_contents_and_frees_the_old(memory: Memory) -> None:
    pointer = made(memory.kmalloc(8))
    pointer[:] = b"contents"

    for size in (9, 300, 10_000, 50_000):
        old, pointer = pointer, made(memory.krealloc(pointer, size))
        assert pointer is not old
        assert len(pointer) == size
        assert pointer[0:8] == b"contents"
        with pytest.raises(UseAfterFree):
            old[0]

    assert len(memory.leaks()) == 1


def test_a_krealloc_that_fails_leaves_the_object_as_it_was(memory: Memory) -> None:
    pointer = made(memory.kmalloc(8))
    pointer[:] = b"contents"

    with failslab:
        assert memory.krealloc(pointer, 64) is None

    assert bytes(pointer) == b"contents"
    memory.kfree(pointer)


def test_krealloc_to_nothing_frees_and_of_nothing_allocates(memory: Memory) -> None:
    pointer = made(memory.krealloc(None, 10))
    other = made(memory.krealloc(ZERO_SIZE_PTR, 10))

    assert memory.krealloc(pointer, 0) is ZERO_SIZE_PTR
    assert [item.address for item in memory.leaks()] == [other.address]


def test_krealloc_and_ksize_refuse_what_kmalloc_did_not_give(memory: Memory) -> None:
    freed = made(memory.kmalloc(8))
    memory.kfree(freed)
    foreign = Memory("1M").kmalloc(8)

    for call in (memory.ksize, lambda p: memory.krealloc(p, 4)):
        with pytest.raises(UseAfterFree):
            call(freed)
        with pytest.raises(InvalidFree, match="another Memory"):
            call(foreign)
        with pytest.raises(InvalidFree):
            call(memory.get_free_pages())
        with pytest.raises(InvalidFree):
            call(16)
    assert memory.ksize(None) == 0


def test_strings_and_buffers_are_duplicated(memory: Memory) -> None:
    string = made(memory.kstrdup("grüße"))

    assert bytes(string) == "grüße".encode() + b"\0"
    assert bytes(made(memory.kstrdup(string))) == bytes(string)
    assert bytes(made(memory.kstrdup(b"a\0b"))) == b"a\0"
    assert memory.kstrdup(None) is None
    assert bytes(made(memory.kmemdup(b"abcdef", 4))) == b"abcd"
    assert bytes(made(memory.kmemdup(string, 3))) == "grü".encode()[:3]
    assert memory.kmemdup(b"", 0) is ZERO_SIZE_PTR
    with pytest.raises(UsageError, match="fewer"):
        memory.kmemdup(b"abc", 4)
    with pytest.raises(OutOfBounds):
        memory.kmemdup(string, 100)
    with pytest.raises(OutOfBounds, match="zero byte"):
        memory.kstrdup(memory.kmemdup(b"abc", 3))
    for call in (memory.kstrdup, lambda x: memory.kmemdup(x, 1)):
        with pytest.raises(UsageError):
            call(5)


def test_every_call_of_the_family_can_be_made_to_fail_once_each(memory: Memory) -> None:
    small = memory.kmalloc(8)

    with failslab(times=-1, verbose=0) as armed:
        results = [
            memory.kmalloc(100),
            memory.kzalloc(100),
            memory.kcalloc(10, 10),
            memory.kmalloc_array(10, 10),
            memory.krealloc(small, 100),
            memory.kstrdup("x" * 99),
            memory.kmemdup(bytes(100), 100),
        ]

    assert results == [None] * 7
    assert [injection.size for injection in armed.injections] == [128] * 7


def test_a_large_kmalloc_asks_for_pages_and_not_for_a_slab(memory: Memory) -> None:
    with failslab(times=-1, verbose=0):
        pointer = memory.kmalloc(16384, GFP_ATOMIC)
    assert pointer is not None

    with fail_page_alloc(times=-1, verbose=0) as armed:
        assert memory.kmalloc(16384, GFP_ATOMIC) is None

    assert [injection.size for injection in armed.injections] == [4]


def test_nothing_asks_for_a_fault_that_cannot_fail(memory: Memory) -> None:
    pointer = memory.kmalloc(64)
    memory.kmalloc(8)  # else the slab's first try, which drops NOFAIL, would be counted

    with fail_nth(1) as countdown:
        memory.kmalloc(0)
        memory.krealloc(pointer, 60)
        memory.kfree(pointer)
        memory.kmalloc(8, GFP_KERNEL | Gfp.NOFAIL)

        assert countdown.remaining == 1


def test_a_fault_and_an_exhausted_memory_are_told_apart_by_the_logs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = Memory("16K")
    mark = injections.mark()

    with failslab(verbose=0):
        assert memory.kmalloc(4096, GFP_KERNEL) is None
    assert caplog.messages == []
    assert len(injections.since(mark)) == 1

    held = [memory.kmalloc(4096, GFP_KERNEL) for _ in range(4)]
    assert None not in held
    assert memory.kmalloc(4096, GFP_KERNEL) is None
    assert len(injections.since(mark)) == 1
    assert "page allocation failure: order:0, mode:0x40cc0(GFP_KERNEL|__GFP_COMP)" in caplog.text


def test_a_double_free_names_both_places_and_is_recorded(memory: Memory) -> None:
    for size in (8, 10_000):
        pointer = memory.kmalloc(size)
        memory.kfree(pointer)
        mark = violations.mark()
        with pytest.raises(DoubleFree) as caught:
            memory.kfree(pointer)
        fault = caught.value
        assert fault.allocated_at is not None
        assert fault.freed_at is not None
        assert fault.freed_at.line == fault.allocated_at.line + 1
        assert "freed at" in str(fault)
        assert violations.since(mark) == [fault]
    memory.check()


@pytest.mark.parametrize("thing", [7, "pointer", b"", object()])
def test_what_is_no_pointer_cannot_be_freed(memory: Memory, thing: object) -> None:
    with pytest.raises(InvalidFree):
        memory.kfree(thing)  # type: ignore[arg-type]


def test_an_object_goes_back_to_its_own_memory_only(memory: Memory) -> None:
    foreign = Memory("1M").kmalloc(8)

    with pytest.raises(InvalidFree, match="another Memory"):
        memory.kfree(foreign)


def test_kfree_takes_objects_of_a_kmem_cache(memory: Memory) -> None:
    cache = memory.kmem_cache_create("inode", 600)
    obj = cache.alloc(GFP_KERNEL)

    memory.kfree(obj)

    cache.destroy()


def test_leaks_name_what_is_live_and_where_it_came_from(memory: Memory) -> None:
    cache = memory.kmem_cache_create("inode", 600)
    kept = [memory.kmalloc(100), memory.alloc_page(), cache.alloc(), memory.kmalloc(9000)]
    memory.kfree(memory.kmalloc(100))

    leaks = memory.leaks()

    assert [(item.kind, item.size) for item in leaks] == [
        ("kmalloc", 100),
        ("pages", 4096),
        ("kmem_cache:inode", 600),
        ("kmalloc", 9000),
    ]
    assert [item.address for item in leaks] == [thing.address for thing in kept if thing]
    assert {item.site.function for item in leaks} == {
        "test_leaks_name_what_is_live_and_where_it_came_from"
    }
    assert leaks[0].site.module == __name__
    assert "100 bytes (kmalloc) at 0xffff" in str(leaks[0])


def test_a_dropped_pointer_stays_live(memory: Memory) -> None:
    memory.kmalloc(8)

    assert len(memory.leaks()) == 1
    memory.check()


def test_sizes_round_up_by_less_than_twice(memory: Memory) -> None:
    for size in range(1, 3000, 7):
        usable = memory.ksize(memory.kmalloc(size))
        assert size <= usable <= max(8, 2 ** math.ceil(math.log2(size)))
