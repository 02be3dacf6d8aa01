"""Errors that were lost where none can be raised: ``__del__``, callbacks, threads.

Lives here: what takes the place of ``sys.unraisablehook`` and
``threading.excepthook`` while a run is watched, and writes each error down. Not
here: errors that asyncio loses (`faultinject.campaign.oracles.tasks`).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import CoroutineType
from typing import Any

from faultinject.campaign.oracles.leftovers import last_place
from faultinject.campaign.propagation import describe

_IN_A_THREAD = "in a thread"


def untold(lines: Iterable[str], error: str | None) -> list[str]:
    """Leave out what ended a thread and then came out of the test as well.

    Args:
        lines: errors that were lost.
        error: what came out of the test, in the words of `describe`.
    """
    told = f"{error} at "
    return [
        line
        for line in lines
        if error is None or not (line.startswith(told) and line.endswith(f"({_IN_A_THREAD})"))
    ]


class LostErrors:
    """Writes down errors, here and nowhere else.

    Args:
        unraisable: whether to take the place of ``sys.unraisablehook``.
        excepthook: whether to take the place of ``threading.excepthook``.
    """

    def __init__(self, *, unraisable: bool = True, excepthook: bool = True) -> None:
        self.lines: list[str] = []
        self._unraisable = unraisable
        self._excepthook = excepthook

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Take the place of the hooks within the block."""
        unraisable, thread = sys.unraisablehook, threading.excepthook
        if self._unraisable:
            sys.unraisablehook = self._take_unraisable
        if self._excepthook:
            threading.excepthook = self._take_thread
        try:
            yield
        finally:
            sys.unraisablehook, threading.excepthook = unraisable, thread

    def _take_unraisable(self, event: Any) -> None:
        if event.exc_type is RuntimeWarning and isinstance(event.object, CoroutineType):
            # "was never awaited", where warnings are errors: see `tasks`.
            return
        if event.object is None and event.err_msg is None:
            # No finalizer and no callback, which are named: the interpreter's own clean-up.
            return
        about = event.err_msg or f"in {type(event.object).__name__}"
        self._write(event, about)

    def _take_thread(self, event: Any) -> None:
        if event.exc_type is not SystemExit:  # a thread may end itself
            self._write(event, _IN_A_THREAD)

    def _write(self, event: Any, about: str) -> None:
        error: BaseException | None = event.exc_value
        what = describe(error) if error is not None else str(event.exc_type)
        self.lines.append(f"{what}{last_place(event.exc_traceback)} ({about})")
