"""Other plugins that act around every run of a test, and what a trial must not share with them.

Lives here: pytest-timeout, pytest-cov and pytest-xdist, by the names and attributes that they
have. Not here: pytest itself (``.private``), Hypothesis (``.examples``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

# pytest-cov's part that names the test in which a line ran.
_CONTEXTS = "_cov_contexts"

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
