"""Other plugins that act around every run of a test, and what a trial must not share with them.

Lives here: pytest-timeout, pytest-cov and pytest-xdist, by the names and attributes that they
have. Not here: pytest itself (``.private``), Hypothesis (``.examples``).
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from faultinject.campaign.claims import Claims

# pytest-cov's part that names the test in which a line ran.
_CONTEXTS = "_cov_contexts"

# What an option of another plugin's does to the session, and is not for a worker to do again.
ONCE = frozenset({"--cache-clear", "--cc"})

# Where the workers of pytest-xdist claim what they try.
_CLAIMS: pytest.StashKey[str] = pytest.StashKey()

# pytest-timeout, as an installed plugin and as one that is named on the command line.
_TIME_LIMITS = ("timeout", "pytest_timeout")


def has_time_limit(item: pytest.Item) -> bool:
    """Say whether pytest-timeout watches the item."""
    seconds = getattr(item.config, "_env_timeout", None)
    return bool(seconds) or item.get_closest_marker("timeout") is not None


def count_workers(config: pytest.Config) -> int:
    """Say how many workers of pytest-xdist share the tests; 1 without it."""
    worker: dict[str, Any] = getattr(config, "workerinput", {})
    return int(worker.get("workercount", 1))


def share_claims(config: pytest.Config, worker_input: dict[str, Any]) -> None:
    """Give a worker of pytest-xdist the folder in which all of them claim what they try.

    With ``--dist=each`` they run the same tests on different machines, and share nothing.

    Args:
        config: the controller's.
        worker_input: what the worker is told.
    """
    if config.getoption("dist", "no") == "each":
        return
    if _CLAIMS not in config.stash:
        folder = config.stash[_CLAIMS] = tempfile.mkdtemp(prefix="faultinject-")
        config.add_cleanup(partial(shutil.rmtree, folder, ignore_errors=True))
    worker_input["faultinject_claims"] = config.stash[_CLAIMS]


def shared_claims(config: pytest.Config) -> Claims | None:
    """Give what the workers of pytest-xdist claim of each other; None without it."""
    worker: dict[str, Any] = getattr(config, "workerinput", {})
    folder = worker.get("faultinject_claims")
    return None if folder is None else Claims(Path(folder))


def leave_in_child(config: pytest.Config, *, timed: bool) -> None:
    """In a forked child: do without those that act on the parent's behalf.

    Args:
        config: the session's.
        timed: whether pytest-timeout watches the item.
    """
    manager = config.pluginmanager
    if manager.has_plugin(_CONTEXTS):
        # The child measures no coverage: it would spoil the parent's file.
        manager.unregister(name=_CONTEXTS)
    for name in _TIME_LIMITS:
        if timed and manager.has_plugin(name):
            # Its timer would end a trial before our own limit can judge it.
            manager.unregister(name=name)


def arguments_of_worker(config: pytest.Config) -> list[str]:
    """Give what a worker's command line says beyond the session's.

    It shares the tests with nobody, measures no coverage, has the same seed, and leaves
    the session's files alone.
    """
    manager, option = config.pluginmanager, config.option
    found = []
    if manager.has_plugin("xdist"):
        found.append("-n0")
    if hasattr(option, "no_cov"):
        found.append("--no-cov")
    if hasattr(option, "randomly_seed"):
        found.append(f"--randomly-seed={option.randomly_seed}")
    if config.getoption("log_file", None) or config.getini("log_file"):
        found.append(f"--log-file={os.devnull}")
    return found


@contextmanager
def coverage_paused(config: pytest.Config) -> Iterator[None]:
    """Inside the block no coverage is measured: trials in this process are not the user's."""
    coverage = sys.modules.get("coverage")
    measurement = coverage.Coverage.current() if coverage is not None else None
    if measurement is None:
        yield
        return
    manager = config.pluginmanager
    contexts = manager.getplugin(_CONTEXTS)
    if contexts is not None:
        manager.unregister(contexts)
    measurement.stop()
    try:
        yield
    finally:
        measurement.start()
        if contexts is not None:
            manager.register(contexts, _CONTEXTS)


def data_of(measurement: Any) -> Any:
    """Give what the user's measurement has found in this process until now.

    It goes on as before. What it warns of here it warns of again at its end.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return measurement.get_data()
