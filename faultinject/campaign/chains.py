"""Chains: faults of which each is met only because of the one before it.

Lives here: `Beyond`, which gathers what trials reach that a clean run does not (handlers,
``finally`` blocks, retries), and the faults there. Not here: how a trial counts what it
reaches (`faultinject.campaign.armable`), and when the second trials run (``.sweeper``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from faultinject.campaign.aim import SECOND, Aim, aims_at
from faultinject.campaign.census import Reached, from_plain
from faultinject.campaign.plan import Hits
from faultinject.campaign.site import Site
from faultinject.campaign.strike import PlannedFault


class Beyond:
    """What trials of one test reach and its clean run does not.

    Each call site with each error belongs to the first trial that reaches it.

    Args:
        clean: what the clean run reaches, as `faultinject.campaign.census.to_plain` gives it.
    """

    def __init__(self, clean: Iterable[list[Any]]) -> None:
        self._clean = {(item.capability, item.site) for item in from_plain(clean)}
        self._found: dict[tuple[str, Site, str], tuple[PlannedFault, Reached]] = {}

    def add(self, fault: PlannedFault, reached: Iterable[list[Any]]) -> None:
        """Take what a trial has reached."""
        for item in from_plain(reached):
            if (item.capability, item.site) not in self._clean:
                self._found.setdefault((item.capability, item.site, item.error), (fault, item))

    def faults(self, hits: Hits, without: Collection[str] = ()) -> list[tuple[Aim, PlannedFault]]:
        """Give the faults there, those behind one first fault together.

        Args:
            hits: which hits of a site are tried.
            without: capabilities that are left alone.
        """
        return [
            (replace(aim, hit=f"{SECOND}{aim.hit}"), replace(later, after=before))
            for before, item in self._found.values()
            if item.capability not in without
            for aim, later in aims_at([item], hits, persistent=False)
        ]


def describe_chain(chain: Sequence[PlannedFault], shown: Callable[[str], str]) -> str:
    """Say what failed with what; "" where that is no call of a function, and no chain.

    Args:
        chain: the faults, the last one last.
        shown: gives a source file's name as reports show it.
    """
    if not chain:
        return ""
    last, *before = reversed(chain)
    words = [_what(last)]
    for fault in before:
        place = f"{shown(fault.site.file)}:{fault.site.line}"
        words.append(f"after {_what(fault) or fault.capability} at {place}")
    return " ".join(word for word in words if word)


def _what(fault: PlannedFault) -> str:
    return f"{fault.site.caller}: {fault.error}" if fault.error else ""
