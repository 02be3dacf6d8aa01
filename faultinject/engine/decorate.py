"""Functions of every kind, wrapped so that entries are in force while they run.

Lives here: one wrapper for each kind of function, and the wrapping of test classes.
Not here: what an entry is (`faultinject.engine.task`), and what makes fresh ones
(`faultinject.engine.scope`).

A wrapper is of the kind that it wraps, so that ``inspect`` and the test runners see
no difference. Frames of this file are passed over when a call site is looked for.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from functools import partial, wraps
from types import FunctionType, coroutine
from typing import Any, Final, TypeAlias, TypeVar, cast

from faultinject.engine import task
from faultinject.errors import UsageError

Fresh: TypeAlias = Callable[[], tuple[tuple[task.Entry, ...], object]]
"""Makes what one call puts in force."""

Target = TypeVar("Target", bound=Callable[..., Any])

_TEST_PREFIX: Final = "test"

# Flags of code objects, as in `inspect`, which is slow to import.
_GENERATOR: Final = 0x20
_COROUTINE: Final = 0x80
_ITERABLE_COROUTINE: Final = 0x100
_ASYNC_GENERATOR: Final = 0x200


def decorate(fresh: Fresh, target: Target) -> Target:
    """Wrap a function, a static or class method, or the test methods of a class.

    Raises:
        UsageError: `target` is none of these, or a class without a test method.
    """
    if isinstance(target, type):
        _decorate_class(fresh, target)
        return target
    if isinstance(target, (staticmethod, classmethod)):
        return cast(Target, type(target)(_wrap(fresh, target.__func__)))
    # Hypothesis calls the test once per example: each example is a call of its own.
    given: Any = getattr(target, "hypothesis", None)
    if callable(inner := getattr(given, "inner_test", None)):
        given.inner_test = _wrap(fresh, inner)
        return target
    if not callable(target):
        raise UsageError(
            "this cannot be decorated",
            value=target,
            cure="Decorate a function, a method or a class with test methods",
        )
    return cast(Target, _wrap(fresh, target))


def _decorate_class(fresh: Fresh, cls: type) -> None:
    """Wrap the test methods of `cls`; inherited ones get a wrapper in `cls` itself."""
    found = False
    for name in dir(cls):
        if not name.startswith(_TEST_PREFIX):
            continue
        method = next((vars(owner)[name] for owner in cls.__mro__ if name in vars(owner)), None)
        if isinstance(method, (FunctionType, staticmethod, classmethod)):
            setattr(cls, name, decorate(fresh, cast(Callable[..., Any], method)))
            found = True
    if not found:
        raise UsageError(
            "a class has no test method to arm",
            value=cls,
            cure="Begin the methods' names with test, or decorate functions",
        )


def _flags(target: Callable[..., Any]) -> int:
    while isinstance(target, partial):
        target = target.func
    function = getattr(target, "__func__", target)
    code = getattr(function, "__code__", None)
    return getattr(code, "co_flags", 0)


def _wrap(fresh: Fresh, target: Callable[..., Any]) -> Callable[..., Any]:
    flags = _flags(target)
    if flags & _COROUTINE:
        return _wrap_coroutine(fresh, target)
    if flags & _ASYNC_GENERATOR:
        return _wrap_async_generator(fresh, target)
    if flags & _ITERABLE_COROUTINE:
        return coroutine(_wrap_generator(fresh, target))
    if flags & _GENERATOR:
        return _wrap_generator(fresh, target)
    return _wrap_plain(fresh, target)


def _wrap_plain(fresh: Fresh, target: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(target)
    def armed(*args: Any, **kwargs: Any) -> Any:
        entries, _ = fresh()
        task.push(*entries)
        try:
            return target(*args, **kwargs)
        finally:
            task.pop(*entries)

    return armed


def _wrap_coroutine(fresh: Fresh, target: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(target)
    async def armed(*args: Any, **kwargs: Any) -> Any:
        entries, _ = fresh()
        task.push(*entries)
        try:
            return await target(*args, **kwargs)
        finally:
            task.pop(*entries)

    return armed


def _wrap_generator(
    fresh: Fresh, target: Callable[..., Any]
) -> Callable[..., Generator[Any, Any, Any]]:
    @wraps(target)
    def armed(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        entries, _ = fresh()
        generator = target(*args, **kwargs)
        step, argument = generator.send, None
        while True:
            task.push(*entries)
            try:
                value = step(argument)
            except StopIteration as stop:
                return stop.value
            finally:
                task.pop(*entries)
            try:
                argument = yield value
                step = generator.send
            except BaseException as error:
                # GeneratorExit too: thrown into the generator it does what close() does,
                # and what comes of it is what close() would give or complain about.
                step, argument = generator.throw, error
            # `value` would otherwise live until the generator is resumed a second time.
            del value

    return armed


def _wrap_async_generator(
    fresh: Fresh, target: Callable[..., Any]
) -> Callable[..., AsyncGenerator[Any, Any]]:
    @wraps(target)
    async def armed(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        entries, _ = fresh()
        generator = target(*args, **kwargs)
        step, argument = generator.asend, None
        while True:
            task.push(*entries)
            try:
                value = await step(argument)
            except StopAsyncIteration:
                return
            finally:
                task.pop(*entries)
            try:
                argument = yield value
                step = generator.asend
            except BaseException as error:
                step, argument = generator.athrow, error
            del value

    return armed
