"""A memory in the state of a log: what was refused there is refused here."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import faultinject as fi
from faultinject.errors import SpecError
from faultinject.klog.explain import explain
from faultinject.klog.reading import read_reports

LOGS = Path(__file__).parent.parent / "klog" / "logs"
OLD, MODERN = ((LOGS / f"{name}.txt").read_text() for name in ("2.6.32", "6.8"))
LIGHT = fi.Gfp.NOWARN | fi.Gfp.NORETRY

ATOMIC = """\
Mem-Info:
Node 0 Normal free:1536kB boost:0kB min:512kB low:640kB high:768kB reserved_highatomic:2048KB \
present:65536kB managed:65536kB free_cma:0kB
lowmem_reserve[]: 0 0
Node 0 Normal: 64*4kB (UM) 0*8kB 0*16kB 0*32kB 0*64kB 2*128kB (H) 0*256kB 0*512kB 1*1024kB (M) \
0*2048kB 0*4096kB = 1536kB
"""


def test_order_counts_free_marks_and_reserves_are_those_of_the_log() -> None:
    memory = fi.Memory.from_show_mem(OLD, kernel="2.6.32")

    dma, dma32 = memory.zones.values()
    assert (dma.name, dma.free * 4, dma.marks) == ("DMA", 3464, (3, 3, 4))
    assert dma.lowmem_reserve == (0, 3254, 3254, 3254)
    assert dma32.blocks() == [2360, 80, 21, 7, 4, 1, 2, 0, 1, 0, 0]
    assert (dma32.free * 4, dma32.marks) == (12560, (1769, 2211, 2653))
    assert (dma32.lowmem_reserve, dma32.pages * 4) == ((0, 0, 0, 0), 3332768)
    assert memory.watermark_rule == "iterative"
    assert memory.leaks() == []
    memory.check()


@pytest.mark.parametrize(
    ("kernel", "gfp", "passes"),
    [
        ("2.6.32", fi.GFP_KERNEL, [True] + [False] * 10),
        ("2.6.32", fi.GFP_ATOMIC, [True] * 8 + [False] * 3),
        ("6.6", fi.GFP_KERNEL, [True] * 9 + [False] * 2),
    ],
)
def test_a_request_succeeds_or_fails_as_it_did_there(
    kernel: str, gfp: int, passes: list[bool]
) -> None:
    for order, passed in enumerate(passes):
        memory = fi.Memory.from_show_mem(OLD, kernel=kernel)

        page = memory.alloc_pages(gfp | LIGHT, order)

        assert (page is not None) == passed, order


def test_a_boost_stands_apart_and_the_zones_of_the_kernel_are_told_from_the_reserve() -> None:
    memory = fi.Memory.from_show_mem(MODERN)

    dma32, normal = memory.zones.values()
    assert (dma32.boost, dma32.min) == (17620 // 4, (25456 - 17620) // 4)
    # Five numbers, and two zones are shown: DMA and Device have no pages, or are no model's.
    assert dma32.lowmem_reserve == (0, 12962, 12962)
    assert normal.lowmem_reserve == (0, 0, 0)
    assert memory.alloc_pages(fi.GFP_NOIO | LIGHT, 4) is None
    assert memory.alloc_pages(fi.GFP_NOIO | LIGHT, 0) is not None


@pytest.mark.parametrize(
    ("gfp", "order", "passes"),
    [
        (fi.GFP_KERNEL, 5, False),  # 16 kB are left above what is set aside and the mark
        (fi.GFP_KERNEL, 0, False),
        (fi.GFP_ATOMIC, 5, True),
    ],
)
def test_what_is_set_aside_for_atomic_requests_is_set_aside_here(
    gfp: int, order: int, passes: bool
) -> None:
    memory = fi.Memory.from_show_mem(ATOMIC)
    zone = memory.zones["Normal"]

    assert zone.reserved_highatomic == 512
    assert zone.blocks() == [64, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0]
    assert "2*128kB (H)" in memory.show_mem()
    memory.check()
    assert (memory.alloc_pages(gfp | LIGHT, order) is not None) == passes


def test_the_model_reads_back_what_it_prints() -> None:
    memory = fi.Memory("64M", zones="x86_64", kernel="6.6")
    memory.fragment(4)
    memory.consume("8M")
    memory._pages.zones.set_boost(memory.zones["DMA32"], 100)

    again = fi.Memory.from_show_mem(memory.show_mem())

    assert again.buddyinfo() == memory.buddyinfo()
    assert again.zones["DMA32"].boost == 100
    for name, zone in memory.zones.items():
        assert again.zones[name].marks == zone.marks
        assert again.zones[name].lowmem_reserve == zone.lowmem_reserve


@pytest.mark.parametrize(
    "shown",
    [
        "".join(f"[ 1234.567890] {line}\n" for line in OLD.splitlines()),
        "".join(f"Jun 17 04:05:06 host kernel: {line}\n" for line in OLD.splitlines()),
        "".join(f"> {line}\n" for line in OLD.splitlines()),
        "\n" + "".join(f"    {line}\n" for line in OLD.splitlines()),
        "\n".join(
            part
            for line in OLD.splitlines()
            for part in textwrap.wrap(line, 76, drop_whitespace=False) or [""]
        ),
        OLD[OLD.index("Mem-Info") :],
        "something else = 17\n" + OLD + "and more kB\n",
        "".join(f"\x1b[32m[  828.6] \x1b[0m\x1b[1m{line}\x1b[0m\n" for line in OLD.splitlines()),
        "".join(f"web-1  | [  828.6] {line}\n" for line in OLD.splitlines()),
    ],
    ids=[
        "dmesg",
        "syslog",
        "quoted",
        "indented",
        "wrapped",
        "Mem-Info alone",
        "other lines",
        "in colour",
        "docker compose",
    ],
)
def test_the_prefixes_and_line_breaks_of_a_log_do_no_harm(shown: str) -> None:
    memory = fi.Memory.from_show_mem(shown, kernel="2.6.32")

    assert memory.buddyinfo() == fi.Memory.from_show_mem(OLD, kernel="2.6.32").buddyinfo()


def test_of_several_nodes_one_is_named() -> None:
    zones = OLD[OLD.index("Node 0 DMA free") :]
    both = OLD + zones.replace("Node 0", "Node 1").replace("2360*4kB", "2361*4kB").replace(
        "12560kB", "12564kB"
    )

    with pytest.raises(SpecError, match="several nodes"):
        fi.Memory.from_show_mem(both)
    with pytest.raises(SpecError, match="no such node"):
        fi.Memory.from_show_mem(both, node=2)
    assert fi.Memory.from_show_mem(both, node=1).zones["DMA32"].free == 3141


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("", "no Mem-Info", None),
        ("page allocation failure\n", "no Mem-Info", None),
        (OLD + OLD, "a second Mem-Info", 25),
        (OLD.replace("min:7076kB ", ""), "node 0 zone DMA32 has no readable min", 13),
        (OLD.replace("min:7076kB ", "min:70x6kB "), "zone DMA32 has no readable min", 13),
        (OLD.replace(" = 12560kB", " = 12564kB"), "of 12560 kB in all, and the log says", 16),
        (OLD.replace(" = 12560kB", ""), "11 orders: the end of the line is cut", 16),
        (OLD.replace("2360*4kB", "2360*5kB"), "free blocks that cannot be read", 16),
        (OLD.replace("0 3254 3254 3254", "0 3254 3254 x"), "lowmem_reserve that cannot", 12),
        (OLD.replace("0 3254 3254 3254", "0 -1 3254 3254"), "lowmem_reserve below 0", 11),
        (OLD.replace("0 3254 3254 3254", "0 3254"), "lowmem_reserve of 2 zones", 11),
        (OLD.replace("0 3254 3254 3254", "0 " * 9), "lowmem_reserve of 9 zones", 11),
        (OLD.replace("present:15364kB ", ""), "a zone without present", 11),
        (OLD[: OLD.index("Node 0 DMA: ")], "a zone without blocks", 11),
        (OLD.replace("lowmem_reserve[]: 0 3254 3254 3254\n", ""), "without lowmem_reserve", 11),
        (
            OLD.replace("2360*4kB", "99999999*4kB").replace("= 12560kB", "= 400003116kB"),
            "more than 16777216 free blocks",
            13,
        ),
        (
            MODERN.replace("boost:17620kB min:25456kB", "boost:17620kB min:400kB"),
            "a boost above the mark",
            13,
        ),
        (OLD.replace("min:7076kB", "min:9076kB"), "min, low, high are out of order", 13),
        (OLD.encode(), "Mem-Info is not a text", None),
    ],
)
def test_a_text_that_is_cut_or_inconsistent_is_refused_with_line_and_field(
    text: Any, said: str, line: int | None
) -> None:
    with pytest.raises(SpecError) as caught:
        fi.Memory.from_show_mem(text)

    assert said in str(caught.value)
    assert line is None or f"(line {line})" in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(text=st.sampled_from([OLD, ATOMIC]), data=st.data())
def test_a_text_that_is_damaged_is_refused_or_still_tells_the_same(
    text: str, data: st.DataObject
) -> None:
    whole = fi.Memory.from_show_mem(text, kernel="4.19")
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(begin + 40, len(text))))
    cut = data.draw(st.booleans())

    damaged = text[:begin] if cut else text[:begin] + text[end:]
    try:
        memory = fi.Memory.from_show_mem(damaged, kernel="4.19")
    except SpecError:
        return

    memory.check()
    if cut:
        assert memory.buddyinfo() == whole.buddyinfo()
        assert [zone.marks for zone in memory.zones.values()] == [
            zone.marks for zone in whole.zones.values()
        ]


def test_pages_of_another_size_are_refused() -> None:
    larger = OLD
    for size in (4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4):
        larger = larger.replace(f"*{size}kB", f"*{size * 16}kB")
    larger = larger.replace("= 3464kB", f"= {3464 * 16}kB").replace(
        "= 12560kB", f"= {12560 * 16}kB"
    )

    with pytest.raises(SpecError, match="pages of 64 kB"):
        fi.Memory.from_show_mem(larger)


_FOLDER = Path(
    os.environ.get("FAULTINJECT_LOGS") or Path(__file__).parents[3] / "shared" / "data" / "dmesg"
)


@pytest.mark.skipif(not any(_FOLDER.glob("*.txt")), reason=f"no logs in {_FOLDER}")
@pytest.mark.parametrize("log", sorted(_FOLDER.glob("*.txt")), ids=lambda path: path.name)
def test_what_a_real_log_refused_is_refused_in_its_state(log: Path) -> None:
    with log.open("rb") as stream:
        found = [explain(report) for report in read_reports(stream) if report.zones]
    if not found or any("cut" in remark for each in found for remark in each.remarks):
        pytest.skip("its figures are cut")
    (explained,) = found
    release, report = explained.release, explained.report
    assert release is not None

    for node in {zone.node for zone in report.zones}:
        memory = fi.Memory.from_show_mem(
            log.read_text(errors="replace"),
            node=node,
            kernel=release.model.name,
            watermark_rule=explained.rule,
        )

        memory.check()
        states = [zone for zone in report.zones if zone.node == node]
        for zone, state in zip(memory.zones.values(), states, strict=True):
            figures = state.figures
            assert zone.free * 4 == figures["free"] - figures.get("free_cma", 0)
            low = [figures[name] - figures.get("boost", 0) for name in ("min", "low", "high")]
            assert [pages * 4 for pages in zone.marks] == low
            assert zone.blocks() == [
                0 if kinds and set(kinds) <= {"C", "I"} else count
                for count, kinds in zip(state.blocks or (), state.letters, strict=True)
            ]
        if explained.consistent:
            assert explained.flags.gfp is not None
            assert report.order is not None
            gfp = int(explained.flags.gfp) | fi.Gfp.NOWARN
            assert memory.alloc_pages(gfp, report.order) is None


def test_a_counter_that_lags_behind_the_free_blocks_does_so_here() -> None:
    lagging = OLD.replace("DMA32 free:12560kB", "DMA32 free:12460kB")
    memory = fi.Memory.from_show_mem(lagging, kernel="2.6.32")
    zone = memory.zones["DMA32"]

    assert (zone.free, zone.uncounted) == (3115, 25)
    assert zone.blocks() == [2360, 80, 21, 7, 4, 1, 2, 0, 1, 0, 0]
    assert fi.mm.watermark.check(zone, 4, mark="min").steps[1].free == 765 - 25
    assert "DMA32 free:12460kB" in memory.show_mem()
    assert memory.show_mem().count("= 12560kB") == 1
    memory.check()


@pytest.mark.parametrize("kind", [0, fi.Gfp.MOVABLE])
@pytest.mark.parametrize(("free_kb", "passes"), [(7080, True), (7076, False)])
def test_the_counter_is_what_the_marks_are_compared_with(
    free_kb: int, passes: bool, kind: int
) -> None:
    lagging = OLD.replace("DMA32 free:12560kB", f"DMA32 free:{free_kb}kB")
    memory = fi.Memory.from_show_mem(lagging, kernel="2.6.32")

    assert (memory.alloc_pages(fi.GFP_KERNEL | LIGHT | kind) is not None) == passes


def test_pages_of_contiguous_areas_are_left_out() -> None:
    text = ATOMIC.replace("(H)", "(C)").replace("free_cma:0kB", "free_cma:256kB")
    memory = fi.Memory.from_show_mem(text)

    assert memory.zones["Normal"].blocks()[5] == 0
    assert memory.zones["Normal"].free * 4 == 1536 - 256
