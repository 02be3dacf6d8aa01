"""Functions that say of themselves how they may be made to fail.

Lives here: the decorator `error_injectable`, and the list of what it marked. Not here: who
makes marked functions fail, and callables that are named from outside
(`faultinject.functions.target`).

A mark is an entry in a table of this module, by identity: the function stays what it is,
and a call of it costs what it cost. An entry goes with its function.

Source of the types: Linux 6.6 include/asm-generic/error-injection.h, and
Documentation/fault-injection/fault-injection.rst for the two preconditions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from faultinject.errors import SpecError
from faultinject.functions.fault import Fault, fault_of, parse
from faultinject.functions.target import Target, public_name

Marked = TypeVar("Marked", bound=Callable[..., Any])

TYPES: Final = {
    "null": ("returns=None",),
    "errno": ("returns=-EINVAL",),
    "errno-or-null": ("returns=None", "returns=-EINVAL"),
    "true": ("returns=True",),
}
"""The kernel's types of injectable functions, and what each returns in place of a result."""

_WHERE: Final = "error_injectable"
_CURE: Final = (
    f"Give {', '.join(TYPES)}, an exception (mypkg.errors.Busy), or a text ('OSError(ENOSPC)')"
)


@dataclass(frozen=True)
class Injectable:
    """A marked function, and how it may fail."""

    target: Target
    faults: tuple[Fault, ...]
    file: str
    line: int


_marks: Final[WeakKeyDictionary[FunctionType, tuple[Fault, ...]]] = WeakKeyDictionary()


def error_injectable(*faults: str | type[BaseException]) -> Callable[[Marked], Marked]:
    """Mark a function as safe to fail: ``fail_function`` may, wherever it is called.

    As the kernel's ALLOW_ERROR_INJECTION, the mark is a promise of two things:

    * every caller checks for the failure;
    * the function has changed no state before the first place at which it can fail by
      itself, so that a call that never happened looks like one that failed.

    A function that keeps neither promise must not be marked: its failures would be findings
    that are none. The function is given back as it is; a call costs what it did.

    Args:
        faults: how it can fail, at least one: ``"null"`` (returns ``None``), ``"errno"``
            (``-EINVAL``), ``"errno-or-null"`` (either), ``"true"`` (``True``), a class of
            exceptions, or any fault as text: ``"OSError(ENOSPC)"``, ``"returns=-EBUSY"``.

    Raises:
        SpecError: none is given, or one cannot be understood.
    """
    found = {fault.text: fault for given in faults for fault in _read(given)}
    if not found:
        raise SpecError("a mark says no fault", where=_WHERE, cure=_CURE)

    def mark(function: Marked) -> Marked:
        held: object = function
        if isinstance(held, staticmethod | classmethod):
            held = held.__func__
        if not isinstance(held, FunctionType):
            raise SpecError(
                "only functions can be marked", value=held, where=_WHERE, cure="Mark a function"
            )
        _marks[held] = tuple(found.values())
        return function

    return mark


def injectables() -> tuple[Injectable, ...]:
    """Every marked function of the modules that are imported now, sorted by name."""
    found = (_injectable(function, faults) for function, faults in list(_marks.items()))
    return tuple(sorted(found, key=lambda each: (each.target.name, each.file, each.line)))


def _injectable(function: FunctionType, faults: tuple[Fault, ...]) -> Injectable:
    name = public_name(function) or f"{function.__module__}.{function.__qualname__}"
    code = function.__code__
    return Injectable(Target(name, function), faults, code.co_filename, code.co_firstlineno)


def _read(given: object) -> tuple[Fault, ...]:
    if isinstance(given, str):
        return tuple(parse(text) for text in TYPES.get(given.strip(), (given,)))
    if isinstance(given, type) and issubclass(given, BaseException):
        return (fault_of(given),)
    raise SpecError("not a fault", value=given, where=_WHERE, cure=_CURE)
