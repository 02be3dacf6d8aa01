"""Words that the terminal and the failures share."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from faultinject.campaign.outcome import Outcome, Verdict
from faultinject.campaign.record import TrialRecord
from pytest_faultinject import private

# Whether pytest finds this project's root folder again without being told.
_FOUND: pytest.StashKey[bool] = pytest.StashKey()


def plural(number: int, noun: str) -> str:
    """Give ``1 trial`` or ``2 trials``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def place_of(trial: TrialRecord) -> str:
    """Give a trial's call site as people read it."""
    if not trial.file:
        return "no call site"
    return f"{trial.file}:{trial.line} in {trial.function}"


def replay_line(trial: TrialRecord, nodeid: str, config: pytest.Config) -> str:
    """Give the command that runs this trial alone, ready to paste where pytest was started."""
    return f"{_command(config, nodeid)} --fail-alloc-replay={shlex.quote(trial.replay)}"


def _command(config: pytest.Config, nodeid: str) -> str:
    # `python -m pytest` puts the current folder on sys.path, `pytest` does not.
    as_module = Path(sys.argv[0]).parts[-2:] == ("pytest", "__main__.py")
    parts = ["python -m pytest" if as_module else "pytest"]
    if _FOUND not in config.stash:
        config.stash[_FOUND] = private.is_found_without_arguments(config)
    if not config.stash[_FOUND]:
        ini, folder = config.option.inifilename, config.invocation_params.dir
        if ini:
            parts.append(f"-c {shlex.quote(ini)}")
        parts.append(f"--rootdir={shlex.quote(os.path.relpath(config.rootpath, folder))}")
        parts.append(shlex.quote(typed_node_id(config, nodeid.partition("::")[0])))
    return " ".join(parts)


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
