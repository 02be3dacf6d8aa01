"""Explanations: the verdict of each zone, the cause, and what would have helped."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from kernel_texts import MODERN, OLD, OOM, SINGLE, SLUB

from faultinject.errors import UsageError
from faultinject.gfp import Gfp
from faultinject.klog.as_json import as_json, json_pieces
from faultinject.klog.as_text import as_text
from faultinject.klog.explain import Explanation, explain
from faultinject.klog.flags import decode
from faultinject.klog.reading import read_reports
from faultinject.klog.release import parse_release
from faultinject.klog.reports import FailureReport, Kind
from faultinject.klog.zonelist import reserves
from faultinject.mm.mem_info import ZoneState


def explained(text: str, kernel: str | None = None) -> Explanation:
    (report,) = read_reports(io.BytesIO(text.encode()))
    return explain(report, kernel=kernel)


def verdicts(found: Explanation) -> list[tuple[str, str | None, int | None]]:
    return [(check.verdict, check.reason, check.at_order) for check in found.zones]


def test_the_worked_example_is_refused_for_its_smaller_blocks_alone() -> None:
    found = explained(OLD)

    assert (found.rule, found.cause, found.consistent) == ("iterative", "fragmentation", True)
    assert found.flags.names == ("GFP_KERNEL", "__GFP_COMP", "__GFP_ZERO")
    assert verdicts(found) == [("refused", "reserve", None), ("refused", "below-mark", 0)]
    assert [tuple(step) for step in found.zones[1].steps] == [
        (None, 3125, 1769, True),
        (0, 765, 884, False),
    ]
    assert found.would_pass == {"direct": True, "modern": True}
    assert found.remarks == []


def test_the_smallest_change_is_the_smallest() -> None:
    found = explained(OLD)

    # 885 - 765 pages are missing after order 0; each block of order 4 brings 16.
    assert found.cures[0].startswith("8 more free blocks of order 4 (512 kB) in zone DMA32")
    (marks,) = [cure for cure in found.cures if "min_free_kbytes" in cure]
    assert any(cure.startswith("GFP_ATOMIC: ") for cure in found.cures)
    lower = int(marks.split()[2])
    assert verdict_with_min(lower / 7088) == "passes"
    assert verdict_with_min((lower + 80) / 7088) == "refused"


def test_the_smallest_number_of_blocks_is_found_however_large() -> None:
    short = OLD.replace("free:12560kB", "free:4kB").replace("free:3464kB", "free:0kB")

    found = explained(short.replace("order:4", "order:0"))

    # 1 page is free, and more than 1769 must be.
    assert found.cures[0] == "1769 more free blocks of order 0 (7076 kB) in zone DMA32"


def test_a_block_more_is_one_that_the_request_may_have() -> None:
    found = explained(MODERN.replace("0*64kB", "1*64kB (C)").replace("= 77452kB", "= 77516kB"))

    assert found.cures[0] == "1 more free block of order 4 (64 kB) in zone DMA32"


@pytest.mark.parametrize("order", [11, 99])
@pytest.mark.parametrize("kernel", ["2.6.32", "6.6"])
def test_an_order_that_no_zone_has_is_refused(order: int, kernel: str) -> None:
    found = explained(OLD.replace("order:4", f"order:{order}"), kernel)

    assert {check.verdict for check in found.zones} == {"refused"}
    assert found.consistent
    assert found.cures == ["ask for order 10 or less: there are no larger blocks"]


def test_blocks_of_more_orders_than_usual_count() -> None:
    larger = OLD.replace("0*4096kB = 12560kB", "0*4096kB 1*8192kB = 20752kB")
    larger = larger.replace("free:12560kB", "free:20752kB").replace("order:4", "order:11")

    found = explained(larger, "6.6")

    assert found.zones[1].verdict == "passes"


def test_a_request_that_cannot_wait_is_not_told_of_reclaim() -> None:
    found = explained(MODERN.replace("0x40c00(GFP_NOIO|__GFP_COMP)", "0x820(GFP_ATOMIC)"))

    assert found.cures[-1].startswith("a request that may sleep")
    assert not any("reclaim (kvmalloc" in cure for cure in found.cures)


def verdict_with_min(scale: float) -> str:
    text = OLD.replace("min:7076kB", f"min:{int(1769 * scale) * 4}kB")
    return explained(text).zones[1].verdict


def test_one_percent_less_is_found_where_it_is_enough() -> None:
    log = """\
