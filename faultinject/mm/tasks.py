"""Tasks: who asks for memory, with which rights, and whom the OOM killer may end.

Lives here: `Task`, the register of a memory's tasks, and the flags of the current task
(``PF_MEMALLOC`` and its kin). Not here: the choice of a victim (`faultinject.mm.oom`).

What is current belongs to a thread or an asyncio task; without a registered task and
without flags it is an ordinary one that nobody kills.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

from faultinject.errors import SpecError
from faultinject.gfp import Gfp
from faultinject.mm.alloc_flags import alloc_flags
from faultinject.mm.kernel_version import KernelVersion
from faultinject.mm.ram import PAGE_SHIFT, Ram
from faultinject.mm.size import parse_size

#: The task frees memory itself: it may take every page, and never waits for others.
PF_MEMALLOC: Final = 0x0000_0800
#: All requests are without ``__GFP_FS``.
PF_MEMALLOC_NOFS: Final = 0x0004_0000
#: All requests are without ``__GFP_FS`` and ``__GFP_IO``.
PF_MEMALLOC_NOIO: Final = 0x0008_0000

#: A task of this oom_score_adj is never killed.
OOM_SCORE_ADJ_MIN: Final = -1000
OOM_SCORE_ADJ_MAX: Final = 1000

_FIRST_PID: Final = 1000
_FS: Final = int(Gfp.FS)
_IO: Final = int(Gfp.IO)


class Task:
    """A process of the model machine; made by ``memory.tasks.add``.

    Attributes:
        name: as `ps` would show it.
        pid: its number.
        oom_score_adj: from -1000, never killed, to 1000, killed first.
        realtime: whether it has a realtime policy, and with it a part of the reserve.
        victim: whether the OOM killer chose it.
        exited: whether it has given its memory back.
    """

    __slots__ = (
        "_exit",
        "_ram",
        "_rss",
        "_running",
        "exited",
        "name",
        "oom_score_adj",
        "pid",
        "realtime",
        "victim",
    )

    def __init__(
        self,
        ram: Ram,
        name: str,
        pid: int,
        rss: int | Callable[[], int],
        on_exit: Callable[[], object] | None,
        oom_score_adj: int,
        realtime: bool,
    ) -> None:
        self.name: Final = name
        self.pid: Final = pid
        self.oom_score_adj = oom_score_adj
        self.realtime = realtime
        self.victim = False
        self.exited = False
        self._ram = ram
        self._rss = rss
        self._exit = on_exit
        self._running = 0

    @property
    def rss(self) -> int:
        """The bytes that its end would give back, as it was said when it was added."""
        return self._rss() if callable(self._rss) else self._rss

    @contextmanager
    def running(self) -> Iterator[Task]:
        """Let requests within the ``with`` be this task's.

        A victim that runs ends after the outermost such block, not before.
        """
        with self._ram.lock:
            self._running += 1
        try:
            with _scoped(_Scope(_scope.get().flags, self)):
                yield self
        finally:
            with self._ram.lock:
                self._running -= 1
            if self.victim:
                self.leave()

    def leave(self) -> None:
        """End: give the memory back, unless that has been done or the task is running."""
        with self._ram.lock:
            if self.exited or self._running:
                return
            self.exited = True
        if self._exit is not None:
            with _scoped(_Scope(0, self)):
                self._exit()

    def __repr__(self) -> str:
        state = ", exited" if self.exited else ", killed" if self.victim else ""
        return f"<Task {self.pid} {self.name!r}, {self.rss} bytes{state}>"


class Tasks:
    """The tasks of one memory, in the order in which they were added."""

    __slots__ = ("_next_pid", "_ram", "_tasks")

    def __init__(self, ram: Ram) -> None:
        self._ram = ram
        self._tasks: dict[Task, None] = {}
        self._next_pid = _FIRST_PID

    def add(
        self,
        name: str,
        *,
        rss: str | int | Callable[[], int] = 0,
        on_exit: Callable[[], object] | None = None,
        oom_score_adj: int = 0,
        realtime: bool = False,
    ) -> Task:
        """Register a task.

        Args:
            name: of any characters; need not be unique.
            rss: what its end would give back: bytes, a text such as ``"10M"``, or a
                function that tells them. It decides who is killed first.
            on_exit: called when the task has been killed; gives its memory back.
            oom_score_adj: -1000 to 1000; each point weighs a thousandth of the memory.
            realtime: whether it has a realtime policy.

        Raises:
            SpecError: an argument is impossible.
        """
        if not isinstance(name, str) or not name:
            raise SpecError("not a name for a task", value=name, cure="Pass a text")
        if on_exit is not None and not callable(on_exit):
            raise SpecError("a task's on_exit cannot be called", value=on_exit)
        known = isinstance(oom_score_adj, int) and not isinstance(oom_score_adj, bool)
        if not known or not OOM_SCORE_ADJ_MIN <= oom_score_adj <= OOM_SCORE_ADJ_MAX:
            raise SpecError(
                "not an oom_score_adj",
                value=oom_score_adj,
                cure=f"Pass an int of {OOM_SCORE_ADJ_MIN} to {OOM_SCORE_ADJ_MAX}",
            )
        size = rss if callable(rss) else parse_size(rss, of=f"task {name}", least=0)
        task = Task(self._ram, name, self._next_pid, size, on_exit, oom_score_adj, realtime)
        self._next_pid += 1
        self._tasks[task] = None
        return task

    def remove(self, task: Task) -> None:
        """Forget a task; one that is not registered is a no-op. Its `on_exit` is not called."""
        self._tasks.pop(task, None)

    def killable(self) -> list[Task]:
        """Return the tasks that live, were not chosen yet, and may be killed."""
        return [
            task
            for task in self._tasks
            if not task.victim and not task.exited and task.oom_score_adj != OOM_SCORE_ADJ_MIN
        ]

    def __iter__(self) -> Iterator[Task]:
        return iter(list(self._tasks))

    def __len__(self) -> int:
        return len(self._tasks)

    def __repr__(self) -> str:
        return f"<Tasks: {', '.join(task.name for task in self._tasks) or 'none'}>"


class _Scope(NamedTuple):
    flags: int
    task: Task | None


_NOBODY: Final = _Scope(0, None)
_scope: Final[ContextVar[_Scope]] = ContextVar("faultinject_task", default=_NOBODY)


@contextmanager
def _scoped(scope: _Scope) -> Iterator[None]:
    token = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(token)


@contextmanager
def memalloc_noreclaim() -> Iterator[None]:
    """Let requests within the ``with`` be those of a task that frees memory (PF_MEMALLOC).

    They may take every free page, and they never reclaim, wait or kill: they fail.
    """
    scope = _scope.get()
    with _scoped(scope._replace(flags=scope.flags | PF_MEMALLOC)):
        yield


@contextmanager
def memalloc_nofs() -> Iterator[None]:
    """Let requests within the ``with`` be without ``__GFP_FS``."""
    scope = _scope.get()
    with _scoped(scope._replace(flags=scope.flags | PF_MEMALLOC_NOFS)):
        yield


@contextmanager
def memalloc_noio() -> Iterator[None]:
    """Let requests within the ``with`` be without ``__GFP_IO`` and ``__GFP_FS``."""
    scope = _scope.get()
    with _scoped(scope._replace(flags=scope.flags | PF_MEMALLOC_NOIO)):
        yield


def current_task() -> Task | None:
    """Return the task that runs, or None: one that nobody registered."""
    return _scope.get().task


def is_memalloc() -> bool:
    """Whether the current task frees memory itself."""
    return bool(_scope.get().flags & PF_MEMALLOC)


def is_victim() -> bool:
    """Whether the current task was chosen by the OOM killer."""
    task = _scope.get().task
    return task is not None and task.victim


def in_scope(gfp: int) -> int:
    """Take from flags what the current task may not do."""
    flags = _scope.get().flags
    if flags & PF_MEMALLOC_NOIO:
        return gfp & ~(_IO | _FS)
    return gfp & ~_FS if flags & PF_MEMALLOC_NOFS else gfp


def rights(gfp: int, order: int, version: KernelVersion) -> int:
    """Return the alloc_flags of a request of the current task below the low mark."""
    scope = _scope.get()
    task = scope.task
    if task is None and not scope.flags:
        return alloc_flags(gfp, order, version)
    return alloc_flags(
        gfp,
        order,
        version,
        realtime=task is not None and task.realtime,
        memalloc=bool(scope.flags & PF_MEMALLOC),
        victim=task is not None and task.victim,
    )


def pages_of(task: Task) -> int:
    """Return a task's `rss` in pages."""
    return task.rss >> PAGE_SHIFT
