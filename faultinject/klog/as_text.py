"""Explanations as text for a terminal: three sentences first, then as much as is wanted.

Lives here: the wording. Not here: what is true (`faultinject.klog.explain`).
"""

from __future__ import annotations

from typing import Final

from faultinject.klog import vmalloc_cause
from faultinject.klog.explain import Explanation
from faultinject.klog.reports import Kind
from faultinject.klog.vmalloc_cause import failed_for_pages
from faultinject.klog.zone_check import ZoneCheck
from faultinject.mm.built_zones import NAMES
from faultinject.mm.mem_info import ZoneState

_CAUSES: Final = {
    "fragmentation": "fragmentation: there was enough free memory, but not in large enough pieces",
    "shortage": "a real shortage: too little memory was free in every zone that it may use",
    "zone-limit": "the zone: other zones had free memory, and the request may not use them",
    "unknown": "not known from this log",
}
_REASONS: Final = {
    "no-block": "no free block is large enough",
    "below-mark": "below the watermark",
    "reserve": "kept for requests that cannot go to a higher zone",
    "not-in-zonelist": "the request may not use it",
    "unknown": "the log does not tell",
}
_BAR: Final = 30
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def as_text(found: Explanation, *, verbose: bool = False) -> str:
    """Give an explanation as lines of text.

    Args:
        found: the explanation.
        verbose: with every step of every check, and the free blocks as bars.
    """
    lines = [_headline(found), "", *(f"  {line}" for line in _sentences(found))]
    if found.zones:
        lines += ["", *(f"  {_zone_line(check)}" for check in found.zones)]
    if verbose:
        for check in found.zones:
            lines += ["", *(f"  {line}" for line in _details(check))]
    lines += _listed("What would have let it pass (the smallest change first):", found.cures)
    lines += _listed("What may be the reason for the difference:", found.candidates)
    lines += _listed("What this rests on:", found.remarks)
    return "\n".join(lines).rstrip() + "\n"


def _headline(found: Explanation) -> str:
    report = found.report
    what = f"order {report.order}" if report.order is not None else report.cache
    if report.kind is Kind.VMALLOC:
        what = "" if report.size is None else f"{report.size} bytes"
    flags = "|".join(found.flags.names) or ("flags not known" if report.mode is None else "")
    mode = "" if report.mode is None else f"{report.mode:#x} "
    return (
        f"line {report.line}: {report.kind.value}: {report.comm or 'unknown task'}, "
        + ", ".join(
            part for part in (what or "", f"{mode}{f'({flags})' if flags else ''}".strip()) if part
        )
    )


def _sentences(found: Explanation) -> list[str]:
    report = found.report
    lines = [_asked(found), *(f"{said[0].upper()}{said[1:]}." for said in found.findings)]
    if not failed_for_pages(report):
        return lines
    if found.rule is not None and found.release is not None:
        lines.append(f"{_rule_sentence(found)}")
    if found.consistent is False:
        lines.append(
            "THIS DOES NOT AGREE WITH THE LOG: by the figures it shows, the request passes."
        )
    elif found.consistent:
        other = [name for name in ("modern", "direct") if name != found.rule]
        said = [f"{name} rule: {_answer(found.would_pass[name])}" for name in other]
        lines.append(f"What others would have said: {', '.join(said)}.")
    return lines


def _asked(found: Explanation) -> str:
    report = found.report
    asked = f"{report.comm or 'A task'} asked for"
    if report.kind is Kind.SLAB:
        where = "" if report.node in (None, -1) else f" on node {report.node}"
        what = "an object" if report.cache is None else f"an object of {report.cache}"
        return f"{asked} {what}{where} and got nothing: the cache got no pages for a new slab."
    if report.kind is Kind.VMALLOC:
        size = "memory" if report.size is None else f"{report.size} bytes"
        asked += f" {size} of vmalloc and got nothing: {vmalloc_cause.why(report)}"
        if not failed_for_pages(report) or found.cause == "unknown":
            return f"{asked}."
        return f"{asked}; the cause is {_CAUSES[found.cause]}."
    if report.order is None:
        return f"{asked} memory and got nothing; the log does not say how many pages in one piece."
    pages = 1 << report.order
    size = f"{_page_kb(found) * pages} kB"
    pieces = "s in one piece" if pages > 1 else ""
    return (
        f"{asked} {pages} page{pieces} ({size}) and got nothing; the cause is "
        f"{_CAUSES[found.cause]}."
    )


