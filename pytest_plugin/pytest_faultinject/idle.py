"""A run without a campaign, in which somebody has asked for something of one."""

from __future__ import annotations

import pytest


class Idle:
    """Says that options do nothing.

    Args:
        flags: the options that were given on the command line.
    """

    def __init__(self, flags: list[str]) -> None:
        self._flags = flags

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say it, in a quiet run as well: nothing else tells that no fault was injected."""
        verb = "do" if self._flags[1:] else "does"
        terminalreporter.write_line(
            f"faultinject: {', '.join(self._flags)} {verb} nothing without --fail-alloc or "
            "--fail-function",
            yellow=True,
        )
