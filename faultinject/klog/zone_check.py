"""The check of one zone: the watermark rule on the figures that a log has.

Lives here: `ZoneCheck`, and what to assume where a figure is missing: everything that it
could be, so that an answer is given only if all come to the same. Not here: the rules
(`faultinject.mm.watermark_rules`), what the zones come to together (``.explain``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Final

from faultinject.gfp import Gfp
from faultinject.klog.zonelist import is_allowed, reserves
from faultinject.mm.alloc_flags import NO_WATERMARKS
from faultinject.mm.buddy import ORDERS
from faultinject.mm.kernel_version import KernelVersion, Rule
from faultinject.mm.mem_info import ZoneState
from faultinject.mm.migrate import HIGHATOMIC, TYPES, UNMOVABLE
from faultinject.mm.watermark import Step, Verdict
from faultinject.mm.watermark_rules import RawStep, steps

# An operator of an enum costs a microsecond, and this runs for each thing that is tried.
_MOVABLE: Final = int(Gfp.MOVABLE)

# The letters of blocks that ordinary requests may take.
_ORDINARY: Final = frozenset("UMER")


@dataclass(frozen=True, slots=True)
class Request:
    """What a report's task asked for.

    Attributes:
        order: of the pages.
        gfp: with today's values.
        flags: alloc_flags of its last try.
        model: the modelled kernel.
    """

    order: int
    gfp: int
    flags: int
    model: KernelVersion


@dataclass(frozen=True, slots=True)
class ZoneCheck:
    """What the rule says of one zone.

    Attributes:
        zone: its figures.
        verdict: ``refused``, ``passes``, ``not-allowed``, or ``unknown``.
        reason: why refused: ``no-block``, ``below-mark``, ``reserve``; of one that is not
            allowed ``not-in-zonelist``; ``unknown`` where the log does not tell; or None.
        at_order: the order at which it was refused; None for the count of all pages.
        detail: every step; None where there was nothing to check.
        missing: figures that the log lacks and the answer depends on.
    """

    zone: ZoneState
    verdict: str
    reason: str | None = None
    at_order: int | None = None
    detail: Verdict | None = None
    missing: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every comparison, in pages."""
        return () if self.detail is None else self.detail.steps

    @property
    def has_pages(self) -> bool:
        """Whether the zone had pages enough, were they only in the right blocks."""
        return bool(self.steps) and self.steps[0].order is None and self.steps[0].ok


def check_zone(
    zone: ZoneState,
    zones: Iterable[ZoneState],
    request: Request,
    rule: Rule,
    *,
    scale: float = 1.0,
    extra_blocks: int = 0,
) -> ZoneCheck:
    """Check one zone.

    Args:
        zone: of `zones`.
        zones: all that the report has.
        request: what was asked for.
        rule: the watermark rule.
        scale: of the marks, as if min_free_kbytes had been so many times as large.
        extra_blocks: as if so many more blocks of the request's order were free.
    """
    if not is_allowed(zone, request.gfp):
        return ZoneCheck(zone, "not-allowed", "not-in-zonelist")
    missing = [name for name in ("free", "min") if name not in zone.figures]
    if missing:
        return ZoneCheck(zone, "unknown", "unknown", missing=tuple(missing))
    kept = reserves(zone, list(zones), request.gfp)
    if kept == {None}:
        missing.append("lowmem_reserve")
    found = []
    assumed = product(
        sorted({0 if each is None else each for each in kept}),
        _set_aside(zone, request, rule),
        _possible_blocks(zone, request.order),
    )
    for reserve, set_aside, blocks in assumed:
        found.append(_check(zone, request, rule, reserve, set_aside, blocks, scale, extra_blocks))
    verdicts = {each.verdict for each in found}
    if len(verdicts) == 1 and not (missing and verdicts == {"passes"}):
        return found[0]
    if len(kept) > 1:
        missing.append("the zones that the kernel was built with")
    if zone.blocks is None or None in zone.blocks:
        missing.append("free blocks")
    if len(_set_aside(zone, request, rule)) > 1:
        missing.append("reserved_highatomic")
    return ZoneCheck(zone, "unknown", "unknown", missing=tuple(missing))


