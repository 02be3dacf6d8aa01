"""One run of a body under observation: the census run and the trial.

Lives here: what happens in order, in whatever process it happens. Not here:
the child process (`faultinject.campaign.isolation`), the body itself (a
`Subject`: a pytest item or the functions given to ``sweep``).
"""

from __future__ import annotations

import json
import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from faultinject.campaign.armable import Armable, Struck, Survey
from faultinject.campaign.c_stacks import forget_fault, last_fault
from faultinject.campaign.census import to_plain
from faultinject.campaign.child import note
from faultinject.campaign.evidence import Evidence, RunResult
from faultinject.campaign.oracles.bundle import Bundle
from faultinject.campaign.oracles.leftovers import lines_beyond, more_than
from faultinject.campaign.oracles.locks import would_block
from faultinject.campaign.oracles.lost import untold
from faultinject.campaign.oracles.makers import without_marks
from faultinject.campaign.oracles.with_statements import any_in_with
from faultinject.campaign.outcome import Verdict, judge
from faultinject.campaign.record import named_caller
from faultinject.engine import log
from faultinject.functions.acts import raised
from faultinject.mm import memory as mm_memory
from faultinject.mm.current import default_memory
from faultinject.mm.memory import Memory


class Subject(Protocol):
    """What is run: once for the census, once or twice for each trial."""

    def run(self, arm: Armable | None, mark: Callable[[str], None]) -> RunResult:
        """Run set-up, body, invariants and tear-down once, afresh.

        Args:
            arm: armed around the body alone; None for a clean run.
            mark: to be told the phase that begins: setup, body, invariants, teardown.
        """

    def explain(self, note: str) -> str:
        """Render the traceback of the last armed run, and let go of the exception.

        Args:
            note: added to the exception before it is rendered.
        """


@dataclass(slots=True)
class Baseline:
    """What the census child found out about the clean test.

    Attributes:
        passed: whether the first clean run passed.
        error: why it did not.
        reached: the sites, as `faultinject.campaign.census.to_plain` gives them.
        left: what a clean run leaves behind.
        unraisable: errors that a clean run loses.
        runs_twice: whether the second clean run passed; if not, a trial's
            failing re-run says nothing.
        duration: seconds in the body of the first run.
        warnings: what the first clean run warned of.
        grown: bytes by which the clean runs made the process larger, at most.
        entered: the error paths that the first clean run entered, in order, where a
            witness watched it.
    """

    passed: bool = False
    error: str | None = None
    reached: list[list[Any]] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    unraisable: list[str] = field(default_factory=list)
    runs_twice: bool = True
    duration: float = 0.0
    status: str = ""
    warnings: list[str] = field(default_factory=list)
    grown: int = 0
    entered: list[str] = field(default_factory=list)

    def as_plain(self) -> dict[str, Any]:
        """Give plain values, for another process."""
        return {name: getattr(self, name) for name in self.__slots__}


def take_census(
    subject: Subject,
    survey: Survey,
    mark: Callable[[str], None],
    memory: ColdMemory,
    oracles: Bundle,
    *,
    again: bool = True,
) -> Baseline:
    """Run the subject twice without a fault; write down what the first run reaches.

    Args:
        subject: what is run.
        survey: the census.
        mark: told of each phase.
        memory: the model memory of both runs.
        oracles: what is looked at.
        again: whether there is a second run.
    """
    baseline = Baseline()
    with memory.as_default(), _same_draws() as draw_again:
        with oracles.watching() as watched:
            first = subject.run(survey, mark)
            mark("leftovers")
            left = watched.left()
        baseline.passed, baseline.error = first.passed, first.error
        baseline.reached = to_plain(survey.reached())
        baseline.left, baseline.unraisable = dict(left), watched.lost
        baseline.duration, baseline.warnings = first.duration, first.warnings
        if oracles.reruns and again:
            draw_again()
            with oracles.quiet():
                baseline.runs_twice = subject.run(None, _as_rerun(mark)).passed
    return baseline


