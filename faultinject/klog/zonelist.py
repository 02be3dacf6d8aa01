"""The zonelist: which zones of a log a request may use, and what each keeps from it.

Lives here: the walk's order, and a zone's lowmem reserve against a request. Not here: the
watermark check (`faultinject.klog.explain`).

A lowmem_reserve has one number for each zone that the kernel was built with, and a log
shows only the zones that have pages. What fits both is looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations
from typing import Final

from faultinject.gfp import DMA, DMA32, HIGHMEM, Gfp
from faultinject.klog.reports import ZoneState

# From the lowest to the highest. A request may use its highest zone and those below.
NAMES: Final = ("DMA", "DMA32", "Normal", "HighMem", "Movable", "Device")

# Every kernel since 2.6.23 has these two.
_ALWAYS: Final = frozenset({"Normal", "Movable"})


def highest_zone(gfp: int) -> str:
    """Give the highest zone that flags allow, if the kernel has it."""
    if gfp & DMA:
        return "DMA"
    if gfp & DMA32:
        return "DMA32"
    if gfp & HIGHMEM:
        return "Movable" if gfp & Gfp.MOVABLE else "HighMem"
    return "Normal"


def is_allowed(zone: ZoneState, gfp: int) -> bool:
    """Say whether a request with these flags may use a zone."""
    return NAMES.index(zone.zone) <= NAMES.index(highest_zone(gfp))


def reserves(zone: ZoneState, zones: Sequence[ZoneState], gfp: int) -> frozenset[int | None]:
    """Give what the zone may keep from a request with these flags, in pages.

    Returns:
        one number; several where the log fits more than one kernel; or None where the
        log has no lowmem_reserve.
    """
    if zone.reserve is None:
        return frozenset({None})
    highest = highest_zone(gfp)
    found = set()
    for built in _built_with(zones, len(zone.reserve)):
        # Of a zone that the kernel has not, the requests go to the next one below.
        usable = [name for name in built if NAMES.index(name) <= NAMES.index(highest)]
        if usable:
            found.add(zone.reserve[built.index(usable[-1])])
    return frozenset(found) or frozenset({None})


def _built_with(zones: Sequence[ZoneState], size: int) -> list[tuple[str, ...]]:
    seen = _ALWAYS | {zone.zone for zone in zones}
    optional = [name for name in NAMES if name not in seen]
    choices = chain.from_iterable(
        combinations(optional, number) for number in range(len(optional) + 1)
    )
    built = [tuple(name for name in NAMES if name in seen | set(more)) for more in choices]
    return [names for names in built if len(names) == size]
