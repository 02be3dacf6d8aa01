"""Flags: what a report's gfp flags mean, in the values of today.

Lives here: the tables by version of kernels that print a bare number, and the names that
later ones spell out. Not here: what flags allow (`faultinject.mm.alloc_flags`).

Source: include/linux/gfp.h of 2.6.24, 2.6.32, 4.9, 4.19 and 6.6.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from faultinject.gfp import Gfp
from faultinject.klog.release import Release
from faultinject.klog.reports import FailureReport

# Since this release the log spells the flags out, and the numbers need no table.
_SPELLED: Final = (4, 6)

_OLD: Final = {
    "__GFP_DMA": 0x1,
    "__GFP_HIGHMEM": 0x2,
    "__GFP_DMA32": 0x4,
    "__GFP_MOVABLE": 0x8,
    "__GFP_WAIT": 0x10,
    "__GFP_HIGH": 0x20,
    "__GFP_IO": 0x40,
    "__GFP_FS": 0x80,
    "__GFP_COLD": 0x100,
    "__GFP_NOWARN": 0x200,
    "__GFP_REPEAT": 0x400,
    "__GFP_NOFAIL": 0x800,
    "__GFP_NORETRY": 0x1000,
    "__GFP_MEMALLOC": 0x2000,
    "__GFP_COMP": 0x4000,
    "__GFP_ZERO": 0x8000,
    "__GFP_NOMEMALLOC": 0x10000,
    "__GFP_HARDWALL": 0x20000,
    "__GFP_THISNODE": 0x40000,
    "__GFP_RECLAIMABLE": 0x80000,
    "__GFP_NOTRACK": 0x200000,
}
_OLDEST: Final = {**_OLD, "__GFP_MOVABLE": 0x100000}
_SPLIT_WAIT: Final = {
    **{name: bit for name, bit in _OLD.items() if name != "__GFP_WAIT"},
    "__GFP_RECLAIMABLE": 0x10,
    "__GFP_ATOMIC": 0x80000,
    "__GFP_ACCOUNT": 0x100000,
    "__GFP_DIRECT_RECLAIM": 0x400000,
    "__GFP_WRITE": 0x1000000,
    "__GFP_KSWAPD_RECLAIM": 0x2000000,
}
_NEXT: Final = {
    **{name: bit for name, bit in _SPLIT_WAIT.items() if name not in ("__GFP_COLD",)},
    "__GFP_WRITE": 0x100,
    "__GFP_DIRECT_RECLAIM": 0x200000,
    "__GFP_KSWAPD_RECLAIM": 0x400000,
    "__GFP_NOLOCKDEP": 0x800000,
}
_NEXT.pop("__GFP_NOTRACK", None)
_TODAY: Final = {f"__GFP_{flag.name}": flag.value for flag in Gfp} | {"__GFP_ATOMIC": 0x200}

# The first release with each table, the latest one first.
_TABLES: Final[tuple[tuple[tuple[int, ...], dict[str, int]], ...]] = (
    ((5, 1), _TODAY),
    ((4, 15), _NEXT),
    ((4, 4), _SPLIT_WAIT),
    ((2, 6, 32), _OLD),
    ((0,), _OLDEST),
)

# Names that today's table has not, with what they come down to.
_FORMER: Final = {
    "__GFP_WAIT": Gfp.RECLAIM,
    "__GFP_REPEAT": Gfp.RETRY_MAYFAIL,
    "__GFP_ATOMIC": Gfp(0),  # that it cannot sleep, which the missing flag says as well
    "__GFP_COLD": Gfp(0),
    "__GFP_NOTRACK": Gfp(0),
    "__GFP_OTHER_NODE": Gfp(0),
    "__GFP_NO_KSWAPD": Gfp(0),
    "GFP_TEMPORARY": Gfp.KERNEL | Gfp.RECLAIMABLE,
}
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
        meaning = _meaning(name)
        if meaning is None:
            unknown.append(name)
        else:
            gfp |= meaning
    return Decoded(gfp, names, tuple(unknown))


def _by_number(mode: int, release: Release) -> Decoded:
    table = next(table for since, table in _TABLES if release.version >= since)
    gfp, left, names = 0, mode, []
    for name, bit in table.items():
        if bit and mode & bit == bit and bit & (bit - 1) == 0:
            left &= ~bit
            names.append(name)
            gfp |= _meaning(name) or 0
    unknown = (f"{left:#x}",) if left else ()
    # A kernel with __GFP_WAIT always woke kswapd; GFP_ATOMIC was __GFP_HIGH alone.
    if "__GFP_WAIT" in table:
        gfp |= Gfp.KSWAPD_RECLAIM
    return Decoded(gfp, (*_compounded(names), *unknown), unknown)


def _compounded(names: list[str]) -> list[str]:
    """Spell the flags as the kernel does: what has a common name by that."""
    today = {name: _meaning(name) or Gfp(0) for name in names}
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


def _meaning(name: str) -> Gfp | None:
    if name in _FORMER:
        return _FORMER[name]
    for prefix in ("__GFP_", "GFP_"):
        if name.startswith(prefix):
            return Gfp.__members__.get(name.removeprefix(prefix))
    return None
