"""Orders: a task as plain values, for a worker that is no fork and shares no memory.

Lives here: `Order`, and `Errand`, a task that can be told to such a worker. Not here:
who carries it out (`faultinject.campaign.sweeper`), how it gets there (``.spawn``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any, ClassVar

from faultinject.campaign.child import Mark
from faultinject.campaign.site import Site
from faultinject.campaign.strike import PlannedFault

CALLS = "calls"
"""The census of calls of functions, where it is a run of its own."""

REACH = "reach"
"""A trial in which is counted what it reaches."""


@dataclass(frozen=True, slots=True)
class Order:
    """One thing to do with a subject: take its census, or try one fault.

    Attributes:
        token: the trial's; "" for the census.
        fault: the planned fault; None for the census, and for a random trial.
        baseline: what the census found, for a trial: the plain values of a `Baseline`.
        part: `CALLS` for the census of calls alone; `REACH` for a trial that counts what it
            reaches.
    """

    token: str = ""
    fault: PlannedFault | None = None
    baseline: dict[str, Any] | None = None
    part: str = ""

    def as_plain(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        chain = () if self.fault is None else self.fault.chain
        return {
            "token": self.token,
            "faults": [
                [
                    fault.capability,
                    list(astuple(fault.site)),
                    fault.hit,
                    fault.persistent,
                    sorted(fault.instructions),
                    fault.error,
                ]
                for fault in chain
            ],
            "baseline": self.baseline,
            "part": self.part,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Order:
        """Rebuild what `as_plain` gave."""
        fault = None
        for capability, site, hit, persistent, instructions, error in plain["faults"]:
            places = frozenset((code, at) for code, at in instructions)
            fault = PlannedFault(
                capability, Site(*site), hit, persistent, places, error, after=fault
            )
        return cls(plain["token"], fault, plain["baseline"], plain["part"])


@dataclass(frozen=True, slots=True)
class Errand:
    """A task, and the same as an order.

    Attributes:
        looks_around_first: what it does before its first phase touches nobody else, and
            may be done while another trial still runs.
    """

    task: Callable[[Mark], dict[str, Any]]
    order: Order
    looks_around_first: ClassVar[bool] = True

    def __call__(self, mark: Mark) -> dict[str, Any]:
        """Do it in this process."""
        return self.task(mark)
