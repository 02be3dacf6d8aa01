"""Evidence: what one trial shows, in plain values that survive a pipe.

Lives here: `RunResult`, what one run of the body came to, and `Evidence`, all
that is known of a trial when it has ended, also by a signal. Not here: what the
evidence means (`faultinject.campaign.outcome`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class RunResult:
    """One run of set-up, body, invariants and tear-down.

    Attributes:
        passed: everything ended without an exception and without a skip.
        propagated: it did not pass, and what ended it is the injected error or
            a translation of it (`faultinject.campaign.propagation`).
        error: one line about what ended it, or None.
        broken: one line for each invariant that does not hold.
        text: the traceback as the reader should see it; empty where nobody asked.
        output: what the run wrote to its standard streams, as far as known.
        warnings: one line for each warning that the body showed.
        duration: seconds in the body.
    """

    passed: bool
    propagated: bool = False
    error: str | None = None
    broken: list[str] = field(default_factory=list)
    text: str = ""
    output: str = ""
    warnings: list[str] = field(default_factory=list)
    duration: float = 0.0


@dataclass(slots=True)
class Evidence:
    """All that is known of one trial.

    Attributes:
        phase: the last phase it entered: start, setup, body, invariants,
            teardown, leftovers, rerun, done.
        complete: it delivered its own report; False for a signal or ``os._exit``.
        hung: it was ended because a phase passed the time limit.
        status: how the process ended, in words; empty where it ended well.
        injected: the faults that really struck, oldest first, as mappings with
            ``capability``, ``size``, ``unit`` and ``site``.
        warnings: one line for each that a clean run does not show.
        dump: the stacks that faulthandler wrote while it died or hung.
        fault_stack: the C stack of the last fault, where the trial is bad and it was a
            real allocation's, as `faultinject.campaign.c_stacks.read_stack` reads it.
        crash_stack: the C stack at the signal that ended it, the same way.
        entered: the error paths that it entered, in order, where a witness watched it.
        reached: what it reached beside its fault, as `faultinject.campaign.census.to_plain`
            gives it, where that was counted.
    """

    phase: str = "start"
    complete: bool = False
    hung: bool = False
    status: str = ""
    injected: list[dict[str, Any]] = field(default_factory=list)
    passed: bool = False
    propagated: bool = False
    error: str | None = None
    broken: list[str] = field(default_factory=list)
    rerun_error: str | None = None
    leaks: list[str] = field(default_factory=list)
    unraisable: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    text: str = ""
    output: str = ""
    dump: str = ""
    fault_stack: list[str] = field(default_factory=list)
    crash_stack: list[str] = field(default_factory=list)
    entered: list[str] = field(default_factory=list)
    reached: list[list[Any]] = field(default_factory=list)
    duration: float = 0.0

    @property
    def hung_in_body(self) -> bool:
        """Whether the time limit was passed before the body had ended."""
        return self.hung and self.phase == "body"

    def take(self, run: RunResult) -> None:
        """Copy in what the armed run came to."""
        self.passed = run.passed
        self.propagated = run.propagated
        self.error = run.error
        self.broken = run.broken
        self.text = run.text
        self.output = run.output
        self.duration = run.duration

    def as_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Evidence:
        """Rebuild what `as_dict` gave."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})
