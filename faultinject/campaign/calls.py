"""Calls in a campaign: the census and the faults of `fail_function`.

Lives here: what the sweeper arms on the calls of functions, from its settings: the census, a
planned fault, and the rule with a seed. Not here: whose calls are meant
(`faultinject.campaign.own_calls`), how they are seen (`faultinject.functions`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import current_thread
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

from faultinject.callsite import line_of
from faultinject.campaign.allocations import code_scope
from faultinject.campaign.census import Reached
from faultinject.campaign.own_calls import OwnCalls
from faultinject.campaign.site import (
    Identify,
    Identity,
    Site,
    fingerprint,
    source_of,
    stack_digest,
)
from faultinject.campaign.strike import PlannedFault
from faultinject.engine.attr import FaultAttr
from faultinject.engine.log import injections
from faultinject.functions.capability import choose_by_gates, fail_function
from faultinject.functions.chosen import Chosen, codes_that_fail_as_a_whole
from faultinject.functions.fault import Fault
from faultinject.functions.watch import Call, Watch

if TYPE_CHECKING:
    from faultinject.campaign.settings import Settings

NAME: Final = fail_function.name


@dataclass(frozen=True, slots=True)
class Calls:
    """Which calls of which code a sweep counts and fails.

    Args:
        chosen: what is called, and what it may fail with.
        code: whose calls.
        identity: how finely two call sites are told apart.
        most: how many faults of each call site are tried; None for all.
        knobs: those of the SPEC.
    """

    chosen: tuple[Chosen, ...]
    code: OwnCalls
    identity: Identity
    most: int | None
    knobs: Mapping[str, Any]

    @classmethod
    def of(cls, settings: Settings, knobs: Mapping[str, Any]) -> Calls:
        """Read the settings of a sweep.

        Raises:
            SpecError: a name or an error does not exist.
        """
        gates = {*fail_function.gates, "profile"} & knobs.keys()
        arming = fail_function(**{name: knobs[name] for name in gates})
        known = codes_that_fail_as_a_whole(arming.gates["target"])
        code = OwnCalls(code_scope(settings, knobs), known)
        chosen = choose_by_gates(arming.gates)  # none at all is no error: nobody may be marked yet
        return cls(chosen, code, settings.identity, settings.most_errors, knobs)

    def census(self) -> CallCensus:
        """Make the census of one run."""
        return CallCensus(self)

    def faults(self, faults: Sequence[PlannedFault], *, counts: bool = False) -> CallFaults:
        """Make planned faults, each of which strikes once at most, or persists.

        Args:
            faults: what is to strike.
            counts: whether all other calls are counted, as a census does.
        """
        return CallFaults(self, faults, CallCensus(self) if counts else None)

    def rule(self, seed: int) -> CallRule:
        """Make random faults by the knobs of the SPEC."""
        return CallRule(self, seed)

    def watch(self, ask: Asker) -> Watch:
        """Make the watch that tells somebody of the calls that are meant."""
        chosen, code = self.chosen, self.code
        own_only = [each.is_own_only for each in chosen]

        def asked(number: int, call: Call) -> Fault | None:
            frame = code.frame_under_test(call.frame)
            if frame is None:
                return None
            if own_only[number] and frame is not call.frame:
                return None
            known = chosen[number]
            possible = known.possible(call)
            return ask.ask(known, possible, frame) if possible else None

        return Watch([each.target for each in chosen], asked)


class Asker:
    """Is asked about the calls of the code under test, while it is armed."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def ask(self, known: Chosen, possible: Sequence[Fault], frame: FrameType) -> Fault | None:
        """Say what a call fails with, or None.

        Args:
            known: what is called.
            possible: what it can fail with, as it is called here.
            frame: the frame under test to which the call belongs.
        """
        raise NotImplementedError

    @contextmanager
    def armed(self) -> Iterator[None]:
        """See calls for the length of the block, in every thread."""
        watch = self._calls.watch(self)
        watch.start()
        try:
            yield
        finally:
            watch.stop()

    def begin(self) -> None:
        """Start a new example of a property test."""


