"""Flags: what a report's gfp flags mean, in the values of today.

Lives here: what a bare number comes to, and the names that later kernels spell out. Not
here: the values by version (`faultinject.mm.flag_values`), what flags allow
(`faultinject.mm.alloc_flags`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from faultinject.gfp import Gfp
from faultinject.klog.release import Release
from faultinject.klog.reports import FailureReport
from faultinject.mm.flag_values import flag_values, meaning

_COMPOUNDS: Final = (
    "GFP_HIGHUSER_MOVABLE",
    "GFP_HIGHUSER",
    "GFP_USER",
    "GFP_KERNEL",
    "GFP_NOFS",
    "GFP_ATOMIC",
    "GFP_NOIO",
)


class Decoded(NamedTuple):
    """The flags of a request.

    Attributes:
        gfp: with today's values; None if they cannot be told.
        names: as the log spells them, or as its kernel would have.
        unknown: what has no meaning that is known, as written.
    """

    gfp: int | None
    names: tuple[str, ...]
    unknown: tuple[str, ...] = ()


def decode(report: FailureReport, release: Release | None) -> Decoded:
    """Tell what a report's flags mean.

    Args:
        report: with its names, if the log has them.
        release: of the kernel; needed where the log has a bare number.
    """
    if report.names:
        return _by_names(report.names)
    if report.mode is None or (release is None and report.mode != 0):
        return Decoded(None, ())
    if release is None:
        return Decoded(0, ())
    return _by_number(report.mode, release)


def _by_names(names: tuple[str, ...]) -> Decoded:
    gfp, unknown = 0, []
    for name in names:
        means = meaning(name)
        if means is None:
            unknown.append(name)
        else:
            gfp |= means
    return Decoded(gfp, names, tuple(unknown))


def _by_number(mode: int, release: Release) -> Decoded:
    table = flag_values(release.version)
    gfp, left, names = 0, mode, []
    for name, bit in table.items():
        if bit and mode & bit == bit and bit & (bit - 1) == 0:
            left &= ~bit
            names.append(name)
            gfp |= meaning(name) or 0
    unknown = (f"{left:#x}",) if left else ()
    # A kernel with __GFP_WAIT always woke kswapd; GFP_ATOMIC was __GFP_HIGH alone.
    if "__GFP_WAIT" in table:
        gfp |= Gfp.KSWAPD_RECLAIM
    return Decoded(gfp, (*_compounded(names), *unknown), unknown)


def _compounded(names: list[str]) -> list[str]:
    """Spell the flags as the kernel does: what has a common name by that."""
    today = {name: meaning(name) or Gfp(0) for name in names}
    has = Gfp(0)
    for flag in today.values():
        has |= flag
    for compound in _COMPOUNDS:
        means = Gfp[compound.removeprefix("GFP_")]
        if compound == "GFP_ATOMIC" and "__GFP_WAIT" not in names and has & Gfp.HIGH:
            means = Gfp.HIGH | (has & Gfp.KSWAPD_RECLAIM)
        if means and has & means == means:
            rest = [name for name, flag in today.items() if not flag or flag & ~means]
            return [compound, *(name for name in rest if name != "__GFP_ATOMIC")]
    return names
