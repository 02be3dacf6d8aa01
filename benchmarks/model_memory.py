"""What the model memory costs: pairs of calls, watermark rules, pressure, and its start.

Nothing is armed. The time of a pair may not grow with the number of live objects, under
any watermark rule. How that compares with other allocators is measured by `allocators.py`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path

from results import arguments, rss, show

import faultinject as fi
from faultinject.mm import Pressure

LIVE = (0, 1_000, 100_000, 1_000_000)
MOST_PAGES = 10_000  # the first page of each block is filled, and so becomes real
ZONES = {"DMA": "16M", "DMA32": "496M", "Normal": "512M"}
RULES = (None, "iterative", "direct", "modern")
PAGE = fi.PAGE_SIZE
CALLS = 1_000
TRIES = 100
RUNS = 3


def pair_cost(pair: Callable[[], object]) -> float:
    """Give the microseconds of the processor for one call of `pair`, disturbed the least."""
    times = timeit.repeat(pair, number=CALLS, repeat=TRIES, timer=time.thread_time)
    return 1e6 * min(times) / CALLS


def filled(live: int) -> tuple[fi.Memory, list[object]]:
    """Give a memory with so many live objects of 64 bytes and, up to a limit, pages."""
    memory = fi.Memory("1G")
    kept: list[object] = [memory.kmalloc(64) for _ in range(live)]
    kept += [memory.alloc_pages() for _ in range(min(live, MOST_PAGES))]
    return memory, kept


def pairs(memory: fi.Memory) -> dict[str, Callable[[], object]]:
    """Give the pairs that are measured, by name."""
    cache = memory.kmem_cache_create("inode", 600)
    pool = memory.mempool_create_slab_pool(4, cache)
    page = memory.alloc_pages()
    assert pool is not None
    assert page is not None
    gfp = fi.GFP_KERNEL

    def grow() -> None:
        memory.kfree(memory.krealloc(memory.kmalloc(64, gfp), 128, gfp))

    def share() -> None:
        memory.get_page(page)
        memory.put_page(page)

    return {
        "`kmalloc(128)`, `kfree`": lambda: memory.kfree(memory.kmalloc(128, gfp)),
        "`kmalloc(4096)`, `kfree`": lambda: memory.kfree(memory.kmalloc(4096, gfp)),
        "`kmalloc(64)`, `krealloc` to 128, `kfree`": grow,
        "`kmem_cache` of 600 bytes": lambda: cache.free(cache.alloc(gfp)),
        "`kmem_cache`, 10 in bulk": lambda: cache.free_bulk(cache.alloc_bulk(gfp, 10) or []),
        "a new `kmem_cache`, `destroy`": lambda: memory.kmem_cache_create("new", 64).destroy(),
        "`mempool` of a `kmem_cache`": lambda: pool.free(pool.alloc(gfp)),
        "`vmalloc(4096)`, `vfree`": lambda: memory.vfree(memory.vmalloc(4096, gfp)),
        "`get_page`, `put_page`": share,
        "`alloc_pages`, order 0": lambda: memory.free_pages(memory.alloc_pages(gfp, 0), 0),
        "`alloc_pages`, order 3": lambda: memory.free_pages(memory.alloc_pages(gfp, 3), 3),
    }


def ruled_pairs(rule: str | None, live: int) -> list[str]:
    """Give the costs of pairs in a machine with so many live pages, by a watermark rule."""
    memory = fi.Memory("1G") if rule is None else fi.Memory(zones=ZONES, watermark_rule=rule)
    kept = [memory.alloc_pages() for _ in range(live)]
    gfp = fi.GFP_KERNEL

    def cost(order: int) -> str:
        return f"{pair_cost(lambda: memory.free_pages(memory.alloc_pages(gfp, order), order)):.2f}"

    costs = [cost(0), cost(3)]
    if rule is None:
        costs.append("-")
    else:
        with memory.consume(leave="low"):  # so that a request is tested at the min mark too
            costs.append(cost(0))
    del kept
    return costs


def pressure_cost(pages: int) -> list[float]:
    """Give the milliseconds that bring so many pages into a state and back."""
    deeds: dict[str, Callable[[fi.Memory], Pressure]] = {
        "consume": lambda memory: memory.consume(leave="1M"),
        "fragment": lambda memory: memory.fragment(1),
        "fragment to counts": lambda memory: memory.fragment(blocks=[pages // 16] * 3),
    }
    told = []
    for deed in deeds.values():
        memory = fi.Memory(pages * PAGE)
        started = time.perf_counter()
        deed(memory).release()
        told.append(1000 * (time.perf_counter() - started))
    return told


def start_here(size: str) -> None:
    """Tell the milliseconds and the MiB that a new memory takes. Runs in a process of its own."""
    fi.Memory("1M")  # what is imported late is imported now
    before, started = rss(), time.perf_counter()
    memory = fi.Memory(size)
    seconds = time.perf_counter() - started
    print(1000 * seconds, (rss() - before) / 1024)
    del memory


def start_cost(size: str) -> tuple[float, float]:
    """Give the medians of what `start_here` tells."""
    code = f"from model_memory import start_here; start_here({size!r})"
    told = []
    for _ in range(RUNS):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parent,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        told.append([float(figure) for figure in done.stdout.split()])
    milliseconds, grown = zip(*told, strict=True)
    return statistics.median(milliseconds), statistics.median(grown)


def main() -> None:
    options = arguments(__doc__ or "")
    starts = {size: start_cost(size) for size in ("64M", "1G")}
    costs: dict[str, list[float]] = {}
    for live in LIVE:
        memory, kept = filled(live)
        for name, pair in pairs(memory).items():
            costs.setdefault(name, []).append(pair_cost(pair))
        del memory, kept
    show(
        "Model memory: pairs of calls",
        "model_memory.py",
        ["pair", *(f"{live:,} live, µs" for live in LIVE)],
        [[name, *(f"{cost:.2f}" for cost in row)] for name, row in costs.items()],
        note="A request and its free, nothing armed, in a `Memory('1G')` with so many live objects "
        f"and as many live pages, at most {MOST_PAGES:,}. The quickest of {TRIES} runs of "
        f"{CALLS:,} calls, of the processor's time, a lambda's call included.",
        write=options.write,
    )
    show(
        "Model memory: watermark rules",
        "model_memory.py",
        ["rule, live pages", "order 0, µs", "order 3, µs", "order 0 at the low mark, µs"],
        [
            [f"{rule or 'none'}, {live:,}", *ruled_pairs(rule, live)]
            for rule in RULES
            for live in (0, 100_000)
        ],
        note="`alloc_pages`, `free_pages` in a 1 GiB machine with the zones DMA, DMA32 and Normal; "
        f"`none` has one zone and no marks. The quickest of {TRIES} runs of {CALLS:,} calls, of "
        "the processor's time.",
        write=options.write,
    )
    show(
        "Model memory: pressure",
        "model_memory.py",
        ["size", "`consume`, ms", "`fragment(1)`, ms", "`fragment(blocks=…)`, ms"],
        [
            [size, *(f"{ms:.0f}" for ms in pressure_cost(pages))]
            for size, pages in (("64M", 16_384), ("1G", 262_144))
        ],
        note="Into the state and back, once.",
        write=options.write,
    )
    show(
        "Model memory: start",
        "model_memory.py",
        ["size", "ms", "RSS, MiB"],
        [[size, f"{ms:.1f}", f"{grown:.1f}"] for size, (ms, grown) in starts.items()],
        note=f"A new `Memory`, of which nothing has been used yet. Median of {RUNS} processes.",
        write=options.write,
    )


if __name__ == "__main__":
    main()
