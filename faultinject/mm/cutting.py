"""Cutting free blocks into given ones, none of which may merge with another.

Lives here: arithmetic on frame numbers. Not here: whose blocks they are
(`faultinject.mm.pressure`).

A block stays of its order only while its buddy is not free. So each block that is
cut off leaves a buddy of the same order, a part, of which at least one page stays
taken; the rest of the part can be cut up for smaller blocks in the same way. What is
left over above the two may stay free as a whole: its own buddy holds that page.
"""

from __future__ import annotations

from typing import TypeAlias

from faultinject.errors import SpecError
from faultinject.mm.buddy import ORDERS

Block: TypeAlias = tuple[int, int]
"""First page frame, and order."""


def cut(blocks: list[Block], counts: list[int], *, where: str) -> tuple[list[Block], list[Block]]:
    """Choose blocks to stay free out of those that are.

    Args:
        blocks: the free blocks, merged as far as they can be.
        counts: how many are to stay free of each order, from 0 up.
        where: whose they are, for errors.

    Returns:
        The blocks that stay free, and the rest, which must be taken.

    Raises:
        SpecError: the blocks cannot be cut so.
    """
    whole: list[list[int]] = [[] for _ in range(ORDERS)]
    parts: list[list[int]] = [[] for _ in range(ORDERS)]
    # Popped from the end, so that the lowest frames come first.
    for pfn, order in sorted(blocks, reverse=True):
        whole[order].append(pfn)
    kept: list[Block] = []
    for order in range(ORDERS - 1, -1, -1):
        for done in range(counts[order]):
            if whole[order]:
                kept.append((whole[order].pop(), order))
                continue
            larger = next((o for o in range(order + 1, ORDERS) if parts[o] or whole[o]), None)
            if larger is None:
                raise SpecError(
                    f"the free pages cannot be cut into {counts[order]} blocks of order {order}",
                    value=counts,
                    where=f"{where} has room for {done}, and a block needs a taken buddy",
                    cure="Ask for fewer blocks, or make the zone larger",
                )
            pfn = parts[larger].pop() if parts[larger] else whole[larger].pop()
            for half in range(larger - 1, order, -1):
                whole[half].append(pfn + (1 << half))
            kept.append((pfn + (1 << order), order))
            parts[order].append(pfn)
    rest = [
        (pfn, order)
        for lists in (whole, parts)
        for order, frames in enumerate(lists)
        for pfn in frames
    ]
    return kept, sorted(rest)
