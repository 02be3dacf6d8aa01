"""vmalloc and kvmalloc."""

import gc

import pytest

from faultinject.capabilities.capability import Capability
from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.capabilities.failslab import failslab
from faultinject.errors import (
    DoubleFree,
    InvalidFree,
    OutOfBounds,
    SpecError,
    UnavailableError,
    UseAfterFree,
)
from faultinject.gfp import GFP_ATOMIC, GFP_DMA32, GFP_KERNEL, Gfp
from faultinject.mm import PAGE_SIZE, ZERO_SIZE_PTR, Memory, Pointer, use_memory
from faultinject.mm import functions as calls
from faultinject.mm.vmalloc import BULK, VMALLOC_START


@pytest.fixture
def memory() -> Memory:
    return Memory("4M")


def made(pointer: Pointer | None) -> Pointer:
    assert pointer is not None
    return pointer


def test_an_area_is_bytes_side_by_side_with_an_address_of_its_own(memory: Memory) -> None:
    first = made(memory.vmalloc(2 * PAGE_SIZE + 5))
    second = made(memory.vmalloc(1))

    first[:] = bytes(range(256)) * 32 + b"12345"
    first.data[0] = 77

    assert first[PAGE_SIZE - 1 : PAGE_SIZE + 1] == b"\xff\x00"
    assert bytes(first)[-5:] == b"12345"
    assert first[0] == 77
    assert second[0] == 0x5A
    # Behind the three pages lies one that nobody has.
    assert (first.address, second.address) == (VMALLOC_START, VMALLOC_START + 4 * PAGE_SIZE)
    assert first.memory is memory
    memory.check()
    with pytest.raises(OutOfBounds):
        first[2 * PAGE_SIZE + 5]


def test_a_fragmented_memory_has_areas_where_it_has_no_blocks(memory: Memory) -> None:
    memory.fragment(1)
    assert memory.kmalloc(16 * PAGE_SIZE, GFP_KERNEL | Gfp.NOWARN) is None

    area = memory.vmalloc(16 * PAGE_SIZE)

    assert area is not None
    memory.check()


def test_one_leak_is_one_leak_and_nothing_is_lost(memory: Memory) -> None:
    sizes = [1, PAGE_SIZE, 300 * PAGE_SIZE, 600 * PAGE_SIZE]  # the last has an area as its array
    areas = [made(memory.vmalloc(size)) for size in sizes]
    memory.check()

    assert [(leak.kind, leak.size) for leak in memory.leaks()] == [("vmalloc", s) for s in sizes]
    assert [leak.address for leak in memory.leaks()] == [area.address for area in areas]
    assert str(memory.leaks()[0].site.file) == __file__
    for area in areas:
        memory.vfree(area)
    memory.check()
    memory.shrink()
    assert memory.leaks() == []
    assert memory.free_bytes == memory.size


def test_a_freed_place_is_used_again_for_an_area_of_its_size(memory: Memory) -> None:
    places = [made(memory.vmalloc(PAGE_SIZE)) for _ in range(3)]
    memory.vfree(places[1])

    again = [made(memory.vmalloc(size)).address for size in (2 * PAGE_SIZE, 100)]

    assert again[1] == places[1].address
    assert again[0] > places[2].address


def test_vzalloc_is_zeroed_and_vmalloc_does_not_look_so(memory: Memory) -> None:
    assert bytes(made(memory.vzalloc(10_000))) == bytes(10_000)
    assert bytes(made(memory.vmalloc(10_000)))[:8192] == b"\x5a" * 8192


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "vmalloc of 0 bytes"), ((4 << 20) + 1, "size 4194305, exceeds total pages")],
)
def test_a_size_that_cannot_be_is_none_with_a_warning(
    memory: Memory, caplog: pytest.LogCaptureFixture, size: int, text: str
) -> None:
    with failslab(times=-1, verbose=0) as armed:
        assert memory.vmalloc(size) is None
        assert memory.vmalloc(size, GFP_KERNEL | Gfp.NOWARN) is None

    assert armed.injections == []
    assert len(caplog.messages) == 1
    assert text in caplog.messages[0]
    assert "mode:0xcc0(GFP_KERNEL)" in caplog.messages[0]


def test_an_exhausted_memory_says_how_far_it_came_and_keeps_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = Memory("256K")
    memory.shrink()
    held = memory.consume(leave=8 * PAGE_SIZE)

    assert memory.vmalloc(20 * PAGE_SIZE) is None

    (message,) = caplog.messages  # the pages themselves are asked for silently
    assert "vmalloc error: size 24576, failed to allocate pages" in message
    assert memory.leaks() == []
    memory.shrink()
    assert memory.free_bytes == 8 * PAGE_SIZE
    held.release()
    memory.check()


