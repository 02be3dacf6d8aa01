"""Real allocations in a campaign: the census and the faults of `fail_pymem`.

Lives here: what the sweeper arms on the C core, from its settings, and whose
allocations are meant. Not here: the same for capabilities that ask Python
(`faultinject.campaign.census`, ``.strike``), the core (`faultinject.native`).
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from site import getsitepackages, getusersitepackages
from threading import current_thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from faultinject.callsite import UNKNOWN, CallSite
from faultinject.campaign.census import Reached
from faultinject.campaign.scope import Scope
from faultinject.campaign.site import Identity, Site
from faultinject.capabilities.fail_pymem import fail_pymem
from faultinject.engine.attr import FaultAttr
from faultinject.engine.log import injections
from faultinject.functions.hook import hook
from faultinject.native import Census as NativeCensus
from faultinject.native import CodeScope, NativeArming, NativeEvent, NativeSite, Target
from faultinject.native import Strike as NativeStrike
from faultinject.native.capability import requests_of
from faultinject.native.requests import Requests
from faultinject.native.rule import RuleArming
from faultinject.native.veto import VETOED, Veto

if TYPE_CHECKING:
    from faultinject.campaign.settings import Settings
    from faultinject.campaign.strike import PlannedFault

NAME: Final = fail_pymem.name

_STACK_KNOBS: Final = ("require", "reject", "stacktrace_depth")


def installed_code() -> tuple[str, ...]:
    """Give the folders of the standard library and of installed packages.

    What runs in them allocates for its caller, unless a source names it.
    """
    paths = sysconfig.get_paths()
    folders = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [*getsitepackages(), getusersitepackages()]
    return tuple(dict.fromkeys(folders))


@dataclass(frozen=True, slots=True)
class Allocations:
    """Which requests of which code a sweep counts and fails.

    Args:
        knobs: those of the SPEC: gates, a profile, and the kernel's stack filters.
        requests: those that the gates let through.
        code: whose requests.
        identity: how finely two call sites are told apart. For ``site`` that is the
            C function that asks; the Python callers do not matter.
        beside_calls: whether calls of functions are seen at the same time.
    """

    knobs: Mapping[str, Any]
    requests: Requests
    code: CodeScope
    identity: Identity
    beside_calls: bool = False

    @classmethod
    def of(
        cls, settings: Settings, knobs: Mapping[str, Any], *, beside_calls: bool = False
    ) -> Allocations:
        """Read the settings of a sweep."""
        own = {*fail_pymem.gates, "profile"}
        armed = fail_pymem(**{name: knobs[name] for name in own & knobs.keys()})
        code = code_scope(settings, knobs)
        return cls(knobs, requests_of(armed.gates), code, settings.identity, beside_calls)

    def census(self) -> AllocationCensus:
        """Make the census of one run."""
        return AllocationCensus(self)

    def faults(self, faults: Sequence[PlannedFault], *, counts: bool = False) -> AllocationFaults:
        """Make planned faults, one or two.

        Args:
            faults: what is to strike.
            counts: whether all requests are counted, as a census does.
        """
        return AllocationFaults(self, faults, counts=counts)

    def rule(self, seed: int) -> AllocationRule:
        """Make a random fault by the knobs of the SPEC."""
        return AllocationRule(self, seed)

    @property
    def veto(self) -> Veto:
        """Functions beneath which nothing counts, for an arming that is to be made now."""
        return (*VETOED, *hook.quiet()) if self.beside_calls else VETOED

    @property
    def attr_knobs(self) -> dict[str, Any]:
        """The knobs of the rule among the SPEC's."""
        own = {*fail_pymem.gates, "profile", *_STACK_KNOBS}
        return {name: value for name, value in self.knobs.items() if name not in own}


def code_scope(settings: Settings, knobs: Mapping[str, Any]) -> CodeScope:
    """Give the code whose real allocations, and whose calls, are under test."""
    scope: Scope = settings.scope
    filters = FaultAttr(**{name: knobs[name] for name in _STACK_KNOBS if name in knobs})
    return CodeScope.of(
        [source.folder or source.text for source in scope.sources] or settings.own_code,
        [source.folder or source.text for source in scope.omit],
        exclude=settings.foreign_code,
        require=[str(pattern) for pattern in filters.require],
        reject=[str(pattern) for pattern in filters.reject],
        filter_depth=filters.stacktrace_depth,
    )


class _Stretches:
    """Arms the core for each stretch of a run: a phase, or an example of a property test.

    A context manager that no frame but faultinject's own stands behind: whatever else
    ran while it is armed would be taken for the code under test.
    """

    def __init__(self, allocations: Allocations) -> None:
        self._allocations = allocations
        self._armed: NativeArming | None = None

    def armed(self) -> _Stretches:
        """Arm on entry, disarm on exit, for every thread."""
        return self

    def __enter__(self) -> None:
        arming = self._next()
        self._armed = arming
        if arming is not None:
            arming.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        arming, self._armed = self._armed, None
        if arming is not None:
            arming.__exit__(None, None, None)
            self._ended(arming)

    def begin(self) -> None:
        """Start a new example of a property test."""
        running = self._armed is not None
        self.__exit__(None, None, None)
        self._start_over()
        if running:
            self.__enter__()

    def _next(self) -> NativeArming | None:
        """Make the arming of the next stretch; None if nothing can happen in it."""
        raise NotImplementedError

    def _ended(self, arming: NativeArming) -> None:
        """Take what a stretch has seen."""
        for event in arming.events:
            _record(event)

    def _start_over(self) -> None:
        """Begin a new example."""