def conduct(
    subject: Subject,
    arm: Armable,
    baseline: Baseline,
    mark: Callable[[str], None],
    memory: ColdMemory,
    oracles: Bundle,
    *,
    strict: bool = False,
    token: str = "",
) -> Evidence:
    """Run one trial in this process and give its evidence.

    An exception that ended the body gets a note: what was injected, and the token.

    The order matters: leftovers are taken after tear-down and before the clean
    re-run, which itself may leave or free things.
    """
    evidence = Evidence()

    def enter(phase: str) -> None:
        evidence.phase = phase
        mark(phase)

    shown = oracles.shown
    forget_fault()
    raised.clear()
    with memory.as_default(), _same_draws() as draw_again:
        injected, violated = log.injections.mark(), log.violations.total
        with oracles.watching() as watched:
            with _noting_injections():
                run = subject.run(arm, enter)
            evidence.take(run)
            evidence.warnings = lines_beyond(run.warnings, baseline.warnings)
            evidence.injected = [_plain_injection(item) for item in log.injections.since(injected)]
            enter("leftovers")
            leaks = more_than(watched.suspects(), without_marks(baseline.left))
            struck = [item.site for item in log.injections.since(injected) if item.site]
            if leaks:
                # A traceback keeps its frames and all that they hold: render it, drop it,
                # and look again, so that it is no leak.
                evidence.text = subject.explain(_note(evidence, shown, token))
                left = watched.left() if run.passed else watched.left_by_the_code(struck)
                leaks = more_than(left, baseline.left)
        evidence.reached = to_plain(arm.reached()) if isinstance(arm, Struck) else []
        evidence.violations = [str(item) for item in log.violations.since(violated)]
        evidence.leaks = [] if leaks and any_in_with(struck) else leaks
        lost = untold(watched.lost, evidence.error)
        evidence.unraisable = lines_beyond(lost, baseline.unraisable)
        runs_again = oracles.reruns and baseline.runs_twice and not would_block(leaks)
        if runs_again and evidence.injected:
            draw_again()
            enter("rerun")
            with oracles.quiet():
                again = subject.run(None, lambda phase: None)
            if not again.passed:
                evidence.rerun_error = again.error or "the clean re-run did not pass"
    evidence.complete = True
    enter("done")
    bad = judge(evidence).verdict(strict=strict) is Verdict.BAD
    evidence.text = subject.explain(_note(evidence, shown, token)) if bad else ""
    if bad:
        evidence.fault_stack = last_fault()
    return evidence


@contextmanager
def _noting_injections() -> Iterator[None]:
    """Inside the block each fault is known to the parent at once: the next step may be fatal."""
    witness = log.injections.witness
    log.injections.witness = lambda item: note("injected", json.dumps(_plain_injection(item)))
    try:
        yield
    finally:
        log.injections.witness = witness


def _note(evidence: Evidence, shown: Callable[[str], str], token: str) -> str:
    """Say what was injected, for the reader of a traceback."""
    lines = []
    for item in evidence.injected:
        site = item["site"]
        if item["unit"] == "calls":
            lines.append(
                f"faultinject: {item['capability']} failed {item['caller']} "
                f"at {shown(site['file'])}:{site['line']} in {site['function']}"
            )
            continue
        if lines:
            break
        asked = ", ".join(
            part
            for part in (
                item["domain"] and f"{item['domain']} domain",
                named_caller(item["caller"]),
            )
            if part
        )
        lines.append(
            f"faultinject: {item['capability']} refused {item['size']} {item['unit']}"
            f"{asked and f' ({asked})'} at {shown(site['file'])}:{site['line']} "
            f"in {site['function']}"
        )
    if lines and token:
        lines.append(f"replay token: {token}")
    return "\n".join(lines)


def broken_conduct(error: BaseException, before: int) -> Evidence:
    """Give the evidence of a trial in which the code under test broke the run around it.

    Args:
        error: what came out of the run.
        before: the mark of the log of injections when the trial began.
    """
    evidence = Evidence(phase="done", complete=True)
    evidence.injected = [_plain_injection(item) for item in log.injections.since(before)]
    evidence.error = f"{type(error).__name__} outside the test's own phases: {error}"
    evidence.text = "".join(traceback.format_exception(error))
    return evidence


class ColdMemory:
    """A memory that nobody has used, made before it is needed.

    Forked children each find it cold, and need not make one of their own.
    """

    def __init__(self) -> None:
        self._made: Memory | None = Memory()

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """Give a run a cold default memory, and keep what it makes for the leak check."""
        witnesses = mm_memory.witnesses
        mm_memory.witnesses = []
        memory = self._made or Memory()
        self._made = None  # in this process it is cold no more
        try:
            with default_memory(memory):
                yield
        finally:
            mm_memory.witnesses = witnesses


@contextmanager
def _same_draws() -> Iterator[Callable[[], None]]:
    """Give what makes the random module draw anew what it drew; do so at the end as well.

    Without isolation, the runs of one process would differ in it.
    """
    state = random.getstate()

    def draw_again() -> None:
        random.setstate(state)

    try:
        yield draw_again
    finally:
        draw_again()


def _as_rerun(mark: Callable[[str], None]) -> Callable[[str], None]:
    return lambda phase: mark("rerun")


def _plain_injection(item: log.Injection) -> dict[str, Any]:
    site = item.site
    return {
        "capability": item.capability,
        "size": item.size,
        "unit": item.unit,
        "domain": item.domain,
        "caller": item.caller,
        "site": {
            "file": site.file if site else "",
            "line": site.line if site else 0,
            "function": site.function if site else "",
        },
    }
