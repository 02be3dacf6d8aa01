"""Aims: what a trial tries, whichever test it runs in.

Lives here: `Aim`, which says that two tests would try the same, and its text, by
which another run knows it again. Not here: which test tries it
(`faultinject.campaign.assignment`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from faultinject.campaign.census import Reached
from faultinject.campaign.plan import Hits
from faultinject.campaign.site import Site
from faultinject.campaign.strike import PlannedFault

LAST = "last"
# Begins the hit of a fault that follows another one; the same fault alone is another aim.
SECOND = "second:"


@dataclass(frozen=True, slots=True)
class Aim:
    """A call site of a capability and one of its hits; or one random trial of one test.

    Attributes:
        capability: its name; the SPEC of a random trial.
        site: the call site; None of a random trial.
        hit: the hit's number, ``last`` where only the first and the last are tried, or
            the number of the random trial; with ``second:`` before it where another
            fault has struck.
        persistent: whether the fault goes on until the body ends.
        test: the one test that it belongs to; "" where any that reaches it will do.
        error: what a call of a function fails with; "" of an allocation.
    """

    capability: str
    site: Site | None
    hit: str
    persistent: bool = False
    test: str = ""
    error: str = ""

    def content(self, shown: Callable[[str], str] = str) -> str:
        """Give a text that an edit elsewhere in the file does not change.

        Args:
            shown: gives a source file's name as reports show it.
        """
        mode = "persistent" if self.persistent else "transient"
        if self.site is None:
            return "|".join(("random", self.capability, self.hit, self.test))
        _, function, _, _, column, stack, at, domain, caller = astuple(self.site)
        place = f"{function}+{self.site.offset}.{column}~{stack}@{domain}#{at} ({caller})"
        if self.error:
            place += f" = {self.error}"
        return "|".join((self.capability, shown(self.site.file), place, self.hit, mode))

    def as_plain(self) -> list[Any]:
        """Give plain values that survive a pipe."""
        site = None if self.site is None else list(astuple(self.site))
        return [self.capability, site, self.hit, self.persistent, self.test, self.error]

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> Aim:
        """Rebuild what `as_plain` gave."""
        capability, site, hit, persistent, test, error = plain
        place = None if site is None else Site(*site)
        return cls(capability, place, hit, persistent, test, error)


def aims_at(
    reached: Iterable[Reached], hits: Hits, *, persistent: bool
) -> list[tuple[Aim, PlannedFault]]:
    """Give every aim of a census with its fault, in the order of the census."""
    return [
        (
            Aim(item.capability, item.site, _spelled(hits, hit), persistent, error=item.error),
            PlannedFault(
                item.capability, item.site, hit, persistent, item.instructions, item.error
            ),
        )
        for item in reached
        for hit in hits.of(item.hits)
    ]


def _spelled(hits: Hits, hit: int) -> str:
    """Name a hit: the last one has another number in each test."""
    return LAST if hits.text == "ends" and hit > 1 else str(hit)
