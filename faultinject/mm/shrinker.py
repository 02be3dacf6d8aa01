"""Shrinkers: user code that gives pages back when memory is short.

Lives here: `Shrinker`, and how much it is asked for. Not here: when it is asked
(`faultinject.mm.reclaim`).

Source: Linux 6.6 mm/shrinker.c, do_shrink_slab(). Shrinkers stand for all that a kernel
can reclaim, the page cache included.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, TypeAlias

from faultinject.errors import SpecError, UsageError

#: What `scan` returns to say that it can do nothing now, for fear of a deadlock.
SHRINK_STOP: Final = (1 << 64) - 1
#: What `count` returns to say that there is nothing.
SHRINK_EMPTY: Final = (1 << 64) - 2
#: How much is asked for at once.
SHRINK_BATCH: Final = 128
DEFAULT_SEEKS: Final = 2
#: Where reclaim begins: at a 4096th of what there is.
DEF_PRIORITY: Final = 12


class ShrinkControl:
    """What a shrinker is asked.

    Attributes:
        gfp_mask: the flags of the request that is in need; without ``__GFP_FS`` a
            shrinker may not wait for what a file system has locked.
        nr_to_scan: how many objects to free at most.
        nr_scanned: how many were looked at; change it where those are fewer.
    """

    __slots__ = ("gfp_mask", "nr_scanned", "nr_to_scan")

    def __init__(self, gfp_mask: int, nr_to_scan: int) -> None:
        self.gfp_mask = gfp_mask
        self.nr_to_scan = nr_to_scan
        self.nr_scanned = nr_to_scan

    def __repr__(self) -> str:
        return f"<ShrinkControl for {self.nr_to_scan} objects>"


Scan: TypeAlias = Callable[[ShrinkControl], int | None]
Count: TypeAlias = Callable[[ShrinkControl], int]


class Shrinker:
    """A registered shrinker; a ``with`` unregisters it at its end.

    Attributes:
        name: for reports.
        seeks: what it costs to make an object again; 2 is usual, more is asked less.
        batch: how many objects it is asked for at once.
        unknown: whether it gave something when it was last asked, so that one that does
            not count may have more.
    """

    __slots__ = ("_count", "_deferred", "_registered", "_scan", "batch", "name", "seeks", "unknown")

    def __init__(
        self,
        registered: dict[Shrinker, None],
        scan: Scan,
        count: Count | None,
        name: str | None,
        seeks: int,
        batch: int,
    ) -> None:
        if not callable(scan) or not (count is None or callable(count)):
            raise SpecError(
                "a shrinker cannot be called",
                value=count if callable(scan) else scan,
                cure="Pass functions of one ShrinkControl",
            )
        for what, value, least in (("seeks", seeks, 0), ("batch", batch, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SpecError(f"not the {what} of a shrinker", value=value, cure="Pass an int")
        self.name = name or getattr(scan, "__qualname__", repr(scan))
        self.seeks = seeks
        self.batch = batch
        self.unknown = count is None
        self._scan = scan
        self._count = count
        self._deferred = 0
        self._registered = registered
        registered[self] = None

    def unregister(self) -> None:
        """Ask it no more; a second time is a no-op."""
        self._registered.pop(self, None)

    def count(self, gfp: int) -> int | None:
        """Return how many objects it could free; None if it does not count.

        Raises:
            UsageError: it counted what is no number.
        """
        if self._count is None:
            return None
        found = _number(self._count(ShrinkControl(gfp, 0)), self, "count")
        return 0 if found in (SHRINK_EMPTY, SHRINK_STOP) else found

    def shrink(self, gfp: int, priority: int) -> int:
        """Ask it for its share at a priority, 12 (a little) to 0 (all).

        Returns:
            How many objects it was asked for, or looked at.
        """
        freeable = self.count(gfp)
        if freeable is None:
            return self._ask(gfp, self.batch)[0]
        if not freeable:
            return 0
        deferred, self._deferred = self._deferred, 0
        share = (freeable >> priority) * 4 // self.seeks if self.seeks else freeable // 2
        wanted = min((deferred >> priority) + share, 2 * freeable)
        scanned = 0
        while wanted >= self.batch or wanted >= freeable:
            looked_at, freed = self._ask(gfp, min(self.batch, wanted))
            if freed is None or not looked_at:
                break
            wanted -= looked_at
            scanned += looked_at
        self._deferred = min(max(deferred + share - scanned, 0), 2 * freeable)
        return scanned

    def _ask(self, gfp: int, amount: int) -> tuple[int, int | None]:
        control = ShrinkControl(gfp, amount)
        freed = self._scan(control)
        if freed is not None:
            freed = _number(freed, self, "scan")
            if freed == SHRINK_STOP:
                return 0, None
        return _number(control.nr_scanned, self, "nr_scanned"), freed or 0

    def __enter__(self) -> Shrinker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unregister()

    def __repr__(self) -> str:
        return f"<Shrinker {self.name}>"


def _number(value: object, shrinker: Shrinker, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(
            f"the {what} of a shrinker is not a number of objects",
            value=value,
            where=shrinker.name,
            cure="Return an int of 0 or more, or SHRINK_STOP",
        )
    return int(value)
