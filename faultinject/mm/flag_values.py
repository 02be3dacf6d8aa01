"""Gfp flags as other kernels number and spell them.

Lives here: the tables by version, what an older name comes to today, and flags of today
with an older kernel's values. Not here: the flags themselves (`faultinject.gfp`), the flags
of a log (`faultinject.klog.flags`), what they allow (`faultinject.mm.alloc_flags`).

Source: include/linux/gfp.h of 2.6.24, 2.6.32, 4.9, 4.19 and 6.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from faultinject.gfp import DIRECT_RECLAIM, Gfp, format_gfp

#: Since this release a log spells the flags out.
SPELLED_SINCE: Final = (4, 6)
# Between these two, that a request cannot sleep and is urgent was a flag of its own.
_ATOMIC_SINCE: Final = (4, 4)
_ATOMIC_UNTIL: Final = (6, 3)
_REPEAT_UNTIL: Final = (4, 13)

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
    **{
        name: bit
        for name, bit in _SPLIT_WAIT.items()
        if name not in ("__GFP_COLD", "__GFP_NOTRACK")
    },
    "__GFP_WRITE": 0x100,
    "__GFP_DIRECT_RECLAIM": 0x200000,
    "__GFP_KSWAPD_RECLAIM": 0x400000,
    "__GFP_NOLOCKDEP": 0x800000,
}
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


def flag_values(release: tuple[int, ...]) -> Mapping[str, int]:
    """Give the bit of each flag that a kernel of this release has, by its name there."""
    return next(table for since, table in _TABLES if release >= since)


def meaning(name: str) -> Gfp | None:
    """Give what a flag's name comes to with today's values; None if it has no known meaning."""
    if name in _FORMER:
        return _FORMER[name]
    for prefix in ("__GFP_", "GFP_"):
        if name.startswith(prefix):
            return Gfp.__members__.get(name.removeprefix(prefix))
    return None


def as_numbered(gfp: int, release: tuple[int, ...]) -> int:
    """Give flags of today with the values of a kernel of this release."""
    table = flag_values(release)
    found = 0
    for name, bit in table.items():
        if name == "__GFP_WAIT":
            found |= bit if gfp & DIRECT_RECLAIM else 0
        elif name == "__GFP_ATOMIC":
            found |= bit if _is_atomic(gfp, release) else 0
        elif (means := int(meaning(name) or 0)) and gfp & means == means:
            found |= bit
    return found


def as_spelled(gfp: int, release: tuple[int, ...]) -> str:
    """Spell flags of today as a kernel of this release does."""
    text = format_gfp(gfp)
    if release < _REPEAT_UNTIL:
        text = text.replace("__GFP_RETRY_MAYFAIL", "__GFP_REPEAT")
    if _is_atomic(gfp, release) and "GFP_ATOMIC" not in text:
        text += "|__GFP_ATOMIC"
    return text


def _is_atomic(gfp: int, release: tuple[int, ...]) -> bool:
    if not _ATOMIC_SINCE <= release < _ATOMIC_UNTIL:
        return False
    return bool(gfp & Gfp.HIGH) and not gfp & DIRECT_RECLAIM
