"""What slabs and vmalloc say of themselves: every wording is read, and its figures explained."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from kernel_texts import MODERN, SLUB

from faultinject.klog.as_json import as_json
from faultinject.klog.as_test import as_test
from faultinject.klog.as_text import as_text
from faultinject.klog.explain import Explanation, explain
from faultinject.klog.reading import read_reports
from faultinject.klog.reports import FailureReport, Kind, SlabNode, VmallocError


def read(text: str) -> list[FailureReport]:
    return list(read_reports(io.BytesIO(text.encode())))


def explained(text: str, kernel: str | None = None) -> Explanation:
    (report,) = read(text)
    return explain(report, kernel=kernel)


DEBUGGED = """\
SLUB: Unable to allocate memory on CPU 1 (of node 0) on node 2, gfp=0x820(GFP_ATOMIC)
  cache: kmalloc-rnd-15-2k, object size: 2048, buffer size: 6144, default order: 3, min order: 1
  kmalloc-rnd-15-2k debugging increased min order, use slab_debug=O to disable.
  node 0: slabs: 33, objs: 165, free: 0
  node 1: slabs: 12, objs: 60, free: 7
"""
SLAB = """\
SLAB: Unable to allocate memory on node 0, gfp=0x2080020(GFP_ATOMIC)
  cache: size-8192, object size: 8192, order: 1
  node 0: slabs: 3/4, objs: 3/4{free}
