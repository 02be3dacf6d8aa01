"""What the tests of the plugin share: a run with this plugin and no other one."""

from __future__ import annotations

import sys

import pytest
from projects import ALONE, DISTURBING


@pytest.fixture
def alone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every pytest that the test starts load this plugin alone: that is quicker.

    After `pytester`, which takes PYTEST_ADDOPTS away.
    """
    monkeypatch.setattr(sys, "argv", ["pytest"])  # the replay lines begin as pytest was started
    for name, value in ALONE.items():
        monkeypatch.setenv(name, value)
    for name in DISTURBING:
        monkeypatch.delenv(name, raising=False)
    # One collects garbage five times at the end of each run: in this process, most of the
    # time. The other warns because in this process everything is imported already.
    quiet = "-p no:unraisableexception -W ignore::pytest.PytestAssertRewriteWarning"
    monkeypatch.setenv("PYTEST_ADDOPTS", quiet)
