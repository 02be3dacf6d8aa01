"""The progress line of a long sweep: on a terminal, after two seconds, never elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from faultinject.campaign.record import TrialRecord

# A sweep shorter than this is not worth a line.
_PATIENCE = 2.0
# The line is written at most this often.
_INTERVAL = 0.1


class Progress:
    """Writes ``test_x: 17/212 trials, 1 bad`` over itself, and wipes it away."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._shown = False

    def of(
        self, item: pytest.Item, stops: Callable[[TrialRecord], bool]
    ) -> Callable[[TrialRecord, int, int], bool]:
        """Give what one sweep calls after each trial; its answer False ends the sweep."""
        started = last = time.monotonic()
        bad = 0

        def told(trial: TrialRecord, done: int, total: int) -> bool:
            nonlocal last, bad
            stop = stops(trial)
            bad += trial.bad
            now = time.monotonic()
            if now - started >= _PATIENCE and now - last >= _INTERVAL and done < total:
                last = now
                self._write(f"{item.name}: {done}/{total} trials, {bad} bad")
            return not stop

        return told

    def show(self, text: str) -> None:
        """Write a line about something else than a sweep."""
        self._write(text)

    def clear(self) -> None:
        """Wipe the line away."""
        if self._shown:
            self._write("")
            self._shown = False

    def _write(self, text: str) -> None:
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is None or not reporter.isatty or self._config.get_verbosity() < 0:
            return
        capture = self._config.pluginmanager.getplugin("capturemanager")
        if capture is None:
            return
        with capture.global_and_fixture_disabled():
            reporter.rewrite(f"  {text}" if text else "", erase=True)
        self._shown = True