class _Counting(_Stretches):
    """Adds up what the stretches of a run have counted."""

    def __init__(self, allocations: Allocations) -> None:
        super().__init__(allocations)
        self._hits: dict[Site, int] = {}
        self._most: dict[Site, int] = {}
        self._offsets: dict[Site, set[int]] = {}

    def _census(self) -> NativeCensus:
        allocations = self._allocations
        return NativeCensus(
            allocations.code,
            allocations.requests,
            all_tasks=True,
            by_caller=allocations.identity is Identity.SITE,
            veto=allocations.veto,
        )

    def _add(self, sites: Iterable[NativeSite]) -> None:
        by_line = self._allocations.identity is Identity.LINE
        for found in sites:
            site = _site_of(found, by_line=by_line)
            self._hits[site] = self._hits.get(site, 0) + found.hits
            self._offsets.setdefault(site, set()).add(found.offset)

    def _start_over(self) -> None:
        for site, hits in self._hits.items():
            self._most[site] = max(hits, self._most.get(site, 0))
        self._hits.clear()

    def reached(self) -> list[Reached]:
        """Give the sites in the order in which they were first reached."""
        self._start_over()
        return [
            Reached(NAME, site, hits, frozenset((0, at) for at in self._offsets[site]))
            for site, hits in self._most.items()
        ]


class AllocationCensus(_Counting):
    """Counts the requests of the code under test, and fails none."""

    def _next(self) -> NativeArming:
        return self._census()

    def _ended(self, arming: NativeArming) -> None:
        assert isinstance(arming, NativeCensus)
        self._add(arming.sites)


class AllocationFaults(_Counting):
    """Makes planned faults happen, and none beside them unless one persists."""

    def __init__(
        self, allocations: Allocations, faults: Sequence[PlannedFault], *, counts: bool
    ) -> None:
        super().__init__(allocations)
        self._faults = faults
        self._counts = counts
        self._passed = dict.fromkeys(faults, 0)  # how often each site was reached
        self._to_strike = list(faults)

    def _next(self) -> NativeArming | None:
        allocations = self._allocations
        if any(fault.persistent for fault in self._faults if fault not in self._to_strike):
            return RuleArming(
                FaultAttr(probability=100, times=-1),
                scope=allocations.code,
                requests=allocations.requests,
                all_tasks=True,
                collect=True,
            )
        if not self._to_strike:
            return self._census() if self._counts else None
        return NativeStrike(
            *(_target(fault, self._passed[fault]) for fault in self._to_strike),
            counts=self._counts,
            by_caller=allocations.identity is Identity.SITE,
            scope=allocations.code,
            requests=allocations.requests,
            all_tasks=True,
            veto=allocations.veto,
        )

    def _ended(self, arming: NativeArming) -> None:
        super()._ended(arming)
        if isinstance(arming, NativeStrike):
            for fault, (hits, struck) in zip(list(self._to_strike), arming.progress, strict=True):
                self._passed[fault] += hits
                if struck:
                    self._to_strike.remove(fault)
        if self._counts and isinstance(arming, NativeStrike | NativeCensus):
            self._add(arming.sites)

    def _start_over(self) -> None:
        super()._start_over()
        self._passed = dict.fromkeys(self._faults, 0)
        self._to_strike = list(self._faults)


class AllocationRule(_Stretches):
    """Lets the rule decide, with the knobs of a SPEC and a seed."""

    def __init__(self, allocations: Allocations, seed: int) -> None:
        super().__init__(allocations)
        self._attr = FaultAttr(**{"verbose": 0, **allocations.attr_knobs, "seed": seed})

    def _next(self) -> NativeArming:
        allocations = self._allocations
        return RuleArming(
            self._attr,
            scope=allocations.code,
            requests=allocations.requests,
            all_tasks=True,
            collect=True,
        )


def _site_of(found: NativeSite, *, by_line: bool) -> Site:
    if by_line:
        return Site(found.file, found.function, found.first_line, found.line)
    return Site(
        found.file,
        found.function,
        found.first_line,
        found.line,
        found.column,
        at=found.offset,
        domain=found.domain,
        caller=found.c_caller,
    )


def _target(fault: PlannedFault, passed: int) -> Target:
    site, offsets = fault.site, sorted(at for _, at in fault.instructions)
    native = NativeSite(
        site.file,
        site.function,
        site.first_line,
        site.line,
        site.column,
        offsets[0],
        site.domain,
        site.caller,
    )
    return Target(native, fault.hit - passed, fault.persistent, tuple(offsets))


def _record(event: NativeEvent) -> None:
    injections.record(
        NAME,
        event.size,
        fail_pymem.unit,
        UNKNOWN if event.site is None else _place(event.site),
        current_thread().name,
        cause="campaign",
        retry=False,
        domain=event.domain,
        caller=event.c_caller,
    )


def _place(site: NativeSite) -> CallSite:
    return CallSite(site.file, site.line, site.function, "", site.column, site.first_line)
