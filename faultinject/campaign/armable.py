"""Armables: what makes faults happen while a body runs.

Lives here: `Armables`, which makes them from the settings of a sweep: `Survey`, the
census of all capabilities that are swept; one planned fault; `RandomFaults`,
capabilities armed with their knobs and a seed. Not here: the observers themselves
(`faultinject.campaign.census`, ``.strike``), and what is armed on the interpreter
(``.allocations``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any, Protocol

from faultinject.callsite import StackFilter
from faultinject.campaign import allocations
from faultinject.campaign.allocations import Allocations
from faultinject.campaign.census import Census, Reached, Watch
from faultinject.campaign.settings import RandomMode, Settings
from faultinject.campaign.strike import PlannedFault, Strike
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


class _Nested:
    """Several armables as one: the last is armed last, and disarmed first.

    Written out, for what `contextlib` allocates on the way in and out must not be
    taken for the code under test.
    """

    def __init__(self, parts: Sequence[Armable]) -> None:
        self._parts = parts
        self._open: list[AbstractContextManager[None]] = []

    def __enter__(self) -> None:
        try:
            for part in self._parts:
                armed = part.armed()
                armed.__enter__()
                self._open.append(armed)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._open:
            self._open.pop().__exit__(None, None, None)


class Survey:
    """The census of every capability that is swept; arm it once for each run.

    Args:
        asked: the census of the capabilities that ask Python, and their gates.
        allocations: that of the interpreter's allocations, if they are swept.
    """

    def __init__(self, asked: tuple[Census, Gates], allocations: Allocations | None) -> None:
        self._census, gates = asked
        self._parts: list[Armable] = [observed(self._census, gates)] if gates else []
        self._allocations = None if allocations is None else allocations.census()
        if self._allocations is not None:
            self._parts.append(self._allocations)

    def armed(self) -> AbstractContextManager[None]:
        """Count on entry, no more on exit, in every thread and task."""
        return _Nested(self._parts)

    def begin(self) -> None:
        """Start a new example of a property test."""
        for part in self._parts:
            part.begin()

    def reached(self) -> list[Reached]:
        """Give the sites, those of each kind in the order in which they were first reached."""
        found = self._census.reached()
        return found if self._allocations is None else found + self._allocations.reached()


class RandomFaults:
    """Arms capabilities with their knobs and seeds drawn from one.

    Args:
        knobs: for each capability that asks Python its knobs, among them a probability.
        seed: each capability gets a seed of its own from it.
        rule: the interpreter's allocations with theirs, if they fail too.
    """

    def __init__(self, knobs: Gates, seed: int, rule: Armable | None = None) -> None:
        self._knobs = knobs
        self._seed = seed
        self._parts = [_Entered(self._asked), *([rule] if rule is not None else [])]

    def armed(self) -> AbstractContextManager[None]:
        """Arm every capability for the length of the block."""
        return _Nested(self._parts)

    @contextmanager
    def _asked(self) -> Iterator[None]:
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


class _Entered:
    """A context manager as an armable that knows no examples."""

    def __init__(self, armed: Callable[[], AbstractContextManager[None]]) -> None:
        self.armed = armed

    def begin(self) -> None:
        """Nothing."""


class Armables:
    """Makes everything that one sweep arms; reads the settings once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asked, allocating = _parted(settings.swept)
        self._watch = _watch_of(settings, self._asked)
        self._allocations = None if allocating is None else Allocations.of(settings, allocating)

    @property
    def extensions(self) -> frozenset[str]:
        """The files of extension modules whose real allocations are under test."""
        return frozenset(() if self._allocations is None else self._allocations.code.extensions)

    def survey(self) -> Survey:
        """Make the census of one run."""
        return Survey((Census(self._watch), self._asked), self._allocations)

    def fault(self, fault: PlannedFault) -> Armable:
        """Make what carries out a planned fault."""
        if fault.capability == allocations.NAME and self._allocations is not None:
            return self._allocations.fault(fault)
        return observed(Strike(fault, self._watch), self._asked)

    def random(self, mode: RandomMode, seed: int) -> Armable:
        """Make the faults of one random trial."""
        asked, allocating = _parted(mode.knobs)
        if allocating is None:
            return RandomFaults(asked, seed)
        rule = Allocations.of(self._settings, allocating).rule(derive(seed, allocations.NAME))
        return RandomFaults(asked, seed, rule)


def _parted(knobs: Gates) -> tuple[Gates, Mapping[str, Any] | None]:
    """Part the capabilities that ask Python from the interpreter's allocations."""
    return (
        {name: own for name, own in knobs.items() if name != allocations.NAME},
        knobs.get(allocations.NAME),
    )


def _watch_of(settings: Settings, asked: Gates) -> Watch:
    filters = {}
    for name, knobs in asked.items():
        narrowing = {knob: value for knob, value in knobs.items() if knob in STACK_KNOBS}
        if narrowing:
            attr = FaultAttr(**narrowing)
            filters[name] = StackFilter(attr.require, attr.reject, attr.stacktrace_depth)
    return Watch(frozenset(asked), settings.scope, settings.identity, filters)
