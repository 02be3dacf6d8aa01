"""Reading logs: the same figures whatever wrote them down, and never a wrong one."""

from __future__ import annotations

import io
import json
import random
import textwrap
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_texts import MODERN, OLD, OOM, SINGLE, SLUB, VMALLOC

from faultinject.klog import headers, reading
from faultinject.klog.as_json import as_json
from faultinject.klog.as_svg import as_svg
from faultinject.klog.as_test import as_test
from faultinject.klog.as_text import as_text
from faultinject.klog.assembly import MOST_OPEN
from faultinject.klog.explain import explain
from faultinject.klog.reading import read_reports
from faultinject.klog.reports import FailureReport, Kind


def read(text: str | bytes) -> list[FailureReport]:
    raw = text if isinstance(text, bytes) else text.encode()
    return list(read_reports(io.BytesIO(raw)))


def facts(report: FailureReport) -> tuple[object, ...]:
    """All that a report says, but for where it stands in the log."""
    zones = [
        (each.node, each.zone, each.figures, each.reserve, each.blocks, each.letters)
        for each in report.zones
    ]
    header = (report.kind, report.comm, report.order, report.mode, report.names)
    return (*header, report.kernel, report.node, report.size, report.cache, zones, report.remarks)


def prefixed(prefix: str) -> Callable[[str], str]:
    return lambda text: "".join(f"{prefix}{line}\n" for line in text.splitlines())


def coloured(text: str, escape: str = "\x1b") -> str:
    """Give what ``dmesg --color=always`` makes of it: time, first words, and the rest."""
    lines = []
    for line in text.splitlines():
        head, colon, rest = line.rpartition(": ") if ": " in line[:40] else ("", "", line)
        words = f"\x1b[33m{head}{colon}\x1b[0m" if colon else ""
        lines.append(f"\x1b[32m[  828.600750] \x1b[0m{words}\x1b[1m{rest}\x1b[0m\n")
    return "".join(lines).replace("\x1b", escape)


def as_json_lines(name: str, before: str, **others: str) -> Callable[[str], str]:
    return lambda text: "".join(
        json.dumps({**others, name: f"{before}{line}\n"}) + "\n" for line in text.splitlines()
    )


def exported(indent: str) -> Callable[[str], str]:
    return lambda text: "".join(
        f"{indent}PRIORITY=4\n{indent}_TRANSPORT=kernel\n{indent}MESSAGE={line}\n{indent}_BOOT_ID=1f\n\n"
        for line in text.splitlines()
    )