@pytest.mark.parametrize(
    ("capability", "knobs", "said"),
    [
        (failslab, {}, "size 1228800, vm_struct allocation failed"),
        (failslab, {"interval": 2}, "failed to allocated page array size 2400"),
        (fail_page_alloc, {"times": -1}, "size 0, failed to allocate pages"),
    ],
    ids=["descriptor", "array", "pages"],
)
def test_each_part_of_an_area_can_fail_and_nothing_stays_behind(
    memory: Memory,
    caplog: pytest.LogCaptureFixture,
    capability: Capability,
    knobs: dict[str, int],
    said: str,
) -> None:
    memory.vfree(memory.vmalloc(300 * PAGE_SIZE))
    free = memory.free_bytes

    with capability(verbose=0, **knobs) as armed:
        assert memory.vmalloc(300 * PAGE_SIZE) is None

    assert armed.injections
    assert [said in text for text in caplog.messages] == [True]
    assert memory.leaks() == []
    assert memory._ram.own == {}
    assert memory.free_bytes == free
    memory.check()


def test_what_an_area_needs_besides_is_ordinary_memory(memory: Memory) -> None:
    area = memory.vmalloc(PAGE_SIZE, GFP_KERNEL | GFP_DMA32 | Gfp.ACCOUNT | Gfp.MOVABLE)

    assert area is not None
    assert [cache.name for cache in memory.caches()] == ["kmalloc-8", "kmalloc-64"]
    memory.vfree(area)
    assert memory._ram.own == {}


def test_a_refused_bulk_is_made_up_page_by_page(memory: Memory) -> None:
    with fail_page_alloc(verbose=0) as armed:
        area = memory.vmalloc((BULK + 5) * PAGE_SIZE)

    assert area is not None
    assert [injection.size for injection in armed.injections] == [1]


def test_wrong_frees_of_areas_are_told(memory: Memory) -> None:
    area = made(memory.vmalloc(100))
    small = made(memory.kmalloc(100))
    page = memory.alloc_page()

    for call in (memory.kfree, memory.free_page, memory.kfree_sensitive):
        with pytest.raises(InvalidFree, match="Free it with vfree"):
            call(area)
    with pytest.raises(InvalidFree, match="Free it with kfree"):
        memory.vfree(small)
    with pytest.raises(InvalidFree, match="Free it with free_pages"):
        memory.vfree(page)  # type: ignore[arg-type]
    for wrong in (7, "x", ZERO_SIZE_PTR):
        with pytest.raises(InvalidFree):
            memory.vfree(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidFree, match="another Memory"):
        Memory("64K").vfree(area)
    for call in (memory.ksize, lambda p: memory.krealloc(p, 5)):
        with pytest.raises(InvalidFree):
            call(area)
    assert len(memory.leaks()) == 3
    memory.check()


def test_a_second_vfree_and_a_use_after_it_name_both_places(memory: Memory) -> None:
    area = made(memory.vmalloc(100))
    view = area.data
    part = view[10:20]
    memory.vfree(area)
    memory.vfree(None)

    with pytest.raises(DoubleFree) as caught:
        memory.vfree(area)
    with pytest.raises(UseAfterFree):
        area[0]
    with pytest.raises(ValueError, match="released"):
        view[0]
    assert bytes(part) == b"\x6b" * 10
    assert caught.value.freed_at is not None
    assert caught.value.freed_at.file == __file__
    memory.check()


@pytest.mark.parametrize("size", [-1, True, "8", 1.0, None])
def test_impossible_sizes_and_flags_are_refused(memory: Memory, size: object) -> None:
    for call in (memory.vmalloc, memory.vzalloc, memory.kvmalloc, memory.kvzalloc):
        with pytest.raises(SpecError, match="size"):
            call(size)  # type: ignore[arg-type]
    for array in (memory.kvcalloc, memory.kvmalloc_array):
        with pytest.raises(SpecError, match="size"):
            array(2, size)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="size"):
        memory.krealloc_array(None, 2, size)  # type: ignore[arg-type]
    for flags in (-1, "x", 0x200, Gfp.DMA | Gfp.DMA32):
        with pytest.raises(SpecError, match="gfp"):
            memory.vmalloc(10, flags)  # type: ignore[arg-type]
    assert memory.free_bytes == memory.size


