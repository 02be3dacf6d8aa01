"""What the model memory logs is a log: `explain` reads it, and comes to the same."""

from __future__ import annotations

import io

import pytest

import faultinject as fi
from faultinject.klog.explain import explain
from faultinject.klog.reading import read_reports
from faultinject.klog.reports import FailureReport, Kind
from faultinject.mm.kernel_version import VERSIONS
from faultinject.mm.marks import in_kb

KERNELS = [name for name in VERSIONS if name != "2.0"]
LIGHT = fi.Gfp.NORETRY


def reports(caplog: pytest.LogCaptureFixture) -> list[FailureReport]:
    return list(read_reports(io.BytesIO("\n".join(caplog.messages).encode() + b"\n")))


def shape(memory: fi.Memory, pressure: str) -> None:
    if pressure == "in pieces":
        memory.fragment(3)
    elif pressure == "short":
        memory.consume(leave="min")
    else:
        memory.consume(leave="4M")
        memory.fragment(4)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("zones", ["x86_64", "x86_32"])
@pytest.mark.parametrize("pressure", ["in pieces", "short", "both"])
@pytest.mark.parametrize(
    ("gfp", "order"),
    [
        (fi.GFP_KERNEL, 4),
        (fi.GFP_KERNEL | fi.Gfp.COMP | fi.Gfp.ZERO, 5),
        (fi.GFP_ATOMIC, 5),
        (fi.GFP_NOWAIT, 4),
        (fi.GFP_KERNEL | fi.GFP_DMA, 6),
        (fi.GFP_HIGHUSER_MOVABLE, 9),
    ],
)
def test_a_refusal_is_read_back_with_the_same_figures_and_the_same_verdict(
    kernel: str,
    zones: str,
    pressure: str,
    gfp: int,
    order: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = fi.Memory("64M", zones=zones, kernel=kernel)
    shape(memory, pressure)

    while memory.alloc_pages(gfp | LIGHT, order) is not None:
        pass

    (report,) = reports(caplog)
    assert (report.kind, report.comm, report.order) == (Kind.PAGE, "MainThread", order)
    assert (report.kernel, report.remarks) == (kernel, [])
    assert [zone.zone for zone in report.zones] == list(memory.zones)
    for read, zone in zip(report.zones, memory.zones.values(), strict=True):
        pages = (zone.free, zone.min, zone.low, zone.high, zone.pages)
        names = ("free", "min", "low", "high", "present")
        assert [read.figures[name] for name in names] == [in_kb(count) for count in pages]
        assert read.reserve == zone.lowmem_reserve
        assert read.blocks == tuple(zone.blocks())
    found = explain(report)
    assert found.flags.gfp == int(gfp | LIGHT)
    assert found.flags.unknown == ()
    assert found.rule == memory.watermark_rule
    assert found.consistent is True, found


@pytest.mark.parametrize("kernel", KERNELS[1:])
def test_a_cache_that_got_no_slab_is_two_reports(
    kernel: str, caplog: pytest.LogCaptureFixture
) -> None:
    memory = fi.Memory("16K", kernel=kernel, min_free_kbytes=0)

    while memory.kmalloc(4096, fi.GFP_ATOMIC) is not None:
        pass

    pages, slab = reports(caplog)
    assert (pages.kind, pages.order) == (Kind.PAGE, 0)
    assert slab.kind is Kind.SLAB
    assert slab.cache in ("kmalloc-4k", "kmalloc-4096")
    assert explain(pages).cause == "shortage"


def test_the_line_of_our_own_begins_no_report(caplog: pytest.LogCaptureFixture) -> None:
    memory = fi.Memory("64K")
    memory.alloc_pages(fi.GFP_KERNEL, 5)

    (report,) = reports(caplog)

    lines = caplog.messages[0].splitlines()
    assert lines[0].startswith("faultinject: memory is exhausted")
    assert report.line == 1 + sum(line.startswith("faultinject: ") for line in lines)
