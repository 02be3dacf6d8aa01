"""Locks still held, and permits of semaphores that were not given back.

Lives here: which locks there are and which of them are held. Not here: who holds a
lock, by name (`faultinject.campaign.oracles.holders`).

Nothing notices a lock being taken, and nothing of ours stands in its way. Instead the
locks that a process has before a run are looked up once, before the first child is
forked, and those that it makes are found among the objects that the run made. A lock
counts only where an attribute or a variable holds it: others, such as those on which
threads wait, are nobody's to release.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from faultinject.campaign.oracles import holders
from faultinject.campaign.oracles.leftovers import Leftovers

_HELD, _TAKEN = "lock still held: ", "semaphore not released: "
_LOCK, _RLOCK = type(threading.Lock()), type(threading.RLock())
_SEMAPHORES = (threading.Semaphore, threading.BoundedSemaphore)
_PAUSE = 0.001  # seconds


class KnownLocks:
    """The locks that a process had when it was last asked."""

    def __init__(self) -> None:
        self._process = -1
        self._items: list[object] = []

    def look(self, alive: Iterable[object]) -> None:
        """Take up the locks among all objects of this process."""
        kinds = lock_types()
        self._items = [item for item in alive if type(item) in kinds]
        self._process = os.getpid()

    def settle(self) -> None:
        """Let later runs in this process find them as a fork of it would."""
        self._process = 0

    @property
    def are_inherited(self) -> bool:
        """Whether they were looked up before this process was forked."""
        return self._process not in (-1, os.getpid())

    @property
    def items(self) -> list[object]:
        """The locks, semaphores and conditions."""
        return self._items


class Locks:
    """The locks that are held now, to be compared with those that are held later.

    Args:
        known: every lock that there is now.
    """

    def __init__(self, known: KnownLocks) -> None:
        self._known = known.items
        self._inherited = known.are_inherited
        self._ids = {id(item) for item in known.items}
        self._before = {id(item): count for item in known.items if (count := _taken(item))}

    def suspects(self, alive: Iterable[object]) -> Leftovers:
        """Count what is held and was not then, without its name: that would be dear."""
        more = len(self._more(alive))
        return Counter({"a lock": more}) if more else Counter()

    def left(self, alive: Iterable[object], deadline: float) -> Leftovers:
        """Name each lock that is held and was not then.

        Args:
            alive: objects among which to look for new locks.
            deadline: while other threads run, a lock counts if it is held at each look
                until this time of ``time.monotonic``.
        """
        more = self._more(alive)
        while more and threading.active_count() > 1 and time.monotonic() < deadline:
            time.sleep(_PAUSE)
            more = [(item, count) for item, count in more if self._held_more(item)]
        found: Leftovers = Counter()
        if more:
            mine = (more, *more, self._known, alive)
            with holders.everything_seen(frozen=self._inherited):
                for item, count in more:
                    name = holders.name_of(item, passing_over=mine)
                    if name is not None and type(item) in _SEMAPHORES:
                        found[_TAKEN + name] += count
                    elif name is not None:
                        found[_HELD + name] += 1
        return found

    def _more(self, alive: Iterable[object]) -> list[tuple[object, int]]:
        kinds = lock_types()
        new = [item for item in alive if type(item) in kinds and id(item) not in self._ids]
        more = [(item, count) for item in (*self._known, *new) if (count := self._held_more(item))]
        if not more:
            return []
        waited_on = _waited_on((*self._known, *new))
        return [(item, count) for item, count in more if id(item) not in waited_on]

    def _held_more(self, item: object) -> int:
        if id(item) not in self._ids and type(item) is threading.Semaphore:
            return 0  # nobody knows how many permits it began with
        return max(0, _taken(item) - self._before.get(id(item), 0))


def would_block(lines: Iterable[str]) -> bool:
    """Say whether among leftovers there is a lock, for which the next run may wait for ever."""
    return any(line.startswith((_HELD, _TAKEN)) for line in lines)


def lock_types() -> frozenset[type]:
    """Give the types that this oracle looks at, all exact."""
    found: list[type] = [_LOCK, _RLOCK, threading.Condition, *_SEMAPHORES]
    asynchronous = getattr(sys.modules.get("asyncio.locks"), "Lock", None)
    if asynchronous is not None:
        found.append(asynchronous)
    return frozenset(found)


def _taken(item: Any) -> int:
    """Say how often a lock is held, as far as that can be told; conditions hold none."""
    kind = type(item)
    if kind is _RLOCK:
        return int(repr(item).startswith("<locked"))  # `locked` exists from Python 3.14 on
    if kind is threading.BoundedSemaphore:
        return int(item._initial_value - item._value)
    if kind is threading.Semaphore:
        return -int(item._value)
    return 0 if kind is threading.Condition else int(item.locked())


def _waited_on(items: Iterable[Any]) -> set[int]:
    """Give the ids of locks that are held because a thread waits on them, or runs."""
    found = {
        id(lock)
        for item in items
        if type(item) is threading.Condition
        for lock in tuple(item._waiters)  # type: ignore[attr-defined]
    }
    found.update(id(getattr(thread, "_tstate_lock", None)) for thread in threading.enumerate())
    return found
