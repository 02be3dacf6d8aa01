"""kmem_cache and the slabs behind it."""

import pytest

from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.capabilities.failslab import failslab
from faultinject.engine import observe, task
from faultinject.engine.log import violations
from faultinject.errors import DoubleFree, InvalidFree, LeakedObjects, SpecError, UseAfterFree
from faultinject.gfp import GFP_ATOMIC, GFP_KERNEL, Gfp
from faultinject.mm import (
    SLAB_FAILSLAB,
    SLAB_HWCACHE_ALIGN,
    SLAB_RECLAIM_ACCOUNT,
    Memory,
    Pointer,
)
from faultinject.mm.slab_order import min_partial, minimum_order, preferred_order


@pytest.fixture
def memory() -> Memory:
    return Memory("4M")


@pytest.mark.parametrize(
    ("size", "order"),
    [
        (8, 0),
        (96, 0),
        (192, 0),
        (256, 0),
        (344, 1),  # one page would waste 312 bytes, more than a sixteenth
        (512, 0),
        (600, 1),
        (1024, 1),
        (2048, 2),
        (4096, 3),
        (8192, 3),
        (9000, 3),
        (40_000, 4),
        (4 << 20, 10),
    ],
)
def test_a_slab_is_as_large_as_slub_would_make_it(size: int, order: int) -> None:
    assert preferred_order(size) == order


def test_the_smallest_slab_holds_one_object() -> None:
    assert [minimum_order(size) for size in (8, 4096, 4097, 8192, 4 << 20)] == [0, 0, 1, 1, 10]


def test_caches_of_large_objects_keep_more_partial_slabs() -> None:
    assert [min_partial(size) for size in (8, 1024, 4096, 1 << 20, 4 << 20)] == [5, 5, 6, 10, 10]