DIALECTS: dict[str, Callable[[str], str]] = {
    "dmesg --color=always": coloured,
    "colours that were made visible": lambda text: coloured(text, "^["),
    "colours that syslog made visible": lambda text: coloured(text, "#033"),
    "colours whose escape got lost": lambda text: coloured(text, ""),
    "journalctl in colour": lambda text: "".join(
        f"Mar 01 12:00:00 web-1 kernel: \x1b[0;1;38;5;185m{line}\x1b[0m\n"
        for line in text.splitlines()
    ),
    "grep --color=always": lambda text: text.replace(
        "allocation", "\x1b[01;31m\x1b[Kallocation\x1b[m\x1b[K"
    ),
    "docker compose": prefixed("web-1  | [  828.600750] "),
    "docker-compose": prefixed("\x1b[36mweb_1  |\x1b[0m [  828.600750] "),
    "docker compose without a time": prefixed("web-1   | "),
    "kubectl logs --prefix": prefixed("[pod/kmsg-x7k2p/kmsg] [  828.600750] "),
    "stern": prefixed("kmsg-x7k2p kmsg [  828.600750] "),
    "containerd": prefixed("2016-10-06T00:17:09.669794202Z stdout F [  828.600750] "),
    "Docker's json-file": as_json_lines("log", "[  828.600750] ", stream="stdout"),
    "journalctl -o json": as_json_lines("MESSAGE", "", _TRANSPORT="kernel", PRIORITY="4"),
    "journalctl -o export": exported(""),
    "journalctl -o verbose": exported("    "),
    "talosctl dmesg": prefixed("10.5.0.3: kern: warning: [2022-07-28T11:49:44.873616063Z]: "),
    "a Talos dashboard": prefixed(" kern:    info: [2023-09-26T16:38:49.109000265Z]: "),
    "pdsh": prefixed("node01: [  828.600750] "),
    "grep -n": prefixed("123:[  828.600750] "),
    "grep -Hn": prefixed("/var/log/kern.log:123:Mar  1 12:00:00 web-1 kernel: "),
    "grep -H, around a match": prefixed("kern.log-Mar  1 12:00:00 web-1 kernel: "),
    "cat -n": prefixed("   123\t[  828.600750] "),
    "tio": prefixed("[12:34:56.789] [  828.600750] "),
    "Jenkins": prefixed("[2021-03-01T12:00:00.000Z] [  828.600750] "),
    "dmesg -T in German": prefixed("[Di Mär  1 12:00:00 2011] "),
    "dmesg -T in French": prefixed("[mar. mars  1 12:00:00 2011] "),
    "dmesg -H in German at a new minute": prefixed("[Mär 1 12:00] "),
    "journalctl in French": prefixed("févr. 01 12:00:00 web-1 kernel: "),
    "journalctl in Japanese": prefixed("3月 01 12:00:00 web-1 kernel: "),
    "syslog without a date": prefixed("kernel:[  828.600750] "),
    "quoted with bars": prefixed("| [  828.600750] "),
    "a forum": lambda text: "".join(
        f"[COLOR=#2e3436][FONT=monospace][SIZE=2]Jun 21 06:16:24 web-1 kernel: [78872.489146] "
        f"{line}[/SIZE][/FONT][/COLOR]\n"
        for line in text.splitlines()
    ),
    "dmesg": prefixed("[  828.600750] "),
    "dmesg of a long uptime": prefixed("[2121803.239645] "),
    "dmesg with callers": prefixed("[  828.600750][ T5241] "),
    "dmesg with CPUs": prefixed("[  828.600750][    C3] "),
    "dmesg -T": prefixed("[Tue Mar  1 12:00:00 2011] "),
    "dmesg -x": prefixed("kern  :warn  : [399719.313562] "),
    "dmesg --raw": prefixed("<4>[399719.313562] "),
    "/dev/kmsg": prefixed("4,1234,5678901234,-;"),
    "netconsole": prefixed("<4>"),
    "syslog": prefixed("Mar  1 12:00:00 web-1 kernel: "),
    "syslog with dmesg's time": prefixed("Mar 11 12:00:00 web-1 kernel: [399719.313562] "),
    "rsyslog": prefixed("2011-03-01T12:00:00.123456+00:00 web-1 kernel: [399719.313562] "),
    "RFC 5424": prefixed("<4>1 2011-03-01T12:00:00.1Z web-1 kernel - - - "),
    "journalctl -o short-iso": prefixed("2011-03-01T12:00:00+0100 web-1 kernel: "),
    "journalctl -o short-monotonic": prefixed("[399719.313562] web-1 kernel: "),
    "journalctl -o short-precise": prefixed("Mar 01 12:00:00.123456 web-1 kernel: "),
    "journalctl -o short-full": prefixed("Tue 2011-03-01 12:00:00 CET web-1 kernel: "),
    "journalctl -o short-unix": prefixed("1298977200.123456 web-1 kernel: "),
    "dmesg --time-format=iso": prefixed("2011-03-01T12:00:00,123456+01:00 "),
    "dmesg -d": prefixed("[  828.600750 <    0.000003>] "),
    "dmesg -H": prefixed("[  +0.000003] "),
    "dmesg -H at a new minute": prefixed("[Mar 1 12:00] "),
    "dmesg -x with callers": prefixed("kern  :warn  : [  828.600750] [ T5241] "),
    "busybox": prefixed("Mar  1 12:00:00 web-1 user.warn kernel: [  828.600750] "),
    "OpenWrt": prefixed("Tue Mar  1 12:00:00 2011 kern.warn kernel: [  828.600750] "),
    "rsyslog with priorities": prefixed("kern.warning: Mar  1 12:00:00 web-1 kernel: "),
    "a container's log": prefixed("2011-03-01T12:00:00.123456789Z [  828.600750] "),
    "Android's kernel": prefixed("<4>[  828.600750] c2   5241 "),
    "Android's logcat": prefixed("01-01 12:00:00.123     0     0 W         : "),
    "indented": prefixed("    [  828.600750] "),
    "indented, and nothing else": prefixed("    "),
    "indented by a tab": prefixed("\t"),
    "quoted in a mail": prefixed("> "),
    "quoted twice": prefixed(">> > [  828.600750] "),
    "of Windows": lambda text: text.replace("\n", "\r\n"),
    "without an end": lambda text: text.rstrip("\n"),
    "wrapped by a mailer": lambda text: (
        "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, 72) or [""])
        + "\n"
    ),
    "wrapped behind the time": lambda text: "".join(
        f"[  828.600750] {chr(10).join(textwrap.wrap(line, 60))}\n" for line in text.splitlines()
    ),
    "in the middle of others": lambda text: "".join(
        f"[  828.6] {line}\n[  828.6] usb 1-1: new high-speed USB device number 7 kB\n"
        for line in text.splitlines()
    ),
}


