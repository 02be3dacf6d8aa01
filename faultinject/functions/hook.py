"""The C module that sees and answers calls, or what does so in its place.

Lives here: loading `faultinject.functions._call_hook`, and `PythonHook`, which can do less
and needs no compiler. Not here: who is told of calls (`faultinject.functions.events`), and
what becomes of them (`faultinject.functions.acts`). Importing this file never fails.
"""

from __future__ import annotations

import builtins
import sys
import sysconfig
from collections.abc import Callable
from threading import local
from types import BuiltinFunctionType, CodeType, MethodType, ModuleType
from typing import Any, Final, Protocol, TypeAlias, cast

Act: TypeAlias = tuple[int, object]
"""What becomes of a call; see `faultinject.functions.acts`."""

Decide: TypeAlias = Callable[[int, object, tuple[object, ...], tuple[str, ...] | None], Act | None]
"""Asked about a call of a watched callable.

The arguments are its position among those watched, the callable, the arguments of the call,
and the names of those at their end that are named. The frame of the call is that of its
caller.
"""


# A place that calls the same thing so often in a row is switched off; as in call_tables.c.
_PATIENCE: Final = 8


class CallHook(Protocol):
    """What sees calls."""

    def key(self, called: object, /) -> int:
        """Give a number that is the same for all ways to call something."""

    def watch(
        self,
        keys: tuple[int, ...],
        names: tuple[str, ...],
        decide: Decide,
        disable: object,
        lasting: tuple[object, ...],
        iterables: tuple[tuple[type, object], ...],
        /,
    ) -> None:
        """Look out for calls.

        Args:
            keys: of the callables.
            names: a place that calls one of such a name may call a watched one later.
            decide: is asked.
            disable: what the callback answers where it wants to hear no more of a place.
            lasting: callables whose calls no event tells of.
            iterables: types whose instances are iterated over, each with its ``__next__``.
        """

    def forget(self) -> None:
        """Look out for nothing any more."""

    def original(self, called: object, /) -> object:
        """Give what a stand-in for `builtins.__import__` stands in for, anything else as it is."""

    def on_call(self, code: CodeType, offset: int, called: object, first: object, /) -> object:
        """Take an event of ``sys.monitoring``."""

    def quiet(self) -> tuple[int, ...]:
        """Give the addresses of C functions that ask for memory because calls are seen.

        They are known once a call has been seen. On 3.11 there are none.
        """


class _ImportStandin:
    """Stands in for `builtins.__import__`, which ``import`` calls without an event."""

    def __init__(self, original: Callable[..., object], seen_by: PythonHook) -> None:
        self.original: Final = original
        self._seen_by = seen_by
        self._asking = local()

    def __call__(self, *arguments: object, **named: object) -> object:
        """Import, or fail as is answered.

        Raises:
            BaseException: the injected one.
        """
        index, decide = self._seen_by.asked_about(self.original)
        if index is not None and decide is not None and not vars(self._asking):
            self._asking.now = True  # what is imported for the answer is nobody's import
            try:
                given = (*arguments, *named.values())
                act = decide(index, self.original, given, tuple(named))
            finally:
                del self._asking.now
            if act is not None:
                raise cast(BaseException, act[1])
        return self.original(*arguments, **named)


class PythonHook:
    """Sees calls without C: it can make them fail before they happen, and nothing else.

    Such a failure has one traceback entry more, the callback's own.
    """

    def __init__(self) -> None:
        self._indices: dict[int, int] = {}
        self._names: frozenset[str] = frozenset()
        self._decide: Decide | None = None
        self._disable: object = None
        # By place what it called last, and how often in a row. The code is kept alive.
        self._places: dict[tuple[int, int], tuple[CodeType, int, int]] = {}

    def key(self, called: object, /) -> int:
        """Give a number that is the same for all ways to call something."""
        while isinstance(called, MethodType):
            called = called.__func__
        if isinstance(called, BuiltinFunctionType):
            holder = called.__self__
            if holder is not None and not isinstance(holder, ModuleType):
                kind = holder if isinstance(holder, type) else type(holder)
                called = getattr(kind, called.__name__, called)
        return id(called)

    def watch(
        self,
        keys: tuple[int, ...],
        names: tuple[str, ...],
        decide: Decide,
        disable: object,
        lasting: tuple[object, ...],
        iterables: tuple[tuple[type, object], ...],
        /,
    ) -> None:
        """Look out for calls; without C each is told of by an event, or not at all."""
        self._indices = {key: index for index, key in enumerate(keys)}
        self._names = frozenset(names)
        self._decide, self._disable = decide, disable
        self._follow_import()

    def forget(self) -> None:
        """Look out for nothing any more."""
        self._indices, self._decide = {}, None
        self._places.clear()
        self._follow_import()

    def asked_about(self, called: object) -> tuple[int | None, Decide | None]:
        """Give the position of a callable among those watched, and who is asked."""
        return self._indices.get(self.key(called)), self._decide

    def original(self, called: object, /) -> object:
        """Give what a stand-in for `builtins.__import__` stands in for, anything else as it is."""
        while isinstance(called, _ImportStandin):
            called = called.original
        return called

    def _follow_import(self) -> None:
        """Stand in for `builtins.__import__` if it is watched now, else no longer."""
        now: Any = builtins.__import__
        if isinstance(now, _ImportStandin):
            if self.key(now.original) not in self._indices:
                builtins.__import__ = cast(Any, now.original)
        elif self.key(now) in self._indices:
            builtins.__import__ = cast(Any, _ImportStandin(now, self))

    def quiet(self) -> tuple[int, ...]:
        """Give none: nothing here can find them."""
        return ()

    def _settled(self, code: CodeType, offset: int, key: int) -> object:
        _, last, count = self._places.get((id(code), offset), (code, key, 0))
        count = count + 1 if last == key else 1
        self._places[id(code), offset] = (code, key, count)
        return self._disable if count >= _PATIENCE else None

    def on_call(self, code: CodeType, offset: int, called: object, first: object, /) -> object:
        """Take an event of ``sys.monitoring``; what it raises is the call's failure.

        Raises:
            BaseException: the injected one.
        """
        index = self._indices.get(self.key(called))
        if index is None:
            named = getattr(called, "__name__", None) in self._names
            return None if named else self._settled(code, offset, self.key(called))
        decide = self._decide
        act = None if decide is None else decide(index, called, (first,), None)
        if act is not None:
            raise cast(BaseException, act[1])
        return None


def _load() -> CallHook | None:
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return None
    try:
        from faultinject.functions import _call_hook
    except ImportError:  # no compiler when it was installed
        return None
    return cast(CallHook, _call_hook)


_loaded: Final = _load()
hook: Final[CallHook] = PythonHook() if _loaded is None else _loaded
"""What sees calls here."""

HAS_C: Final = _loaded is not None
"""Whether that is the C module."""


def why_unavailable() -> str | None:
    """Say why no call can be seen here, or None."""
    if sys.version_info < (3, 12) and not HAS_C:
        return (
            "on Python 3.11 it needs the C module, which was not built, for want of a C compiler "
            "or of Python's headers when faultinject was installed"
        )
    return None


def monitoring() -> Any:
    """Give ``sys.monitoring``."""
    # By another way for a type checker, which looks at the oldest version alone.
    return getattr(sys, "monitoring")  # noqa: B009
