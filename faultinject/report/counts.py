"""Counts of error paths: how many ran clean, only under injection, or never.

Lives here: `PathCounts`, its percentage and how that is shown. Not here: the table that
shows them (`faultinject.report.table`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from faultinject.report.findings import FoundPath


@dataclass(frozen=True, slots=True)
class PathCounts:
    """How many error paths are in which state; ``undecided`` ones are not in `total`."""

    clean: int = 0
    injected: int = 0
    never: int = 0
    undecided: int = 0

    @classmethod
    def of(cls, paths: Iterable[FoundPath]) -> PathCounts:
        """Count some error paths."""
        return cls(**Counter(path.reached for path in paths))

    @property
    def total(self) -> int:
        """Those of which it is known whether they ran."""
        return self.clean + self.injected + self.never

    @property
    def reached(self) -> int:
        """Those that ran, with or without a fault."""
        return self.clean + self.injected

    @property
    def percent(self) -> float:
        """How much of `total` ran, 0 to 100; 100 where there is nothing to reach."""
        return 100.0 * self.reached / self.total if self.total else 100.0

    @property
    def shown_percent(self) -> str:
        """The percentage as a whole number; 0 and 100 only where that is exact."""
        whole = round(self.percent)
        if self.never and whole == 100:
            whole = 99
        if self.reached and whole == 0:
            whole = 1
        return f"{whole}%"
