"""The bundle: the chosen oracles around one run.

Lives here: what is looked at before a run, during it and after it, in which order
and how often. Not here: how each oracle looks (the files beside), when a trial is
run again (`faultinject.campaign.trial`).
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache

from faultinject.callsite import CallSite
from faultinject.campaign.oracles.children import Children
from faultinject.campaign.oracles.descriptors import Descriptors
from faultinject.campaign.oracles.leftovers import Leftovers
from faultinject.campaign.oracles.locks import KnownLocks, Locks, lock_types
from faultinject.campaign.oracles.lost import LostErrors
from faultinject.campaign.oracles.makers import (
    Makers,
    Mark,
    are_under_test,
    is_marked,
    unmarked,
    without_the_tests_own,
)
from faultinject.campaign.oracles.model import ModelObjects
from faultinject.campaign.oracles.selection import ALL, Oracles
from faultinject.campaign.oracles.tasks import Tasks, task_types
from faultinject.campaign.oracles.temporary import TemporaryFiles
from faultinject.campaign.oracles.threads import Threads
from faultinject.campaign.own_calls import OwnCalls
from faultinject.native.places import CodeScope

# How long what is about to end gets to do so. Waited for only where something is left.
_PATIENCE = 0.1

# What an object that waits in a cycle may still hold, or say when it goes.
_COLLECTED_FIRST = frozenset(
    {"objects", "descriptors", "threads", "processes", "files", "locks", "tasks", "unraisable"}
)


class Bundle:
    """The chosen oracles of a sweep.

    Args:
        chosen: their names, of `faultinject.campaign.oracles.selection.MEANINGS`.
        shown: gives a source file's name as reports show it.
        code: gives the code under test; asked once, where something is left. By default that
            is all code.
    """

    def __init__(
        self,
        chosen: Oracles = ALL,
        shown: Callable[[str], str] = str,
        code: Callable[[], CodeScope] = CodeScope.of,
    ) -> None:
        self.chosen = chosen
        self.shown = shown
        self._code = cache(lambda: OwnCalls(code()))
        self._locks = KnownLocks()

    @property
    def reruns(self) -> bool:
        """Whether a clean re-run after the trial is wanted."""
        return "rerun" in self.chosen

    def look_ahead(self) -> None:
        """Look up what is dear to find, once, before children are forked of this process."""
        if "locks" in self.chosen:
            self._locks.look(gc.get_objects())

    def settle(self) -> None:
        """Do as `look_ahead`, for runs in this process that shall be like those in a fork.

        What there is now is frozen, so that collections do not look at it again.
        """
        gc.unfreeze()
        gc.collect()
        self.look_ahead()
        self._locks.settle()
        gc.freeze()

    @contextmanager
    def watching(self) -> Iterator[Watched]:
        """Look at the process as it is now, and at what a run within the block does."""
        alive: list[object] = []
        if not self._locks.are_inherited and self.chosen & {"locks", "tasks"}:
            alive = gc.get_objects()
            if "locks" in self.chosen:
                self._locks.look(alive)
        elif "tasks" in self.chosen:
            # What the parent made is frozen, and not among them: it is no leftover.
            alive = gc.get_objects()
        watched = Watched(self.chosen, self._locks, alive, self.shown, self._code)
        del alive
        with watched.hooked():
            yield watched

    def quiet(self) -> AbstractContextManager[None]:
        """Give the block in which lost errors are taken and nobody asks for them."""
        return _lost_errors(self.chosen).watching()


class Watched:
    """One run under watch; made by `Bundle.watching`."""

    def __init__(
        self,
        chosen: Oracles,
        known: KnownLocks,
        alive: list[object],
        shown: Callable[[str], str],
        code: Callable[[], OwnCalls],
    ) -> None:
        self._code = code
        self._makers = Makers(code)
        self._collects = bool(chosen & _COLLECTED_FIRST)
        self._lost = _lost_errors(chosen)
        self._threads = Threads(self._makers) if "threads" in chosen else None
        # What these two note is wanted for descriptors as well.
        self._files: TemporaryFiles | None = None
        self._children: Children | None = None
        if chosen & {"files", "descriptors"}:
            self._files = TemporaryFiles(shown, self._makers)
        if chosen & {"processes", "descriptors"}:
            self._children = Children(self._makers)
        self._locks = Locks(known) if "locks" in chosen else None
        self._tasks = Tasks(alive, shown) if "tasks" in chosen else None
        # Cheap, and each says what is left with no more than a look.
        self._simple: list[Callable[[Mark], Leftovers]] = []
        if "objects" in chosen:
            objects = ModelObjects(shown)
            self._simple.append(lambda mark: objects.left())
        if "descriptors" in chosen and self._files is not None and self._children is not None:
            opened = Descriptors(
                self._files.shape_of, self._files.maker_of, self._children.maker_of_pipe
            )
            self._simple.append(opened.left)
        if self._threads is not None:
            self._simple.append(self._threads.left)
        if "processes" in chosen and self._children is not None:
            self._simple.append(self._children.left)
        if "files" in chosen and self._files is not None:
            self._simple.append(self._files.left)

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Note within the block what cannot be seen afterwards."""
        with ExitStack() as stack:
            stack.enter_context(self._lost.watching())
            if self._tasks is not None:
                stack.enter_context(self._tasks.watching())
            if self._files is not None:
                stack.enter_context(self._files.noting())
            if self._threads is not None:
                stack.enter_context(self._threads.noting())
            if self._children is not None:
                stack.enter_context(self._children.noting())
            yield

    @property
    def lost(self) -> list[str]:
        """The errors that were lost so far, one line each."""
        return self._lost.lines + (self._tasks.lines if self._tasks is not None else [])

    def left(self) -> Leftovers:
        """Name everything that exists now and did not exist before.

        What is about to end is given a moment, and objects that only a collection of
        cycles would free are given that chance. What the test itself made is marked.
        """
        deadline = time.monotonic() + _PATIENCE
        if self._threads is not None:
            self._threads.settle(deadline)
        found, alive = self._seen(self._makers.mark)
        if self._locks is not None:
            found += self._locks.left(alive, deadline)
        return found

    def left_by_the_code(self, struck: Iterable[CallSite]) -> Leftovers:
        """Do as `left` after a test that an error ended, and leave out what that test made.

        Args:
            struck: where faults struck. Where that is no code under test, the test itself is
                what is tried, and nothing is left out.
        """
        left = self.left()
        if any(map(is_marked, left)) and are_under_test(struck, self._code()):
            left = without_the_tests_own(left)
        return left

    def suspects(self) -> Leftovers:
        """Do as `left`, at once: what is about to end counts, and nobody asks who made it.

        Locks have no names.
        """
        found, alive = self._seen(unmarked)
        if self._locks is not None:
            found += self._locks.suspects(alive)
        return found

    def _seen(self, mark: Mark) -> tuple[Leftovers, list[object]]:
        """Give what is left but for locks, and the objects to look for those among.

        In a forked child these are the ones that were made since then.
        """
        if self._collects:
            gc.collect()
        found: Leftovers = Counter()
        for left in self._simple:
            found += left(mark)
        alive: list[object] = []
        if self._tasks is not None or self._locks is not None:
            kinds = task_types() | lock_types()
            alive = [item for item in gc.get_objects() if type(item) in kinds]
        if self._tasks is not None:
            found += self._tasks.left(alive)
        return found, alive


def _lost_errors(chosen: Oracles) -> LostErrors:
    return LostErrors(unraisable="unraisable" in chosen, excepthook="excepthook" in chosen)
