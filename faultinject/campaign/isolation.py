"""Isolation: where a trial runs, so that its damage ends with it.

Lives here: `Fork`, one forked child per trial, at most `jobs` at once, ended
with all that it started when it is over or passes the time limit; `Here`, the same
call in this process; and `choose`. Not here: what the child does
(`faultinject.campaign.child`, `faultinject.campaign.trial`), how its end is told
(`faultinject.campaign.processes`), a worker that is no fork (`faultinject.campaign.spawn`).

The parent reads nothing from the child while it runs, and waits for the child itself
and for nothing that somebody else could hold open.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from faultinject.campaign.board import Board
from faultinject.campaign.c_stacks import WRITTEN_BYTES
from faultinject.campaign.child import Mark, Surroundings, Task, be_child
from faultinject.campaign.descriptors import Bell
from faultinject.campaign.inherited import (
    ChildSignal,
    files_being_read,
    flush_streams,
    redirect_descriptors,
)
from faultinject.campaign.limits import data_size
from faultinject.campaign.processes import (
    KEPT_BYTES,
    LONGEST_WAIT,
    Campaign,
    ask_for_stacks,
    has_ended,
    in_words,
    kill_group,
    open_pidfd,
    tail,
    wait_for,
)
from faultinject.campaign.reaper import end_labelled
from faultinject.errors import UsageError

__all__ = ["KEPT_BYTES", "KINDS", "Ended", "Fork", "Here", "Isolation", "Mark", "Task", "choose"]

KINDS = ("auto", "fork", "spawn", "none")


@dataclass(slots=True)
class Ended:
    """How one task ended.

    Attributes:
        index: which task, in the order given.
        payload: what the task returned; None if it never delivered.
        phase: the last phase it entered.
        hung: whether it was ended for passing the time limit.
        status: how its process ended, in words; empty where it ended well.
        output: the last of what it wrote to its standard streams.
        dump: the stacks that faulthandler wrote.
        seconds: how long it took, all in all.
        notes: what it noted before it died: the kind and the text of each.
    """

    index: int
    payload: dict[str, Any] | None
    phase: str
    hung: bool = False
    status: str = ""
    output: str = ""
    dump: str = ""
    seconds: float = 0.0
    notes: list[tuple[str, str]] = field(default_factory=list)


class Isolation(Protocol):
    """A way to run tasks."""

    kind: str

    def run(
        self, tasks: Iterable[Task], *, timeout: float, memory: int | None = None
    ) -> Iterator[Ended]:
        """Run the tasks; yield each one as it ends, not always in order.

        Args:
            tasks: taken one by one as room is free.
            timeout: seconds that each phase of a task may take.
            memory: bytes of data that a task may allocate beyond what the process
                has when it starts; None for any number.
        """


class Here:
    """Runs each task in this process. No crash or hang is survived, and state stays."""

    kind = "none"

    def run(
        self, tasks: Iterable[Task], *, timeout: float, memory: int | None = None
    ) -> Iterator[Ended]:
        """Run the tasks in order; no limit can be kept, so they are ignored."""
        for index, task in enumerate(tasks):
            started = time.perf_counter()
            ended = Ended(index, None, "start")

            def mark(phase: str, ended: Ended = ended) -> None:
                ended.phase = phase

            ended.payload = task(mark)
            ended.seconds = time.perf_counter() - started
            yield ended


@dataclass(slots=True)
class _Child:
    """One running child, as the parent sees it."""

    index: int
    pid: int
    pidfd: int
    board: Board
    out: int
    err: int
    dump: int
    gate: int
    label: int
    timeout: float
    started: float = 0.0
    deadline: float = 0.0
    hung_in: str | None = None
    is_done: bool = False


class Fork:
    """Runs each task in a forked child of this process.

    Args:
        jobs: how many children may run at once, at least 1.
        redirect: called in the child with two descriptors, for what it writes to
            standard output and error.
    """

    kind = "fork"

    def __init__(
        self, jobs: int = 1, redirect: Callable[[int, int], None] = redirect_descriptors
    ) -> None:
        self._jobs = jobs
        self._redirect = redirect
        self._child_signal = ChildSignal()
        self._boards: list[Board] = []

    def run(
        self, tasks: Iterable[Task], *, timeout: float, memory: int | None = None
    ) -> Iterator[Ended]:
        """Fork a child per task; see `Isolation.run`.

        One more child than run is made, and waits for its turn: a fork takes as long as
        a small trial. Nobody waits until the system has taken the memory of a child back
        that is done: that takes as long again. A child that the caller no longer wants
        (the generator is closed) is killed.
        """
        running: dict[int, _Child] = {}
        leaving: list[_Child] = []
        waiting = enumerate(tasks)
        bell = Bell()
        signs = select.poll()
        signs.register(bell.heard, select.POLLIN)
        self._child_signal.set_aside()
        ready: _Child | None = None
        try:
            start = self._starter(timeout, memory, bell)
            ready = start(waiting)
            while running or ready is not None:
                while ready is not None and len(running) < self._jobs:
                    running[ready.pid] = ready
                    if ready.pidfd >= 0:
                        signs.register(ready.pidfd, select.POLLIN)
                    _begin(ready)
                    ready = None
                    ready = start(waiting)
                while leaving and has_ended(leaving[0].pid):
                    self._bury(leaving.pop(0))
                for child in _wait(signs, bell, running):
                    del running[child.pid]
                    if child.pidfd >= 0:
                        signs.unregister(child.pidfd)
                    if child.is_done:
                        leaving.append(child)
                        yield _told(child)
                    else:
                        yield self._finish(child)
        finally:
            bell.close()
            for child in (*running.values(), *([] if ready is None else [ready])):
                self._finish(child)
            for child in leaving:
                self._bury(child)
            while self._boards:
                self._boards.pop().close()
            self._child_signal.put_back(missed=True)

    def _starter(
        self, timeout: float, memory: int | None, bell: Bell
    ) -> Callable[[Iterator[tuple[int, Task]]], _Child | None]:
        """Give what forks the child of the next task, or gives None at their end."""
        with warnings.catch_warnings():
            # CPython warns of threads at every fork; the campaign says it once.
            warnings.simplefilter("ignore", DeprecationWarning)
            campaign = Campaign.current()
            campaign.watch()
        labels = campaign.labels
        limit = None if memory is None else data_size() + memory
        reading = files_being_read()

        def start(waiting: Iterator[tuple[int, Task]]) -> _Child | None:
            following = next(waiting, None)
            if following is None:
                return None
            # Else the child writes out once more what waits here to be written.
            flush_streams()
            index, task = following
            board = self._boards.pop() if self._boards else Board()
            board.wipe()
            out, err, dump = _scratch_file(), _scratch_file(), _scratch_file()
            label, gate = labels.next(), os.pipe()
            around = Surroundings(
                board,
                out,
                err,
                dump,
                gate,
                bell,
                reading,
                os.getpid(),
                label,
                limit,
                self._child_signal,
                self._redirect,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                be_child(task, around)
            os.close(gate[0])
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)  # both sides do it, so that neither has to wait
            return _Child(
                index, pid, open_pidfd(pid), board, out, err, dump, gate[1], label, timeout
            )

        return start

    def _finish(self, child: _Child) -> Ended:
        if child.hung_in is not None:
            ask_for_stacks(child.pid, child.dump)
        board = child.board
        alone = board.alone and child.hung_in is None
        if not alone:
            # The group goes before the child is reaped, while its number is still taken.
            kill_group(child.pid)
        status = wait_for(child.pid)
        if not alone:
            end_labelled(child.label)
        ended = _told(child, status)
        self._let_go(child)
        return ended

    def _bury(self, child: _Child) -> None:
        """Wait for a child that has told everything."""
        wait_for(child.pid)
        self._let_go(child)

    def _let_go(self, child: _Child) -> None:
        """Give back what belongs to a child that has ended."""
        for descriptor in (child.pidfd, child.gate, child.out, child.err, child.dump):
            if descriptor >= 0:
                os.close(descriptor)
        if child.board.is_large:
            child.board.close()
        else:
            self._boards.append(child.board)


def _told(child: _Child, status: int | None = None) -> Ended:
    """Put together what a child has told, and how it ended, where that matters."""
    board = child.board
    alone = board.alone and child.hung_in is None
    payload = None if child.hung_in is not None else board.payload
    said = ""
    if payload is None:
        said = in_words(status, board, hung_in=child.hung_in, limit=child.timeout)
    return Ended(
        child.index,
        payload,
        board.phase if child.hung_in is None else child.hung_in,
        child.hung_in is not None,
        said,
        tail(child.out) + tail(child.err) + ("" if alone else board.complaint),
        tail(child.dump, head=WRITTEN_BYTES),
        time.monotonic() - child.started,
        [] if alone else board.notes,
    )


def _begin(child: _Child) -> None:
    """Let a child that is ready do its task."""
    child.board.enter("start")
    child.started = time.monotonic()
    child.deadline = child.started + child.timeout
    with contextlib.suppress(BrokenPipeError):  # somebody has killed it while it waited
        os.write(child.gate, b"!")
    os.close(child.gate)
    child.gate = -1


def _wait(signs: select.poll, bell: Bell, running: dict[int, _Child]) -> list[_Child]:
    """Wait until something happens; give the children that are done, have ended or must end."""
    now = time.monotonic()
    patience = max(0.0, min(child.deadline for child in running.values()) - now)
    patience = min(patience, LONGEST_WAIT)
    if any(child.pidfd < 0 for child in running.values()):
        patience = min(patience, 0.005)
    seen = {descriptor for descriptor, _ in signs.poll(1000 * patience + 1)}
    if bell.heard in seen:
        bell.silence()
        for child in running.values():
            child.is_done = child.board.alone
    now = time.monotonic()
    ended = []
    for child in running.values():
        gone = child.pidfd in seen or (child.pidfd < 0 and has_ended(child.pid))
        if child.is_done or gone:
            ended.append(child)
        elif now >= child.deadline:
            # It may have begun another phase since: that is looked up only here.
            child.deadline = child.board.since + child.timeout
            if now >= child.deadline:
                child.hung_in = child.board.phase
                ended.append(child)
    return ended


def _scratch_file() -> int:
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            return os.memfd_create("faultinject")
    with tempfile.TemporaryFile(buffering=0) as file:
        return os.dup(file.fileno())


def choose(kind: str, *, jobs: int = 1, option: str = "isolation") -> str:
    """Resolve ``auto`` to what this machine can do.

    Args:
        kind: one of `KINDS`.
        jobs: more than one needs a process per trial.
        option: who is asking, for the error.

    Returns:
        ``fork``, ``spawn`` or ``none``.

    Raises:
        UsageError: an unknown kind, or one that the platform does not have.
    """
    if kind not in KINDS:
        raise UsageError(
            "not a kind of isolation", value=kind, where=option, cure=f"Use {', '.join(KINDS)}"
        )
    can_fork, can_spawn = hasattr(os, "fork"), sys.platform != "win32"
    if kind == "auto":
        if can_fork and sys.platform != "darwin":
            return "fork"
        return "spawn" if can_spawn else "none"
    if kind == "fork" and not can_fork:
        raise UsageError(
            "this platform cannot fork", value=kind, where=option, cure="Use spawn, or auto"
        )
    if kind == "spawn" and not can_spawn:
        raise UsageError(
            "workers are not built for this platform yet",
            value=kind,
            where=option,
            cure="Use none, or auto",
        )
    if kind == "none" and jobs > 1:
        raise UsageError(
            "several jobs need a process each",
            value=kind,
            where=option,
            cure="Use fork or spawn, or one job",
        )
    return kind
