"""Outcomes: the one name that each trial gets, and the order in which names are tried.

Lives here: the names, which of them are bad, and `judge`. Not here: how the
evidence is gathered (`faultinject.campaign.trial`), or what a propagated error
is (`faultinject.campaign.propagation`).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faultinject.campaign.evidence import Evidence


class Verdict(Enum):
    """What an outcome means for the run: only ``BAD`` makes it fail."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


class Outcome(Enum):
    """What became of one trial. The order of the members is the order of judgement."""

    CRASHED = "crashed"
    HUNG = "hung"
    DIVERGED = "diverged"
    NOT_REACHED = "not_reached"
    CORRUPTED = "corrupted"
    LEAKED = "leaked"
    UNRAISABLE = "unraisable"
    FAILED = "failed"
    PROPAGATED = "propagated"
    RECOVERED = "recovered"

    def verdict(self, *, strict: bool = False) -> Verdict:
        """Say whether this outcome is good.

        Args:
            strict: the injected error may not reach the test, so that
                ``PROPAGATED`` is bad.
        """
        if self is Outcome.RECOVERED or (self is Outcome.PROPAGATED and not strict):
            return Verdict.GOOD
        if self in (Outcome.DIVERGED, Outcome.NOT_REACHED):
            return Verdict.WARNING
        return Verdict.BAD


def judge(evidence: Evidence, *, rerun_counts: bool = True) -> Outcome:
    """Name what a trial's evidence shows; the first match wins.

    Args:
        evidence: what the trial left, also one that died.
        rerun_counts: whether a clean re-run that fails says anything. It does
            not where the test cannot be run twice even without a fault.
    """
    if evidence.hung_in_body:
        return Outcome.HUNG
    if evidence.hung:
        # A hang in an invariant or in the clean re-run is damage left behind;
        # one in set-up, or in tear-down, ends the trial like one in the body.
        return Outcome.CORRUPTED if evidence.phase in ("invariants", "rerun") else Outcome.HUNG
    if not evidence.complete:
        return Outcome.CRASHED
    if not evidence.injected:
        return Outcome.NOT_REACHED if evidence.passed else Outcome.DIVERGED
    if evidence.broken or (rerun_counts and evidence.rerun_error is not None):
        return Outcome.CORRUPTED
    if evidence.leaks:
        return Outcome.LEAKED
    if evidence.unraisable:
        return Outcome.UNRAISABLE
    if evidence.violations:
        return Outcome.FAILED
    if evidence.passed:
        return Outcome.RECOVERED
    return Outcome.PROPAGATED if evidence.propagated else Outcome.FAILED
