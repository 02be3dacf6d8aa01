"""kmalloc as older kernels had it."""

import pytest

from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.capabilities.failslab import failslab
from faultinject.errors import DoubleFree, SpecError
from faultinject.gfp import GFP_ATOMIC, GFP_DMA, GFP_KERNEL, Gfp
from faultinject.mm import Memory, Pointer
from faultinject.mm.kmalloc_buckets import BLOCKS, USABLE


@pytest.fixture
def memory() -> Memory:
    return Memory("16M", kernel="2.0")


def made(pointer: Pointer | None) -> Pointer:
    assert pointer is not None
    return pointer


# Blocks of a page or of an area, by linux-2.0 mm/kmalloc.c.
PER_AREA = [127, 63, 31, 16, 8, 4, 2, 1, 1, 1, 1, 1, 1]
ORDERS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5]


def test_the_buckets_are_those_of_the_1990s() -> None:
    assert USABLE == (24, 56, 120, 244, 500, 1012, 2032, 4072, 8168, 16360, 32744, 65512, 131048)


@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_a_size_gets_the_smallest_block_that_holds_it_and_its_header(
    memory: Memory, index: int
) -> None:
    least = USABLE[index - 1] + 1 if index else 0

    for size in (least, USABLE[index]):
        pointer = made(memory.kmalloc(size, GFP_KERNEL))
        assert len(pointer) == size
        assert memory.ksize(pointer) == memory.kmalloc_size_roundup(size) == USABLE[index]
        memory.check()
        memory.kfree(pointer)
    (cache,) = memory.caches()
    assert cache.name == f"kmalloc-{BLOCKS[index]}"
    assert (cache.order, cache.layout.objects(cache.order)) == (ORDERS[index], PER_AREA[index])


def test_a_power_of_two_wastes_half_of_its_block(memory: Memory) -> None:
    assert memory.ksize(memory.kmalloc(4096)) == 8168


def test_more_than_128_kilobytes_less_a_header_is_none_with_the_words_of_then(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    assert memory.kmalloc(131_048) is not None
    assert memory.kmalloc(131_049) is None
    assert memory.kmalloc(131_072, GFP_KERNEL | Gfp.NOWARN) is None

    assert caplog.messages == ["kmalloc of too large a block (131049 bytes)."]
    assert memory.kmalloc_size_roundup(131_049) == 131_049


def test_kmalloc_of_nothing_is_a_block_like_any_other(memory: Memory) -> None:
    pointer = made(memory.kmalloc(0))

    assert memory.ksize(pointer) == 24
    memory.kfree(pointer)
    with pytest.raises(DoubleFree):
        memory.kfree(pointer)


def test_every_block_of_an_area_can_be_written_whole(memory: Memory) -> None:
    blocks = [made(memory.kzalloc(size)) for size in (120, 244) for _ in range(40)]
    blocks = [made(memory.krealloc(block, memory.ksize(block))) for block in blocks]

    for number, block in enumerate(blocks):
        block[:] = bytes([number]) * len(block)

    assert all(set(block) == {number} for number, block in enumerate(blocks))
    memory.check()
    for block in blocks:
        memory.kfree(block)
    memory.shrink()
    assert memory.free_bytes == memory.size


def test_headers_lie_before_the_blocks_and_a_descriptor_before_the_first(memory: Memory) -> None:
    first, second = (made(memory.kmalloc(100)) for _ in range(2))

    assert first.address % 4096 == 16 + 8
    assert second.address - first.address == 128


def test_an_empty_area_goes_back_at_once(memory: Memory) -> None:
    blocks = [memory.kmalloc(4072) for _ in range(4)]
    free = memory.free_bytes

    for block in blocks:
        memory.kfree(block)

    # All but the one from which the next block will come.
    assert memory.free_bytes == free + 3 * 4096


def test_only_memory_for_cards_is_told_apart(memory: Memory) -> None:
    for kind in (GFP_DMA, Gfp.RECLAIMABLE, Gfp.ACCOUNT, 0):
        memory.kmalloc(8, GFP_KERNEL | kind)

    assert [cache.name for cache in memory.caches()] == ["kmalloc-32", "dma-kmalloc-32"]


def test_a_block_can_be_made_to_fail_at_each_priority(memory: Memory) -> None:
    with failslab(times=-1, verbose=0) as armed:
        assert [memory.kmalloc(100, gfp) for gfp in (GFP_KERNEL, GFP_ATOMIC)] == [None, None]
    with fail_page_alloc(times=-1, verbose=0):
        assert memory.kmalloc(100_000, GFP_ATOMIC) is None

    assert [injection.size for injection in armed.injections] == [120, 120]


@pytest.mark.parametrize("size", [-1, True, "8", None])
def test_an_impossible_size_is_refused(memory: Memory, size: object) -> None:
    for call in (memory.kmalloc, memory.kmalloc_size_roundup):
        with pytest.raises(SpecError, match="size"):
            call(size)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("kernel", "cached", "name"),
    [
        ("2.6.24", 2048, "kmalloc-2048"),
        ("2.6.32", 8192, "kmalloc-8192"),
        ("4.19", 8192, "kmalloc-8192"),
        ("6.6", 8192, "kmalloc-8k"),
    ],
)
def test_versions_differ_in_what_is_whole_pages_and_in_the_names_of_caches(
    kernel: str, cached: int, name: str
) -> None:
    memory = Memory("16M", kernel=kernel)

    with failslab(times=-1, verbose=0):
        assert memory.kmalloc(cached) is None
        pages = memory.kmalloc(cached + 1)
    memory.kmalloc(cached)

    assert memory.ksize(pages) == 2 * cached if cached > 2048 else 4096
    assert name in [cache.name for cache in memory.caches()]
    assert memory.kmalloc_size_roundup(cached + 1) == memory.ksize(pages)
    memory.check()
