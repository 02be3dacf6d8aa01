"""The judge: from what is known of an ended trial to its record.

Lives here: `Judge`. Not here: the rules by which an outcome is found
(`faultinject.campaign.outcome`), the table of CPython's own defects
(``.interpreter_defects``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from faultinject.campaign.c_stacks import in_a_line, read_stack
from faultinject.campaign.chains import describe_chain
from faultinject.campaign.evidence import Evidence
from faultinject.campaign.interpreter_defects import recognise, suspect
from faultinject.campaign.outcome import Outcome, Verdict, judge
from faultinject.campaign.record import TrialRecord
from faultinject.campaign.replay import PlannedToken, Token
from faultinject.campaign.settings import Settings
from faultinject.campaign.strike import PlannedFault
from faultinject.campaign.told import details, headline
from faultinject.campaign.trial import Baseline
from faultinject.campaign.witness import entered_beyond

_UNNAMED: Final = "this interpreter was stripped of the names that would tell"


class Judge:
    """Judges the trials of one subject.

    Args:
        settings: how it is swept.
        extensions: files of extension modules under test, whose crashes are not CPython's.
        shown: gives a source file's name as reports show it.
    """

    def __init__(
        self, settings: Settings, *, extensions: Collection[str], shown: Callable[[str], str]
    ) -> None:
        self._strict = settings.strict
        self._extensions = extensions
        self._shown = shown

    def record(
        self, evidence: Evidence, fault: PlannedFault | None, token: Token, baseline: Baseline
    ) -> TrialRecord:
        """Judge an ended trial, and write its record.

        Args:
            evidence: what is known of it.
            fault: what was planned; None of a random trial.
            token: names the trial.
            baseline: what the clean run did.
        """
        chain = () if fault is None else fault.chain
        if len(evidence.injected) < len(chain):
            evidence.injected = []  # not all that was to strike
        outcome = judge(evidence, rerun_counts=baseline.runs_twice)
        capability, file, line, function, hit = self._place(evidence, fault)
        last = evidence.injected[max(0, len(chain) - 1)] if evidence.injected else {}
        site = fault.site if fault is not None else None
        trial = TrialRecord(
            capability,
            file,
            line,
            function,
            hit,
            outcome,
            headline(evidence),
            evidence.leaks,
            str(token),
            evidence.duration,
            details=details(evidence),
            persistent=isinstance(token, PlannedToken) and token.persistent,
            strict=self._strict,
            size=last.get("size", 0),
            unit=last.get("unit", ""),
            domain=last.get("domain") or (site.domain if site else ""),
            caller=last.get("caller") or (site.caller if site else ""),
            fault=describe_chain(chain, self._shown),
            entered=entered_beyond(evidence.entered, baseline.entered),
        )
        if trial.verdict is Verdict.BAD:
            trial.details += self._in_c(evidence, trial)
        if trial.bad:
            trial.text = evidence.text or evidence.dump
            trial.output = evidence.output
        return trial

    def _in_c(self, evidence: Evidence, trial: TrialRecord) -> list[str]:
        """Put a bad trial down to CPython if that is known; say what its C stacks tell."""
        fault, crash = read_stack(evidence.fault_stack), read_stack(evidence.crash_stack)
        error = None if crash else evidence.error
        told = []
        if crash or trial.outcome is Outcome.FAILED:
            met = recognise(
                error,
                fault,
                crash,
                request=f"{trial.domain} {trial.size}",
                under_test=self._extensions,
            )
            if met is not None:
                trial.interpreter = met.reference
                return [f"a defect of CPython itself ({met.reference}): {met.sentence}"]
            if found := suspect(error, fault, crash, under_test=self._extensions):
                told = [f"may be a defect of CPython itself ({', '.join(found)}): {_UNNAMED}"]
        if not crash:
            return told
        said = {"crash": crash, "fault": fault}
        return told + [f"C stack of the {what}: {in_a_line(at)}" for what, at in said.items() if at]

    def _place(
        self, evidence: Evidence, fault: PlannedFault | None
    ) -> tuple[str, str, int, str, int]:
        if fault is not None:
            site = fault.site
            return (fault.capability, self._shown(site.file), site.line, site.function, fault.hit)
        if evidence.injected:
            first = evidence.injected[0]
            where = first["site"]
            return (
                first["capability"],
                self._shown(where["file"]),
                where["line"],
                where["function"],
                0,
            )
        return "random", "", 0, "", 0