@pytest.mark.parametrize("kernel", [OLD, SINGLE, MODERN], ids=["2.6.32", "3.2", "6.8"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_says_the_same(kernel: str, dialect: str) -> None:
    (plain,) = read(kernel)

    (report,) = read(DIALECTS[dialect](kernel))

    assert facts(report) == facts(plain)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_report_says_the_same_however_many_came_before_it(dialect: str) -> None:
    once = DIALECTS[dialect](OLD + MODERN)

    found = read(once.removesuffix("\n") + "\n" if dialect == "without an end" else once * 6)

    assert [facts(report) for report in found] == [facts(*read(OLD)), facts(*read(MODERN))] * (
        len(found) // 2
    )
    assert [report.line for report in found[-2:]] == [
        report.line + (len(found) // 2 - 1) * once.count("\n") for report in read(once)
    ]


def test_an_old_report_is_read_to_the_last_figure() -> None:
    (report,) = read(OLD)

    assert (report.kind, report.line, report.comm, report.order) == (Kind.PAGE, 1, "imap", 4)
    assert (report.mode, report.names) == (0xC0D0, ())
    assert report.kernel == "2.6.32-41-server"
    dma, dma32 = report.zones
    assert (dma.zone, dma.line, dma.reserve) == ("DMA", 11, (0, 3254, 3254, 3254))
    assert (dma32.node, dma32.zone) == (0, "DMA32")
    assert dma32.figures["free"] == 12560
    assert (dma32.figures["min"], dma32.figures["isolated(anon)"]) == (7076, 0)
    assert "pages_scanned" not in dma32.figures  # no kB
    assert dma32.blocks == (2360, 80, 21, 7, 4, 1, 2, 0, 1, 0, 0)
    assert (dma32.page_kb, dma32.total_kb) == (4, 12560)
    assert report.remarks == []


def test_a_modern_report_is_read_with_flags_boost_and_migrate_types() -> None:
    (report,) = read(MODERN)

    assert (report.comm, report.kernel) == ("kworker/u32:45", "6.8.0-rc3-default")
    assert report.names == ("GFP_NOIO", "__GFP_COMP")
    dma32, normal = report.zones
    assert (dma32.figures["boost"], normal.figures["reserved_highatomic"]) == (17620, 2048)
    assert dma32.letters == ("UME", "UME", "UME", "U", *[""] * 7)


def test_slabs_vmalloc_and_the_oom_killer_report_as_well() -> None:
    slab, vmalloc, oom = read(SLUB + VMALLOC + OOM)

    assert (slab.kind, slab.node, slab.mode, slab.cache) == (
        Kind.SLAB,
        -1,
        0x820,
        "skbuff_small_head",
    )
    assert (vmalloc.kind, vmalloc.comm, vmalloc.size) == (Kind.VMALLOC, "modprobe", 1189956)
    assert (oom.kind, oom.order, oom.kernel) == (Kind.OOM, 0, "5.3.0-rc1+")


def test_several_reports_keep_their_own_figures() -> None:
    found = read(DIALECTS["dmesg"](OLD) + "[ 1.0] something else\n" + DIALECTS["dmesg"](MODERN))

    assert [facts(report) for report in found] == [facts(*read(OLD)), facts(*read(MODERN))]


def test_two_tasks_that_print_at_once_are_told_apart_where_the_log_names_them() -> None:
    lines = [
        f"[  1.0][ {task}] {line}\n"
        for pair in zip(
            MODERN.splitlines(),
            MODERN.replace("kworker/u32:45", "md5sum").replace("774368kB", "5kB").splitlines(),
            strict=True,
        )
        for task, line in zip(("T1", "T2"), pair, strict=True)
    ]

    one, two = read("".join(lines))

    assert facts(one) == facts(*read(MODERN))
    assert (two.comm, two.zones[1].figures["free"]) == ("md5sum", 5)


def test_two_tasks_are_told_apart_however_many_reports_came_before() -> None:
    before = prefixed("[  1.0][ T1] ")(OLD) * 4
    first = prefixed("[  1.0][ T1] ")(MODERN).splitlines(keepends=True)
    second = prefixed("[  1.0][ T2] ")(MODERN.replace("77516kB", "8kB")).splitlines(keepends=True)
    # In the middle of the zones of one the other goes on: behind a zone and its reserve.
    at = next(at for at, line in enumerate(first) if "Normal free:" in line)
    lines = first[:at] + second[: at - 1] + first[at:] + second[at - 1 :]

    *_, one, two = read(before + "".join(lines))

    assert facts(one) == facts(*read(MODERN))
    assert [zone.figures["free"] for zone in two.zones] == [8, 774368]
    assert [zone.reserve for zone in two.zones] == [zone.reserve for zone in one.zones]


def test_two_tasks_that_cannot_be_told_apart_are_remarked_on() -> None:
    header = OLD.splitlines(keepends=True)[0]

    first, second = read(header + OLD.replace("imap", "pop3"))

    assert first.zones == []
    assert "line 1 has no memory figures before this one begins" in second.remarks[0]


def test_a_slab_report_between_a_header_and_its_figures_takes_none_of_them() -> None:
    header, rest = MODERN.split("Mem-Info:")

    page, slab = read(header + SLUB + "Mem-Info:" + rest)

    assert facts(page) == facts(*read(MODERN))
    assert (slab.kind, slab.zones) == (Kind.SLAB, [])


@pytest.mark.parametrize(
    "line",
    [
        "grep: page allocation stalls for 10047ms, order:0, mode:0x14000c0(GFP_KERNEL)",
        "sysrq: Show Memory",
        "SysRq : Show Memory",
    ],
)
def test_the_figures_of_something_else_are_nobodys(line: str) -> None:
    header = MODERN.splitlines()[0]
    figures = MODERN[MODERN.index("Mem-Info:") :]

    (report,) = read(f"{header}\n{line}\n{figures}")

    assert (report.comm, report.zones) == ("kworker/u32:45", [])


def test_the_release_of_the_boot_stands_in_for_one_that_a_report_does_not_name() -> None:
    (report,) = read("[ 0.0] Linux version 4.9.0-3-amd64 (builder@host)\n[ 9.0] " + SLUB)

    assert report.kernel == "4.9.0-3-amd64"


def test_a_line_that_only_quotes_a_report_begins_none() -> None:
    assert read("Subject: Re: why does it say " + OLD.splitlines()[0] + "\n") == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("imap: page allocation failure. order:4, mo", "the header is cut"),
        ("SLUB: Unable to allocate memory on no", "the header is cut"),
        ("x invoked oom-killer: gfp_ma", "the header has no order"),
        ("modprobe: vmalloc error: size 12, mode:", "the header has no gfp flags"),
    ],
)
def test_a_header_that_is_cut_is_a_report_that_says_so(line: str, said: str) -> None:
    (report,) = read(line + "\n")

    assert (report.order, report.mode) == (None, None)
    assert said in report.remarks[0]


def test_the_end_of_the_text_in_a_figure_is_remarked_on() -> None:
    whole = DIALECTS["without an end"](OLD.splitlines()[0])

    assert "line 1" in read(whole)[0].remarks[0]
    assert read(whole + "\n")[0].remarks == []


def test_a_line_that_a_console_cut_off_gives_the_figures_before_the_cut() -> None:
    text = MODERN.replace("0*1024kB 0*2048kB 0*4096kB = 77452kB", "0*1B")

    (report,) = read(text)

    assert report.zones[0].blocks == (9173, 3963, 556, 5, 0, 0, 0, 0, None, None, None)
    assert "8 orders: the end of the line is cut" in report.remarks[0]


def test_blocks_that_do_not_add_up_are_remarked_on() -> None:
    (report,) = read(OLD.replace("2360*4kB", "2361*4kB"))

    assert report.remarks == [
        "node 0 zone DMA32 has free blocks of 12564 kB in all, and the log says 12560 kB"
    ]


def test_a_reserve_that_lost_its_zone_goes_to_no_other() -> None:
    lines = OLD.splitlines(keepends=True)
    del lines[12]  # DMA32's figures

    (report,) = read("".join(lines))

    assert report.zones[0].reserve == (0, 3254, 3254, 3254)
    assert "follows no zone" in report.remarks[0]


def test_pages_of_64_kb_are_told_by_their_blocks() -> None:
    text = SINGLE.replace("Normal: 3755*4kB", "Normal: 3*64kB 4*128kB = 704kB\nold: 1*4kB")

    (report,) = read(text)

    assert (report.zones[0].page_kb, report.zones[0].blocks) == (64, (3, 4))


def test_line_breaks_that_a_console_escaped_are_line_breaks() -> None:
    (report,) = read(
        prefixed("[ 1.0] ")(MODERN.replace("isolated_anon:0\n", "isolated_anon:0\\x0a"))
    )

    assert facts(report) == facts(*read(MODERN))


def test_escaped_line_breaks_between_zones_are_line_breaks_after_other_reports() -> None:
    zones = MODERN.replace("\nNode 0 Normal free", "\\x0aNode 0 Normal free")

    *_, report = read(prefixed("[ 1.0] ")(MODERN) * 4 + prefixed("[ 1.0] ")(zones))

    assert [zone.figures["free"] for zone in report.zones] == [77516, 774368]
    assert len(report.zones[0].reserve or ()) == 5


@pytest.mark.parametrize("trigger", headers.TRIGGERS)
def test_no_part_of_a_log_is_passed_over_that_may_begin_a_report(trigger: str) -> None:
    line = f"{trigger} 1"

    assert not reading._says_nothing(line.encode())
    assert reading._MAY_BEGIN.search(line)


def test_memory_stays_bounded_by_what_is_open() -> None:
    reader = reading._Reader()
    reader.feed(OLD * 300, 1)

    assert len(reader.assembly.open) <= MOST_OPEN + 1
    reader.end(cut=False)
    assert len(reader.assembly.finished) == 300


TEXTS = [OLD, SINGLE, MODERN, SLUB, VMALLOC, OOM]


@settings(max_examples=150, deadline=None)
@given(
    text=st.sampled_from([OLD, SINGLE, MODERN]),
    at=st.integers(0, 2500),
    dialect=st.sampled_from(sorted(DIALECTS)),
)
def test_a_log_that_is_cut_anywhere_gives_no_wrong_figure(text: str, at: int, dialect: str) -> None:
    (whole,) = read(text)
    raw = DIALECTS[dialect](text)[:at]

    for report in read(raw):
        cut = any("may be cut" in remark for remark in report.remarks)
        assert cut or report.order in (None, whole.order)
        assert cut or report.mode in (None, whole.mode)
        for zone in report.zones:
            (same,) = [each for each in whole.zones if each.zone == zone.zone]
            assert zone.figures.items() <= same.figures.items()
            assert cut or zone.reserve in (None, same.reserve)
            for count, right in zip(zone.blocks or (), same.blocks or (), strict=False):
                assert count in (None, right)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), noise=st.binary(max_size=200))
