"""Explaining a report: why the request failed, and what would have let it pass.

Lives here: `explain`, from a report to its `Explanation`. Not here: the check of one zone
(``.zone_check``), how it is shown (``.as_text``, ``.as_json``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from faultinject.errors import UsageError
from faultinject.gfp import DMA, DMA32, HIGHMEM, Gfp
from faultinject.klog import slab_cause, vmalloc_cause
from faultinject.klog.flags import Decoded, decode
from faultinject.klog.release import Release, parse_release
from faultinject.klog.reports import FailureReport, Kind
from faultinject.klog.vmalloc_cause import failed_for_pages
from faultinject.klog.zone_check import Request, ZoneCheck, check_zone
from faultinject.mm.alloc_flags import alloc_flags
from faultinject.mm.buddy import MAX_ORDER
from faultinject.mm.built_zones import NAMES
from faultinject.mm.kernel_version import Rule
from faultinject.mm.mem_info import ZoneState

# A larger request is given up after one round of reclaim.
COSTLY_ORDER: Final = 3
# So many more free blocks are tried at most.
_MOST_BLOCKS: Final = 1 << 20


@dataclass(slots=True)
class Explanation:
    """What a report comes to.

    Attributes:
        report: what the log says.
        release: of the kernel; None if neither the log nor the caller knows it.
        flags: the request's, decoded.
        rule: the watermark rule of that kernel; None without a release.
        zones: every zone of the report, in its order.
        cause: ``fragmentation``, ``shortage``, ``zone-limit`` or ``unknown``.
        would_pass: what the other rules would have said, by name; None is unknown.
        consistent: whether the rule refuses the request as the kernel did; None is
            unknown.
        candidates: where it does not: what may be the reason.
        cures: what would have let the request pass, the smallest change first.
        findings: what a slab's or a vmalloc's own figures tell, one sentence each.
        remarks: what could not be told, and why.
    """

    report: FailureReport
    release: Release | None
    flags: Decoded
    rule: Rule | None
    zones: list[ZoneCheck] = field(default_factory=list)
    cause: str = "unknown"
    would_pass: dict[str, bool | None] = field(
        default_factory=lambda: {"direct": None, "modern": None}
    )
    consistent: bool | None = None
    candidates: list[str] = field(default_factory=list)
    cures: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def explain(report: FailureReport, *, kernel: str | None = None) -> Explanation:
    """Explain a report.

    Args:
        report: as read from a log.
        kernel: the release, where the log does not say it or is wrong.

    Raises:
        UsageError: `kernel` is no release.
    """
    remarks = list(report.remarks)
    release = _release(report, kernel, remarks)
    flags = decode(report, release)
    found = Explanation(
        report, release, flags, None if release is None else release.model.rule, remarks=remarks
    )
    if release is None:
        remarks.append(
            "no line of this report names the kernel, so its rule is not known; give --kernel"
        )
    if flags.unknown:
        remarks.append(f"flags without a known meaning: {', '.join(flags.unknown)}")
    _look_beyond_pages(found)
    request = _request(found)
    if request is None or found.rule is None:
        found.zones = [ZoneCheck(zone, "unknown", "unknown") for zone in report.zones]
        return found
    found.zones = [check_zone(zone, report.zones, request, found.rule) for zone in report.zones]
    for check in found.zones:
        if check.missing:
            where = f"node {check.zone.node} zone {check.zone.zone}"
            remarks.append(f"{where}: the answer depends on {', '.join(check.missing)}")
    if not report.zones and failed_for_pages(report):
        remarks.append("the log has no Mem-Info for this report: nothing can be checked")
    found.cause = _cause(found, request)
    found.would_pass = {rule: _passes(report, request, rule) for rule in ("direct", "modern")}
    _compare(found, request)
    if found.consistent:
        _cure(found, request)
    return found


def _release(report: FailureReport, kernel: str | None, remarks: list[str]) -> Release | None:
    if kernel is not None:
        return parse_release(kernel, option="kernel")
    if report.kernel is None:
        return None
    try:
        return parse_release(report.kernel)
    except UsageError as error:
        remarks.append(f"the log names a kernel that cannot be: {report.kernel} ({error.what})")
        return None


def _look_beyond_pages(found: Explanation) -> None:
    """Say what the figures tell that are not those of zones."""
    report = found.report
    if report.kind is Kind.SLAB:
        found.findings = slab_cause.findings(report)
        found.cures = slab_cause.cures(report)
        found.remarks += slab_cause.remarks(report)
    elif report.kind is Kind.VMALLOC:
        found.findings = vmalloc_cause.findings(report)
        found.cures = vmalloc_cause.cures(report)
        found.remarks += vmalloc_cause.remarks(report)


def _request(found: Explanation) -> Request | None:
    report, release = found.report, found.release
    if not failed_for_pages(report):
        return None
    if report.order is None and report.zones:
        found.remarks.append("the log does not tell the order of the request")
    if release is None or report.order is None or found.flags.gfp is None:
        return None
    gfp = found.flags.gfp
    if report.kind is Kind.VMALLOC and not gfp & (DMA | DMA32):
        gfp |= HIGHMEM
    # kswapd frees memory itself, and may take the last page for that. A request that may not
    # sleep is of an interrupt that came while it ran.
    may_sleep = bool(gfp & Gfp.DIRECT_RECLAIM)
    memalloc = may_sleep and bool(report.comm and report.comm.startswith("kswapd"))
    flags = alloc_flags(gfp, report.order, release.model, memalloc=memalloc)
    return Request(report.order, int(gfp), flags, release.model)


def _allowed(found: Explanation) -> list[ZoneCheck]:
    return [check for check in found.zones if check.verdict != "not-allowed"]


def _cause(found: Explanation, request: Request) -> str:
    refused = [check for check in _allowed(found) if check.verdict == "refused"]
    if any(check.has_pages for check in refused):
        return "fragmentation"
    if not refused or len(refused) < len(_allowed(found)):
        return "unknown"
    # Of a request that may use every zone nothing is kept.
    gfp = request.gfp & ~(DMA | DMA32) | HIGHMEM
    anywhere = Request(request.order, gfp, request.flags, request.model)
    beyond = [check.zone for check in found.zones if check.verdict == "not-allowed"]
    rule = request.model.rule
    if any(
        check_zone(zone, found.report.zones, anywhere, rule).verdict == "passes" for zone in beyond
    ):
        return "zone-limit"
    return "shortage"


def _passes(report: FailureReport, request: Request, rule: Rule) -> bool | None:
    verdicts = {check_zone(zone, report.zones, request, rule).verdict for zone in report.zones}
    if "passes" in verdicts:
        return True
    return None if "unknown" in verdicts or not verdicts - {"not-allowed"} else False


def _compare(found: Explanation, request: Request) -> None:
    """Say whether the rule comes to what the kernel came to, and if not, why that may be."""
    allowed = _allowed(found)
    passing = [check.zone for check in allowed if check.verdict == "passes"]
    if not passing:
        if allowed and all(check.verdict == "refused" for check in allowed):
            found.consistent = True
        return
    found.consistent = False
    found.candidates.append(
        "a race: the figures were taken after the request had failed, and memory was freed "
        "in between"
    )
    if found.flags.unknown:
        found.candidates.append("the flags whose meaning is not known")
    if request.gfp & Gfp.THISNODE or len({check.zone.node for check in found.zones}) > 1:
        found.candidates.append("the request was bound to one node, and another one has the pages")
    if request.order and any(zone.figures.get("free_pcp", 0) for zone in passing):
        found.candidates.append("pages in per-CPU lists, which no request of this order can use")
    if any("C" in letters or "I" in letters for zone in passing for letters in zone.letters):
        found.candidates.append("free pages that are isolated or kept for CMA")
    if found.report.kind is Kind.OOM:
        found.candidates.append("a limit of a memory cgroup, or of a cpuset")


def _cure(found: Explanation, request: Request) -> None:
    report, rule = found.report, request.model.rule
    largest = max(len(zone.blocks or ()) - 1 for zone in report.zones)
    largest = max(MAX_ORDER, largest)
    if request.order > largest:
        found.cures.append(f"ask for order {largest} or less: there are no larger blocks")
        return
    zones = [check.zone for check in _allowed(found)]
    best: tuple[int, str] | None = None
    for zone in zones:

        def passes(blocks: int, zone: ZoneState = zone) -> bool:
            again = check_zone(zone, report.zones, request, rule, extra_blocks=blocks)
            return again.verdict == "passes"

        blocks = _fewest(passes)
        if blocks is not None and (best is None or blocks < best[0]):
            best = blocks, zone.zone
    if best is not None:
        size = f"{best[0]} more free block{'s' if best[0] > 1 else ''} of order {request.order}"
        page_kb = zones[0].page_kb or 4
        kb = best[0] * page_kb << request.order
        found.cures.append(f"{size} ({kb} kB) in zone {best[1]}")
    if (lower := _lower_marks(found, request)) is not None:
        found.cures.append(lower)
    for name in ("GFP_ATOMIC", "GFP_KERNEL"):
        gfp = request.gfp & ~int(Gfp.RECLAIM | Gfp.IO | Gfp.FS | Gfp.HIGH)
        gfp |= int(Gfp[name.removeprefix("GFP_")])
        other = Request(
            request.order, gfp, alloc_flags(gfp, request.order, request.model), request.model
        )
        if other.flags != request.flags and _passes(report, other, rule):
            found.cures.append(f"{name}: such a request may go deeper into the reserve")
    if not request.gfp & Gfp.DIRECT_RECLAIM:
        found.cures.append(
            "a request that may sleep: it reclaims and compacts memory before it fails"
        )
    elif request.order > COSTLY_ORDER:
        found.cures.append(
            f"order {COSTLY_ORDER} or less: a larger request is given up after one round of "
            "reclaim (kvmalloc, or smaller pieces)"
        )


def _lower_marks(found: Explanation, request: Request) -> str | None:
    """Find the largest min_free_kbytes below today's with which the request passes."""
    report, rule = found.report, request.model.rule
    lowmem = [zone for zone in report.zones if zone.zone in NAMES[:3]]
    now = sum(zone.figures.get("min", 0) - zone.figures.get("boost", 0) for zone in lowmem)

    def passes(percent: int) -> bool:
        return any(
            check_zone(zone, report.zones, request, rule, scale=percent / 100).verdict == "passes"
            for zone in report.zones
        )

    percent = _first(range(99, 0, -1), passes)
    if percent is None:
        return None
    return (
        f"vm.min_free_kbytes of {now * percent // 100} instead of about {now}; but that "
        "leaves less for the requests that cannot wait"
    )


def _fewest(passes: Callable[[int], bool]) -> int | None:
    """Give the smallest number of blocks that passes; None if no number does."""
    most = 1
    while not passes(most):
        if most >= _MOST_BLOCKS:
            return None
        most *= 4
    return _first(range(most // 4 + 1, most + 1), passes)


def _first(numbers: Sequence[int], passes: Callable[[int], bool]) -> int | None:
    """Give the first number that passes, where those after it pass as well."""
    at = bisect_left(numbers, True, key=passes)
    return numbers[at] if at < len(numbers) else None
