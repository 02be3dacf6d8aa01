"""Property tests: the fault is a function of the example, as the failure must be.

Hypothesis runs a test body many times and shrinks what fails. So each example
starts counting anew, and the same examples come in every trial.
"""

from __future__ import annotations

import functools
import inspect
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def is_property_test(item: pytest.Item) -> bool:
    """Say whether the item is a Hypothesis test."""
    return getattr(getattr(item, "obj", None), "is_hypothesis_test", False) is True


@contextmanager
def each_example(item: pytest.Item, begin: Callable[[], None]) -> Iterator[None]:
    """Call `begin` before each example, and draw the same examples every time."""
    from hypothesis import settings

    function: Any = getattr(item, "obj")  # noqa: B009 - only function items have one
    function = getattr(function, "__func__", function)
    handle = function.hypothesis
    inner = handle.inner_test

    @functools.wraps(inner)
    def plain(*args: Any, **kwargs: Any) -> Any:
        begin()
        return inner(*args, **kwargs)

    @functools.wraps(inner)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        begin()
        return await inner(*args, **kwargs)

    before = {
        name: function.__dict__.get(name)
        for name in ("_hypothesis_internal_use_seed", "_hypothesis_internal_use_settings")
    }
    current = before["_hypothesis_internal_use_settings"] or settings()
    # Runners of async tests look at what kind of function it is.
    handle.inner_test = coroutine if inspect.iscoroutinefunction(inner) else plain
    function._hypothesis_internal_use_seed = zlib.crc32(item.nodeid.encode())
    # No example of another trial, and no complaint that a trial is slower than a clean run.
    function._hypothesis_internal_use_settings = settings(current, database=None, deadline=None)
    try:
        yield
    finally:
        handle.inner_test = inner
        for name, value in before.items():
            if value is None:
                function.__dict__.pop(name, None)
            else:
                setattr(function, name, value)
