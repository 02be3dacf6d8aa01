"""The strike: the observer that makes one planned fault happen.

Lives here: `PlannedFault` and the observer that carries it out. A random trial
needs no observer: it arms the capabilities with their knobs and a seed. Not
here: which faults are planned (`faultinject.campaign.plan`).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import FrameType

from faultinject.campaign.census import Watch
from faultinject.campaign.site import (
    Identity,
    Instruction,
    Site,
    fingerprint,
    source_of,
    stack_digest,
)
from faultinject.engine import observe


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault: which capability fails, at which site, at which hit of it.

    Attributes:
        hit: 1 for the first time that the run reaches the site.
        persistent: from this fault on every eligible call of the capability
            fails, at any site under test, until the body ends.
        instructions: those that the site stands for.
        error: what a call of a function fails with, as text; "" of an allocation.
        after: the fault that strikes before, and without which a run does not get here.
    """

    capability: str
    site: Site
    hit: int
    persistent: bool = False
    instructions: frozenset[Instruction] = frozenset()
    error: str = ""
    after: PlannedFault | None = None

    @property
    def chain(self) -> tuple[PlannedFault, ...]:
        """The faults that strike one after the other, this one last."""
        return (self,) if self.after is None else (*self.after.chain, self)


class Strike:
    """An observer that fails the planned call, lets all others pass, and then leaves."""

    def __init__(self, fault: PlannedFault, watch: Watch) -> None:
        self._fault = fault
        self._watch = watch
        self._offsets = frozenset(offset for _, offset in fault.instructions)
        self._by_stack = watch.identity is Identity.SITE
        self._hits = 0
        self._struck = False
        self._last = False
        self._has_left = False

    def eligible_call(
        self, capability: str, size: int, frame: FrameType | None, retry: bool
    ) -> bool:
        """Say whether this call is the one; the fallback try shares its first try's fate."""
        fault = self._fault
        if capability != fault.capability:
            return False
        if retry:
            return self._last
        self._last = self._decide(fault, frame)
        return self._last

    def _decide(self, fault: PlannedFault, frame: FrameType | None) -> bool:
        if self._struck and not fault.persistent:
            if observe.current is self:
                # Nothing more will happen: from here on a call costs what it costs without us.
                observe.remove()
                self._has_left = True
            return False
        under_test = self._watch.site_frame(fault.capability, frame)
        if under_test is None:
            return False
        if self._struck:
            return True
        if under_test.f_lasti not in self._offsets or not self._is_here(under_test):
            return False
        self._hits += 1
        self._struck = self._hits == fault.hit
        return self._struck

    def _is_here(self, frame: FrameType) -> bool:
        """Compare by content: code made by ``exec`` is another object in each run."""
        site, code = self._fault.site, frame.f_code
        return (
            code.co_qualname == site.function
            and code.co_firstlineno == site.first_line
            and source_of(code) == site.file
            and (fingerprint(code), frame.f_lasti) in self._fault.instructions
            and (not self._by_stack or stack_digest(frame) == site.stack)
        )

    def begin(self) -> None:
        """Start a new example of a property test: the fault is a function of the example."""
        self._hits = 0
        self._struck = False
        self._last = False
        if self._has_left:
            observe.install(self)
            self._has_left = False