task: page allocation failure: order:0, mode:0xcc0(GFP_KERNEL), nodemask=(null)
CPU: 0 PID: 1 Comm: task Not tainted 6.6.0 #1
Mem-Info:
Node 0 Normal free:400kB boost:0kB min:400kB low:500kB high:600kB present:65536kB
lowmem_reserve[]: 0 0
Node 0 Normal: 100*4kB (U) 0*8kB 0*16kB 0*32kB 0*64kB 0*128kB 0*256kB 0*512kB 0*1024kB \
0*2048kB 0*4096kB = 400kB
"""

    found = explained(log)

    assert found.cures[0] == "1 more free block of order 0 (4 kB) in zone Normal"
    assert found.cures[1].startswith("vm.min_free_kbytes of 396 instead of about 400;")


def test_the_walk_over_the_zones_is_told_in_its_order() -> None:
    found = explained(OLD)

    assert "may use, tried in this order: DMA32, DMA." in as_text(found)


def test_an_atomic_request_takes_from_the_reserve() -> None:
    found = explained(OLD.replace("0xc0d0", "0xc020"))

    assert found.flags.names == ("GFP_ATOMIC", "__GFP_COMP", "__GFP_ZERO")
    assert found.zones[1].verdict == "passes"
    assert found.consistent is False
    assert "race" in found.candidates[0]
    assert "THIS DOES NOT AGREE WITH THE LOG" in as_text(found)


def test_a_modern_kernel_refuses_only_for_want_of_a_block() -> None:
    found = explained(MODERN)

    assert found.rule == "modern"
    assert verdicts(found) == [("refused", "no-block", 4)] * 2
    assert (found.cause, found.would_pass["modern"]) == ("fragmentation", False)
    assert found.cures[0].startswith("1 more free block of order 4 (64 kB)")


def test_the_marks_of_a_log_include_the_boost() -> None:
    found = explained(MODERN)

    # min:25456kB holds boost:17620kB; less 16 kB of CMA and of order 4.
    assert tuple(found.zones[0].steps[0]) == (None, 19379 - 15 - 16, 6364, True)


def test_another_kernel_can_be_asked_for() -> None:
    assert explained(OLD, kernel="6.6").zones[1].verdict == "passes"
    with pytest.raises(UsageError, match="not a kernel's release"):
        explained(OLD, kernel="my kernel")


def test_without_a_release_nothing_is_guessed() -> None:
    text = OLD.replace("Pid: 15273, comm: imap Not tainted 2.6.32-41-server #88-Ubuntu\n", "")

    found = explained(text)

    assert (found.rule, found.flags.gfp, found.consistent) == (None, None, None)
    assert verdicts(found) == [("unknown", "unknown", None)] * 2
    assert any("--kernel" in remark for remark in found.remarks)
    assert explained(text, kernel="2.6.32").consistent is True


def test_a_request_for_a_low_zone_meets_the_limit_of_the_zone() -> None:
    dma = (
        "DMA free:12kB min:12kB low:12kB high:16kB\nlowmem_reserve[]: 0 1 1 1\n"
        "DMA: 3*4kB 0*8kB 0*16kB 0*32kB 0*64kB 0*128kB 0*256kB 0*512kB = 12kB\nNormal free:"
    )
    text = SINGLE.replace("0x4020", "0x4021").replace("Normal free:", dma)

    found = explained(text.replace("3755*4kB 1*8kB", "1*4kB 1878*8kB"))

    assert verdicts(found)[0] == ("refused", "below-mark", None)
    assert verdicts(found)[1] == ("not-allowed", "not-in-zonelist", None)
    assert found.cause == "zone-limit"


def test_what_is_kept_for_lower_zones_is_its_own_reason() -> None:
    text = OLD.replace("lowmem_reserve[]: 0 0 0 0", "lowmem_reserve[]: 0 0 4797 4797").replace(
        "lowmem_reserve[]: 0 3254 3254 3254", "lowmem_reserve[]: 0 3254 8052 8052"
    )

    found = explained(text)

    assert verdicts(found) == [("refused", "reserve", None)] * 2
    assert found.cause == "shortage"


def test_a_figure_that_is_cut_off_is_unknown_only_if_it_matters() -> None:
    cut = " 512*1B"
    harmless = MODERN.replace(" 0*2048kB 0*4096kB = 773980kB", cut)
    line = MODERN[MODERN.index("141767*4kB") : MODERN.index("= 773980kB")] + "= 773980kB"
    decisive = MODERN.replace(line, f"1*4kB (UME){cut}")

    # What the line before the cut leaves of the free pages is too little for a larger block.
    assert verdicts(explained(harmless))[1] == ("refused", "no-block", 4)
    found = explained(decisive)
    assert verdicts(found)[1] == ("unknown", "unknown", None)
    assert found.consistent is None
    assert any("depends on free blocks" in remark for remark in found.remarks)


def test_blocks_that_are_set_aside_are_for_atomic_requests_alone() -> None:
    text = MODERN.replace("0*64kB 0*128kB 0*256kB", "9*64kB (H) 0*128kB 0*256kB").replace(
        "= 773980kB", "= 774556kB"
    )
    atomic = text.replace("0x40c00(GFP_NOIO|__GFP_COMP)", "0x820(GFP_ATOMIC)")

    assert verdicts(explained(text))[1] == ("refused", "no-block", 4)
    assert verdicts(explained(atomic))[1] == ("passes", None, None)


def test_what_is_set_aside_and_not_told_makes_an_answer_unknown_where_it_decides() -> None:
    shown = MODERN.replace("order:4", "order:0").replace("reserved_highatomic:2048KB ", "")
    some = shown.replace("141767*4kB (UME) 25812*8kB (UME)", "141767*4kB (UMEH) 25812*8kB (MH)")

    # Of the pages in lists with an H, all may be set aside, or none.
    found = explained(some)

    assert explained(shown).zones[1].verdict == "passes"
    assert verdicts(found)[1] == ("unknown", "unknown", None)
    assert any("depends on reserved_highatomic" in remark for remark in found.remarks)


def test_kswapd_may_take_the_last_block_unless_an_interrupt_asked() -> None:
    low = MODERN.replace("free:774368kB", "free:8kB").replace("free:77516kB", "free:8kB")
    kswapd = low.replace("kworker/u32:45: page", "kswapd0: page").replace("order:4", "order:0")
    atomic = kswapd.replace("0x40c00(GFP_NOIO|__GFP_COMP)", "0x820(GFP_ATOMIC)")

    assert verdicts(explained(kswapd)) == [("passes", None, None)] * 2
    assert verdicts(explained(atomic)) == [("refused", "below-mark", None)] * 2


def test_a_reserve_is_the_one_against_the_highest_zone_that_the_flags_allow() -> None:
    def kept(reserve: tuple[int, ...], gfp: Gfp) -> frozenset[int | None]:
        dma = ZoneState(0, "DMA", 1, reserve=reserve)
        return reserves(dma, [dma, ZoneState(0, "Normal", 2)], gfp)

    assert kept((0, 5, 9), Gfp.KERNEL) == {5}  # DMA, Normal, Movable
    assert kept((0, 5, 9), Gfp.HIGHUSER_MOVABLE) == {9}
    assert kept((0, 5, 9), Gfp.KERNEL | Gfp.DMA) == {0}
    assert kept((0, 5, 9, 9), Gfp.KERNEL) == {5, 9}  # with DMA32, or with another zone


def test_a_log_without_mem_info_says_that_nothing_can_be_checked() -> None:
    found = explained(MODERN.split("Mem-Info:")[0])

    assert (found.zones, found.cause, found.consistent) == ([], "unknown", None)
    assert any("no Mem-Info" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("mode", "kernel", "gfp"),
    [
        (0xD0, "2.6.24", Gfp.KERNEL),
        (0x1200D2, "2.6.24", Gfp.HIGHUSER_MOVABLE),
        (0x200DA, "2.6.32", Gfp.HIGHUSER_MOVABLE),
        (0x20, "3.2", Gfp.ATOMIC),
        (0x50, "2.6.32", Gfp.NOFS),
        (0x10, "3.14", Gfp.NOIO),
        (0x24000C0, "4.5", Gfp.KERNEL),
        (0x2080020, "4.9", Gfp.ATOMIC),
        (0x6000C0, "4.19", Gfp.KERNEL),
        (0x480020, "4.19", Gfp.ATOMIC),
        (0xA20, "5.10", Gfp.ATOMIC),
        (0xCC0, "6.6", Gfp.KERNEL),
        (0x820, "6.6", Gfp.ATOMIC),
    ],
)
def test_a_bare_number_is_read_by_its_kernels_table(mode: int, kernel: str, gfp: Gfp) -> None:
    found = decode(FailureReport(Kind.PAGE, 1, mode=mode), parse_release(kernel))

    assert (found.gfp, found.unknown) == (gfp, ())


@pytest.mark.parametrize(
    ("release", "model"),
    [
        ("2.6.18-8.el5", "2.6.24"),
        ("2.6.31+frans2", "2.6.24"),
        ("2.6.32-41-server", "2.6.32"),
        ("3.2.0-0.bpo.1-amd64", "2.6.32"),
        ("3.10.0-1160.el7.x86_64", "3.6"),
        ("4.3.5", "3.14"),
        ("4.4.169-Sultan", "4.9"),
        ("5.10.2", "4.19"),
        ("6.1.129", "6.1"),
        ("6.14.0-rc4", "6.6"),
        ("v7.0", "6.6"),
    ],
)
def test_a_release_is_modelled_by_the_nearest_one_below(release: str, model: str) -> None:
    assert parse_release(release).model.name == model


@pytest.mark.parametrize(
    ("release", "said"),
    [
        ("0.1", "from before what can be explained"),
        ("1.2.13", "from before what can be explained"),
        ("2.4.37", "from before what can be explained"),
        ("2.6.44", "there never was such a kernel"),
        ("2.7.1", "there never was such a kernel"),
        ("3.20", "there never was such a kernel"),
        ("4.21.3", "there never was such a kernel"),
        ("5.20.0-rc1", "there never was such a kernel"),
        ("6.99", "there never was such a kernel"),
        ("66.1", "there never was such a kernel"),
    ],
)
def test_a_kernel_that_never_was_is_refused(release: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        explained(OLD, kernel=release)

    assert release in str(caught.value)
    text = OLD.replace("2.6.32-41-server", release)
    found = explained(text)
    assert (found.release, found.consistent) == (None, None)
    assert any(f"a kernel that cannot be: {release}" in remark for remark in found.remarks)


@pytest.mark.parametrize("release", ["2.6.0", "2.6.43", "3.19", "4.20", "5.19", "6.19", "7.2"])
def test_the_last_kernel_of_a_series_is_known(release: str) -> None:
    assert explained(OLD, kernel=release).release is not None


def test_flags_without_a_known_meaning_are_told() -> None:
    found = explained(MODERN.replace("__GFP_COMP", "__GFP_SOMETHING|0x40000000"))

    assert found.flags.unknown == ("__GFP_SOMETHING", "0x40000000")
    assert any("__GFP_SOMETHING, 0x40000000" in remark for remark in found.remarks)


def test_the_document_has_every_key_for_every_report() -> None:
    stream = io.BytesIO((OLD + SLUB + OOM).encode())

    document = as_json(explain(report) for report in read_reports(stream))

    assert document["schema"] == 1
    first = document["reports"][0]
    assert json.loads(json.dumps(document)) == document
    assert [report.keys() for report in document["reports"]] == [first.keys()] * 3
    assert (first["line"], first["comm"], first["mode"]) == (1, "imap", "0xc0d0")
    assert first["zones"][1]["blocks"] == [2360, 80, 21, 7, 4, 1, 2, 0, 1, 0, 0]
    assert first["zones"][1]["steps"][1] == {"order": 0, "free": 765, "min": 884, "ok": False}
    assert document["reports"][1]["zones"] == []


@pytest.mark.parametrize("log", ["", OLD, OLD + SLUB])
def test_the_pieces_of_the_document_are_the_document(log: str) -> None:
    reports = [explain(report) for report in read_reports(io.BytesIO(log.encode()))]

    assert "".join(json_pieces(reports)) == json.dumps(as_json(reports), indent=2) + "\n"


def test_the_text_is_three_sentences_and_then_the_steps() -> None:
    short, long = as_text(explained(OLD)), as_text(explained(OLD), verbose=True)

    assert "imap asked for 16 pages in one piece (64 kB) and got nothing" in short
    assert "What others would have said: modern rule: passes, direct rule: passes." in short
    assert "765 (3060 kB)" not in short
    assert "above order 0 765 (3060 kB) 884 (3536 kB) FAILS" in " ".join(long.split())
    assert "order  0     2360 x     4 kB  " + "█" * 30 in long


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (SLUB, "uses the modern rule (modelled as 6.6).\n"),
        (OLD.replace("order:4", "order:x"), "whether it refuses both zones that the request may"),
    ],
)
def test_the_text_does_not_say_that_a_zone_refuses_where_that_is_not_known(
    log: str, sentence: str
) -> None:
    text = as_text(explained(log, "6.6"))

    assert sentence in text
    assert "it refuses no zone" not in text
    assert "\n\n\n" not in text


_BESIDE = Path(__file__).parents[3] / "shared" / "data" / "dmesg"
_LOGS = Path(os.environ.get("FAULTINJECT_LOGS") or _BESIDE)
_REAL = sorted(_LOGS.glob("*.txt"))


@pytest.mark.skipif(not _REAL, reason=f"no logs: set FAULTINJECT_LOGS, or put some in {_LOGS}")
@pytest.mark.parametrize("log", _REAL, ids=lambda path: path.name)
def test_a_real_report_agrees_with_its_refusal_or_says_why_not(log: Path) -> None:
    with log.open("rb") as stream:
        found = [explain(report) for report in read_reports(stream)]

    assert found
    for each in found:
        assert each.consistent or each.candidates or each.remarks
        assert as_text(each, verbose=True)
