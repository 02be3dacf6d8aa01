"""What a real failure means, in one paragraph: the kernel's report never says it.

Lives here: the words above the report of a memory that could not meet a request: that no
fault was injected, why no zone would, and what to try. Not here: the report
(`faultinject.mm.failure_text`), the same for the log of a real machine
(`faultinject.klog`).
"""

from __future__ import annotations

from typing import Final

from faultinject.gfp import DIRECT_RECLAIM, RECLAIM, Gfp
from faultinject.mm.alloc_flags import alloc_flags
from faultinject.mm.marks import in_kb
from faultinject.mm.zone import Zone
from faultinject.mm.zones import PLAN_BITS, Plan, Zones

# A larger request is given up after one round of reclaim.
COSTLY_ORDER: Final = 3


def meaning(zones: Zones, order: int, gfp: int, cache: str | None = None) -> str:
    """Say why a request failed and what to try; the caller holds the lock of the memory.

    Args:
        zones: of the memory.
        order: of the request.
        gfp: its flags.
        cache: the name of the slab cache that the pages were for.
    """
    plan = zones.plans[gfp & PLAN_BITS]
    assert plan is not None, "flags that contradict each other fail earlier"
    what = f"{1 << order} pages in one piece" if order else "1 page"
    whose = f" for cache {cache}" if cache is not None else ""
    names = ", ".join(zone.name for zone in plan.zones) or "none"
    return (
        f"faultinject: memory is exhausted, no fault was injected: {what} "
        f"({in_kb(1 << order)} kB){whose} asked of zone {names}. "
        f"{_why(zones, plan, order, gfp)} Try: {'; or '.join(_cures(zones, plan, order, gfp))}."
    )


def _why(zones: Zones, plan: Plan, order: int, gfp: int) -> str:
    free = sum(zone.free for zone in plan.zones)
    said = f"{in_kb(free)} kB are free there"
    flags = alloc_flags(gfp, order, zones.machine.version)
    if any(zone.allows(0, flags, plan.highest) for zone in plan.zones) and order:
        largest = max(_largest(zone) for zone in plan.zones)
        if largest < order:
            return f"{said}, in blocks of {in_kb(1 << largest)} kB and less: fragmentation."
        return f"{said}, but too little of it in large blocks: fragmentation."
    if any(zone.free for zone in zones.populated if zone.index > plan.highest):
        return f"{said}; other zones have memory, which this request may not use."
    if any(zone.marks.min for zone in plan.zones):
        least = sum(zone.marks.min + zone.lowmem_reserve[plan.highest] for zone in plan.zones)
        return f"{said}, and {in_kb(least)} kB are kept for requests with more rights: a shortage."
    return f"{said}: a shortage."


def _cures(zones: Zones, plan: Plan, order: int, gfp: int) -> list[str]:
    cures = []
    if order > COSTLY_ORDER:
        largest = max((_largest(zone) for zone in plan.zones), default=0)
        most = 1 << min(max(largest, 0), COSTLY_ORDER)
        fewer = f"{most} pages or less" if most > 1 else "single pages"
        cures.append(f"ask for {fewer}, or for memory in pieces (kvmalloc)")
    elif order:
        cures.append("ask for single pages")
    atomic = gfp & ~int(RECLAIM | Gfp.IO | Gfp.FS) | int(Gfp.ATOMIC)
    if _would_pass(zones, plan, order, atomic):
        cures.append("GFP_ATOMIC, which goes deeper into the reserve")
    if not gfp & DIRECT_RECLAIM:
        cures.append("a request that may sleep, which reclaims memory before it fails")
    cures.append("free something before, give the Memory more pages, or let the caller do without")
    return cures


def _would_pass(zones: Zones, plan: Plan, order: int, gfp: int) -> bool:
    flags = alloc_flags(gfp, order, zones.machine.version)
    return any(
        zone.allows(order, flags, plan.highest) and _largest(zone) >= order for zone in plan.zones
    )


def _largest(zone: Zone) -> int:
    return max((order for order, count in enumerate(zone.blocks()) if count), default=-1)
