"""The child: what a forked process does to run one task.

Lives here: how it makes itself independent of the process that it is a copy of, the
limits that hold for it, the task, the report, the way out; and `note`, for what must
be known even if it dies. Not here: what it lets go of (`faultinject.campaign.inherited`),
what the parent does meanwhile (`faultinject.campaign.isolation`).
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from faultinject.campaign import reaper
from faultinject.campaign.board import Board
from faultinject.campaign.c_stacks import dump_stacks_to
from faultinject.campaign.descriptors import Bell, out_of_the_way
from faultinject.campaign.inherited import (
    ChildSignal,
    flush_streams,
    leave_coverage,
    leave_input,
    leave_positions,
    leave_process,
)
from faultinject.campaign.limits import DataLimit

Mark = Callable[[str], None]
Task = Callable[[Mark], dict[str, Any]]

# A child that cannot tell its result ends with this status.
NO_REPORT = 70

# Of linux/prctl.h.
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36

# In these phases code under test runs for the first time, and the memory limit holds.
_LIMITED = frozenset({"start", "setup", "body", "invariants", "teardown"})


def _find_prctl() -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        found = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return None
    found.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    found.restype = ctypes.c_int
    return found


_prctl = _find_prctl()

_board: Board | None = None
_pid = 0


def note(kind: str, text: str) -> None:
    """Write down what the parent is to know even if this trial never reports.

    Outside a trial, and in a fork of one, nothing is written.
    """
    if _board is not None and os.getpid() == _pid:
        _board.note(kind, text)


@dataclass(slots=True)
class Surroundings:
    """What the parent prepares for one child.

    Attributes:
        board: where the report goes.
        out: descriptor for what the child writes to its standard output.
        err: the same for its standard error.
        dump: descriptor for its stacks.
        gate: a pipe; the child begins its task when it can read a byte from it.
        bell: rung when there is a report and no process is left.
        reading: descriptors of the files that the parent is reading.
        parent: the number of the process that starts it.
        label: what its processes are found by; 0 for none.
        memory: how many bytes of data it may have in all, or None.
        child_signal: the user's way to hear of children, to be put back.
        redirect: called with `out` and `err`.
    """

    board: Board
    out: int
    err: int
    dump: int
    gate: tuple[int, int]
    bell: Bell
    reading: list[int]
    parent: int
    label: int
    memory: int | None
    child_signal: ChildSignal
    redirect: Callable[[int, int], None]


def be_child(task: Task, around: Surroundings) -> NoReturn:
    """Run the task and leave by ``os._exit``, whatever happens."""
    status, board = NO_REPORT, around.board
    try:
        note_on(board)
        knows_children = bind_to_parent(around.parent, around.label)
        _leave_parent(around)
        gate = Gate(around.gate)
        if not getattr(task, "looks_around_first", False):
            gate.wait()
        payload = carry_out(task, board, around.memory, gate.wait)
        if is_noted_process():
            board.deliver(payload, alone=knows_children and not _has_children())
            status = 0
            if board.alone:
                around.bell.ring()
    except BaseException:
        complain(board)
    finally:
        leave_process(status)


def note_on(board: Board) -> None:
    """Let this process be the one that `board` is about."""
    global _board, _pid
    _board, _pid = board, os.getpid()


def is_noted_process() -> bool:
    """Say whether this is that process, and not a fork of the test's that came back to us."""
    return os.getpid() == _pid


def carry_out(
    task: Task, board: Board, memory: int | None, begin: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Run a task, with its phases on the board, and within its memory as long as that holds.

    Args:
        task: what is run.
        board: for the phases; the report is the caller's business.
        memory: bytes of data that this process may have in all, or None.
        begin: called before each phase, of which the first may have to wait its turn.
    """
    limit = DataLimit(memory)

    def mark(phase: str) -> None:
        if is_noted_process():
            if begin is not None:
                begin()
            board.enter(phase)
            if limit.holds and phase not in _LIMITED:
                limit.lift()

    try:
        payload = task(mark)
    finally:
        limit.lift()
    flush_streams()
    return payload


def complain(board: Board) -> None:
    """Leave the exception that is being handled as the reason why there is no report."""
    with contextlib.suppress(BaseException):  # no memory to say more in
        if is_noted_process():
            board.complain(traceback.format_exc())


def bind_to_parent(parent: int, label: int) -> bool:
    """End with the parent, and know of every process that is started from here on.

    Args:
        parent: the number of the process that starts this one.
        label: what this one's processes are found by; 0 for none.

    Returns:
        whether a process that has no parent any more becomes a child of this one.
    """
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    adopts = False
    if _prctl is not None:
        _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        adopts = _prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        if os.getppid() != parent:
            leave_process(NO_REPORT)  # it was gone before
    reaper.wear(label)
    return adopts


def _leave_parent(around: Surroundings) -> None:
    around.child_signal.put_back()
    around.redirect(around.out, around.err)
    leave_input()
    leave_positions(around.reading)
    leave_coverage()
    # Collections then look only at what the trial itself makes. Others would write
    # to every object that the parent made, and so copy every page.
    gc.freeze()
    write_stacks_to(out_of_the_way(around.dump))


def write_stacks_to(dump: int) -> None:
    """Write the stacks to a file when this process dies, or when the parent asks."""
    dump_stacks_to(dump)
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR2, file=dump, all_threads=True)


class Gate:
    """Where a child waits for the parent's word to begin; it was made while another one ran."""

    def __init__(self, ends: tuple[int, int]) -> None:
        os.close(ends[1])
        self._end = ends[0]

    def wait(self) -> None:
        """Wait, the first time."""
        if self._end >= 0:
            os.read(self._end, 1)
            os.close(self._end)
            self._end = -1


def _has_children() -> bool:
    """Say whether a child is alive; bury those that are dead."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True
