"""Words that the terminal and the failures share."""

from __future__ import annotations

import os
import shlex

import pytest

from faultinject.campaign.outcome import Outcome, Verdict
from faultinject.campaign.record import TrialRecord


def plural(number: int, noun: str) -> str:
    """Give ``1 trial`` or ``2 trials``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def place_of(trial: TrialRecord) -> str:
    """Give a trial's call site as people read it."""
    if not trial.file:
        return "no call site"
    return f"{trial.file}:{trial.line} in {trial.function}"


def replay_line(trial: TrialRecord) -> str:
    """Give the command that runs this trial alone, ready to paste."""
    return f"pytest --fail-alloc-replay={shlex.quote(trial.replay)}"


def colours_of(outcome: Outcome) -> dict[str, bool]:
    """Give the colour of an outcome."""
    verdict = outcome.verdict()
    if verdict is Verdict.BAD:
        return {"red": True}
    return {"green": True} if verdict is Verdict.GOOD else {"yellow": True}


def typed_node_id(config: pytest.Config, nodeid: str) -> str:
    """Give a node id as it must be typed in the folder where pytest was started."""
    path, colons, names = nodeid.partition("::")
    typed = os.path.relpath(config.rootpath / path, config.invocation_params.dir)
    return typed.replace(os.sep, "/") + colons + names