"""


def test_every_figure_of_slub_is_read() -> None:
    (report,) = read(DEBUGGED)

    slab = report.slab
    assert slab is not None
    assert (report.kind, report.node, report.order) == (Kind.SLAB, 2, None)
    assert (slab.object_size, slab.buffer_size) == (2048, 6144)
    assert (slab.default_order, slab.min_order, slab.debugged) == (3, 1, True)
    assert slab.nodes == [SlabNode(0, 33, 165, 0), SlabNode(1, 12, 60, 7)]


@pytest.mark.parametrize("free", [", free: 1", ""])
def test_every_figure_of_slab_is_read(free: str) -> None:
    (report,) = read(SLAB.format(free=free))

    slab = report.slab
    assert slab is not None
    assert (slab.object_size, slab.buffer_size) == (None, 8192)
    assert (slab.default_order, slab.min_order) == (None, 1)
    assert slab.nodes == [SlabNode(0, 4, 4, 1)]


@pytest.mark.parametrize(
    "line",
    [
        "  cache: kmalloc-4k, object size: 4096, buffer size: 8192, default order: 1, min orde0",
        "  cache: kmalloc-4k, object size: 4096, buffer size: 8192, default order: 1, min order",
    ],
)
def test_a_line_of_a_cache_that_is_cut_gives_what_is_whole(line: str) -> None:
    (report,) = read(f"SLUB: Unable to allocate memory on node -1, gfp=0x820(GFP_ATOMIC)\n{line}\n")

    assert report.cache == "kmalloc-4k"
    assert report.slab is not None
    assert (report.slab.default_order, report.slab.min_order) == (1, None)
    assert "the log does not tell the min order" in explain(report).remarks[1]


def test_a_number_of_free_objects_that_is_cut_off_is_none() -> None:
    (report,) = read(DEBUGGED.replace("objs: 60, free: 7", "objs: 60,"))

    assert report.slab is not None
    assert [each.node for each in report.slab.nodes] == [0]


def test_the_sizes_tell_whether_a_smaller_order_was_possible() -> None:
    debugged = " ".join(explained(DEBUGGED).findings)
    plain = " ".join(explained(SLUB).findings)

    assert "have 2048 bytes, and take 6144 each" in debugged
    assert "the smallest order that holds one is 1 (8 kB), so no smaller one" in debugged
    assert "without debugging it would be order 0 (4 kB)" in debugged
    assert "is 0 (4 kB), so single pages were enough" in plain
    assert "debugging" not in plain


def test_the_orders_that_failed_are_both_told() -> None:
    assert any(
        "default order 3 (32 kB)" in said and "then the smallest, 1 (8 kB)" in said
        for said in explained(DEBUGGED).findings
    )
    assert any(
        said == "order 1 (8 kB) was refused, and there is no other"
        for said in explained(SLAB.format(free="")).findings
    )


def test_a_cure_for_debugging_is_offered_where_it_costs_an_order() -> None:
    assert "slub_debug" in explained(DEBUGGED).cures[0]
    assert explained(SLUB).cures == []


def test_free_objects_on_another_node_are_no_contradiction() -> None:
    offline = explained(DEBUGGED).findings[-1]
    here = explained(DEBUGGED.replace("on node 2", "on node 0")).findings[-1]
    anywhere = explained(DEBUGGED.replace("on node 2", "on node -1")).findings[-1]

    assert "(7 on node 1), but the request was for node 2, which is not among them" in offline
    assert "for node 0, which has none free" in here
    assert "of 225 objects some were free (7 on node 1)" in anywhere
    assert "all 225 objects were in use" in explained(SLUB).findings[-1]


def test_pages_of_64_kb_need_smaller_orders() -> None:
    found = explained(DEBUGGED.replace("6144", "131072").replace("2048", "65536"))

    assert "the smallest order that holds one is 1 (128 kB)" in found.findings[0]


def test_sizes_that_contradict_the_order_are_remarked_on() -> None:
    found = explained(DEBUGGED.replace("min order: 1", "min order: 9"))

    assert any("one of the two is wrong" in remark for remark in found.remarks)
    assert not any("the smallest order that holds one" in said for said in found.findings)


def test_the_pages_that_a_slab_wanted_are_referred_to_if_they_are_of_its_order() -> None:
    pages = MODERN.replace("order:4", "order:0")

    (_, slab), (_, other) = read(pages + SLUB), read(pages + DEBUGGED)

    assert slab.slab is not None
    assert other.slab is not None
    assert (slab.slab.pages_line, other.slab.pages_line) == (1, None)
    assert "the report at line 1 says why" in " ".join(explain(slab).findings)
    assert any("zones is not known" in remark for remark in explain(other).remarks)


# As kernels printed them, each with what it says: size, what failed, what it had got, order.
WORDINGS: dict[str, tuple[str, int | None, VmallocError, int | None]] = {
    "2.6.16": (
        "allocation failed: out of vmalloc space - use vmalloc=<size> to increase size.",
        None,
        VmallocError("addresses"),
        None,
    ),
    "2.6.28": (
        "vmap allocation for size 20480 failed: use vmalloc=<size> to increase size.",
        20480,
        VmallocError("addresses"),
        None,
    ),
    "6.11": (
        "vmalloc_node_range for size 8192 failed: Address range restricted to 0xf1000000 - "
        "0xf1100000",
        8192,
        VmallocError("addresses", within=1 << 20),
        None,
    ),
    "3.2": (
        "vmalloc: allocation failure: 0 bytes\nmodprobe: page allocation failure: order:0, "
        "mode:0xd2",
        0,
        VmallocError("size"),
        0,
    ),
    "3.3": (
        "vmalloc: allocation failure: 24576 bytes\ninsmod: page allocation failure: order:0, "
        "mode:0xd2",
        24576,
        VmallocError("unknown"),
        0,
    ),
    "3.10": (
        "vmap allocation for size 28672 failed: use vmalloc=<size> to increase size.\n"
        "vmalloc: allocation failure: 24576 bytes\n"
        "trinity: page allocation failure: order:0, mode:0xd2",
        24576,
        VmallocError("addresses"),
        0,
    ),
    "4.6": (
        "vmalloc: allocation failure, allocated 4097114112 of 17179934720 bytes\n"
        "swapper/0: page allocation failure: order:0, mode:0x2080020(GFP_ATOMIC)",
        17179934720,
        VmallocError("pages", got=4097114112),
        0,
    ),
    "4.19": (
        "emerge: vmalloc: allocation failure, allocated 8192 of 20480 bytes, "
        "mode:0x7080c0(GFP_KERNEL_ACCOUNT|__GFP_ZERO), nodemask=(null)",
        20480,
        VmallocError("pages", got=8192),
        0,
    ),
    "5.10": (
        "kworker/u16:2: vmalloc: allocation failure: 4096 bytes, "
        "mode:0xdc0(GFP_KERNEL|__GFP_ZERO), nodemask=(null)",
        4096,
        VmallocError("unknown"),
        None,
    ),
    "5.13": (
        "cp: vmalloc size 4096 allocation failure: page order 0 allocation failed, "
        "mode:0xcc0(GFP_KERNEL), nodemask=(null)",
        None,
        VmallocError("pages", got=4096),
        0,
    ),
    "5.13, the array": (
        "cp: vmalloc size 8192 allocation failure: page array size 16 allocation failed, "
        "mode:0xcc0(GFP_KERNEL), nodemask=(null)",
        8192,
        VmallocError("array", array=16),
        None,
    ),
    "5.15": (
        "cp: vmalloc error: size 2147487744, exceeds total pages, mode:0xcc0(GFP_KERNEL), "
        "nodemask=(null),cpuset=/,mems_allowed=0",
        2147487744,
        VmallocError("size"),
        None,
    ),
    "5.19": (
        "swapper/0: vmalloc error: size 18446744071562596352, exceeds total pages, "
        "mode:0xcc0(GFP_KERNEL), nodemask=(null)",
        18446744071562596352,
        VmallocError("size"),
        None,
    ),
    "6.1": (
        "insmod: vmalloc error: size 8192, failed to allocated page array size 16, "
        "mode:0xcc0(GFP_KERNEL), nodemask=(null)",
        8192,
        VmallocError("array", array=16),
        None,
    ),
    "6.1, page tables": (
        "insmod: vmalloc error: size 8192, failed to map pages, mode:0xcc0(GFP_KERNEL)",
        8192,
        VmallocError("mapping"),
        None,
    ),
    "6.3": (
        "bees: vmalloc error: size 0, page order 9, failed to allocate pages, "
        "mode:0xcc2(GFP_KERNEL|__GFP_HIGHMEM), nodemask=(null)",
        None,
        VmallocError("pages", got=0),
        9,
    ),
    "6.6": (
        "kworker/u17:5: vmalloc error: size 0, failed to allocate pages, "
        "mode:0x10dc2(GFP_KERNEL|__GFP_HIGHMEM|__GFP_NORETRY|__GFP_ZERO), nodemask=(null)",
        None,
        VmallocError("pages", got=0),
        0,
    ),
    "6.12": (
        "vmap allocation for size 393216 failed: use vmalloc=<size> to increase size\n"
        "udevd: vmalloc error: size 327680, vm_struct allocation failed. Retrying., "
        "mode:0x8cc0(GFP_KERNEL|__GFP_NOFAIL), nodemask=(null)",
        327680,
        VmallocError("addresses"),
        None,
    ),
    "6.14": (
        "vmalloc_node_range for size 4198400 failed: Address range restricted to 0xf1000000 - "
        "0xf5110000\nswapon: vmalloc error: size 4194304, vm_struct allocation failed, "
        "mode:0xdc0(GFP_KERNEL|__GFP_ZERO), nodemask=(null)",
        4194304,
        VmallocError("addresses", within=0x4110000),
        None,
    ),
}


@pytest.mark.parametrize("wording", WORDINGS)
@pytest.mark.parametrize("prefix", ["", "[  828.600750] ", "Mar  1 12:00:00 web-1 kernel: "])
def test_every_wording_of_vmalloc_is_one_report(wording: str, prefix: str) -> None:
    text, size, error, order = WORDINGS[wording]
    lines = text.splitlines()

    (report,) = read("".join(f"{prefix}{line}\n" for line in lines))

    assert (report.kind, report.size, report.order) == (Kind.VMALLOC, size, order)
    assert report.vmalloc == error
    # The line that names the task, if there is one.
    assert report.line == len(lines)
    assert (report.comm is None) == (len(lines) == 1 and lines[0].startswith(("allocation", "vm")))
    assert report.remarks == []
    assert as_text(explain(report, kernel="6.6"), verbose=True)


def test_what_stands_between_two_lines_of_one_vmalloc_does_not_part_them() -> None:
    text = WORDINGS["3.10"][0].replace("\n", "\nusb 1-1: new device kB\n")

    (report,) = read("".join(f"[ 1.0] {line}\n" for line in text.splitlines()))

    assert (report.comm, report.vmalloc) == ("trinity", VmallocError("addresses"))


def test_lines_of_vmalloc_that_are_far_apart_are_two_reports() -> None:
    first, second = WORDINGS["6.12"][0].splitlines()
    between = "usb 1-1: new device\n[ 1.0] " * 5

    reports = read(f"[ 1.0] {first}\n[ 1.0] {between}{second}\n")

    assert [report.comm for report in reports] == [None, "udevd"]


def test_a_page_that_fails_after_addresses_ran_out_is_a_report_of_its_own() -> None:
    vmalloc, page = read(WORDINGS["2.6.28"][0] + "\n" + MODERN)

    assert (vmalloc.kind, vmalloc.zones) == (Kind.VMALLOC, [])
    assert (page.kind, page.order, len(page.zones)) == (Kind.PAGE, 4, 2)


def test_zones_do_not_tell_why_addresses_ran_out() -> None:
    figures = MODERN[MODERN.index("Mem-Info:") :]
    found = explained(f"{WORDINGS['6.14'][0]}\n{figures}", "6.14")

    assert (found.cause, found.consistent) == ("unknown", None)
    assert {check.verdict for check in found.zones} == {"unknown"}
    assert any("no pages were refused" in remark for remark in found.remarks)
    assert "66624 kB in all" in found.findings[0]
    assert "/proc/vmallocinfo" in found.cures[0]
    assert "no range of addresses was free" in as_text(found)
    assert "DOES NOT AGREE" not in as_text(found)
    assert "it did not fail for want of pages" in as_test([found])


def test_the_order_of_an_old_header_does_not_make_it_a_failure_of_pages() -> None:
    figures = MODERN[MODERN.index("Mem-Info:") :]
    found = explained(f"{WORDINGS['3.10'][0]}\n{figures}", "3.10")

    assert found.report.order == 0
    assert {check.verdict for check in found.zones} == {"unknown"}
    assert found.consistent is None


@pytest.mark.parametrize(("wording", "verdict"), [("6.6", "passes"), ("6.3", "refused")])
def test_zones_tell_why_pages_of_a_vmalloc_ran_out(wording: str, verdict: str) -> None:
    figures = MODERN[MODERN.index("Mem-Info:") :]

    found = explained(f"{WORDINGS[wording][0]}\n{figures}", "6.6")

    assert [check.verdict for check in found.zones] == [verdict] * 2


def test_huge_pages_that_ran_out_are_said_to_be_no_failure() -> None:
    assert any("is no failure" in said for said in explained(WORDINGS["6.3"][0], "6.3").findings)
    assert not any("no failure" in said for said in explained(WORDINGS["6.6"][0]).findings)


def test_vmalloc_takes_its_pages_from_high_memory() -> None:
    text = f"""\
{WORDINGS["4.19"][0].replace("0x7080c0(GFP_KERNEL_ACCOUNT|__GFP_ZERO)", "0x6000c0(GFP_KERNEL)")}
CPU: 4 PID: 1 Comm: emerge Not tainted 4.19.69 #43
Mem-Info:
HighMem free:4kB min:128kB low:160kB high:192kB present:65536kB
lowmem_reserve[]: 0 0
HighMem: 1*4kB (U) 0*8kB 0*16kB 0*32kB 0*64kB 0*128kB 0*256kB 0*512kB 0*1024kB 0*2048kB \
0*4096kB = 4kB
"""

    found = explained(text)

    assert [check.verdict for check in found.zones] == ["refused"]
    assert (found.cause, found.consistent) == ("shortage", True)


def test_the_document_has_the_figures_of_slabs_and_of_vmalloc() -> None:
    log = f"{DEBUGGED}{WORDINGS['4.19'][0]}\n"

    document = json.loads(json.dumps(as_json(explain(report) for report in read(log))))

    slab, vmalloc = document["reports"]
    expected: dict[str, Any] = {
        "object_size": 2048,
        "buffer_size": 6144,
        "default_order": 3,
        "min_order": 1,
        "debugged": True,
        "nodes": [
            {"node": 0, "slabs": 33, "objects": 165, "free": 0},
            {"node": 1, "slabs": 12, "objects": 60, "free": 7},
        ],
        "pages_line": None,
    }
    assert (slab["slab"], slab["vmalloc"]) == (expected, None)
    assert (vmalloc["slab"], vmalloc["size"]) == (None, 20480)
    assert vmalloc["vmalloc"] == {"failed": "pages", "got": 8192, "array": None, "within": None}
    assert slab["findings"]