class CallCensus(Asker):
    """Counts what each call of the code under test could fail with, and fails none."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls)
        self._identify = Identify(calls.identity)
        self._hits: dict[tuple[Site, str], int] = {}
        self._most: dict[tuple[Site, str], int] = {}
        # By the identity of a code object, whose own hash is slow, and kept alive for it.
        self._instructions: dict[Site, set[tuple[int, int]]] = {}
        self._codes: dict[int, CodeType] = {}

    def ask(self, known: Chosen, possible: Sequence[Fault], frame: FrameType) -> None:
        """Count a call."""
        site = replace(self._identify(frame), caller=known.target.name)
        code = frame.f_code
        self._codes[id(code)] = code
        self._instructions.setdefault(site, set()).add((id(code), frame.f_lasti))
        for fault in possible[: self._calls.most]:
            self._hits[site, fault.text] = self._hits.get((site, fault.text), 0) + 1

    def begin(self) -> None:
        """Start a new example."""
        for key, hits in self._hits.items():
            self._most[key] = max(hits, self._most.get(key, 0))
        self._hits.clear()

    def reached(self) -> list[Reached]:
        """Give the sites in the order in which they were first reached, with each error."""
        self.begin()
        spelled = {
            site: frozenset((fingerprint(self._codes[code]), at) for code, at in found)
            for site, found in self._instructions.items()
        }
        return [
            Reached(NAME, site, hits, spelled[site], error)
            for (site, error), hits in self._most.items()
        ]


class CallFaults(Asker):
    """Makes planned faults happen, and none beside them unless one persists."""

    def __init__(
        self, calls: Calls, faults: Sequence[PlannedFault], census: CallCensus | None
    ) -> None:
        super().__init__(calls)
        self._strikes = [_Strike(fault, calls.identity) for fault in faults]
        self._census = census

    def ask(self, known: Chosen, possible: Sequence[Fault], frame: FrameType) -> Fault | None:
        """Say whether this call is one of those."""
        for strike in self._strikes:
            fault = strike.decide(known, possible, frame)
            if fault is not None:
                _record(known, fault, frame, "campaign")
                return fault
        if self._census is not None:
            self._census.ask(known, possible, frame)
        return None

    def begin(self) -> None:
        """Start a new example: the faults are functions of the example."""
        for strike in self._strikes:
            strike.hits, strike.struck = 0, False
        if self._census is not None:
            self._census.begin()

    def reached(self) -> list[Reached]:
        """Give what was counted beside the faults."""
        return [] if self._census is None else self._census.reached()


class _Strike:
    """One planned fault, and how far it is."""

    def __init__(self, fault: PlannedFault, identity: Identity) -> None:
        self.hits = 0
        self.struck = False
        self._planned = fault
        self._offsets = frozenset(offset for _, offset in fault.instructions)
        self._by_stack = identity is Identity.SITE

    def decide(self, known: Chosen, possible: Sequence[Fault], frame: FrameType) -> Fault | None:
        """Say what becomes of a call; None if it is not meant."""
        planned = self._planned
        if self.struck:
            return possible[0] if planned.persistent else None
        if frame.f_lasti not in self._offsets or known.target.name != planned.site.caller:
            return None
        # By its text, and not read anew: a class that is local to a function has no name.
        fault = next((each for each in possible if each.text == planned.error), None)
        if fault is None or not self._is_here(frame):
            return None
        self.hits += 1
        self.struck = self.hits == planned.hit
        return fault if self.struck else None

    def _is_here(self, frame: FrameType) -> bool:
        """Compare by content: code made by ``exec`` is another object in each run."""
        site, code = self._planned.site, frame.f_code
        return (
            code.co_qualname == site.function
            and code.co_firstlineno == site.first_line
            and source_of(code) == site.file
            and (fingerprint(code), frame.f_lasti) in self._planned.instructions
            and (not self._by_stack or stack_digest(frame) == site.stack)
        )


class CallRule(Asker):
    """Lets the rule decide, with the knobs of a SPEC and a seed; faults come in turn."""

    def __init__(self, calls: Calls, seed: int) -> None:
        super().__init__(calls)
        own = {*fail_function.gates, "profile", "require", "reject", "stacktrace_depth"}
        knobs = {name: value for name, value in calls.knobs.items() if name not in own}
        self._attr = FaultAttr(**{"verbose": 0, **knobs, "seed": seed})
        self._struck = 0

    def ask(self, known: Chosen, possible: Sequence[Fault], frame: FrameType) -> Fault | None:
        """Let the rule decide."""
        if not self._attr.decide(1, frame=frame):
            return None
        fault = possible[self._struck % len(possible)]
        self._struck += 1
        _record(known, fault, frame, "rule")
        return fault


def said(target: str, error: str) -> str:
    """Say what failed with what."""
    return f"{target}: {error}"


def _record(known: Chosen, fault: Fault, frame: FrameType, cause: str) -> None:
    injections.record(
        NAME,
        1,
        fail_function.unit,
        line_of(frame),
        current_thread().name,
        cause=cause,
        retry=False,
        caller=said(known.target.name, fault.text),
    )
