"""This machine, now: which requests would be met at once.

Lives here: `survey`, from the text of /proc/buddyinfo and /proc/zoneinfo. Not here: how the
two are read (`faultinject.mm.proc_text`), the check (``.zone_check``).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from faultinject.gfp import GFP_ATOMIC, GFP_KERNEL, Gfp
from faultinject.klog.release import parse_release
from faultinject.klog.zone_check import Request, ZoneCheck, check_zone
from faultinject.mm.alloc_flags import alloc_flags
from faultinject.mm.buddy import ORDERS
from faultinject.mm.built_zones import NAMES
from faultinject.mm.mem_info import ZoneState
from faultinject.mm.proc_text import parse_buddyinfo, parse_zoneinfo

REQUESTS: Final[dict[str, Gfp]] = {"GFP_KERNEL": GFP_KERNEL, "GFP_ATOMIC": GFP_ATOMIC}

_PAGE_KB: Final = 4


class Prospect(NamedTuple):
    """What one request would meet.

    Attributes:
        order: of the request.
        flags: ``GFP_KERNEL`` or ``GFP_ATOMIC``.
        zones: the check of every zone that it may use, the first choice first.
    """

    order: int
    flags: str
    zones: tuple[ZoneCheck, ...]

    @property
    def zone(self) -> ZoneState | None:
        """The zone that it would be met from, or None if it would not be met at once."""
        return next((each.zone for each in self.zones if each.verdict == "passes"), None)


def zone_states(buddyinfo: str, zoneinfo: str, *, page_kb: int = _PAGE_KB) -> list[ZoneState]:
    """Give the zones that have pages, as a log would show them.

    Raises:
        SpecError: a text is not of such a file; it names the line and the field.
    """
    blocks = parse_buddyinfo(buddyinfo)
    found = []
    for zone in parse_zoneinfo(zoneinfo):
        if zone.place not in blocks or zone.place[1] not in NAMES:
            continue
        pages = {name: getattr(zone, name) for name in ("free", "min", "low", "high", "boost")}
        pages["free_cma"] = zone.free_cma
        found.append(
            ZoneState(
                *zone.place,
                0,
                {name: count * page_kb for name, count in pages.items()},
                zone.protection,
                blocks[zone.place],
                page_kb=page_kb,
            )
        )
    return found


def survey(
    buddyinfo: str, zoneinfo: str, kernel: str, *, page_kb: int = _PAGE_KB
) -> list[Prospect]:
    """Check a request of each order, once that may sleep and once that may not.

    What is asked is whether there is memory at once: a request that may sleep reclaims
    some before it fails.

    Args:
        buddyinfo: the text of /proc/buddyinfo.
        zoneinfo: the text of /proc/zoneinfo, of the same moment.
        kernel: the release.
        page_kb: the size of a page.

    Raises:
        SpecError: a text is not of such a file; it names the line and the field.
        UsageError: `kernel` is no release.
    """
    model = parse_release(kernel, option="kernel").model
    zones = zone_states(buddyinfo, zoneinfo, page_kb=page_kb)
    tried = sorted(zones, key=lambda zone: (zone.node, -NAMES.index(zone.zone)))
    found = []
    for order in range(ORDERS):
        for name, gfp in REQUESTS.items():
            request = Request(order, int(gfp), alloc_flags(int(gfp), order, model), model)
            checks = (check_zone(zone, zones, request, model.rule) for zone in tried)
            allowed = tuple(check for check in checks if check.verdict != "not-allowed")
            found.append(Prospect(order, name, allowed))
    return found


def now_as_text(prospects: list[Prospect], *, page_kb: int = _PAGE_KB) -> str:
    """Give a survey as a table: a line for each order."""
    lines = [f"{'order':>5}  {'size':>9}  " + "  ".join(f"{name:<22}" for name in REQUESTS)]
    for order in range(ORDERS):
        cells = [f"{_said(each):<22}" for each in prospects if each.order == order]
        lines.append(f"{order:>5}  {page_kb << order:>6} kB  {'  '.join(cells)}".rstrip())
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _said(prospect: Prospect) -> str:
    zone = prospect.zone
    if zone is not None:
        return f"yes, node {zone.node} {zone.zone}"
    reasons = {each.reason for each in prospect.zones}
    return (
        "no: fragmented"
        if any(each.has_pages for each in prospect.zones)
        else ("not known" if "unknown" in reasons else "no: too little free")
    )
