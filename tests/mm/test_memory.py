"""Memory as a whole: its size, its texts, which one is current, threads and forks."""

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading

import pytest

from faultinject.errors import InvalidFree, SpecError, UnavailableError, UsageError
from faultinject.gfp import GFP_KERNEL
from faultinject.mm import (
    BrokenInvariant,
    Memory,
    alloc_pages,
    alloc_pages_exact,
    current_memory,
    free_page,
    free_pages,
    free_pages_exact,
    fresh_default,
    get_free_pages,
    get_zeroed_page,
    kcalloc,
    kfree,
    kmalloc,
    kmalloc_array,
    kmem_cache_create,
    kmemdup,
    krealloc,
    ksize,
    kstrdup,
    kzalloc,
    use_memory,
)
from faultinject.mm import memory as memory_module


@pytest.mark.parametrize(
    ("size", "number"),
    [
        ("64K", 65536),
        ("64M", 64 << 20),
        ("1G", 1 << 30),
        ("2m", 2 << 20),
        (" 8K ", 8192),
        ("4096", 4096),
        (4096, 4096),
        (1539 * 4096, 1539 * 4096),
    ],
)
def test_a_size_is_bytes_or_a_text(size: str | int, number: int) -> None:
    memory = Memory(size)

    assert memory.size == memory.free_bytes == number


@pytest.mark.parametrize(
    "size",
    ["", "64 M", "64MB", "-64M", "1.5G", "M", "0x1000", "٣M", "9" * 30, True, None, 1.5, b"64M"],
)
def test_what_is_no_size_is_refused(size: object) -> None:
    with pytest.raises(SpecError, match="size of a Memory"):
        Memory(size)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, -4096, "0", "4095", "65T", 1 << 80])
def test_an_impossible_size_is_refused_with_the_limits(size: object) -> None:
    with pytest.raises(SpecError, match="at least 4096 and at most"):
        Memory(size)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [4097, "4097", "9001"])
def test_a_size_that_cuts_a_page_is_refused(size: object) -> None:
    with pytest.raises(SpecError, match="multiple of 4096"):
        Memory(size)  # type: ignore[arg-type]


def test_a_size_that_the_system_refuses_leaves_no_memory_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("faultinject.mm.ram.mmap.mmap", refuse)
    before = memory_module.all_memories()

    with pytest.raises(UnavailableError, match="65536"):
        Memory("64K")

    assert memory_module.all_memories() == before


def test_a_gigabyte_costs_nothing_until_it_is_used() -> None:
    program = """
def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096
from faultinject.mm import Memory
before = resident()
memory = Memory("1G")
blocks = [memory.alloc_pages(order=10) for _ in range(200)]
print(resident() - before)
blocks[0][:] = bytes([1]) * len(blocks[0])
print(resident() - before)
"""
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("needs /proc")

    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    idle, used = map(int, shown.stdout.split())
    assert idle < 20 << 20
    assert used - idle >= 3 << 20


def test_buddyinfo_is_the_kernels_line() -> None:
    memory = Memory(1539 * 4096)

    assert memory.buddyinfo() == (
        "Node 0, zone   Normal      1      1      0      0      0      0"
        "      0      0      0      1      1 \n"
    )


def test_show_mem_tells_free_pages_slabs_and_live_objects() -> None:
    memory = Memory("64K")
    memory.kmalloc(100)

    lines = memory.show_mem().splitlines()

    assert lines[0] == "Mem-Info:"
    assert " free:15 free_pcp:0 free_cma:0" in lines
    assert " slab_reclaimable:0 slab_unreclaimable:1" in lines
    assert (
        "Node 0 Normal: 1*4kB 1*8kB 1*16kB 1*32kB 0*64kB 0*128kB 0*256kB 0*512kB 0*1024kB "
        "0*2048kB 0*4096kB = 60kB"
    ) in lines
    assert lines[-2:] == [
        "1 live objects",
        "slab kmalloc-128: object size: 128, objects: 1/32, pages: 1",
    ]


def test_the_check_finds_a_lost_page_and_a_page_with_two_owners() -> None:
    lost = Memory("64K")
    lost.zones["Normal"].buddy.alloc(0)
    with pytest.raises(BrokenInvariant, match="1 pages are lost"):
        lost.check()

    twice = Memory("64K")
    page = twice.alloc_page()
    assert page is not None
    twice.alloc_page()  # else the page would be found as a free buddy that is not merged
    twice.zones["Normal"].buddy.lists[0].areas[0][page.pfn] = None
    with pytest.raises(AssertionError, match="two owners"):
        twice.check()


def test_the_check_finds_a_lost_and_a_doubled_object() -> None:
    lost = Memory("64K")
    lost.kmalloc(8)
    (cache,) = lost.caches()
    (slab,) = cache.slabs
    top = slab.free.pop()
    with pytest.raises(BrokenInvariant, match="nobody owns"):
        lost.check()
    slab.free += [top, top]
    with pytest.raises(BrokenInvariant, match="free list"):
        lost.check()


