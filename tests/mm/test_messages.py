"""What the model memory prints of a failure: in the words of each kernel, and ours above."""

from __future__ import annotations

import re
import threading

import pytest

import faultinject as fi
from faultinject.capabilities.fail_page_alloc import fail_page_alloc

OLD, MIDDLE, LATE, MODERN = "2.6.24", "2.6.32", "3.14", "6.6"


def refused(
    caplog: pytest.LogCaptureFixture, kernel: str, gfp: int = 0x40DC0, order: int = 4
) -> list[str]:
    """The report of a request that a memory in pieces refuses, by lines."""
    memory = fi.Memory("64M", zones="x86_64", kernel=kernel, min_free_kbytes=64)
    memory.fragment(3)
    caplog.clear()

    assert memory.alloc_pages(gfp, order) is None

    (message,) = caplog.messages
    lines: list[str] = message.splitlines()
    return lines


@pytest.mark.parametrize(
    ("kernel", "gfp", "header"),
    [
        (OLD, 0x40DC0, ["MainThread: page allocation failure. order:4, mode:0xc0d0"]),
        (OLD, 0x820, ["MainThread: page allocation failure. order:4, mode:0x20"]),
        (OLD, 0xCC8, ["MainThread: page allocation failure. order:4, mode:0x1000d0"]),
        (MIDDLE, 0xCC8, ["MainThread: page allocation failure. order:4, mode:0xd8"]),
        (LATE, 0x40DC0, ["MainThread: page allocation failure: order:4, mode:0xc0d0"]),
        (
            "4.9",
            0x44DC0,
            [
                "MainThread: page allocation failure: order:4, "
                "mode:0x240c4c0(GFP_KERNEL|__GFP_REPEAT|__GFP_COMP|__GFP_ZERO)"
            ],
        ),
        (
            "4.9",
            0x820,
            ["MainThread: page allocation failure: order:4, mode:0x2080020(GFP_ATOMIC)"],
        ),
        (
            "4.19",
            0xCC0,
            [
                "MainThread: page allocation failure: order:4, "
                "mode:0x6000c0(GFP_KERNEL), nodemask=(null)",
                "MainThread cpuset=/ mems_allowed=0",
            ],
        ),
        (
            "6.1",
            0x820,
            [
                "MainThread: page allocation failure: order:4, mode:0xa20(GFP_ATOMIC), "
                "nodemask=(null),cpuset=/,mems_allowed=0"
            ],
        ),
        (
            MODERN,
            0x40DC0,
            [
                "MainThread: page allocation failure: order:4, "
                "mode:0x40dc0(GFP_KERNEL|__GFP_COMP|__GFP_ZERO), "
                "nodemask=(null),cpuset=/,mems_allowed=0"
            ],
        ),
    ],
)
def test_the_header_is_that_of_the_version_with_its_numbers_for_the_flags(
    kernel: str, gfp: int, header: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    lines = refused(caplog, kernel, gfp)

    at = next(number for number, line in enumerate(lines) if "page allocation failure" in line)
    assert lines[at : at + len(header)] == header


@pytest.mark.parametrize(
    ("kernel", "task"),
    [
        (OLD, r"Pid: \d+, comm: MainThread Not tainted 2\.6\.24 #1 faultinject"),
        (MODERN, r"CPU: 0 PID: \d+ Comm: MainThread Not tainted 6\.6 #1 faultinject"),
    ],
)
def test_the_stack_is_that_of_the_python_code_innermost_call_first(
    kernel: str, task: str, caplog: pytest.LogCaptureFixture
) -> None:
    lines = refused(caplog, kernel)

    at = lines.index("Call Trace:")
    assert re.fullmatch(task, lines[at - 1])
    assert re.fullmatch(r" refused \(test_messages\.py:\d+\)", lines[at + 1])
    assert re.fullmatch(r" test_the_stack_is_\w+ \(test_messages\.py:\d+\)", lines[at + 2])


MEM_INFO = {
    OLD: """\
Mem-info:
Node 0 DMA per-cpu:
CPU    0: Hot: hi:    0, btch:   1 usd:   0   Cold: hi:    0, btch:   1 usd:   0
Node 0 DMA32 per-cpu:
CPU    0: Hot: hi:    0, btch:   1 usd:   0   Cold: hi:    0, btch:   1 usd:   0
Active:0 inactive:0 dirty:0 writeback:0 unstable:0
 free:14336 slab:0 mapped:0 pagetables:0 bounce:0
Node 0 DMA free:14336kB min:16kB low:20kB high:24kB active:0kB inactive:0kB present:16384kB \
pages_scanned:0 all_unreclaimable? no
lowmem_reserve[]: 0 48 48 48
""",
    MIDDLE: """\
Mem-Info:
Node 0 DMA per-cpu:
CPU    0: hi:    0, btch:   1 usd:   0
Node 0 DMA32 per-cpu:
CPU    0: hi:    0, btch:   1 usd:   0
active_anon:0 inactive_anon:0 isolated_anon:0
 active_file:0 inactive_file:0 isolated_file:0
 unevictable:0 dirty:0 writeback:0 unstable:0
 free:14336 slab_reclaimable:0 slab_unreclaimable:0
 mapped:0 shmem:0 pagetables:0 bounce:0
Node 0 DMA free:14336kB min:16kB low:20kB high:24kB active_anon:0kB inactive_anon:0kB \
active_file:0kB inactive_file:0kB unevictable:0kB isolated(anon):0kB isolated(file):0kB \
present:16384kB mlocked:0kB dirty:0kB writeback:0kB mapped:0kB shmem:0kB slab_reclaimable:0kB \
slab_unreclaimable:0kB kernel_stack:0kB pagetables:0kB unstable:0kB bounce:0kB \
writeback_tmp:0kB pages_scanned:0 all_unreclaimable? no
lowmem_reserve[]: 0 48 48 48
""",
    MODERN: """\
Mem-Info:
active_anon:0 inactive_anon:0 isolated_anon:0
 active_file:0 inactive_file:0 isolated_file:0
 unevictable:0 dirty:0 writeback:0
 slab_reclaimable:0 slab_unreclaimable:0
 mapped:0 shmem:0 pagetables:0
 sec_pagetables:0 bounce:0
 kernel_misc_reclaimable:0
 free:14336 free_pcp:0 free_cma:0
Node 0 active_anon:0kB inactive_anon:0kB active_file:0kB inactive_file:0kB unevictable:0kB \
isolated(anon):0kB isolated(file):0kB mapped:0kB dirty:0kB writeback:0kB shmem:0kB \
writeback_tmp:0kB all_unreclaimable? no
Node 0 DMA free:14336kB boost:0kB min:16kB low:32kB high:48kB reserved_highatomic:0KB \
active_anon:0kB inactive_anon:0kB active_file:0kB inactive_file:0kB unevictable:0kB \
writepending:0kB present:16384kB managed:16384kB mlocked:0kB bounce:0kB free_pcp:0kB \
local_pcp:0kB free_cma:0kB
lowmem_reserve[]: 0 48 48 48
""",
}


@pytest.mark.parametrize("kernel", MEM_INFO)
def test_mem_info_has_the_lines_of_the_version(
    kernel: str, caplog: pytest.LogCaptureFixture
) -> None:
    lines = refused(caplog, kernel)

    expected = MEM_INFO[kernel].splitlines()
    at = lines.index(expected[0])
    assert lines[at : at + len(expected)] == expected
    blocks = next(line for line in lines if line.startswith("Node 0 DMA: "))
    letters = " (M)" if kernel == MODERN else ""
    each = 16384 // 32
    assert blocks == (
        f"Node 0 DMA: {each}*4kB{letters} {each}*8kB{letters} {each}*16kB{letters} 0*32kB "
        "0*64kB 0*128kB 0*256kB 0*512kB 0*1024kB 0*2048kB 0*4096kB = 14336kB"
    )


@pytest.mark.parametrize(
    ("kernel", "seconds", "burst", "said"),
    [
        (MIDDLE, 5, 10, "__ratelimit: 4 callbacks suppressed"),
        (LATE, 5, 10, "warn_alloc_failed: 4 callbacks suppressed"),
        ("4.19", 5, 10, "warn_alloc: 4 callbacks suppressed"),
        (MODERN, 10, 1, "warn_alloc: 13 callbacks suppressed"),
    ],
)
def test_reports_are_limited_as_in_the_version(
    kernel: str, seconds: int, burst: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    now = [100.0]
    memory = fi.Memory("64K", kernel=kernel, min_free_kbytes=0, clock=lambda: now[0])

    for _ in range(14):
        memory.alloc_pages(fi.GFP_KERNEL | fi.Gfp.NORETRY, 5)
        now[0] += 0.1
    assert len(caplog.messages) == burst
    now[0] = 100.1 + seconds
    memory.alloc_pages(fi.GFP_KERNEL | fi.Gfp.NORETRY, 5)

    assert caplog.messages[burst] == said
    assert "page allocation failure" in caplog.messages[burst + 1]


@pytest.mark.parametrize(
    ("kernel", "shown"), [("4.9", [1, 1, 1, 1]), ("4.19", [1, 0, 0, 1]), ("6.6", [1])]
)
def test_mem_info_has_a_limit_of_its_own_in_4_19(
    kernel: str, shown: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    memory = fi.Memory("1M", kernel=kernel, clock=lambda: now)

    memory.alloc_pages(fi.GFP_ATOMIC, 10)
    for later in (0.1, 0.2, 1.1):
        now = later
        memory.alloc_pages(fi.GFP_ATOMIC, 10)

    assert [text.count("Mem-Info:") for text in caplog.messages] == shown
    kept_back = "warn_alloc_show_mem: 2 callbacks suppressed"
    assert (kept_back in caplog.messages[-1]) == (kernel == "4.19")


def test_the_shared_bucket_of_old_kernels_owns_up_to_what_it_kept_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    memory = fi.Memory("64K", kernel=OLD, min_free_kbytes=0, clock=lambda: now[0])
    for _ in range(13):
        memory.alloc_pages(fi.GFP_KERNEL, 5)
    now[0] = 5.0

    memory.alloc_pages(fi.GFP_KERNEL, 5)

    assert sum("page allocation failure" in message for message in caplog.messages) == 11
    assert caplog.messages[-2] == "printk: 3 messages suppressed."


@pytest.mark.parametrize(
    ("kernel", "lines"),
    [
        (OLD, []),
        (MIDDLE, ["SLUB: Unable to allocate memory on node -1 (gfp=0xd0)"]),
        (MODERN, ["SLUB: Unable to allocate memory on node -1, gfp=0xcc0(GFP_KERNEL)"]),
    ],
)
def test_a_cache_without_a_new_slab_has_slubs_message(
    kernel: str, lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    memory = fi.Memory("8K", kernel=kernel, min_free_kbytes=0)
    cache = memory.kmem_cache_create("inode", 600)
    while cache.alloc(fi.GFP_KERNEL | fi.Gfp.NOWARN) is not None:
        pass
    assert caplog.messages == []

    assert cache.alloc(fi.GFP_KERNEL) is None

    assert "for cache inode" in caplog.messages[0]
    if lines:
        lines = [
            *lines,
            "  cache: inode, object size: 600, buffer size: 600, default order: 1, min order: 0",
            "  node 0: slabs: 1, objs: 13, free: 0",
        ]
    assert "\n".join(caplog.messages[1:]) == "\n".join(lines)


def test_slubs_message_has_a_limit_of_its_own_from_4_9_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for kernel, reports in (("3.6", 13), (MODERN, 10)):
        now = [100.0]
        memory = fi.Memory("4K", kernel=kernel, min_free_kbytes=0, clock=lambda now=now: now[0])
        memory.alloc_page()
        caplog.clear()
        for _ in range(13):
            memory.kmalloc(100, fi.GFP_ATOMIC)
        assert sum(message.startswith("SLUB: ") for message in caplog.messages) == reports

    now[0] = 105.1
    memory.kmalloc(100, fi.GFP_ATOMIC)

    assert caplog.messages[-2] == "slab_out_of_memory: 3 callbacks suppressed"
    assert caplog.messages[-1].startswith("SLUB: ")


def test_a_threads_name_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    memory = fi.Memory("4K")
    thread = threading.Thread(target=memory.alloc_pages, args=(fi.GFP_ATOMIC, 3), name="a\nMem:")

    thread.start()
    thread.join()

    assert "\na?Mem:: page allocation failure: order:3" in caplog.text


def test_nowarn_silences_both(caplog: pytest.LogCaptureFixture) -> None:
    memory = fi.Memory("8K")

    while memory.kmalloc(64, fi.GFP_KERNEL | fi.Gfp.NOWARN) is not None:
        pass

    assert caplog.messages == []


def test_that_there_is_no_dma_memory_at_all_is_no_news_since_6_1(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for kernel, told in (("4.19", True), ("6.6", False)):
        caplog.clear()
        memory = fi.Memory(zones={"DMA": 0, "Normal": "16M"}, kernel=kernel)
        assert memory.alloc_pages(fi.GFP_KERNEL | fi.GFP_DMA) is None
        assert ("page allocation failure" in caplog.text) is told


@pytest.mark.parametrize(
    ("prepare", "gfp", "order", "said"),
    [
        ("fragment", fi.GFP_KERNEL, 4, "in blocks of 16 kB and less: fragmentation"),
        ("fragment", fi.GFP_KERNEL, 4, "ask for 4 pages or less, or for memory in pieces"),
        ("fragment", fi.GFP_KERNEL, 3, "ask for single pages"),
        ("consume", fi.GFP_KERNEL, 0, "are kept for requests with more rights: a shortage"),
        ("consume", fi.GFP_KERNEL, 0, "GFP_ATOMIC, which goes deeper into the reserve"),
        ("consume", fi.GFP_NOWAIT, 0, "a request that may sleep"),
        ("consume", fi.GFP_KERNEL | fi.GFP_DMA, 0, "other zones have memory"),
    ],
)
def test_the_first_line_says_what_it_means_and_what_to_try(
    prepare: str, gfp: int, order: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    memory = fi.Memory("64M", zones="x86_64", kernel="6.6", min_free_kbytes=1024)
    if prepare == "fragment":
        memory.fragment(3)
    else:
        memory.consume(leave="min", zone="DMA" if gfp & fi.GFP_DMA else None)

    assert memory.alloc_pages(gfp | fi.Gfp.NORETRY, order) is None

    first = caplog.messages[0].splitlines()[0]
    assert first.startswith("faultinject: memory is exhausted, no fault was injected: ")
    assert said in first


@pytest.mark.parametrize("kernel", ["2.6.24", "4.9", "6.6"])
def test_nofail_that_must_not_sleep_is_warned_of_since_4_9(
    kernel: str, caplog: pytest.LogCaptureFixture
) -> None:
    memory = fi.Memory("64M", kernel=kernel)
    memory.consume(leave=0)

    assert memory.alloc_page(fi.GFP_ATOMIC | fi.Gfp.NOFAIL | fi.Gfp.NOWARN) is None
    assert caplog.messages == []
    assert memory.alloc_page(fi.GFP_ATOMIC | fi.Gfp.NOFAIL) is None

    warned = [text for text in caplog.messages if text.startswith("WARNING: __GFP_NOFAIL")]
    assert len(warned) == (kernel != "2.6.24")
    assert len(caplog.messages) == 1 + len(warned)


def test_failures_are_counted_by_call_site_also_the_silent_ones() -> None:
    memory = fi.Memory("64K")
    cache = memory.kmem_cache_create("inode", 600)
    while memory.alloc_page() is not None:
        pass
    for _ in range(3):
        memory.alloc_pages(fi.GFP_ATOMIC | fi.Gfp.NOWARN, 2)
    cache.alloc(fi.GFP_KERNEL)

    counted = [(row.what, row.order, row.gfp, row.count) for row in memory.failures()]
    sites = {row.site.function for row in memory.failures()}

    assert counted == [
        ("pages", 2, fi.GFP_ATOMIC | fi.Gfp.NOWARN, 3),
        ("pages", 0, fi.GFP_KERNEL, 1),
        ("inode", 0, fi.GFP_KERNEL | fi.Gfp.COMP, 1),
    ]
    assert sites == {"test_failures_are_counted_by_call_site_also_the_silent_ones"}
    assert "alloc_failed 5\n" in memory.vmstat()


def test_an_injected_failure_and_a_smaller_slab_are_no_failures() -> None:
    memory = fi.Memory("64K")
    memory.fragment(1)
    assert memory.kmalloc(256) is not None  # its slab would be larger, were there room

    with fail_page_alloc(verbose=0):
        assert memory.alloc_pages(fi.GFP_KERNEL) is None

    assert memory.failures() == []
