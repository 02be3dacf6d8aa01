"""Who was refused how often: a count for each call site, which no kernel has.

Lives here: the counting, and `Failure`, a row of it. Not here: what is logged
(`faultinject.mm.warn`). Injected failures are not among them: those stand in the log of
injections.
"""

from __future__ import annotations

from types import CodeType, FrameType
from typing import Any, NamedTuple

from faultinject.callsite import CallSite
from faultinject.mm.ledger import NOWHERE, site_of_trace, trace_of


class Failure(NamedTuple):
    """Requests of one kind from one place that the memory could not meet.

    Attributes:
        site: the caller.
        what: ``pages``, or the name of the slab cache that got no new slab.
        order: of the pages that were asked for.
        gfp: the flags of that request for pages.
        count: how many.
    """

    site: CallSite
    what: str
    order: int
    gfp: int
    count: int  # type: ignore[assignment]  # hides the method of tuples, which nobody wants here


class Failures:
    """The failures of one memory; the caller holds its lock."""

    __slots__ = ("_counts", "_names", "total")

    def __init__(self) -> None:
        self.total = 0
        self._counts: dict[tuple[CodeType, int, str, int, int], int] = {}
        # A module's name is no part of a code object.
        self._names: dict[CodeType, dict[str, Any]] = {}

    def add(self, what: str, order: int, gfp: int, frame: FrameType | None) -> None:
        """Count one."""
        code, lasti, names = trace_of(frame)
        key = (code, lasti, what, order, gfp)
        self.total += 1
        self._counts[key] = self._counts.get(key, 0) + 1
        self._names[code] = names

    def rows(self) -> list[Failure]:
        """Return one row for each place, what it asked for, and its flags; most first."""
        rows = []
        for (code, lasti, what, order, gfp), count in self._counts.items():
            trace = NOWHERE if code is NOWHERE[0] else (code, lasti, self._names[code])
            rows.append(Failure(site_of_trace(trace), what, order, gfp, count))
        return sorted(rows, key=lambda row: -row.count)