def test_objects_lie_side_by_side_and_the_last_freed_comes_first(memory: Memory) -> None:
    cache = memory.kmem_cache_create("inode", 600)
    first, second, third = (cache.alloc() for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is not None

    cache.free(first)
    cache.free(third)
    again = [cache.alloc(), cache.alloc()]

    assert second.address - first.address == 600
    assert third.address - second.address == 600
    assert [obj.address for obj in again if obj] == [third.address, first.address]
    memory.check()


def test_alignment_spaces_the_objects(memory: Memory) -> None:
    for align, flags, size, distance in [
        (0, 0, 5, 8),
        (64, 0, 5, 64),
        (0, SLAB_HWCACHE_ALIGN, 65, 128),
        (0, SLAB_HWCACHE_ALIGN, 20, 32),
    ]:
        cache = memory.kmem_cache_create("spaced", size, align, flags)
        one, two = cache.alloc(), cache.alloc()
        assert one is not None
        assert two is not None
        assert two.address - one.address == distance
        assert len(one) == size


def test_failslab_sees_every_object_by_its_size(memory: Memory) -> None:
    cache = memory.kmem_cache_create("inode", 600)
    cache.alloc()

    with failslab(times=-1, verbose=0) as armed:
        assert cache.alloc(GFP_ATOMIC) is None

    assert [injection.size for injection in armed.injections] == [600]


def test_the_cache_filter_picks_marked_caches(memory: Memory) -> None:
    plain = memory.kmem_cache_create("plain", 64)
    marked = memory.kmem_cache_create("marked", 64, 0, SLAB_FAILSLAB)

    with failslab(times=-1, cache_filter=True, verbose=0):
        assert plain.alloc() is not None
        assert marked.alloc() is None
        assert memory.kmalloc(8) is not None


class Tape:
    """Notes what is asked; fails nothing."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, bool]] = []

    def eligible_call(self, capability: str, size: int, frame: object, retry: bool) -> bool:
        self.calls.append((capability, size, retry))
        return False


def test_a_new_slab_is_asked_for_large_then_small(memory: Memory) -> None:
    cache = memory.kmem_cache_create("inode", 600)
    tape = Tape()
    observe.install(tape)
    try:
        assert cache.alloc() is not None
        assert cache.alloc() is not None
        with fail_page_alloc(min_order=1, times=1, verbose=0):
            other = memory.kmem_cache_create("dentry", 600)
            assert other.alloc() is not None
    finally:
        observe.remove()

    assert tape.calls == [
        ("failslab", 600, False),
        ("fail_page_alloc", 2, False),
        ("failslab", 600, False),
        ("failslab", 600, False),
        ("fail_page_alloc", 2, False),
    ]
    assert [slab.order for slab in other.slabs] == [0]


class Flags:
    """Stands for fail_page_alloc, and notes the flags of each request."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int, bool]] = []

    def should_fail(self, order: int, gfp: int, frame: object = None, retry: bool = False) -> bool:
        self.calls.append((order, gfp, retry))
        return True


@pytest.mark.parametrize(
    ("size", "asked", "first", "fallback"),
    [
        # May sleep, large preferred order: the first try must not reclaim.
        (600, GFP_KERNEL, (1, 0xC0 | 0x2000 | 0x10000 | 0x80000 | 0x40000), (0, 0x40CC0)),
        # Atomic: reclaim bits stay.
        (600, GFP_ATOMIC, (1, 0x820 | 0x2000 | 0x10000 | 0x40000), (0, 0x40820)),
        # Preferred is the minimum: reclaim stays, and the same order is tried again.
        (64, GFP_KERNEL, (0, 0xCC0 | 0x2000 | 0x10000), (0, 0xCC0)),
        # NOFAIL and ZERO are for the fallback only, or for nobody.
        (64, GFP_KERNEL | Gfp.NOFAIL | Gfp.ZERO, (0, 0x12CC0), (0, 0x8CC0)),
    ],
)
def test_the_first_try_is_quiet_and_the_fallback_has_the_callers_flags(
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    asked: int,
    first: tuple[int, int],
    fallback: tuple[int, int],
) -> None:
    flags = Flags()
    monkeypatch.setattr(task, "live", 1)
    monkeypatch.setattr("faultinject.mm.page_alloc.fail_page_alloc", flags)
    cache = memory.kmem_cache_create("any", size)

    assert cache.alloc(asked) is None

    assert flags.calls == [(*first, False), (*fallback, True)]


def test_reclaimable_caches_ask_for_reclaimable_pages(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = Flags()
    monkeypatch.setattr(task, "live", 1)
    monkeypatch.setattr("faultinject.mm.page_alloc.fail_page_alloc", flags)

    memory.kmem_cache_create("any", 64, 0, SLAB_RECLAIM_ACCOUNT).alloc()

    assert flags.calls[1] == (0, 0xCD0, True)


def test_a_fragmented_memory_gives_the_smallest_slab_without_a_report(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = Memory("64K")
    pages = [memory.alloc_page() for _ in range(16)]
    memory.free_page(pages[5])
    cache = memory.kmem_cache_create("inode", 600)

    assert cache.alloc() is not None

    assert [slab.order for slab in cache.slabs] == [0]
    assert caplog.messages == []
    memory.check()


def test_empty_slabs_go_back_once_enough_are_kept(memory: Memory) -> None:
    cache = memory.kmem_cache_create("page", 4096)
    objects = [cache.alloc() for _ in range(8 * 12)]
    assert len(cache.slabs) == 12

    for obj in objects:
        cache.free(obj)

    # The active slab and, as SLUB counts the slab that has just become empty, one less.
    assert len(cache.slabs) == 1 + cache.min_partial - 1
    memory.check()
    assert cache.shrink() == cache.min_partial * 8
    assert memory.free_bytes == memory.size
    memory.check()


def test_a_cache_works_again_after_it_was_shrunk(memory: Memory) -> None:
    cache = memory.kmem_cache_create("inode", 600)
    kept = cache.alloc()
    gone = cache.alloc()
    cache.free(gone)

    assert cache.shrink() == 0
    cache.free(kept)
    assert cache.shrink() == 2
    assert cache.alloc() is not None
    memory.check()


def test_a_slab_of_one_object_comes_and_goes(memory: Memory) -> None:
    cache = memory.kmem_cache_create("huge", 40_000)
    objects = [cache.alloc() for _ in range(9)]
    for obj in objects[::2] + objects[1::2]:
        memory.check()
        cache.free(obj)

    memory.check()
    cache.destroy()
    assert memory.free_bytes == memory.size


def test_a_constructor_runs_once_for_each_object_of_a_slab(memory: Memory) -> None:
    made: list[int] = []

    def construct(obj: Pointer) -> None:
        made.append(obj.address)
        obj[0:4] = b"init"

    cache = memory.kmem_cache_create("inode", 1000, ctor=construct)
    obj = cache.alloc()
    assert obj is not None
    number = len(made)

    assert obj[0:4] == b"init"
    obj[4:8] = b"kept"
    cache.free(obj)
    again = cache.alloc()
    assert again is not None
    assert again[0:8] == b"initkept"
    assert len(made) == number == 8
    assert made == sorted(made)


def test_what_a_constructor_was_given_is_not_usable_later(memory: Memory) -> None:
    stash: list[Pointer] = []
    cache = memory.kmem_cache_create("inode", 4096, ctor=stash.append)
    cache.alloc()

    with pytest.raises(UseAfterFree):
        stash[0][0]


def test_a_constructor_cannot_free_its_object_and_its_errors_give_the_slab_back(
    memory: Memory,
) -> None:
    cache = memory.kmem_cache_create("inode", 64, ctor=memory.kfree)

    with pytest.raises(InvalidFree):
        cache.alloc()

    assert memory.free_bytes == memory.size
    memory.check()


def test_an_object_is_freed_to_its_own_cache_only(memory: Memory) -> None:
    inode = memory.kmem_cache_create("inode", 64)
    dentry = memory.kmem_cache_create("dentry", 64)

    for wrong in (dentry.alloc(), memory.kmalloc(64), memory.get_free_pages(), memory.alloc_page()):
        with pytest.raises(InvalidFree, match="'inode'"):
            inode.free(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidFree, match="kmem_cache:dentry"):
        inode.free(dentry.alloc())
    inode.free(None)
    memory.check()


def test_a_second_free_names_both_places(memory: Memory) -> None:
    cache = memory.kmem_cache_create("inode", 64)
    obj = cache.alloc()
    cache.free(obj)

    with pytest.raises(DoubleFree) as caught:
        cache.free(obj)

    assert caught.value.freed_at is not None
    assert caught.value.freed_at.function == "test_a_second_free_names_both_places"
    memory.check()


def test_a_cache_with_objects_left_is_not_destroyed_and_names_them(memory: Memory) -> None:
    cache = memory.kmem_cache_create("inode", 64)
    objects = [cache.alloc() for _ in range(12)]
    mark = violations.mark()

    with pytest.raises(LeakedObjects, match="12 objects") as caught:
        cache.destroy()

    assert violations.since(mark) == [caught.value]
    assert str(caught.value).count("test_kmem_cache.py") == 10
    assert "and 2 more" in str(caught.value)
    assert not cache.destroyed
    for obj in objects:
        cache.free(obj)
    cache.destroy()
    assert memory.free_bytes == memory.size


def test_a_destroyed_cache_cannot_be_used(memory: Memory) -> None:
    cache = memory.kmem_cache_create("inode", 64)
    cache.destroy()

    with pytest.raises(UseAfterFree, match="inode"):
        cache.alloc()
    with pytest.raises(DoubleFree, match="inode"):
        cache.destroy()
    assert cache not in memory.caches()
    assert "destroyed" in repr(cache)


def test_a_bulk_is_all_or_nothing_and_one_eligible_call() -> None:
    memory = Memory("16K")
    cache = memory.kmem_cache_create("page", 4096)

    with failslab(nth=1, verbose=0) as armed:
        assert cache.alloc_bulk(GFP_KERNEL, 3) is None
        objects = cache.alloc_bulk(GFP_KERNEL, 3)
    assert len(armed.injections) == 1
    assert objects is not None
    assert len(objects) == 3
    assert cache.alloc_bulk(GFP_KERNEL | Gfp.NOWARN, 2) is None
    assert len(memory.leaks()) == 3
    assert cache.alloc_bulk(GFP_KERNEL, 0) == []
    cache.free_bulk(objects)
    assert memory.leaks() == []
    memory.check()


def test_a_bulk_with_one_wrong_object_frees_none_of_them(memory: Memory) -> None:
    cache, other = (memory.kmem_cache_create(name, 64) for name in ("one", "other"))
    objects = cache.alloc_bulk(GFP_KERNEL, 3)
    gone, foreign = cache.alloc(), other.alloc()
    assert objects is not None
    assert gone is not None
    assert foreign is not None
    cache.free(gone)

    for wrong, fault in ((gone, DoubleFree), (foreign, InvalidFree), (objects[0], DoubleFree)):
        with pytest.raises(fault):
            cache.free_bulk([*objects, wrong])
        assert [obj[0] for obj in objects] == [0x5A] * 3

    cache.free_bulk(obj for obj in objects)
    cache.destroy()
    memory.check()


@pytest.mark.parametrize(
    "arguments",
    [
        ("", 8),
        ("two words", 8),
        (None, 8),
        ("x", 0),
        ("x", -1),
        ("x", True),
        ("x", (4 << 20) + 1),
        ("x", 8, 3),
        ("x", 8, 8192),
        ("x", 8, -8),
        ("x", 8, 0, 1),
        ("x", 8, 0, "flags"),
        ("x", 8, 0, 0, 5),
    ],
)
def test_an_impossible_cache_is_refused(memory: Memory, arguments: tuple[object, ...]) -> None:
    with pytest.raises(SpecError):
        memory.kmem_cache_create(*arguments)  # type: ignore[arg-type]


def test_large_objects_are_zeroed_to_their_last_byte(memory: Memory) -> None:
    cache = memory.kmem_cache_create("huge", 100_008)
    dirty = [cache.alloc() for _ in range(2)]
    for obj in dirty:
        assert obj is not None
        obj[:] = b"x" * len(obj)
        cache.free(obj)

    for _ in range(2):
        clean = cache.alloc(GFP_KERNEL | Gfp.ZERO)
        assert clean is not None
        assert bytes(clean) == bytes(100_008)
    memory.check()
