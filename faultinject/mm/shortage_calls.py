"""The methods of a `Memory` for its shortage: shrinkers, and compaction by hand.

Lives here: what they promise. Not here: what they do (`faultinject.mm.reclaim`,
`faultinject.mm.compaction`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faultinject.mm.shrinker import DEFAULT_SEEKS, SHRINK_BATCH, Count, Scan, Shrinker

if TYPE_CHECKING:
    from faultinject.mm.memory import Memory


def register_shrinker(
    self: Memory,
    scan: Scan,
    count: Count | None = None,
    *,
    name: str | None = None,
    seeks: int = DEFAULT_SEEKS,
    batch: int = SHRINK_BATCH,
) -> Shrinker:
    """Register a function that gives memory back when a request is in need.

    It runs in the thread of that request, without any lock held, as a task of PF_MEMALLOC.
    What it raises passes through to whoever asked for memory.

    Args:
        self: the memory.
        scan: frees up to ``sc.nr_to_scan`` objects of its `ShrinkControl`, and returns how
            many; None leaves it to the model, which counts free pages in any case.
        count: returns how many objects it could free. Without it `scan` is called once in
            each pass.
        name: for reports. Default: that of `scan`.
        seeks: what it costs to make an object again; the more, the less is asked for.
        batch: how many objects are asked for at once.

    Returns:
        What unregisters it again, also as a ``with``.

    Raises:
        SpecError: an argument is impossible.
    """
    return self._pages.slow_path.reclaim.register(scan, count, name, seeks, batch)


def compact(self: Memory, zone: str | None = None) -> int:
    """Move every movable page up as far as there is room, so that large blocks come free.

    Movable are pages that were asked for with ``__GFP_MOVABLE``, one at a time, and not
    pinned by ``data`` or `get_page`; and those of movable pressure. Their addresses change.

    Args:
        self: the memory.
        zone: the name of the only zone to compact.

    Returns:
        How many pages were moved.

    Raises:
        UsageError: there is no such zone, or the kernel is older than compaction.
    """
    return self._pages.slow_path.compact(zone)
