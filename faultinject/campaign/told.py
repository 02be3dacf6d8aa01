"""What an ended run tells, in words and as evidence.

Lives here: from how a child ended to the `Evidence` that is judged, and the lines of a record
that come from it. Not here: the judgement (`faultinject.campaign.outcome`), the run
(`faultinject.campaign.isolation`).
"""

from __future__ import annotations

import json

from faultinject.campaign.c_stacks import part_dump
from faultinject.campaign.evidence import Evidence
from faultinject.campaign.isolation import Ended
from faultinject.campaign.oracles.leftovers import lines_beyond
from faultinject.campaign.processes import WARM_UP
from faultinject.campaign.trial import Baseline
from faultinject.campaign.witness import NOTE


def evidence_of(ended: Ended, baseline: Baseline) -> Evidence:
    """Give the evidence of a trial, also of one that did not live to report."""
    if ended.payload is not None:
        evidence = Evidence.from_dict(ended.payload)
        evidence.output = evidence.output or ended.output
        return evidence
    if ended.phase == WARM_UP:  # it has not even begun
        return Evidence(complete=True, error=ended.status, output=ended.output)
    said: dict[str, list[str]] = {"injected": [], "warning": [], "log": [], NOTE: []}
    for kind, text in ended.notes:
        said.setdefault(kind, []).append(text)
    dump, fault_stack, crash_stack = part_dump(ended.dump)
    return Evidence(
        injected=[json.loads(text) for text in said["injected"]],
        warnings=lines_beyond(said["warning"], baseline.warnings),
        phase=ended.phase,
        hung=ended.hung,
        status=ended.status,
        output=ended.output + _section("captured log", said["log"]),
        dump=dump,
        fault_stack=fault_stack,
        crash_stack=crash_stack,
        entered=said[NOTE],
        duration=ended.seconds,
    )


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([f"{'-' * 10} {title} {'-' * 10}", *lines, ""]) if lines else ""


def headline(evidence: Evidence) -> str | None:
    """Give one line about what ended a trial, or None."""
    return evidence.error or evidence.status or None


def details(evidence: Evidence) -> list[str]:
    """Give one line for each other reason for an outcome."""
    lines = [f"invariant broken: {line}" for line in evidence.broken]
    if evidence.rerun_error is not None:
        lines.append(f"a clean re-run afterwards fails: {evidence.rerun_error}")
    lines += [f"lost error: {line}" for line in evidence.unraisable]
    lines += evidence.violations
    return lines + [f"warning: {line}" for line in evidence.warnings]


def last_line(text: str) -> str:
    """Give the last line of a text that is not blank."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