def test_functions_use_the_current_memory_and_free_into_the_owner() -> None:
    memory, other = Memory("1M"), Memory("1M")
    with use_memory(memory):
        things = [
            kmalloc(8, GFP_KERNEL),
            kzalloc(8),
            kcalloc(1, 8),
            kmalloc_array(1, 8),
            kstrdup("x"),
            kmemdup(b"x", 1),
            krealloc(None, 8),
        ]
        pages = [alloc_pages(GFP_KERNEL, order=1), get_free_pages(GFP_KERNEL, 1)]
        single = get_zeroed_page()
        exact = alloc_pages_exact(5000)
        cache = kmem_cache_create("inode", 64)
        things.append(cache.alloc())
    assert len(memory.leaks()) == 12

    with use_memory(other):
        for thing in things:
            assert ksize(thing) in {8, 64}
        things[0] = krealloc(things[0], 100)
        assert things[0] is not None
        assert things[0].memory is memory
        for thing in things:
            kfree(thing)
        for block in pages:
            free_pages(block, 1)
        free_page(single)
        free_pages_exact(exact, 5000)
        kfree(None)

    assert memory.leaks() == other.leaks() == []
    memory.check()


def test_use_memory_nests_and_restores_also_after_an_exception() -> None:
    outer, inner = Memory("64K"), Memory("64K")
    default = current_memory()

    with use_memory(outer) as bound:
        assert bound is current_memory() is outer
        with pytest.raises(MemoryError), use_memory(inner) as bound:
            raise MemoryError(bound is current_memory() is inner)
        assert current_memory() is outer
    assert current_memory() is default


def test_use_memory_may_be_used_again_and_in_itself() -> None:
    memory = Memory("64K")
    default = current_memory()
    use = use_memory(memory)

    with use, use:
        assert current_memory() is memory
    assert current_memory() is default
    with use:
        assert current_memory() is memory
    with pytest.raises(UsageError, match="left"):
        use.__exit__(None, None, None)


def test_use_memory_ends_everywhere_even_if_left_out_of_order_or_in_another_context() -> None:
    first, second = Memory("64K"), Memory("64K")
    default = current_memory()
    one, two = use_memory(first), use_memory(second)
    one.__enter__()
    two.__enter__()

    one.__exit__(None, None, None)
    assert current_memory() is second
    contextvars.copy_context().run(two.__exit__, None, None, None)
    assert current_memory() is default


def test_a_task_inherits_the_memory_until_it_ends() -> None:
    memory = Memory("64K")
    default = current_memory()
    seen: list[Memory] = []

    async def main() -> None:
        gate = asyncio.Event()

        async def child() -> None:
            seen.append(current_memory())
            await gate.wait()
            seen.append(current_memory())

        with use_memory(memory):
            task = asyncio.create_task(child())
            await asyncio.sleep(0)
        gate.set()
        await task

    asyncio.run(main())

    assert seen == [memory, default]


def test_only_a_memory_can_be_used() -> None:
    with pytest.raises(UsageError, match="not a Memory"):
        use_memory("64M")  # type: ignore[arg-type]


def test_a_fresh_default_leaves_older_pointers_valid() -> None:
    before = fresh_default()
    pointer = kmalloc(8)
    assert pointer is not None

    after = fresh_default()

    assert current_memory() is after is not before
    pointer[0:2] = b"ok"
    with pytest.raises(InvalidFree, match="another Memory"):
        after.kfree(pointer)
    kfree(pointer)
    assert before.leaks() == []


def test_witnesses_and_the_list_of_all_see_every_new_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Memory] = []
    monkeypatch.setattr(memory_module, "witnesses", seen)

    one, two = Memory("64K"), Memory("64K")

    assert seen == [one, two]
    assert memory_module.all_memories()[-2:] == [one, two]


def test_a_memory_that_nobody_holds_goes_away() -> None:
    memory = Memory("64K")
    serial = memory._ram.serial
    with use_memory(memory), use_memory(memory):
        memory.kmalloc(8)
    del memory

    gc.collect()

    assert serial not in [other._ram.serial for other in memory_module.all_memories()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_works_though_a_thread_held_the_lock_and_never_writes_into_its_parent() -> (
    None
):
    memory = Memory("1M")
    pointer = memory.kzalloc(8)
    assert pointer is not None
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with memory._ram.lock:
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        status = 1
        signal.alarm(20)  # a lock that was not renewed is waited for for ever
        try:
            pointer[0:5] = b"child"
            memory.kfree(memory.kmalloc(100))
            memory.kfree(pointer)
            memory.check()
            status = 0
        finally:
            os._exit(status)
    _, code = os.waitpid(child, 0)
    release.set()
    thread.join()

    assert os.waitstatus_to_exitcode(code) == 0
    assert bytes(pointer) == bytes(8)
    assert len(memory.leaks()) == 1


def test_the_first_memory_imports_nothing_that_only_some_programs_need() -> None:
    program = (
        "import sys, faultinject as fi; before = set(sys.modules); fi.Memory(); "
        "print(*sorted(set(sys.modules) - before))"
    )

    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()

    assert "faultinject.mm.memory" in shown
    # They are slow to import: dataclasses brings inspect and ast with it.
    for module in ("dataclasses", "inspect", "logging", "json", "faultinject.mm.real_state"):
        assert module not in shown