def _rule_sentence(found: Explanation) -> str:
    assert found.release is not None
    tried = [check for check in found.zones if check.verdict != "not-allowed"]
    refused = sum(check.verdict == "refused" for check in tried)
    unknown = sum(check.verdict == "unknown" for check in tried)
    said = (
        f"Linux {found.release.text} uses the {found.rule} rule (modelled as "
        f"{found.release.model.name})"
    )
    if not tried:
        return f"{said}."
    if unknown == len(tried):
        zones = f"{_share(unknown, unknown)} that the request may use"
        return f"{said}; whether it refuses {zones}, the log does not tell."
    said += f"; it refuses {_share(refused, len(tried))} that the request may use{_walk(tried)}"
    return f"{said}; of {unknown} the log does not tell enough." if unknown else f"{said}."


def _walk(tried: list[ZoneCheck]) -> str:
    if len(tried) < 2:
        return ""
    names = sorted({check.zone.zone for check in tried}, key=NAMES.index, reverse=True)
    each = " on each node" if len({check.zone.node for check in tried}) > 1 else ""
    return f", tried in this order{each}: {', '.join(names)}"


def _share(refused: int, tried: int) -> str:
    if tried == 1:
        return "the only zone" if refused else "no zone"
    if refused == tried:
        return "both zones" if tried == 2 else f"all {tried} zones"
    return f"{refused or 'none'} of the {tried} zones"


def _answer(passes: bool | None) -> str:
    return {True: "passes", False: "refused", None: "not known"}[passes]


def _zone_line(check: ZoneCheck) -> str:
    zone = check.zone
    free = zone.figures.get("free")
    least = zone.figures.get("min")
    said = f"{_REASONS[check.reason]}" if check.reason is not None else ""
    if check.at_order is not None and check.reason == "below-mark":
        said += f" at order {check.at_order}"
    return (
        f"Node {zone.node} {zone.zone:<8} free {_kb(free):>12}  min {_kb(least):>11}  "
        f"{check.verdict}{f': {said}' if said else ''}"
    )


def _details(check: ZoneCheck) -> list[str]:
    lines = [f"Node {check.zone.node} {check.zone.zone}"]
    if check.detail is not None:
        lines += [f"  {line}" for line in str(check.detail).splitlines()]
    if check.zone.blocks is not None:
        lines += [f"  {line}" for line in free_blocks(check.zone)]
    return lines


def free_blocks(zone: ZoneState) -> list[str]:
    """Draw a zone's free blocks: a bar for each order, as long as its share of the memory."""
    page_kb = zone.page_kb or 4
    sizes = [
        None if count is None else count * page_kb << order
        for order, count in enumerate(zone.blocks or ())
    ]
    most = max((size for size in sizes if size), default=0)
    lines = []
    for order, (size, count) in enumerate(zip(sizes, zone.blocks or (), strict=True)):
        if size is None:
            lines.append(f"order {order:>2}  not in the log")
            continue
        eighths = -(-size * _BAR * 8 // most) if most else 0
        bar = _EIGHTHS[8] * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
        lines.append(f"order {order:>2}  {count:>7} x {page_kb << order:>5} kB  {bar}".rstrip())
    return lines


def _listed(title: str, lines: list[str]) -> list[str]:
    return ["", f"  {title}", *(f"  - {line}" for line in lines)] if lines else []


def _kb(value: int | None) -> str:
    return "not told" if value is None else f"{value} kB"


def _page_kb(found: Explanation) -> int:
    return next((check.zone.page_kb for check in found.zones if check.zone.page_kb), 4)
