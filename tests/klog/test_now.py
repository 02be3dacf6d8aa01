"""This machine, now: what its zones would meet, by the texts of /proc."""

from __future__ import annotations

from faultinject.klog.now import now_as_text, survey, zone_states

BUDDYINFO = "Node 0, zone DMA32 2360 80 21 7 4 1 2 0 1 0 0\n"
ZONEINFO = """\
Node 0, zone    DMA32
  pages free     3140
        min      1769
        low      2211
        high     2653
        present  782336
        protection: (0, 0, 0, 0)
Node 0, zone   Normal
  pages free     0
        min      0
        low      0
        high     0
        present  0
        protection: (0, 0, 0, 0)
"""


def met(kernel: str, flags: str) -> list[bool]:
    prospects = survey(BUDDYINFO, ZONEINFO, kernel)
    return [each.zone is not None for each in prospects if each.flags == flags]


def test_the_worked_example_is_met_at_order_0_alone_by_an_old_kernel() -> None:
    assert met("2.6.32", "GFP_KERNEL") == [True] + [False] * 10
    assert met("2.6.32", "GFP_ATOMIC") == [True] * 8 + [False] * 3
    assert met("6.6", "GFP_KERNEL") == [True] * 9 + [False] * 2


def test_a_zone_without_pages_is_left_out() -> None:
    (zone,) = zone_states(BUDDYINFO, ZONEINFO)

    assert (zone.zone, zone.figures["free"], zone.figures["min"]) == ("DMA32", 12560, 7076)
    assert zone.blocks == (2360, 80, 21, 7, 4, 1, 2, 0, 1, 0, 0)


def test_the_table_says_why_not() -> None:
    table = now_as_text(survey(BUDDYINFO, ZONEINFO, "2.6.32")).splitlines()
    short = BUDDYINFO, ZONEINFO.replace("free     3140", "free     140")

    assert table[1].split("  ")[-2:] != ["no", "no"]
    assert "yes, node 0 DMA32" in table[1]
    assert "no: fragmented" in table[5]
    assert now_as_text(survey(*short, "6.6")).count("no: too little free") == 22