def test_shuffled_and_binary_input_never_breaks_it(seed: int, noise: bytes) -> None:
    rng = random.Random(seed)
    lines = [line.encode() + b"\n" for text in TEXTS for line in text.splitlines()]
    rng.shuffle(lines)
    raw = b"".join(lines)
    at = rng.randrange(len(raw))

    found = read(raw[:at] + noise + raw[at:])

    assert len(found) <= len(TEXTS) + raw.count(b"failure") + noise.count(b"failure")
    explained = [explain(report) for report in found]
    compile(as_test(explained), "test_log.py", "exec")
    json.dumps(as_json(explained))
    as_svg(explained)
    assert all(as_text(each, verbose=True) for each in explained)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), dialect=st.sampled_from(sorted(DIALECTS)))
def test_lines_that_are_read_at_once_say_what_they_say_one_by_one(seed: int, dialect: str) -> None:
    rng = random.Random(seed)
    lines = DIALECTS[dialect]((OLD + SLUB + MODERN + SINGLE + VMALLOC) * 4).splitlines(True)
    for _ in range(rng.randrange(12)):
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        line = lines[at]
        lines[at : at + rng.randrange(2)] = rng.choice(
            [
                [],
                [line, lines[other]],
                [line[: rng.randrange(len(line))] + "\n"],
                [line[rng.randrange(len(line)) :]],
                [line.rstrip("\n")],
                [line.replace(" ", "\n", rng.randrange(9))],
                [line.replace("0", "1"), "--\n"],
            ]
        )
    raw = "".join(lines)

    quick = read(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading._Reader, "_shape_for", lambda self, prefix: None)
        slow = read(raw)

    assert quick == slow


def test_a_line_without_end_is_no_line() -> None:
    endless = b"x" * (3 << 20)

    found = read(endless + b"\n" + OLD.encode())

    assert [facts(report) for report in found] == [facts(*read(OLD))]
    assert found[0].line == 2
