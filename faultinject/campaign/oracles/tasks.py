"""asyncio tasks left pending, and the errors that tasks and callbacks lost.

Lives here: the search for pending tasks, what stands before the event loop's own
handler of exceptions, and coroutines that a statement threw away. Not here: threads
and their errors (`faultinject.campaign.oracles.threads`, ``.lost``).

A loop with a handler of its own has lost nothing: that handler knows. And where an
error meets only code of the standard library, it is the event loop that was hit: no
code under test could have caught it.

A coroutine that was never awaited is as a rule no bug of the error path: the failure
came between the call and the ``await``. It is one where a statement of its own threw
it away, as ``self.close()`` in an ``except`` block does without its ``await``.
"""

from __future__ import annotations

import opcode
import os
import sys
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from faultinject.campaign.oracles.leftovers import Leftovers, last_place, without_numbers
from faultinject.campaign.propagation import describe

_DESTROYED = "Task was destroyed but it is pending!"
_STANDARD = os.path.dirname(os.__file__) + os.sep
_INSTALLED = tuple(_STANDARD + name + os.sep for name in ("site-packages", "dist-packages"))
_POP_TOP = opcode.opmap["POP_TOP"]

_warnings: Any = warnings


class Tasks:
    """The tasks that are pending now, to be compared with those that are pending later.

    Args:
        alive: objects among which to look; those of other kinds are passed over.
        shown: gives a source file's name as reports show it.
    """

    def __init__(self, alive: Iterable[object], shown: Callable[[str], str]) -> None:
        self.lines: list[str] = []
        self._shown = shown
        self._destroyed: Leftovers = Counter()
        self._before = weakref.WeakSet(_pending(alive))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Stand before the event loop's default handler of exceptions, within the block."""
        unawaited = _warnings._warn_unawaited_coroutine
        loop: Any = getattr(sys.modules.get("asyncio.base_events"), "BaseEventLoop", None)
        handler = getattr(loop, "default_exception_handler", None)

        def default_exception_handler(self_: Any, context: dict[str, Any]) -> Any:
            self._take(context)
            return handler(self_, context)  # type: ignore[misc]

        def warn_unawaited_coroutine(coroutine: Any) -> None:
            self._take_unawaited(coroutine, sys._getframe(1))
            unawaited(coroutine)

        _warnings._warn_unawaited_coroutine = warn_unawaited_coroutine
        if handler is not None:
            loop.default_exception_handler = default_exception_handler
        try:
            yield
        finally:
            _warnings._warn_unawaited_coroutine = unawaited
            if handler is not None:
                loop.default_exception_handler = handler

    def left(self, alive: Iterable[object]) -> Leftovers:
        """Name each task that is pending and was not then, or that went while it was pending."""
        more = Counter(_name(task) for task in _pending(alive) if task not in self._before)
        return more + self._destroyed

    def _take(self, context: dict[str, Any]) -> None:
        message = str(context.get("message", ""))
        if message == _DESTROYED:
            self._destroyed[_name(context.get("task"))] += 1
            return
        error = context.get("exception")
        if type(error).__name__ == "CancelledError":
            return  # nobody failed
        if isinstance(error, BaseException) and _only_standard(error.__traceback__):
            return
        what = describe(error) if isinstance(error, BaseException) else "an error"
        place = last_place(error.__traceback__) if isinstance(error, BaseException) else ""
        # "Exception in callback <function …>": the address differs from run to run.
        about = without_numbers(message.partition(" <")[0].partition("(")[0])
        self.lines.append(f"{what}{place} ({about})")

    def _take_unawaited(self, coroutine: Any, frame: Any) -> None:
        code = frame.f_code
        if frame.f_lasti >= 0 and code.co_code[frame.f_lasti] == _POP_TOP:
            place = f"{self._shown(code.co_filename)}:{frame.f_lineno} in {code.co_qualname}"
            name = getattr(coroutine, "__qualname__", "a coroutine")
            self.lines.append(f"{name}() was called without await at {place}")


def task_types() -> frozenset[type]:
    """Give the types of tasks that there are, if asyncio is loaded."""
    module: Any = sys.modules.get("asyncio.tasks")
    if module is None:
        return frozenset()
    found = (getattr(module, name, None) for name in ("Task", "_PyTask", "_CTask"))
    return frozenset(kind for kind in found if isinstance(kind, type))


def _pending(alive: Iterable[object]) -> list[Any]:
    kinds = task_types()
    tasks: list[Any] = [item for item in alive if type(item) in kinds]
    return [task for task in tasks if not task.done()]


def _name(task: Any) -> str:
    coroutine = task.get_coro() if task is not None else None
    name = getattr(coroutine, "__qualname__", None) or type(coroutine).__name__
    return f"asyncio task left pending: {name}"


def _only_standard(traceback: TracebackType | None) -> bool:
    if traceback is None:
        return False
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith(_STANDARD) or file.startswith(_INSTALLED):
            return False
        traceback = traceback.tb_next
    return True
