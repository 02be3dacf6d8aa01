"""Isolation: where a trial runs, so that its damage ends with it.

Lives here: `Fork`, one forked child per trial, at most `jobs` at once, ended
with all that it started when it passes the time limit; `Here`, the same call in
this process; and `choose`. Not here: what the child does
(`faultinject.campaign.trial`).

The parent never waits for the end of a pipe: a grandchild can hold it open for
ever. It waits for the child itself.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import selectors
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from faultinject.campaign.inherited import (
    ChildSignal,
    flush_streams,
    leave_coverage,
    leave_input,
    leave_positions,
    leave_process,
    redirect_descriptors,
)
from faultinject.errors import UsageError

if sys.platform != "win32":
    import fcntl  # here, and not in the child: an import there is paid for by every trial

Mark = Callable[[str], None]
Task = Callable[[Mark], dict[str, Any]]

KINDS = ("auto", "fork", "none")

# Of a child's output and stack dump, at most so many bytes are kept, the last ones.
KEPT_BYTES = 16_384

# Where the child keeps its pipe: out of the way of a test that closes low descriptors.
# The second is for a low limit; much higher ones would make every fork dearer.
_HIGH_DESCRIPTORS = (1000, 200)

# A child that cannot tell its result ends with this status.
_NO_REPORT = 70

# The phases of a trial, as a sentence about the time limit says them.
_PHASES = {
    "start": "before it began",
    "setup": "in its set-up",
    "body": "in its body",
    "invariants": "in an invariant",
    "teardown": "in its tear-down",
    "leftovers": "while its leftovers were counted",
    "rerun": "in the clean re-run afterwards",
}

# The system refuses to wait for more than some weeks at once.
_LONGEST_WAIT = 3600.0

# How long a hung child gets to write its stacks before it is killed.
_DUMP_SECONDS = 0.25


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
    """

    index: int
    payload: dict[str, Any] | None
    phase: str
    hung: bool = False
    status: str = ""
    output: str = ""
    dump: str = ""
    seconds: float = 0.0


class Isolation(Protocol):
    """A way to run tasks."""

    kind: str

    def run(self, tasks: Iterable[Task], *, timeout: float) -> Iterator[Ended]:
        """Run the tasks; yield each one as it ends, not always in order.

        Args:
            tasks: taken one by one as room is free.
            timeout: seconds that each phase of a task may take.
        """


class Here:
    """Runs each task in this process. No crash or hang is survived, and state stays."""

    kind = "none"

    def run(self, tasks: Iterable[Task], *, timeout: float) -> Iterator[Ended]:
        """Run the tasks in order; `timeout` cannot be kept and is ignored."""
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
    pipe: int
    out: BinaryIO
    err: BinaryIO
    dump: BinaryIO
    started: float
    timeout: float
    deadline: float
    phase: str = "start"
    received: bytearray = field(default_factory=bytearray)
    payload: dict[str, Any] | None = None
    hung: bool = False


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

    def run(self, tasks: Iterable[Task], *, timeout: float) -> Iterator[Ended]:
        """Fork a child per task; see `Isolation.run`.

        A child that the caller no longer wants (the generator is closed) is killed.
        """
        running: dict[int, _Child] = {}
        waiting = enumerate(tasks)
        more = True
        selector = selectors.DefaultSelector()
        self._child_signal.set_aside()
        try:
            while more or running:
                while more and len(running) < self._jobs:
                    following = next(waiting, None)
                    if following is None:
                        more = False
                        break
                    child = self._start(*following, timeout)
                    running[child.pid] = child
                    selector.register(child.pipe, selectors.EVENT_READ, child)
                    if child.pidfd >= 0:
                        selector.register(child.pidfd, selectors.EVENT_READ, child)
                if not running:
                    break
                for child in self._wait(selector, running, timeout):
                    del running[child.pid]
                    yield self._finish(selector, child)
        finally:
            for child in running.values():
                self._finish(selector, child)
            selector.close()
            self._child_signal.put_back(missed=True)

    def _start(self, index: int, task: Task, timeout: float) -> _Child:
        # Else the child writes out once more what waits here to be written.
        flush_streams()
        read, write = os.pipe()
        out, err, dump = (_scratch_file() for _ in range(3))
        now = time.monotonic()
        with warnings.catch_warnings():
            # CPython warns of threads at every fork; the campaign says it once.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            self._be_child(task, write, out.fileno(), err.fileno(), dump)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # both sides do it, so that neither has to wait
        os.close(write)
        os.set_blocking(read, False)
        return _Child(index, pid, _pidfd(pid), read, out, err, dump, now, timeout, now + timeout)

    def _be_child(self, task: Task, write: int, out: int, err: int, dump: BinaryIO) -> None:
        """Run the task and leave by ``os._exit``, whatever happens."""
        status = _NO_REPORT
        try:
            with contextlib.suppress(OSError):
                os.setpgid(0, 0)
            pid, pipe = os.getpid(), _out_of_the_way(write)
            self._child_signal.put_back()
            self._redirect(out, err)
            leave_input()
            leave_positions()
            leave_coverage()
            # Collections then look only at what the trial itself makes. Others would write
            # to every object that the parent made, and so copy every page.
            gc.freeze()
            faulthandler.enable(file=dump, all_threads=True)
            if hasattr(faulthandler, "register"):
                faulthandler.register(signal.SIGUSR2, file=dump, all_threads=True)

            def mark(phase: str) -> None:
                if os.getpid() == pid:
                    _send(pipe, b"P" + phase.encode())

            payload = task(mark)
            flush_streams()
            if os.getpid() == pid:  # not a fork of the test's that came back to us
                _send(pipe, b"R" + json.dumps(payload).encode())
                status = 0
        except BaseException:
            os.write(err, traceback.format_exc().encode(errors="replace"))
        finally:
            leave_process(status)

    def _wait(
        self, selector: selectors.BaseSelector, running: dict[int, _Child], timeout: float
    ) -> list[_Child]:
        """Wait until something happens; give the children that have ended or must end."""
        now = time.monotonic()
        patience = max(0.0, min(child.deadline for child in running.values()) - now)
        patience = min(patience, _LONGEST_WAIT)
        if any(child.pidfd < 0 for child in running.values()):
            patience = min(patience, 0.005)
        ended: dict[int, _Child] = {}
        for key, _ in selector.select(patience):
            child: _Child = key.data
            if key.fd == child.pidfd:
                ended[child.pid] = child
            elif not _receive(child, timeout):
                selector.unregister(child.pipe)  # it closed its end; wait for itself
        now = time.monotonic()
        for child in running.values():
            if child.pidfd < 0 and _has_ended(child.pid):
                ended[child.pid] = child
            elif child.pid not in ended and now >= child.deadline:
                child.hung = True
                ended[child.pid] = child
        return list(ended.values())

    def _finish(self, selector: selectors.BaseSelector, child: _Child) -> Ended:
        if child.hung:
            _ask_for_stacks(child)
        # The group goes before the child is reaped, while its number is still taken.
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.kill(child.pid, signal.SIGKILL)
        status = _wait_for(child.pid)
        while _receive(child, 0.0):
            pass
        for descriptor in (child.pipe, child.pidfd):
            if descriptor >= 0:
                with contextlib.suppress(KeyError, ValueError):
                    selector.unregister(descriptor)
                os.close(descriptor)
        output, dump = _tail(child.out) + _tail(child.err), _tail(child.dump)
        delivered = child.payload is not None and not child.hung
        return Ended(
            child.index,
            child.payload if delivered else None,
            child.phase,
            child.hung,
            "" if delivered else _in_words(status, child),
            output,
            dump,
            time.monotonic() - child.started,
        )


