"""The zonelist: which zones of a log a request may use, and what each keeps from it.

Lives here: the walk's order, and a zone's lowmem reserve against a request. Not here: the
watermark check (`faultinject.klog.zone_check`), the zones that a kernel was built with
(`faultinject.mm.built_zones`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from faultinject.gfp import DMA, DMA32, HIGHMEM, Gfp
from faultinject.mm.built_zones import NAMES, built_with
from faultinject.mm.mem_info import ZoneState

_MOVABLE: Final = int(Gfp.MOVABLE)


def highest_zone(gfp: int) -> str:
    """Give the highest zone that flags allow, if the kernel has it."""
    if gfp & DMA:
        return "DMA"
    if gfp & DMA32:
        return "DMA32"
    if gfp & HIGHMEM:
        return "Movable" if gfp & _MOVABLE else "HighMem"
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
    seen = frozenset([each.zone for each in zones])
    for built in built_with(seen, len(zone.reserve)):
        # Of a zone that the kernel has not, the requests go to the next one below.
        usable = [name for name in built if NAMES.index(name) <= NAMES.index(highest)]
        if usable:
            found.add(zone.reserve[built.index(usable[-1])])
    return frozenset(found) or frozenset({None})
