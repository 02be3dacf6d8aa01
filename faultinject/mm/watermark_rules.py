"""The three watermark rules, as the comparisons that each makes.

Lives here: `steps`. Not here: the check that users call, and what the rules are
(`faultinject.mm.watermark`), where marks come from (`faultinject.mm.marks`).

Source: Linux mm/page_alloc.c, zone_watermark_ok(), __zone_watermark_ok(),
zone_watermark_fast().
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from faultinject.mm.alloc_flags import (
    HIGHATOMIC,
    MIN_RESERVE,
    NON_BLOCK,
    OOM,
    WMARK_MASK,
    WMARK_MIN,
)
from faultinject.mm.kernel_version import KernelVersion, Rule
from faultinject.mm.migrate import HIGHATOMIC as HIGHATOMIC_TYPE

RawStep: TypeAlias = tuple[int | None, int, int, bool]
"""The fields of a `faultinject.mm.watermark.Step`."""
Counts: TypeAlias = Sequence[int]
"""Free blocks of each order, from 0 up."""

#: Any of these keeps what is set aside for atomic requests in the count (6.x).
_RESERVE_RIGHTS: Final = NON_BLOCK | MIN_RESERVE | HIGHATOMIC | OOM


def steps(
    rule: Rule,
    free: int,
    counts: Sequence[Counts],
    order: int,
    mark: int,
    flags: int,
    reserve: int,
    reserved_highatomic: int,
    boost: int,
    version: KernelVersion,
) -> list[RawStep]:
    """Return the comparisons of a check; the last one decides.

    Args:
        rule: as for `check`, and so are the others.
        free: all free pages.
        counts: for each migrate type, the free blocks of each order; not looked at for
            order 0. Only the modern rule tells the types apart.
        order: of the request.
        mark: in pages, without `boost`.
        flags: alloc_flags.
        reserve: the lowmem reserve.
        reserved_highatomic: in pages.
        boost: in pages.
        version: whose cuts the modern rule makes.
    """
    if rule == "iterative":
        return _iterative(free, counts, order, mark + boost, flags, reserve)
    if rule == "direct":
        return _direct(free, counts, order, mark + boost, flags, reserve)
    held_back = 0 if flags & _keeping_rights(version) else reserved_highatomic
    found = _modern(free - held_back, counts, order, mark + boost, flags, reserve, version)
    unboosted = not order and boost and flags & MIN_RESERVE and flags & WMARK_MASK == WMARK_MIN
    if unboosted and not found[-1][3]:
        found += _modern(free - held_back, counts, order, mark, flags, reserve, version)
    return found


def _iterative(
    free: int, counts: Sequence[Counts], order: int, mark: int, flags: int, reserve: int
) -> list[RawStep]:
    free -= (1 << order) - 1
    least = _cut(mark, flags)
    found: list[RawStep] = [(None, free, least, free > least + reserve)]
    for smaller in range(order):
        if not found[-1][3]:
            break
        free -= sum(each[smaller] for each in counts) << smaller
        least >>= 1
        found.append((smaller, free, least, free > least))
    return found


def _direct(
    free: int, counts: Sequence[Counts], order: int, mark: int, flags: int, reserve: int
) -> list[RawStep]:
    if order:
        free = sum(each[o] << o for each in counts for o in range(order, len(each)))
    free -= 1 << order
    # Whole pages are compared, so that rounding down changes no answer.
    least = _cut(mark, flags) >> order
    return [(order, free, least, free > least + reserve)]


def _modern(
    free: int,
    counts: Sequence[Counts],
    order: int,
    mark: int,
    flags: int,
    reserve: int,
    version: KernelVersion,
) -> list[RawStep]:
    free -= (1 << order) - 1
    least = _modern_cut(mark, flags, version)
    found: list[RawStep] = [(None, free, least, free > least + reserve)]
    if not order or not found[0][3]:
        return found
    reserved = OOM | HIGHATOMIC if version.harder == "reserve" else OOM | HIGHATOMIC | NON_BLOCK
    usable = counts if flags & reserved else counts[:HIGHATOMIC_TYPE]
    for larger in range(order, len(counts[0])):
        pages = sum(each[larger] for each in usable) << larger
        found.append((larger, pages, 0, pages > 0))
        if pages:
            break
    return found


def _cut(mark: int, flags: int) -> int:
    if flags & MIN_RESERVE:
        mark -= mark // 2
    if flags & NON_BLOCK:
        mark -= mark // 4
    return mark


def _modern_cut(mark: int, flags: int, version: KernelVersion) -> int:
    if version.harder != "reserve":
        if not flags & OOM:
            return _cut(mark, flags)
        mark = _cut(mark, flags & MIN_RESERVE)
    elif flags & MIN_RESERVE:
        mark = _cut(mark, flags)
    return mark - mark // 2 if flags & OOM else mark


def _keeping_rights(version: KernelVersion) -> int:
    return _RESERVE_RIGHTS if version.harder == "reserve" else NON_BLOCK | OOM