def _check(
    zone: ZoneState,
    request: Request,
    rule: Rule,
    reserve: int,
    set_aside: int,
    blocks: list[int],
    scale: float,
    extra_blocks: int,
) -> ZoneCheck:
    page_kb = zone.page_kb or 4
    boost = zone.figures.get("boost", 0) // page_kb
    mark = int((zone.figures["min"] // page_kb - boost) * scale)
    free = zone.figures["free"] // page_kb + (extra_blocks << request.order)
    if not request.gfp & _MOVABLE:
        free -= zone.figures.get("free_cma", 0) // page_kb
    counts = _by_type(zone, request, rule, blocks)
    counts[UNMOVABLE][request.order] += extra_blocks
    raw: list[RawStep]
    if request.flags & NO_WATERMARKS:
        # Nothing counts but whether a block is there: the first one, or the last order's none.
        pages = [sum(each[order] for each in counts) << order for order in range(len(blocks))]
        found = [order for order in range(request.order, len(blocks)) if pages[order]]
        order = found[0] if found else len(blocks) - 1
        raw = [(order, pages[order], 0, bool(found))]
    else:
        raw = steps(
            rule,
            free,
            counts,
            request.order,
            mark,
            request.flags,
            reserve,
            set_aside,
            boost,
            request.model,
        )
    detail = Verdict(rule, request.order, mark + boost, reserve, tuple(Step(*each) for each in raw))
    if detail:
        return ZoneCheck(zone, "passes", None, None, detail)
    last = detail.steps[-1]
    has_block = any(each[order] for each in counts for order in range(request.order, len(blocks)))
    if last.order is None:
        reason = "reserve" if last.free > last.min else "below-mark"
        return ZoneCheck(zone, "refused", reason, None, detail)
    # The modern rule looks for a block that this very request may have, and finds none.
    if rule == "modern" or not has_block:
        return ZoneCheck(zone, "refused", "no-block", request.order, detail)
    return ZoneCheck(zone, "refused", "below-mark", last.order, detail)


def _by_type(zone: ZoneState, request: Request, rule: Rule, blocks: list[int]) -> list[list[int]]:
    """Sort free blocks by who may take them; the log gives a number for all types together."""
    counts = [[0] * len(blocks) for _ in TYPES]
    usable = _ORDINARY | ({"C"} if request.gfp & _MOVABLE else set())
    for order, count in enumerate(blocks):
        letters = zone.letters[order] if order < len(zone.letters) else ""
        if rule == "iterative" or not letters or usable & set(letters):
            counts[UNMOVABLE][order] = count
        elif "H" in letters:
            counts[HIGHATOMIC][order] = count
    return counts


def _set_aside(zone: ZoneState, request: Request, rule: Rule) -> list[int]:
    """Give the pages set aside for atomic requests, or the least and most they can be."""
    page_kb = zone.page_kb or 4
    if "reserved_highatomic" in zone.figures:
        return [zone.figures["reserved_highatomic"] // page_kb]
    if rule != "modern" or not request.model.highatomic:
        return [0]
    most = sum(
        (zone.blocks[order] or 0) << order
        for order, letters in enumerate(zone.letters)
        if "H" in letters and zone.blocks is not None
    )
    return [0, most] if most else [0]


def _possible_blocks(zone: ZoneState, order: int) -> list[list[int]]:
    """Give the free blocks by order; where some are cut off, the least and most there are."""
    size = max(ORDERS, len(zone.blocks or ()), order + 1)
    known = list(zone.blocks or ()) + [0 if zone.blocks else None] * (size - len(zone.blocks or ()))
    least = [count or 0 for count in known]
    if None not in known:
        return [least]
    page_kb = zone.page_kb or 4
    left = zone.figures["free"] // page_kb - sum(
        count << order for order, count in enumerate(least)
    )
    found = [least]
    for order, count in enumerate(known):
        if count is None and left >> order > 0:
            most = list(least)
            most[order] = left >> order
            found.append(most)
    return found