def test_kvmalloc_prefers_kmalloc_and_falls_back_silently(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    contiguous = made(memory.kvmalloc(5 * PAGE_SIZE))
    memory.fragment(1)
    scattered = made(memory.kvmalloc(5 * PAGE_SIZE))
    small = made(memory.kvmalloc(64))

    assert contiguous.address < VMALLOC_START <= scattered.address
    assert small.address < VMALLOC_START
    assert caplog.messages == []
    for pointer in (contiguous, scattered, small, None, ZERO_SIZE_PTR):
        memory.kvfree(pointer)
    assert memory.leaks() == []
    memory.check()


@pytest.mark.parametrize(
    ("size", "gfp", "seen"),
    [
        (PAGE_SIZE, GFP_KERNEL, 0xCC0),
        (PAGE_SIZE + 1, GFP_KERNEL, 0x12CC0),
        (PAGE_SIZE + 1, GFP_KERNEL | Gfp.RETRY_MAYFAIL, 0x6CC0),
        (PAGE_SIZE + 1, GFP_KERNEL | Gfp.NOFAIL, 0x12CC0),
        (PAGE_SIZE, GFP_KERNEL | Gfp.NOFAIL, 0x8CC0),
        (5 * PAGE_SIZE, GFP_ATOMIC, 0x12820),
    ],
)
def test_kvmalloc_asks_kmalloc_lightly_for_more_than_a_page(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, size: int, gfp: int, seen: int
) -> None:
    asked: list[int] = []

    def alloc(size: int, gfp: int, frame: object) -> None:
        asked.append(gfp)

    monkeypatch.setattr(type(memory._heap), "alloc", lambda self, *rest: alloc(*rest))

    memory.kvmalloc(size, gfp)

    assert asked[0] == seen


def test_kvmalloc_has_no_second_try_for_a_page_or_without_sleep(memory: Memory) -> None:
    with failslab(verbose=0):
        assert memory.kvmalloc(PAGE_SIZE) is None
    with fail_page_alloc(verbose=0):
        assert memory.kvmalloc(5 * PAGE_SIZE, GFP_ATOMIC) is None

    assert memory.leaks() == []


def test_kvmalloc_of_more_than_two_gigabytes_is_none_with_a_warning(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    assert memory.kvmalloc(1 << 31, GFP_KERNEL) is None
    assert memory.kvmalloc(1 << 31, GFP_KERNEL | Gfp.NOWARN) is None

    assert sum("kvmalloc of 2147483648 bytes" in text for text in caplog.messages) == 1


def test_arrays_that_overflow_are_none_silently(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    kept = made(memory.kmalloc(8))

    assert memory.kvcalloc(1 << 40, 1 << 24) is None
    assert memory.kvmalloc_array(1 << 40, 1 << 24) is None
    assert memory.krealloc_array(kept, 1 << 40, 1 << 24) is None

    assert caplog.messages == []
    assert kept[0] == 0x5A
    assert bytes(made(memory.kvcalloc(3, 5))) == bytes(15)
    assert len(made(memory.krealloc_array(kept, 3, 5))) == 15


def test_the_functions_act_on_the_current_memory_and_free_into_the_owner() -> None:
    memory = Memory("1M")
    with use_memory(memory):
        areas = [
            calls.vmalloc(10),
            calls.vzalloc(10),
            *(call(20 * PAGE_SIZE) for call in (calls.kvmalloc, calls.kvzalloc)),
            *(call(2, 8) for call in (calls.kvmalloc_array, calls.kvcalloc)),
        ]
        grown = calls.krealloc_array(calls.kmalloc(8), 10, 10)
        assert calls.kmalloc_size_roundup(100) == 128
    assert len(memory.leaks()) == 7
    calls.vfree(areas[0])
    for area in areas[1:]:
        calls.kvfree(area)
    calls.kfree_sensitive(grown)
    assert memory.leaks() == []


def test_the_bytes_of_an_area_go_with_its_pointer(memory: Memory) -> None:
    area = made(memory.vmalloc(100))
    assert len(memory._ram._beside) == 1
    memory.vfree(area)
    del area
    gc.collect()

    assert len(memory._ram._beside) == 0


def test_an_area_is_usable_in_a_child_whose_parent_held_the_lock(memory: Memory) -> None:
    area = made(memory.vmalloc(100))

    memory._ram.renew_lock()  # as a fork does

    assert area._ram.lock is memory._ram.lock
    assert len(area.data) == 100


def test_an_area_that_the_system_cannot_map_takes_nothing(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(size: int) -> None:
        raise UnavailableError("the system cannot map", value=size)

    monkeypatch.setattr("faultinject.mm.ram._map", refuse)

    with pytest.raises(UnavailableError):
        memory.vmalloc(100)

    assert memory.free_bytes == memory.size
    assert memory._ram.own == {}


def test_sensitive_contents_are_zeroed_over_all_usable_bytes(memory: Memory) -> None:
    secret = made(memory.kmalloc(100))
    memory.krealloc(secret, 128)
    secret[:] = b"k" * 128
    memory.kfree_sensitive(secret)

    assert memory._ram.bytes[secret._offset : secret._offset + 128] == bytes(128)
    with pytest.raises(DoubleFree):
        memory.kfree_sensitive(secret)
    memory.kfree_sensitive(None)
    memory.kfree_sensitive(ZERO_SIZE_PTR)


@pytest.mark.parametrize(
    ("size", "usable"),
    [(0, 0), (1, 8), (100, 128), (8193, 16384), (4 << 20, 4 << 20), ((4 << 20) + 1, (4 << 20) + 1)],
)
def test_the_roundup_of_a_size_is_what_ksize_would_say(
    memory: Memory, size: int, usable: int
) -> None:
    assert memory.kmalloc_size_roundup(size) == usable
