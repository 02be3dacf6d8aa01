"""/proc/buddyinfo and /proc/zoneinfo: every figure is read, or the place is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from faultinject.errors import SpecError
from faultinject.mm.proc_text import ProcZone, parse_buddyinfo, parse_zoneinfo

BUDDYINFO = """\
Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      1      3
Node 0, zone    DMA32   2360     80     21      7      4      1      2      0      1      0      0
"""

ZONEINFO = """\
Node 0, zone      DMA
  per-node stats
      nr_inactive_anon 30612
  pages free     3840
        boost    0
        min      10
        low      13
        high     16
        promo    19
        spanned  4095
        present  3998
        managed  3840
        cma      0
        protection: (0, 3017, 24088, 24088, 24088)
      nr_free_pages 3840
      nr_free_cma  7
  pagesets
    cpu: 0
              count:    0
              high:     13
              batch:    1
  node_unreclaimable:  0
  start_pfn:           1
Node 0, zone    DMA32
  pages free     3140
        min      1769
        low      2211
        high     2653
        scanned  0
        spanned  1044480
        present  782336
        protection: (0, 0, 21071)
Node 0, zone  Movable
  pages free     0
        min      32
        low      32
        high     32
        spanned  0
        present  0
        managed  0
        protection: (0, 0, 0, 0, 0)
Node 1, zone   Device
  pages free     0
        present  0
"""


def test_blocks_are_told_by_node_and_zone() -> None:
    assert parse_buddyinfo(BUDDYINFO) == {
        (0, "DMA"): (0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 3),
        (0, "DMA32"): (2360, 80, 21, 7, 4, 1, 2, 0, 1, 0, 0),
    }


def test_a_zone_of_today_is_read_whole() -> None:
    dma = parse_zoneinfo(ZONEINFO)[0]

    assert dma == ProcZone(
        place=(0, "DMA"),
        free=3840,
        min=10,
        low=13,
        high=16,  # not that of a pageset
        present=3998,
        protection=(0, 3017, 24088, 24088, 24088),
        boost=0,
        managed=3840,
        spanned=4095,
        free_cma=7,
        start_pfn=1,
    )


def test_an_old_kernel_tells_less() -> None:
    dma32 = parse_zoneinfo(ZONEINFO)[1]

    assert (dma32.min, dma32.present, dma32.boost, dma32.start_pfn) == (1769, 782336, 0, None)
    assert dma32.managed == dma32.spanned == 1044480  # what it may have at most


def test_zones_without_pages_are_told_too() -> None:
    movable, device = parse_zoneinfo(ZONEINFO)[2:]

    assert (movable.present, movable.min) == (0, 32)
    assert (device.place, device.protection) == ((1, "Device"), ())


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (parse_buddyinfo, "", "no zone"),
        (parse_buddyinfo, "Node 0, zone DMA\n", "without block counts"),
        (parse_buddyinfo, BUDDYINFO + "Node 1, zone DMA 1 2\n", "line 3"),
        (parse_buddyinfo, BUDDYINFO.replace("2360", "-1"), "line 2, order 0"),
        (parse_buddyinfo, BUDDYINFO.replace("2360", "2e3"), "line 2, order 0"),
        (parse_buddyinfo, BUDDYINFO.replace("DMA32", "  DMA"), "was there before"),
        (parse_buddyinfo, ZONEINFO, "without block counts"),
        (parse_zoneinfo, "", "no zone"),
        (parse_zoneinfo, BUDDYINFO, "not a zone's line"),
        (parse_zoneinfo, "  pages free 1\n", "before the first zone"),
        (parse_zoneinfo, ZONEINFO.replace("min      1769", "min      17x9"), "line 26, min"),
        (parse_zoneinfo, ZONEINFO.replace("        min      1769\n", ""), "a zone without min"),
        (parse_zoneinfo, ZONEINFO.replace("(0, 0, 21071)", "(0, 0, 21"), "without protection"),
        (parse_zoneinfo, ZONEINFO.replace("(0, 0, 21071)", "(0, x, 21)"), "line 32"),
        (parse_zoneinfo, ZONEINFO + "Node 0, zone DMA\n", "was there before"),
        (
            parse_zoneinfo,
            ZONEINFO.replace("min      1769", "min      9999"),
            "out of order: .9999, 2211, 2653. .zoneinfo line 24",
        ),
        (parse_buddyinfo, BUDDYINFO.encode(), "buddyinfo is not a text"),
        (parse_zoneinfo, None, "zoneinfo is not a text"),
    ],
)
def test_a_text_that_is_wrong_is_refused_with_its_place(
    read: Callable[[Any], object], text: Any, said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        read(text)


@pytest.mark.parametrize("read", [parse_buddyinfo, parse_zoneinfo])
def test_a_text_that_is_cut_anywhere_is_read_or_refused(read: Callable[[str], object]) -> None:
    text = BUDDYINFO if read is parse_buddyinfo else ZONEINFO

    for end in range(len(text)):
        try:
            read(text[:end])
        except SpecError:
            continue