def _scratch_file() -> BinaryIO:
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            return os.fdopen(os.memfd_create("faultinject"), "r+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _pidfd(pid: int) -> int:
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            return os.pidfd_open(pid)
    return -1


def _wait_for(pid: int) -> int | None:
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return None  # a thread of the user's waits for every child, and was quicker


def _has_ended(pid: int) -> bool:
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    try:
        return os.waitid(os.P_PID, pid, flags) is not None
    except ChildProcessError:
        return True


def _out_of_the_way(descriptor: int) -> int:
    for least in _HIGH_DESCRIPTORS:
        with contextlib.suppress(OSError):  # a low limit on descriptors
            high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, least)
            os.close(descriptor)
            return high
    return descriptor


def _send(pipe: int, message: bytes) -> None:
    data = memoryview(len(message).to_bytes(4, "big") + message)
    while data:
        data = data[os.write(pipe, data) :]


def _receive(child: _Child, timeout: float) -> bool:
    """Read what the child has sent; False when there is nothing more to come now."""
    try:
        chunk = os.read(child.pipe, 65_536)
    except BlockingIOError:
        return False
    if not chunk:
        return False
    buffer = child.received
    buffer += chunk
    while len(buffer) >= 4:
        size = int.from_bytes(buffer[:4], "big")
        if len(buffer) < 4 + size:
            break
        message = bytes(buffer[4 : 4 + size])
        del buffer[: 4 + size]
        if message[:1] == b"P":
            child.phase = message[1:].decode(errors="replace")
            child.deadline = time.monotonic() + timeout
        else:
            child.payload = json.loads(message[1:])
    return True


def _ask_for_stacks(child: _Child) -> None:
    if not hasattr(faulthandler, "register"):
        return
    with contextlib.suppress(OSError):
        os.kill(child.pid, signal.SIGUSR2)
    until = time.monotonic() + _DUMP_SECONDS
    size = -1
    while time.monotonic() < until:
        time.sleep(0.02)
        now = os.fstat(child.dump.fileno()).st_size
        if now and now == size:
            return  # it has finished writing
        size = now


def _tail(file: BinaryIO) -> str:
    with file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - KEPT_BYTES))
        return file.read().decode(errors="replace")


def _in_words(status: int | None, child: _Child) -> str:
    if child.hung:
        where = _PHASES.get(child.phase, f"in the phase {child.phase!r}")
        return f"did not end in {child.timeout:g} seconds ({where})"
    if status is None:
        return "ended without a report, and somebody else learned how"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        return f"killed by {name}"
    if os.WEXITSTATUS(status) == _NO_REPORT:
        return "ended without a report: it broke the run around it, or closed its descriptors"
    return f"exited with status {os.WEXITSTATUS(status)} without a report"


def choose(kind: str, *, jobs: int = 1, option: str = "isolation") -> str:
    """Resolve ``auto`` to what this machine can do.

    Args:
        kind: one of `KINDS`.
        jobs: more than one needs a process per trial.
        option: who is asking, for the error.

    Returns:
        ``fork`` or ``none``.

    Raises:
        UsageError: an unknown kind, or fork where the platform has none.
    """
    if kind not in KINDS:
        raise UsageError(
            "not a kind of isolation", value=kind, where=option, cure=f"Use {', '.join(KINDS)}"
        )
    can_fork = hasattr(os, "fork") and sys.platform != "darwin"
    if kind == "auto":
        return "fork" if can_fork else "none"
    if kind == "fork" and not hasattr(os, "fork"):
        raise UsageError(
            "this platform cannot fork", value=kind, where=option, cure="Use none, or auto"
        )
    if kind == "none" and jobs > 1:
        raise UsageError(
            "several jobs need a process each",
            value=kind,
            where=option,
            cure="Use fork, or one job",
        )
    return kind
