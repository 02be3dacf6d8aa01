"""Context managers that are decorators too, and disarm themselves.

Lives here: `Scope`, what all of them have in common, and the three that belong to the
engine: `fail_nth`, `no_faults`, `make_it_fail`. Not here: how a function of each kind
is wrapped (`faultinject.engine.decorate`), and armings
(`faultinject.capabilities.arming`).
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

from faultinject.engine import task
from faultinject.errors import UsageError

Value = TypeVar("Value")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Scope(Generic[Value]):
    """Something to be in, by ``with`` or for the length of decorated calls.

    A scope can be entered again, one time after another or nested in itself, and from
    several threads and tasks at once: each entry is fresh.
    """

    def __init__(self) -> None:
        self._open: list[tuple[task.Entry, ...]] = []

    def fresh(self) -> tuple[tuple[task.Entry, ...], Value]:
        """Make what one entry puts in force, and what ``as`` gets."""
        raise NotImplementedError

    def __enter__(self) -> Value:
        entries, value = self.fresh()
        task.push(*entries)
        with task.lock:
            self._open.append(entries)
        return value

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with task.lock:
            entries = self._innermost()
            self._open = [other for other in self._open if other is not entries]
        task.pop(*entries)

    def _innermost(self) -> tuple[task.Entry, ...]:
        """Find the entry that this exit belongs to."""
        if not self._open:
            raise UsageError("a scope is left that was not entered", value=self)
        # Interleaved tasks may share one scope: first what this context has entered, then
        # what this thread has (an exit in another context), then the last one of all.
        ident = get_ident()
        newest_first = self._open[::-1]
        for entries in newest_first:
            if entries[0].ident == ident and task.holds(entries[0]):
                return entries
        for entries in newest_first:
            if entries[0].ident == ident:
                return entries
        return newest_first[0]

    def __call__(self, target: Decorated, /) -> Decorated:
        """Decorate a function or a test class: each call is a fresh entry.

        Raises:
            UsageError: `target` is not something that can be called, or a class without
                a method whose name begins with ``test``.
        """
        from faultinject.engine.decorate import decorate

        return decorate(self.fresh, target)


class _FailNthScope(Scope[task.FailNth]):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = task.FailNth(n).n  # refuses a wrong number at once

    def fresh(self) -> tuple[tuple[task.Entry, ...], task.FailNth]:
        countdown = task.FailNth(self.n)
        return (countdown,), countdown

    def __repr__(self) -> str:
        return f"fail_nth({self.n})"


class _NoFaultsScope(Scope[None]):
    def fresh(self) -> tuple[tuple[task.Entry, ...], None]:
        return (task.Exemption(),), None

    def __repr__(self) -> str:
        return "no_faults()"


class _MakeItFailScope(Scope[None]):
    def fresh(self) -> tuple[tuple[task.Entry, ...], None]:
        return (task.Mark(),), None

    def __repr__(self) -> str:
        return "make_it_fail()"


def fail_nth(n: int) -> Scope[task.FailNth]:
    """Fail the `n`-th eligible call of this thread or asyncio task, whatever it asks for.

    One countdown for all capabilities. It ignores probability, interval, times, space
    and task_filter; a capability's own gates and its stack filter exempt calls, which
    then do not count. Inside another `fail_nth` the outer countdown rests.

    Args:
        n: 1 is the next eligible call.

    Returns:
        A context manager, whose ``as`` value has ``n``, ``remaining`` and ``fired``, and a
        decorator.

    Raises:
        SpecError: `n` is not a whole number from 1.
    """
    return _FailNthScope(n)


@overload
def no_faults() -> Scope[None]: ...
@overload
def no_faults(target: Decorated, /) -> Decorated: ...
def no_faults(target: Decorated | None = None, /) -> Scope[None] | Decorated:
    """A stretch of this thread or task in which nothing fails and nothing is counted.

    It outranks everything: what is armed inside it does not inject either.
    """
    scope = _NoFaultsScope()
    return scope if target is None else scope(target)


@overload
def make_it_fail() -> Scope[None]: ...
@overload
def make_it_fail(target: Decorated, /) -> Decorated: ...
def make_it_fail(target: Decorated | None = None, /) -> Scope[None] | Decorated:
    """Mark this thread or task as one that may fail under ``task_filter=True``."""
    scope = _MakeItFailScope()
    return scope if target is None else scope(target)
