"""What pytest loads in every run: options, markers, the fixture; nothing else.

Lives here: the entry point. Not here: anything that a run without the flag has
to pay for. With the flag, `pytest_configure` registers a `Campaign`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_faultinject.options import add_options, idle_options, is_active

if TYPE_CHECKING:
    from pytest_faultinject.fixture import FailAlloc

MARKERS = (
    "fail_alloc(SPEC=None, *, raises=(), strict=None, max=None, hits=None, persistent=None, "
    "timeout=None, oracles=None, **knobs): under --fail-alloc, how this test's allocations are "
    "failed. `raises` names exception types that may answer a failure.",
    "no_fail_alloc(reason=None): never fail this test's allocations.",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options and their ini twins."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers; with the flag, read every option and register the campaign."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if is_active(config):
        from pytest_faultinject.campaign import register

        register(config)
    elif idle := idle_options(config):
        from pytest_faultinject.idle import Idle

        config.pluginmanager.register(Idle(idle), "faultinject-idle")


@pytest.fixture
def fail_alloc(request: pytest.FixtureRequest) -> Iterator[FailAlloc]:
    """Talk to the campaign from inside a test; harmless without --fail-alloc.

    ``fail_alloc.invariant(fn)`` registers a check that must hold after the body,
    whatever became of it. ``fail_alloc.paused()`` is a block in which nothing
    fails. ``fail_alloc.injections`` lists what was made to fail so far.
    """
    from pytest_faultinject.fixture import open_fixture

    yield from open_fixture(request.node)
