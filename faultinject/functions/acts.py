"""Acts: what becomes of one call, in the terms of the C module.

Lives here: from a `Fault` and a callable to what the C module does in the call's place, and
the list of what was raised. Not here: the text of faults (`faultinject.functions.fault`),
the doing (``_call_hook.c``).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator, Callable, Generator
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_ITERABLE_COROUTINE
from os import PathLike
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Final, cast

from faultinject.functions.fault import Fault, Kind
from faultinject.functions.hook import HAS_C, Act

# The numbers of call_hook.h.
RAISE: Final = 0
"""The call does not happen; it raises."""
AFTER: Final = 1
"""The call happens, and then raises."""
RETURN: Final = 2
"""The call does not happen; it returns."""
ARGUMENTS: Final = 3
"""The call happens with other arguments."""
RESULT: Final = 4
"""The call happens, and returns something else."""

LATER: Final = CO_COROUTINE | CO_GENERATOR | CO_ASYNC_GENERATOR | CO_ITERABLE_COROUTINE
"""Flags of code that does not run when it is called."""


_REMOVALS: Final = (
    *(os.remove, os.unlink, os.rmdir, shutil.rmtree),
    *(Path.unlink, Path.rmdir),
)


class Raised:
    """What was raised since `clear`, by type and arguments.

    No exception is kept: its traceback would keep alive what a failure must let go of.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[type[BaseException], str]] = set()
        self.values = 0
        """How many faults were no exceptions."""
        self.not_removed: set[str] = set()
        """Files and folders whose removal failed: that they are left is nobody's mistake."""

    def clear(self) -> None:
        """Begin anew."""
        self._seen.clear()
        self.not_removed.clear()
        self.values = 0

    def note(self, error: BaseException) -> None:
        """Keep what identifies an error."""
        self._seen.add(_identity(error))

    def note_call(self, called: object, first: object) -> None:
        """Keep what a call that does not happen would have removed."""
        if any(called is removal for removal in _REMOVALS) and isinstance(first, str | PathLike):
            self.not_removed.add(os.path.abspath(os.fsdecode(first)))

    def __contains__(self, error: BaseException) -> bool:
        return bool(self._seen) and _identity(error) in self._seen


def _identity(error: BaseException) -> tuple[type[BaseException], str]:
    return type(error), repr(error.args)


raised: Final = Raised()
"""What `fail_function` raised in the trial that is running. Reset: ``raised.clear()``."""


def act_of(fault: Fault, called: object) -> Act:
    """Say what becomes of a call.

    Args:
        fault: what it fails with.
        called: what the call site calls.
    """
    later = flags_of(called) & LATER
    if fault.kind is Kind.RAISE:
        error = fault.make()
        raised.note(error)
        if later:
            return _act_later(later, error, fault, called)
        return (AFTER if fault.when == "after" else RAISE), error
    raised.values += 1
    if fault.kind is Kind.RETURN:
        value = fault.value
        if later & CO_COROUTINE:
            value = _returning(value)
        return (RESULT, lambda _: value) if fault.when == "after" else (RETURN, value)
    return ARGUMENTS, _shortened(fault.size, _position(called))


def is_doable(fault: Fault, called: object) -> bool:
    """Say whether a call can have this fate here; without C it can only not happen."""
    plain = fault.kind is Kind.RAISE and fault.when == "before"
    return HAS_C or (plain and not flags_of(called) & LATER)


def code_of(called: object) -> CodeType | None:
    """Give the code of a Python function, also of a bound one."""
    if isinstance(called, FunctionType):
        return called.__code__
    return getattr(getattr(called, "__func__", None), "__code__", None)


def flags_of(called: object) -> int:
    """Give the flags of a function's code; 0 for what has none."""
    code = code_of(called)
    return 0 if code is None else code.co_flags


# -- what runs later ---------------------------------------------------------------------


def _act_later(later: int, error: BaseException, fault: Fault, called: object) -> Act:
    """Let it fail where it runs: at the ``await``, or at the first ``next``."""
    after = fault.when == "after"
    maker: Callable[..., object]
    if later & CO_ASYNC_GENERATOR:
        maker = _failing_async_generator
    elif later & CO_COROUTINE:
        maker = _failing_coroutine
    else:
        maker = _failing_generator
    if after:
        return RESULT, lambda begun: maker(error, begun)
    return RETURN, _as_if(maker, called)(error)


def _as_if(maker: Callable[..., object], called: object) -> Callable[..., object]:
    """Give the maker the name and place of the function that it stands in for.

    Tracebacks then show that function's first line, as where the call failed.
    """
    code = code_of(called)
    function = cast(FunctionType, maker)
    if code is None:
        return maker
    begun = function.__code__.replace(
        co_filename=code.co_filename,
        co_name=code.co_name,
        co_qualname=code.co_qualname,
        co_firstlineno=code.co_firstlineno,
        co_linetable=_on_first_line(len(function.__code__.co_code) // 2),
    )
    return FunctionType(begun, {}, code.co_name, function.__defaults__)


def _on_first_line(units: int) -> bytes:
    """Give a table of places that puts all of a code object on its first line.

    It must not cover more than there is. Each entry says "no columns", how many units, and
    "line + 0"; see Objects/locations.md in CPython.
    """
    whole, rest = divmod(units, 8)
    table = bytes((0b1_1101_111, 0)) * whole
    return table + (bytes((0b1_1101_000 | (rest - 1), 0)) if rest else b"")


async def _failing_coroutine(error: BaseException, begun: Any = None) -> Any:
    if begun is not None:
        await begun
    raise error


async def _returning(value: object) -> object:
    return value


def _failing_generator(
    error: BaseException, begun: Any = None
) -> Generator[object, object, object]:
    if begun is not None:
        yield from begun
    raise error


async def _failing_async_generator(
    error: BaseException, begun: Any = None
) -> AsyncGenerator[object, None]:
    if begun is not None:
        async for item in begun:
            yield item
    raise error


# -- short reads and writes --------------------------------------------------------------


def _position(called: object) -> int:
    """Where among the arguments stands what is transferred, or how much.

    Functions have a descriptor before it, and methods their object, unless that is bound.
    """
    bound = isinstance(called, BuiltinFunctionType) and not isinstance(
        called.__self__, ModuleType | None
    )
    return 0 if bound else 1


def _shortened(size: int, position: int) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    def shorten(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(arguments) <= position:
            return (*arguments, size) if len(arguments) == position else arguments
        given = list(arguments)
        what = given[position]
        if what is None or isinstance(what, int):
            given[position] = size if what is None or what < 0 else min(what, size)
        elif isinstance(what, str | bytes):
            given[position] = what[:size]
        else:
            given[position] = memoryview(what).cast("B")[:size]
        return tuple(given)

    return shorten
