"""What is in force in the current thread and asyncio task.

Lives here: the stack of entries (an arming, a `FailNth` countdown, a mark, an
exemption), the count of everything that is live in the process, and the lock of
the engine. Not here: the context managers and decorators that push entries
(`faultinject.engine.scope`), and what an arming contains
(`faultinject.capabilities.arming`).

An entry belongs to the thread that pushed it, even where its context is copied to
another thread, and within that thread to the context in which it was pushed and to
the asyncio tasks that were created from there. It ends everywhere at once when it
is popped, from whichever context: no token has to match.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count
from threading import RLock, get_ident
from typing import ClassVar, Final

from faultinject.errors import SpecError

lock = RLock()
"""Guards all counters of the engine. Use it as ``task.lock``: a forked child gets a new one."""

live: int = 0
"""How many things in the process could make a call fail. 0: every consultation ends here."""

exemptions: int = 0
"""How many exemptions are in force, in any thread. Where it is 0, nobody has to look for one."""

countdowns: int = 0
"""The same for countdowns of `fail_nth`."""

exempted: Callable[[bool], None] | None = None
"""Told when an exemption begins (true) and ends, by whoever cannot call `exempt` itself."""

_stack: Final[ContextVar[tuple[Entry, ...]]] = ContextVar("faultinject_stack", default=())
_everywhere: tuple[Entry, ...] = ()
_serials: Final = count(1)


class Entry:
    """Something that is in force from its push to its pop.

    Attributes:
        key: what kind of thing it is; the innermost entry of a key is in force.
        active: whether it is pushed now.
        all_tasks: whether it is in force in every thread and task of the process.
        arms: whether it can make a call fail.
    """

    __slots__ = ("active", "all_tasks", "ident", "key", "serial")

    arms: ClassVar[bool] = False

    def __init__(self, key: object, *, all_tasks: bool = False) -> None:
        self.key: Final = key
        self.active = False
        self.all_tasks: Final = all_tasks
        self.ident = 0
        self.serial = 0

    def entered(self) -> None:
        """Act on having come into force, as the last thing; what it raises undoes the push."""

    def left(self) -> None:
        """Act on the end, as the first thing."""


class FailNth(Entry):
    """A countdown to the call that fails.

    Attributes:
        n: which eligible call fails, from 1.
        remaining: eligible calls up to and including that one; 0 once it has failed.
    """

    __slots__ = ("n", "remaining")

    KEY: ClassVar[str] = "fail_nth"
    arms = True

    def __init__(self, n: int, *, key: object = KEY) -> None:
        super().__init__(key)
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise SpecError(
                "fail_nth is not a whole number from 1",
                value=n,
                where="fail_nth",
                cure="Give 1 to fail the next eligible call; to fail none, leave it out",
            )
        self.n: Final = int(n)
        self.remaining = self.n

    @property
    def fired(self) -> bool:
        """Whether the call has failed."""
        return self.remaining == 0

    def count_down(self) -> bool:
        """Count one eligible call; true if it is the one that fails."""
        with lock:
            if self.remaining == 0:
                return False
            self.remaining -= 1
            return self.remaining == 0

    def __repr__(self) -> str:
        return f"<fail_nth {self.n}, {self.remaining} remaining>"


class Mark(Entry):
    """The kernel's make-it-fail: this task may fail under `task_filter`."""

    __slots__ = ()
    KEY: ClassVar[str] = "make_it_fail"

    def __init__(self) -> None:
        super().__init__(self.KEY)


class Exemption(Entry):
    """A stretch in which nothing fails and nothing is counted."""

    __slots__ = ()
    KEY: ClassVar[str] = "no_faults"

    def __init__(self) -> None:
        super().__init__(self.KEY)

    def entered(self) -> None:
        """Tell a hook that cannot ask."""
        if exempted is not None:
            exempted(True)

    def left(self) -> None:
        """Tell it of the end."""
        if exempted is not None:
            exempted(False)


def change_live(by: int) -> None:
    """Add to the count of live things."""
    global live
    with lock:
        live += by


def _count(entry: Entry, by: int) -> None:
    global live, exemptions, countdowns
    if entry.arms:
        live += by
    if entry.key is FailNth.KEY:
        countdowns += by
    elif entry.key is Exemption.KEY:
        exemptions += by


def push(*entries: Entry) -> None:
    """Put entries in force, in this thread and task or everywhere."""
    global _everywhere
    ident = get_ident()
    with lock:
        for entry in entries:
            entry.ident = ident
            entry.serial = next(_serials)
            entry.active = True
            _count(entry, 1)
            if entry.all_tasks:
                _everywhere = (*_everywhere, entry)
    _stack.set((*(entry for entry in _stack.get() if entry.active), *entries))
    try:
        for entry in entries:
            entry.entered()
    except BaseException:
        pop(*entries)
        raise


def pop(*entries: Entry) -> None:
    """End entries, in every context that knows them. One that has ended stays so."""
    global _everywhere
    for entry in reversed(entries):
        if entry.active:
            entry.left()
    with lock:
        for entry in entries:
            if entry.active:
                entry.active = False
                _count(entry, -1)
                if entry.all_tasks:
                    _everywhere = tuple(other for other in _everywhere if other is not entry)
    stack = _stack.get()
    if any(not entry.active for entry in stack):
        _stack.set(tuple(entry for entry in stack if entry.active))


def in_force(key: object) -> Entry | None:
    """The innermost entry of `key` in this thread and task, or in the whole process."""
    found = None
    stack = _stack.get()
    if stack:
        ident = get_ident()
        for entry in reversed(stack):
            if entry.key is key and entry.active and entry.ident == ident:
                found = entry
                break
    if _everywhere:
        for entry in reversed(_everywhere):
            if entry.key is key and entry.active:
                if found is None or entry.serial > found.serial:
                    found = entry
                break
    return found


def holds(entry: Entry) -> bool:
    """Whether the current context knows `entry`, from whichever thread."""
    return any(other is entry for other in _stack.get())


def countdown() -> FailNth | None:
    """The countdown that the next eligible call counts, if one is still running."""
    if not countdowns:
        return None
    entry = in_force(FailNth.KEY)
    return entry if isinstance(entry, FailNth) and entry.remaining else None


def exempt() -> bool:
    """Whether nothing may fail here and now."""
    return exemptions > 0 and in_force(Exemption.KEY) is not None


def made_to_fail() -> bool:
    """Whether the current task is marked by make_it_fail."""
    return in_force(Mark.KEY) is not None


def _after_fork_in_child() -> None:
    global lock
    # Another thread may have held it at the fork, and no longer exists here.
    lock = RLock()
    # As in the kernel: make_it_fail is inherited by a child process, fail_nth is not.
    for entry in _stack.get():
        if entry.key is FailNth.KEY and isinstance(entry, FailNth):
            entry.remaining = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
