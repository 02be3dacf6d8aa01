"""Property tests: the fault is a function of the example, as the failure must be.

Hypothesis runs a test body many times and shrinks what fails. So each example
starts counting anew, and the same examples come in every trial. Both kinds of
property tests are known here: functions with ``@given``, and state machines.
"""

from __future__ import annotations

import functools
import inspect
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

_ABSENT = object()


def is_property_test(item: pytest.Item) -> bool:
    """Say whether the item is a Hypothesis test."""
    return getattr(getattr(item, "obj", None), "is_hypothesis_test", False) is True


@contextmanager
def each_example(item: pytest.Item, begin: Callable[[], None]) -> Iterator[None]:
    """Call `begin` before each example, and draw the same examples every time."""
    function: Any = getattr(item, "obj")  # noqa: B009 - only function items have one
    function = getattr(function, "__func__", function)
    seed = zlib.crc32(item.nodeid.encode(errors="replace"))
    machine = getattr(function, "_hypothesis_state_machine_class", None)
    with ExitStack() as stack:
        if machine is not None:
            _prepare_machine(stack, item, machine, begin, seed)
        else:
            _prepare_function(stack, function, begin, seed)
        yield


def _prepare_function(
    stack: ExitStack, function: Any, begin: Callable[[], None], seed: int
) -> None:
    handle = function.hypothesis
    stack.enter_context(_replaced(handle, inner_test=_told(handle.inner_test, begin)))
    # A decorator above `given` copies its attributes; those of the inner one count.
    while function is not None:
        if "hypothesis" in vars(function):
            current = vars(function).get("_hypothesis_internal_use_settings")
            stack.enter_context(
                _replaced(
                    function,
                    _hypothesis_internal_use_seed=seed,
                    _hypothesis_internal_use_settings=_settings_of_a_trial(current),
                )
            )
        function = vars(function).get("__wrapped__")


def _prepare_machine(
    stack: ExitStack, item: pytest.Item, machine: Any, begin: Callable[[], None], seed: int
) -> None:
    case: Any = getattr(item, "instance")  # noqa: B009 - a state machine runs as a test case
    # Each example makes a machine of its own.
    init = _told(machine.__init__, begin)
    stack.enter_context(_replaced(machine, __init__=init, _hypothesis_internal_use_seed=seed))
    stack.enter_context(_replaced(case, settings=_settings_of_a_trial(case.settings)))


def _told(function: Any, begin: Callable[[], None]) -> Any:
    """Wrap a function so that `begin` is called before it; the kind of function stays.

    Runners of async tests look at the kind. Attributes are left out: anyio
    would find the function below by one of them and run that alone.
    """

    @functools.wraps(function, updated=())
    def plain(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        begin()
        return function(*args, **kwargs)

    @functools.wraps(function, updated=())
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        begin()
        return await function(*args, **kwargs)

    return coroutine if inspect.iscoroutinefunction(function) else plain


def _settings_of_a_trial(current: Any) -> Any:
    """Give the user's settings without what compares or joins one run with another."""
    from hypothesis import HealthCheck, Phase, settings

    current = current or settings()
    return settings(
        current,
        # No example of another trial, and no complaint that a trial is slower than a
        # clean run or that a test class has a new instance.
        database=None,
        deadline=None,
        # What every failing example has in common is the fault: no news to explain.
        phases=[phase for phase in current.phases if phase is not Phase.explain],
        suppress_health_check=(
            *current.suppress_health_check,
            HealthCheck.too_slow,
            HealthCheck.differing_executors,
        ),
    )


@contextmanager
def _replaced(owner: Any, **values: Any) -> Iterator[None]:
    before = {name: vars(owner).get(name, _ABSENT) for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, value)
