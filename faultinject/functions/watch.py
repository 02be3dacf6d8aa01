"""Watches: who wants to know of which calls, and what is answered.

Lives here: `Watch`, which is told of the calls of its targets while it is in force, and the
stack of those in force. Not here: how calls are seen (`faultinject.functions.events`), what
becomes of one that fails (`faultinject.functions.acts`), which targets are meant
(`faultinject.functions.chosen`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from types import FrameType, ModuleType
from typing import Final, NamedTuple, TypeAlias

from faultinject.engine import task
from faultinject.functions import events, imports
from faultinject.functions.acts import act_of, raised
from faultinject.functions.fault import Fault
from faultinject.functions.hook import Act, hook
from faultinject.functions.target import Target


class Call(NamedTuple):
    """One call that is about to happen.

    Attributes:
        frame: that of the code that calls; not to be kept.
        arguments: of a method the object first. Without C only the first one is known.
        named: the arguments that are given by name.
    """

    frame: FrameType
    arguments: tuple[object, ...]
    named: Mapping[str, object]

    @property
    def first(self) -> object:
        """The first argument, of a method the object; None if there is none."""
        return self.arguments[0] if self.arguments else None


Ask: TypeAlias = Callable[[int, Call], Fault | None]
"""Says what a call of the target of this number fails with, or None if it goes on."""


class _Watched(NamedTuple):
    """One target of one watch: what the table points to."""

    watch: Watch
    number: int
    target: Target


class Watch:
    """Is told of each call of its targets, from `start` to `stop`, in every thread.

    Of several watches that have a target in common the one that was started last is asked
    first; the others only if it lets the call go on.

    Args:
        targets: what is watched.
        ask: says what becomes of a call. Never called inside `no_faults`, and not told of
            the calls that it makes itself.
    """

    def __init__(self, targets: Iterable[Target], ask: Ask) -> None:
        self.targets: Final = tuple(targets)
        self.ask: Final = ask

    def start(self) -> None:
        """Begin.

        Raises:
            UnavailableError: calls cannot be seen here, or not now.
        """
        _change([*_stack, self])

    def stop(self) -> None:
        """End; harmless if it has not begun."""
        if self in _stack:
            _change([watch for watch in _stack if watch is not self])


# Those in force, the outermost first. Reset: stop each of them.
_stack: list[Watch] = []
# By the position that the C module knows.
_table: list[list[_Watched]] = []


def _change(stack: list[Watch]) -> None:
    """Put other watches in force."""
    global _stack, _table
    with task.lock:
        rows: dict[int, list[_Watched]] = {}
        for watch in reversed(stack):
            for number, target in enumerate(watch.targets):
                rows.setdefault(hook.key(target.callable), []).append(
                    _Watched(watch, number, target)
                )
        if stack:
            targets = [row.target for found in rows.values() for row in found]
            events.refuse_if_taken()
            _stack, _table = stack, list(rows.values())
            names = {target.name.rpartition(".")[2] for target in targets}
            names |= {getattr(target.callable, "__name__", "") for target in targets}
            untold = tuple(events.untold(target.callable for target in targets))
            iterables = tuple(events.iterables(targets))
            hook.watch(
                tuple(rows), tuple(sorted(names)), _decide, events.disable(), untold, iterables
            )
            events.start(targets)
        else:
            events.stop()
            hook.forget()
            _stack, _table = [], []


def _decide(
    index: int, called: object, arguments: tuple[object, ...], names: tuple[str, ...] | None
) -> Act | None:
    """Answer the hook; see `faultinject.functions.hook.Decide`."""
    rows = _table[index] if index < len(_table) else []
    if not rows or (task.exemptions and task.exempt()):
        return None
    frame = sys._getframe(1 if isinstance(hook, ModuleType) else 2)  # in C there is none between
    bound = getattr(called, "__self__", None)
    if bound is not None and not isinstance(bound, ModuleType):
        arguments = (bound, *arguments)
    count = len(arguments) - len(names or ())
    call = Call(frame, arguments[:count], dict(zip(names or (), arguments[count:], strict=True)))
    for watch, number, target in rows:
        if target.owner is not None and not _belongs(call.first, target.owner):
            continue
        if target.name == imports.IMPORT and not imports.is_at_import(frame):
            continue
        fault = watch.ask(number, call)
        if fault is not None:
            if fault.when == "before":
                raised.note_call(target.callable, call.first)
            return act_of(imports.worded(fault, target.name, *call), called)
    return None


def _belongs(owned: object, owner: type) -> bool:
    return isinstance(owned, owner) or (isinstance(owned, type) and issubclass(owned, owner))
