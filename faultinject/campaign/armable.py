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
from types import FrameType, TracebackType
from typing import Any, Protocol

from faultinject.callsite import StackFilter
from faultinject.campaign import allocations, calls
from faultinject.campaign.allocations import AllocationCensus, AllocationFaults, Allocations
from faultinject.campaign.calls import CallCensus, CallFaults, Calls
from faultinject.campaign.census import Census, Reached, Watch
from faultinject.campaign.settings import RandomMode, Settings
from faultinject.campaign.strike import PlannedFault, Strike
from faultinject.capabilities import registry
from faultinject.engine import observe
from faultinject.engine.attr import FaultAttr
from faultinject.prng import derive

Gates = Mapping[str, Mapping[str, Any]]

# Capabilities that the sweeper arms itself; all others ask Python.
_ARMED_APART = (allocations.NAME, calls.NAME)

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
        others: that of the interpreter's allocations, and that of calls of functions.
    """

    def __init__(self, asked: tuple[Census, Gates], *others: AllocationCensus | CallCensus) -> None:
        self._census, gates = asked
        self._others = others
        self._parts: list[Armable] = [observed(self._census, gates)] if gates else []
        self._parts += others

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
        return found + [item for part in self._others for item in part.reached()]


class _Several:
    """Several observers in the one seat; the first that fails a call has done so."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def eligible_call(
        self, capability: str, size: int, frame: FrameType | None, retry: bool
    ) -> bool:
        """Ask one after the other."""
        return any(
            observer.eligible_call(capability, size, frame, retry) for observer in self._observers
        )

    def begin(self) -> None:
        """Start a new example of a property test."""
        for observer in self._observers:
            observer.begin()


class Struck:
    """Planned faults that strike one after the other, and perhaps a census beside them.

    Args:
        chain: the faults.
        watch: what the observers of the asked capabilities look at.
        asked: the capabilities that ask Python, and their gates.
        called: the calls of functions, if they are swept.
        allocated: the interpreter's allocations, if they are.
        counts: whether what else is reached is counted.
    """

    def __init__(
        self,
        chain: Sequence[PlannedFault],
        watch: Watch,
        asked: Gates,
        called: Calls | None,
        allocated: Allocations | None,
        *,
        counts: bool,
    ) -> None:
        of_memory = [fault for fault in chain if fault.capability == allocations.NAME]
        of_calls = [fault for fault in chain if fault.capability == calls.NAME]
        observers: list[Observer] = [
            Strike(fault, watch) for fault in chain if fault.capability not in _ARMED_APART
        ]
        self._census = Census(watch) if counts and asked else None
        if self._census is not None:
            observers.append(self._census)
        self._parts: list[Armable] = []
        if observers:
            seated = observers[0] if len(observers) == 1 else _Several(observers)
            self._parts.append(observed(seated, asked))
        self._others: list[CallCensus | CallFaults | AllocationFaults] = []
        if called is not None and of_calls:
            self._others.append(called.faults(of_calls, counts=counts))
        elif called is not None and (of_memory or counts):
            # Garbage is collected by the count of what was made, our own included: where real
            # allocations are to be met again, a run looks at calls as the census did.
            self._others.append(called.census())
        if allocated is not None and (of_memory or counts):
            self._others.append(allocated.faults(of_memory, counts=counts))
        self._parts += self._others

    def armed(self) -> AbstractContextManager[None]:
        """Arm on entry, disarm on exit, in every thread and task."""
        return _Nested(self._parts)

    def begin(self) -> None:
        """Start a new example of a property test."""
        for part in self._parts:
            part.begin()

    def reached(self) -> list[Reached]:
        """Give what was counted beside the faults; none if nothing was to be."""
        found = [] if self._census is None else self._census.reached()
        return found + [item for part in self._others for item in part.reached()]


class RandomFaults:
    """Arms capabilities with their knobs and seeds drawn from one.

    Args:
        knobs: for each capability that asks Python its knobs, among them a probability.
        seed: each capability gets a seed of its own from it.
        rules: what is armed apart with its knobs: allocations of the interpreter, calls.
    """

    def __init__(self, knobs: Gates, seed: int, *rules: Armable) -> None:
        self._knobs = knobs
        self._seed = seed
        self._parts = [_Entered(self._asked), *rules]

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
        self._asked, apart = _parted(settings.swept)
        self._watch = _watch_of(settings, self._asked)
        allocating, calling = apart.get(allocations.NAME), apart.get(calls.NAME)
        beside_calls = calling is not None and settings.order > 1
        self._allocations = (
            None
            if allocating is None
            else Allocations.of(settings, allocating, beside_calls=beside_calls)
        )
        self._calls = None if calling is None else Calls.of(settings, calling)

    @property
    def extensions(self) -> frozenset[str]:
        """The files of extension modules whose real allocations are under test."""
        return frozenset(() if self._allocations is None else self._allocations.code.extensions)

    def survey(self) -> Survey:
        """Make the census of one run; that of calls may need a run of its own."""
        others: list[AllocationCensus | CallCensus] = []
        if self._calls is not None and self.survey_of_calls() is None:
            others.append(self._calls.census())
        if self._allocations is not None:
            others.append(self._allocations.census())
        return Survey((Census(self._watch), self._asked), *others)

    def survey_of_calls(self) -> Survey | None:
        """Make the census of calls where it needs a run of its own; None where it does not.

        What sees calls allocates in the name of the code that makes them. Where faults
        come one after the other it is there in every run, and in the one census as well.
        """
        if self._calls is None or self._allocations is None or self._settings.order > 1:
            return None
        return Survey((Census(self._watch), {}), self._calls.census())

    def fault(self, fault: PlannedFault, *, counts: bool = False) -> Armable:
        """Make what carries out a planned fault, and those that strike before it.

        Args:
            fault: the last of them.
            counts: whether what a run reaches beside them is counted, as it is anyway beside
                a first fault where `Settings.order` is 2.
        """
        order = self._settings.order
        if fault.capability == allocations.NAME and self._allocations is not None and order == 1:
            return self._allocations.faults([fault])
        counts = counts or (order > 1 and fault.after is None)
        return Struck(
            fault.chain,
            self._watch,
            self._asked,
            self._calls if order > 1 or fault.capability != allocations.NAME else None,
            self._allocations if order > 1 else None,
            counts=counts,
        )

    def random(self, mode: RandomMode, seed: int) -> Armable:
        """Make the faults of one random trial."""
        asked, apart = _parted(mode.knobs)
        rules: list[Armable] = []
        for name, own in apart.items():
            kind = Allocations if name == allocations.NAME else Calls
            rules.append(kind.of(self._settings, own).rule(derive(seed, name)))
        return RandomFaults(asked, seed, *rules)


def _parted(knobs: Gates) -> tuple[Gates, Gates]:
    """Part the capabilities that ask Python from those that are armed apart."""
    return (
        {name: own for name, own in knobs.items() if name not in _ARMED_APART},
        {name: own for name, own in knobs.items() if name in _ARMED_APART},
    )


def _watch_of(settings: Settings, asked: Gates) -> Watch:
    filters = {}
    for name, knobs in asked.items():
        narrowing = {knob: value for knob, value in knobs.items() if knob in STACK_KNOBS}
        if narrowing:
            attr = FaultAttr(**narrowing)
            filters[name] = StackFilter(attr.require, attr.reject, attr.stacktrace_depth)
    return Watch(frozenset(asked), settings.scope, settings.identity, filters)
