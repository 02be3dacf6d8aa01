"""The forecast: what each test of a run will reach, seen before the first one is swept.

Lives here: the values. Not here: how a session is looked at (the front-end runs it),
and what follows from it (`faultinject.campaign.assignment`). It is a hint: each sweep
takes its own census, and what differs is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from faultinject.campaign.aim import Aim


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What one test reaches.

    Attributes:
        seconds: of its clean body.
        sites: how many call sites it reaches.
        aims: what there is to try, in the order of the census.
    """

    seconds: float
    sites: int
    aims: tuple[Aim, ...]


Forecast = Mapping[str, Foreseen]
"""For each test that passes by itself, by its name, what it reaches."""


def to_plain(forecast: Forecast) -> dict[str, Any]:
    """Give plain values that survive a pipe; what many tests reach is spelled once."""
    numbers: dict[Aim, int] = {}
    tests = {
        name: [
            test.seconds,
            test.sites,
            [numbers.setdefault(aim, len(numbers)) for aim in test.aims],
        ]
        for name, test in forecast.items()
    }
    return {"aims": [aim.as_plain() for aim in numbers], "tests": tests}


def from_plain(plain: Mapping[str, Any]) -> dict[str, Foreseen]:
    """Rebuild what `to_plain` gave."""
    aims = [Aim.from_plain(row) for row in plain["aims"]]
    return {
        name: Foreseen(seconds, sites, tuple(aims[number] for number in numbers))
        for name, (seconds, sites, numbers) in plain["tests"].items()
    }
