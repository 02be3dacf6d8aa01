"""A memory in the state of a real machine: what is refused there is refused here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import faultinject as fi
from faultinject.errors import SpecError
from faultinject.mm.proc_text import parse_buddyinfo, parse_zoneinfo

BUDDYINFO = """\
Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      1      3
Node 0, zone    DMA32   2360     80     21      7      4      1      2      0      1      0      0
"""

ZONEINFO = """\
Node 0, zone      DMA
  pages free     3840
        min      3
        low      3
        high     4
        spanned  4095
        present  3840
        protection: (0, 3254, 8052, 8052)
Node 0, zone    DMA32
  pages free     3140
        min      1769
        low      2211
        high     2653
        spanned  1044480
        present  782336
        protection: (0, 0, 0, 0)
"""


def test_order_counts_marks_and_reserves_are_those_of_the_text() -> None:
    memory = fi.Memory.from_proc(BUDDYINFO, ZONEINFO, kernel="2.6.32")

    assert parse_buddyinfo(memory.buddyinfo()) == parse_buddyinfo(BUDDYINFO)
    dma, dma32 = memory.zones.values()
    assert (dma32.pages, dma32.free) == (1044480, 3140)  # with the holes
    assert tuple(dma32.marks) == (1769, 2211, 2653)
    assert dma.lowmem_reserve == (0, 3254, 8052, 8052)
    assert memory.watermark_rule == "iterative"
    memory.check()
    assert memory.leaks() == []


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
        memory = fi.Memory.from_proc(BUDDYINFO, ZONEINFO, kernel=kernel)

        page = memory.alloc_pages(gfp | fi.Gfp.NOWARN, order)

        assert (page is not None) == passed, order


def test_the_boost_of_a_modern_kernel_stands_apart_from_the_marks() -> None:
    boosted = ZONEINFO.replace(
        "        min      1769", "        boost    1000\n        min      1769"
    )

    zone = fi.Memory.from_proc(BUDDYINFO, boosted).zones["DMA32"]

    assert (zone.boost, tuple(zone.marks)) == (1000, (769, 1211, 1653))


def test_the_counter_of_free_pages_is_the_one_of_zoneinfo_without_contiguous_areas() -> None:
    told = ZONEINFO.replace("free     3140", "free     3100") + "      nr_free_cma  60\n"

    zone = fi.Memory.from_proc(BUDDYINFO, told).zones["DMA32"]

    assert (zone.free, zone.uncounted, sum(zone.blocks())) == (3040, 100, 2476)


def test_more_pages_may_be_free_than_an_old_kernel_said_were_present() -> None:
    """It took the pages that describe pages off each zone, wherever they really were."""
    told = ZONEINFO.replace("present  3840", "present  3776")

    assert fi.Memory.from_proc(BUDDYINFO, told, kernel="2.6.32").zones["DMA"].free == 3840
    with pytest.raises(SpecError, match=r"more free pages .* zone DMA: 3776 pages"):
        fi.Memory.from_proc(
            BUDDYINFO, told.replace("present  3776", "present  3776\n        managed  3776")
        )


def test_of_several_nodes_one_is_named() -> None:
    both = [text + text.replace("Node 0", "Node 1") for text in (BUDDYINFO, ZONEINFO)]

    with pytest.raises(SpecError, match="several nodes"):
        fi.Memory.from_proc(*both)
    with pytest.raises(SpecError, match="no such node"):
        fi.Memory.from_proc(*both, node=2)
    assert fi.Memory.from_proc(*both, node=1).zones["DMA32"].free == 3140


@pytest.mark.parametrize(
    ("buddyinfo", "zoneinfo", "said"),
    [
        (BUDDYINFO.splitlines()[0], ZONEINFO, "does not have"),
        (BUDDYINFO, ZONEINFO[: ZONEINFO.rindex("Node")], "zoneinfo does not have: 'DMA32'"),
        (BUDDYINFO.replace("2360", "9999999"), ZONEINFO, "more free pages"),
        (BUDDYINFO, ZONEINFO.replace("(0, 0, 0, 0)", "(0, 0, 0)"), "a protection of 4 zones"),
        (BUDDYINFO, ZONEINFO.replace("8052, 8052", "8052, 8052, 1, 1"), "a protection of 6 zones"),
        (BUDDYINFO.replace("DMA32", "Strange"), ZONEINFO.replace("DMA32", "Strange"), "zones"),
        ("nothing", ZONEINFO, "line 1"),
        (
            BUDDYINFO,
            ZONEINFO.replace("free     3140", "free     31400"),
            r"different numbers of free pages: \(3140, 31400\) \(node 0, zone DMA32\)",
        ),
    ],
)
def test_texts_that_do_not_go_together_are_refused(
    buddyinfo: str, zoneinfo: str, said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        fi.Memory.from_proc(buddyinfo, zoneinfo)


@pytest.mark.skipif(not Path("/proc/zoneinfo").exists(), reason="this machine has no /proc")
def test_this_machines_state_can_be_loaded() -> None:
    texts = [Path(f"/proc/{name}").read_text() for name in ("buddyinfo", "zoneinfo")]
    if (
        len({place[0] for place in parse_buddyinfo(texts[0])}) > 1
        or os.sysconf("SC_PAGE_SIZE") != 4096
    ):
        pytest.skip("several nodes, or larger pages")
    managed = {zone.place[1]: zone.managed for zone in parse_zoneinfo(texts[1])}

    memory = fi.Memory.from_proc(*texts)

    assert parse_buddyinfo(memory.buddyinfo()) == {
        place: counts for place, counts in parse_buddyinfo(texts[0]).items() if managed[place[1]]
    }
