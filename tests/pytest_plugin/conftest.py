"""What the tests of the plugin share: a run with this plugin and no other one."""

from __future__ import annotations

import pytest
from projects import ALONE, DISTURBING


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every pytest that the test starts load this plugin alone: that is quicker."""
    for name, value in ALONE.items():
        monkeypatch.setenv(name, value)
    for name in DISTURBING:
        monkeypatch.delenv(name, raising=False)
