"""The ``fail_alloc`` fixture: what a test can say to the campaign that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import pytest

from faultinject.api import no_faults
from faultinject.engine.log import Injection, injections

Invariant = TypeVar("Invariant", bound=Callable[[], Any])

INVARIANTS: pytest.StashKey[list[Callable[[], Any]]] = pytest.StashKey()


class FailAlloc:
    """The fixture's value; the same with and without ``--fail-alloc``."""

    def __init__(self, node: pytest.Item) -> None:
        self._invariants = node.stash.setdefault(INVARIANTS, [])
        self._mark = injections.mark()

    def invariant(self, check: Invariant) -> Invariant:
        """Register a check that must hold after the body of every trial.

        It is called with nothing armed, before the fixtures are torn down,
        whatever became of the body. An exception in it, or a hang, makes the trial
        ``CORRUPTED``. Usable as a decorator. Never called without ``--fail-alloc``.

        Raises:
            TypeError: `check` cannot be called.
        """
        if not callable(check):
            raise TypeError(f"fail_alloc.invariant() needs a function, not {check!r}")
        self._invariants.append(check)
        return check

    def paused(self) -> AbstractContextManager[Any]:
        """Give a block in which no allocation fails and none is counted."""
        return no_faults()

    @property
    def injections(self) -> list[Injection]:
        """What was made to fail since this test began, oldest first."""
        return injections.since(self._mark)


def open_fixture(node: pytest.Item) -> Iterator[FailAlloc]:
    """Give the fixture's value, and forget its invariants afterwards."""
    try:
        yield FailAlloc(node)
    finally:
        node.stash[INVARIANTS] = []
