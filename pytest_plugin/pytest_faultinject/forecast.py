"""Looking ahead: one forked child runs the session clean and tells what each test reaches.

Lives here: when that is possible, and the child's run. Not here: what is done with
each test in it (``.campaign``), and with what it tells (`faultinject.campaign.assignment`).

The child goes through the tests in their order, with their wide fixtures; what a test
reaches is counted in a fork of it behind the test's clean run, as its sweep will do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from faultinject.campaign.forecast import Forecast, from_plain, to_plain
from faultinject.campaign.isolation import Fork, Mark
from pytest_faultinject import private
from pytest_faultinject.marks import has_campaign
from pytest_faultinject.setup import Setup

# A clean run of a session has no limit of its own.
_NO_LIMIT = 1e9


def is_wanted(setup: Setup) -> bool:
    """Say whether a run has to know what its tests will reach."""
    chosen = setup.per == "suite" or setup.budget is not None
    return chosen and setup.token is None


def is_controller(config: pytest.Config) -> bool:
    """Say whether the tests run in the workers of pytest-xdist."""
    return config.pluginmanager.has_plugin("dsession")


def obstacle(config: pytest.Config, setup: Setup) -> str | None:
    """Say why nobody can look ahead; None if that is possible."""
    if hasattr(config, "workerinput") or is_controller(config):
        return "each worker of pytest-xdist goes by itself, and learns of its tests one by one"
    if setup.isolation != "fork":
        return f"with isolation {setup.isolation} there is no child to look ahead in"
    if config.getoption("trace", False):
        return "with --trace a debugger waits in every test"
    return None


def will_run(session: pytest.Session) -> bool:
    """Say whether the session's loop is going to run any test."""
    options = session.config.option
    broken = session.testsfailed and not options.continue_on_collection_errors
    return bool(session.items) and not options.collectonly and not broken


class _Silence:
    """Stands in for a hook, a historic one too, and does nothing."""

    def __call__(self, **kwargs: Any) -> None:
        return None

    def call_historic(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""


_SILENCED = (
    "pytest_runtest_logstart",
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
    "pytest_warning_recorded",
    "pytest_exception_interact",
)


def look_ahead(
    session: pytest.Session,
    enter_child: Callable[[int, int], None],
    foreseen: dict[str, Any],
) -> tuple[Forecast | None, str]:
    """Run all tests once in a child.

    Args:
        session: its items are collected, and none has run.
        enter_child: cuts what the child shares with this process.
        foreseen: filled in the child, by the hooks around each test.

    Returns:
        the forecast, or None; and then why there is none.
    """
    config = session.config

    def run_session(mark: Mark) -> dict[str, Any]:
        items = [item for item in session.items if has_campaign(item)]
        overrides = {name: _Silence() for name in _SILENCED}
        with private.hooks_relayed(session, overrides), private.terminal_muted(config):
            try:
                for item, following in zip(items, [*items[1:], None], strict=True):
                    mark("clean run")
                    config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            except (KeyboardInterrupt, pytest.exit.Exception):
                pass  # what the real run will do as well; so much is known
        return to_plain(foreseen)

    private.drain_capture(config)
    private.prepare_tmp_path(config)
    try:
        (ended,) = Fork(1, enter_child).run([run_session], timeout=_NO_LIMIT)
    finally:
        private.remove_tmp_path(config)
    if ended.payload is None:
        return None, f"the child that looked ahead {ended.status}"
    return from_plain(ended.payload), ""
