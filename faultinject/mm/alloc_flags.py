"""What a request may take: the watermark it is tested against, and its rights below it.

Lives here: the kernel's ``alloc_flags`` and how they follow from gfp flags. Not
here: what a right cuts from a mark (`faultinject.mm.watermark`).

Source: Linux mm/internal.h and mm/page_alloc.c, gfp_to_alloc_flags(), with the
values of 6.6. ALLOC_CPUSET is told, but there are no cpusets that it could bind to.
"""

from __future__ import annotations

from typing import Final

from faultinject.gfp import DIRECT_RECLAIM, NOMEMALLOC, Gfp
from faultinject.mm.kernel_version import KernelVersion

WMARK_MIN: Final = 0
WMARK_LOW: Final = 1
WMARK_HIGH: Final = 2
#: ``flags & WMARK_MASK`` is one of the three above.
WMARK_MASK: Final = 3
#: No mark and no reserve counts.
NO_WATERMARKS: Final = 4
#: The victim of the OOM killer, which must end to give its memory back.
OOM: Final = 8
#: ALLOC_NON_BLOCK; ALLOC_HARDER before 6.x.
NON_BLOCK: Final = 0x10
#: ALLOC_MIN_RESERVE; ALLOC_HIGH before 6.x. The same bit as ``__GFP_HIGH``.
MIN_RESERVE: Final = 0x20
#: The task's cpuset counts.
CPUSET: Final = 0x40
#: May use the pageblocks that are set aside for atomic requests.
HIGHATOMIC: Final = 0x200

_MEMALLOC: Final = int(Gfp.MEMALLOC)
_MARKS: Final = ("ALLOC_WMARK_MIN", "ALLOC_WMARK_LOW", "ALLOC_WMARK_HIGH")
_NAMES: Final = {
    NO_WATERMARKS: "ALLOC_NO_WATERMARKS",
    OOM: "ALLOC_OOM",
    NON_BLOCK: "ALLOC_NON_BLOCK",
    MIN_RESERVE: "ALLOC_MIN_RESERVE",
    CPUSET: "ALLOC_CPUSET",
    HIGHATOMIC: "ALLOC_HIGHATOMIC",
}


def alloc_flags(
    gfp: int,
    order: int,
    version: KernelVersion,
    *,
    realtime: bool = False,
    memalloc: bool = False,
    victim: bool = False,
) -> int:
    """Return what a request may take once the low mark has refused it.

    Args:
        gfp: the request's flags, a plain int.
        order: of the request.
        version: of the kernel.
        realtime: whether a realtime task asks, and not in an interrupt.
        memalloc: whether the task frees memory itself (PF_MEMALLOC).
        victim: whether the task was chosen by the OOM killer.
    """
    if not gfp & NOMEMALLOC:
        if memalloc or (version.memalloc_flag and gfp & _MEMALLOC):
            return WMARK_MIN | NO_WATERMARKS
        if victim and not version.victim_reserve:
            return WMARK_MIN | NO_WATERMARKS
    flags = WMARK_MIN | gfp & MIN_RESERVE
    if gfp & DIRECT_RECLAIM or (version.harder != "wait" and not gfp & MIN_RESERVE):
        flags |= CPUSET
    if victim and not gfp & NOMEMALLOC:
        flags |= OOM
    if realtime and gfp & DIRECT_RECLAIM:
        if version.harder == "reserve":
            return flags | MIN_RESERVE
    elif not _is_harder(gfp, version):
        return flags
    return flags | NON_BLOCK | (HIGHATOMIC if order and version.highatomic else 0)


def _is_harder(gfp: int, version: KernelVersion) -> bool:
    if gfp & DIRECT_RECLAIM or (version.nomemalloc_bars_harder and gfp & NOMEMALLOC):
        return False
    return version.harder != "atomic" or bool(gfp & MIN_RESERVE)


def format_alloc_flags(flags: int) -> str:
    """Print alloc_flags by their names in 6.6: the mark, then the rights."""
    rights = [name for bit, name in _NAMES.items() if flags & bit]
    return "|".join([_MARKS[flags & WMARK_MASK], *rights])
