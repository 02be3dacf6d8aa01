"""The model memory beside allocators of other packages, and beside plain `bytearray`.

Ours has zones, call sites, a ledger and real bytes; the others have none of these. They
are read from where they are installed, one file each, and nothing that they depend on:
``pip install --no-deps cocotbext-axi qiling``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import random
import statistics
import sys
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

from results import arguments, show

import faultinject as fi

CALLS = 1_000
RUNS = 75
LIVE = 1_000
SIZE = 1 << 30
PAGE = fi.PAGE_SIZE
ZONED = {"zones": {"DMA": "16M", "DMA32": "496M", "Normal": "512M"}, "kernel": "6.6"}
GFP = fi.GFP_KERNEL

Pair = Callable[[], object]


def module_of(distribution: str, file: str, needs: dict[str, dict[str, Any]]) -> ModuleType | None:
    """Load one file of an installed package, with empty modules for what it imports."""
    try:
        path = importlib.metadata.distribution(distribution).locate_file(file)
    except importlib.metadata.PackageNotFoundError:
        return None
    for name, values in needs.items():
        empty = ModuleType(name)
        empty.__dict__.update(values)
        sys.modules.setdefault(name, empty)
    spec = importlib.util.spec_from_file_location(f"{distribution}_allocator", str(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def buddy_allocator() -> Any:
    """Give cocotbext-axi's BuddyAllocator, or None if it is not installed."""
    module = module_of("cocotbext-axi", "cocotbext/axi/buddy_allocator.py", {})
    return None if module is None else module.BuddyAllocator


def qiling_heap() -> Any:
    """Give a maker of qiling's QlMemoryHeap over an emulator that maps nothing, or None."""
    rights = {f"UC_PROT_{right}": 0 for right in ("NONE", "READ", "WRITE", "EXEC", "ALL")}
    needs = {"unicorn": rights, "qiling": {"Qiling": object}, "qiling.exception": {}}
    module = module_of("qiling", "qiling/os/memory.py", needs)
    if module is None:
        return None
    mem = SimpleNamespace(align_up=lambda n: -(-n // PAGE) * PAGE, map=lambda *_, **__: None)
    return lambda: module.QlMemoryHeap(SimpleNamespace(mem=mem), PAGE, SIZE)


def cost(pair: Pair) -> float:
    """Give the microseconds of the processor for one call of `pair`."""
    calls = range(CALLS)
    started = time.thread_time()
    for _ in calls:
        pair()
    return 1e6 * (time.thread_time() - started) / CALLS


def compared(ours: Pair, theirs: Pair) -> list[str]:
    """Measure two pairs in turn; give the quickest of both and the median of theirs by ours."""
    costs = [(cost(ours), cost(theirs)) for _ in range(RUNS)]
    mine, other = (min(column) for column in zip(*costs, strict=True))
    ratio = statistics.median(theirs / ours for ours, theirs in costs)
    return [f"{mine:.2f}", f"{other:.2f}", f"{ratio:.2f}"]


def churn(take: Callable[[], Any], give: Callable[[Any], object]) -> Pair:
    """Give a pair that replaces one of `LIVE` live blocks, each time another."""
    live = [take() for _ in range(LIVE)]
    turns = random.Random(1)

    def replace_one() -> None:
        at = turns.randrange(LIVE)
        give(live[at])
        live[at] = take()

    return replace_one


def page_pair(memory: fi.Memory) -> Pair:
    return lambda: memory.free_pages(memory.alloc_pages(GFP, 0), 0)


def page_rows(allocator: Any) -> dict[str, list[str]]:
    """Compare single pages with cocotbext-axi's blocks of as many bytes."""
    plain, zoned, buddy = fi.Memory(SIZE), fi.Memory(**ZONED), allocator(SIZE, PAGE)
    rows = {}

    def compare(what: str) -> None:
        def pair() -> None:
            buddy.free(buddy.alloc(PAGE))

        rows[f"page, {what}"] = compared(page_pair(plain), pair)
        rows[f"page, {what}; zones and marks"] = compared(page_pair(zoned), pair)

    compare("nothing live: all is split and merged")
    kept = [(plain.alloc_pages(), zoned.alloc_pages(), buddy.alloc(PAGE)) for _ in range(LIVE)]
    compare(f"{LIVE:,} live")
    del kept
    ours = fi.Memory(SIZE)
    theirs = allocator(SIZE, PAGE)
    rows[f"page, one of {LIVE:,} live replaced"] = compared(
        churn(lambda: ours.alloc_pages(GFP, 0), lambda page: ours.free_pages(page, 0)),
        churn(lambda: theirs.alloc(PAGE), theirs.free),
    )
    return rows


def object_rows(heap_of: Callable[[], Any]) -> dict[str, list[str]]:
    """Compare kmalloc with qiling's heap."""
    memory, heap = fi.Memory(SIZE), heap_of()
    rows = {}

    def compare(what: str) -> None:
        rows[f"object of 128 bytes, {what}"] = compared(
            lambda: memory.kfree(memory.kmalloc(128, GFP)), lambda: heap.free(heap.alloc(128))
        )

    compare("nothing live")
    kept = [(memory.kmalloc(128, GFP), heap.alloc(128)) for _ in range(LIVE)]
    compare(f"{LIVE:,} live")
    del kept
    return rows


def bytearray_rows() -> dict[str, list[str]]:
    """Compare with objects of Python's own, which nobody has to free."""
    memory = fi.Memory(SIZE)
    return {
        "object of 128 bytes": compared(
            lambda: memory.kfree(memory.kmalloc(128, GFP)), lambda: bytearray(128)
        ),
        "object of 4096 bytes": compared(
            lambda: memory.kfree(memory.kmalloc(4096, GFP)), lambda: bytearray(4096)
        ),
        "page": compared(page_pair(memory), lambda: bytearray(4096)),
    }


def main() -> None:
    options = arguments(__doc__ or "")
    missing = ["not installed"] * 3
    buddy, heap = buddy_allocator(), qiling_heap()
    rows = {
        "cocotbext-axi `BuddyAllocator`": page_rows(buddy) if buddy else {"page": missing},
        "qiling `QlMemoryHeap`": object_rows(heap) if heap else {"object": missing},
        "`bytearray`": bytearray_rows(),
    }
    show(
        "Model memory: beside other allocators",
        "allocators.py",
        ["pair of calls", "beside", "ours, µs", "theirs, µs", "theirs / ours"],
        [[what, name, *told] for name, pairs in rows.items() for what, told in pairs.items()],
        note="A request and its free, nothing armed, 1 GiB. Ours has zones, call sites, a ledger "
        f"and bytes that are filled; theirs only count addresses. In turn, {RUNS} runs "
        f"of {CALLS:,} pairs, of the processor's time: the quickest of each, the median ratio. "
        "Where single pages are replaced at random, theirs neither splits nor merges. Of ours, a "
        "fifth each goes to the lists of blocks, to filling a page that is in no cache, to the "
        "lock, and to the two call sites; with the lists alone it would be as quick.",
        write=options.write,
    )


if __name__ == "__main__":
    main()
