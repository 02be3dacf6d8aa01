"""Which memory is meant where none is named.

Lives here: `use_memory`, `current_memory`, and the default of the process. Not
here: the functions that use them (`faultinject.mm.functions`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Final

from faultinject.errors import UsageError
from faultinject.mm.memory import Memory


class _Use:
    """One memory that is in use in a context, above the one before it.

    It ends in every context at once, those of tasks that inherited it included: no
    token has to match, and the order of ends does not matter.
    """

    __slots__ = ("active", "below", "memory")

    def __init__(self, memory: Memory, below: _Use | None) -> None:
        self.memory = memory
        self.below = below
        self.active = True


_in_use: Final[ContextVar[_Use | None]] = ContextVar("faultinject_memory", default=None)
_default: Memory | None = None
_making: Final = threading.Lock()


def current_memory() -> Memory:
    """Return the memory of the innermost `use_memory`, or the process's default one.

    The default is made when it is first needed: ``Memory("64M")``.
    """
    use = _in_use.get()
    if use is not None:
        innermost = _active(use)
        if innermost is not None:
            return innermost.memory
    return _default or _make_default()


def fresh_default(memory: Memory | None = None) -> Memory:
    """Replace the process's default memory with `memory` or a new one, and return it.

    Pointers into the old one stay valid, and free into it.
    """
    global _default
    _default = Memory() if memory is None else memory
    return _default


@contextmanager
def default_memory(memory: Memory) -> Iterator[None]:
    """Let `memory` be the process's default within the block; then the one before is back."""
    global _default
    before, _default = _default, memory
    try:
        yield
    finally:
        _default = before


def _make_default() -> Memory:
    global _default
    with _making:
        if _default is None:
            _default = Memory()
        return _default


def _active(use: _Use | None) -> _Use | None:
    while use is not None and not use.active:
        use = use.below
    return use


class use_memory:  # noqa: N801  # reads as the statement it is
    """Make `memory` the current one of this thread or asyncio task, within a ``with``.

    May be nested, also in itself. Threads that are started inside do not inherit it.

    Raises:
        UsageError: `memory` is no Memory.
    """

    __slots__ = ("_memory", "_uses")

    def __init__(self, memory: Memory) -> None:
        if not isinstance(memory, Memory):
            raise UsageError("not a Memory", value=memory, cure="Pass faultinject.Memory(…)")
        self._memory = memory
        self._uses: list[_Use] = []

    def __enter__(self) -> Memory:
        use = _Use(self._memory, _active(_in_use.get()))
        self._uses.append(use)
        _in_use.set(use)
        return self._memory

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._uses:
            raise UsageError("use_memory was left more often than entered", value=self._memory)
        self._uses.pop().active = False
        _in_use.set(_active(_in_use.get()))
