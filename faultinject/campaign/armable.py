"""Armables: what makes faults happen while a body runs.

Lives here: `Observed`, a census or one planned fault, with the gates that the
SPEC names; `RandomFaults`, capabilities armed with their knobs and a seed. Not
here: the observers themselves (`faultinject.campaign.census`, ``.strike``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

from faultinject.callsite import StackFilter
from faultinject.campaign.census import Watch
from faultinject.campaign.settings import Settings
from faultinject.capabilities import registry
from faultinject.engine import observe
from faultinject.engine.attr import FaultAttr
from faultinject.prng import derive

Gates = Mapping[str, Mapping[str, Any]]

# Knobs of a SPEC that narrow a sweep by the stack; every other one is a gate.
STACK_KNOBS = frozenset({"require", "reject", "stacktrace_depth"})


class Armable(Protocol):
    """Something to arm around the body of a test."""

    def armed(self) -> AbstractContextManager[None]:
        """Arm on entry, disarm on exit, for every thread and task."""

    def begin(self) -> None:
        """Start a new example of a property test."""


class Observer(observe.Observer, Protocol):
    """An observer that can start over for the next example of a property test."""

    def begin(self) -> None:
        """Start a new example."""


class observed:  # noqa: N801 - reads as a verb where it is used
    """Arms an observer, and opens or closes the capabilities' own gates for it.

    Args:
        observer: a census or a planned fault.
        swept: for each swept capability its gates and stack filters.
    """

    def __init__(self, observer: Observer, swept: Gates) -> None:
        self._observer = observer
        self._gates = {
            name: {knob: value for knob, value in knobs.items() if knob not in STACK_KNOBS}
            for name, knobs in swept.items()
        }

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Install the observer for the length of the block."""
        with ExitStack() as stack:
            for name, gates in self._gates.items():
                if gates:
                    # Probability 0: the gates are the SPEC's, the decision is the observer's.
                    stack.enter_context(
                        registry.get(name)(**{**gates, "probability": 0, "all_tasks": True})
                    )
            observe.install(self._observer)
            try:
                yield
            finally:
                observe.remove()

    def begin(self) -> None:
        """Start a new example of a property test."""
        self._observer.begin()


class RandomFaults:
    """Arms capabilities with their knobs and seeds drawn from one.

    Args:
        knobs: for each capability its knobs, among them a probability.
        seed: each capability gets a seed of its own from it.
    """

    def __init__(self, knobs: Gates, seed: int) -> None:
        self._knobs = knobs
        self._seed = seed

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Arm every capability for the length of the block."""
        with ExitStack() as stack:
            for name, knobs in self._knobs.items():
                stack.enter_context(
                    registry.get(name)(
                        **{
                            "verbose": 0,
                            **knobs,
                            "seed": derive(self._seed, name),
                            "all_tasks": True,
                        }
                    )
                )
            yield

    def begin(self) -> None:
        """Nothing: the draws go on from one example of a property test to the next."""


def watch_of(settings: Settings) -> Watch:
    """Give what the observers of these settings look at."""
    filters = {}
    for name, knobs in settings.swept.items():
        narrowing = {knob: value for knob, value in knobs.items() if knob in STACK_KNOBS}
        if narrowing:
            attr = FaultAttr(**narrowing)
            filters[name] = StackFilter(attr.require, attr.reject, attr.stacktrace_depth)
    return Watch(frozenset(settings.swept), settings.scope, settings.identity, filters)
