"""Spawn: trials in a worker, a fresh interpreter that does one after another.

Lives here: `Spawn`, the isolation; `Workers`, those that are alive; `Worker`, one of
them as the parent sees it. Not here: what goes on in a worker
(`faultinject.campaign.worker`), how pytest or ``sweep`` start one
(`pytest_faultinject.spawning`, ``.by_name``), the isolation by forks (``.isolation``).

Where a fork is not possible, or would lack the threads of its parent. A worker lives as
long as nothing suggests that a trial has changed it. What is not good in a worker that
has seen another fault is tried again in a new one, and only that counts: so that a
trial comes to the same as in a fork of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from faultinject.campaign import board as boards
from faultinject.campaign.board import Board
from faultinject.campaign.c_stacks import WRITTEN_BYTES
from faultinject.campaign.child import Task
from faultinject.campaign.inherited import ChildSignal
from faultinject.campaign.isolation import Ended
from faultinject.campaign.order import Errand
from faultinject.campaign.processes import (
    LONGEST_WAIT,
    WARM_UP,
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

# What a worker may take to import, to collect and to set up, at least.
LEAST_WARM_UP = 60.0

# How long a worker that is not needed any more gets to tear its fixtures down.
_LEAVE_SECONDS = 5.0

# How often processes are looked at that say nothing when they end.
_LOOK_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Launch:
    """How a worker is started.

    Attributes:
        module: its ``main()`` serves.
        told: what that is told, plain values.
        paths: its ``sys.path``.
        environment: its own.
        folder: where it starts.
        scratch: a folder to remove when it has ended; "" for none.
        warm_up: seconds that it may take to be ready for a subject.
    """

    module: str
    told: Mapping[str, Any]
    paths: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str
    scratch: str = ""
    warm_up: float = LEAST_WARM_UP


class Worker:
    """One worker, as the parent sees it; made means started.

    Attributes:
        context: the subject that it was last asked about; None at first.
        orders: how many it has done.
        trials: how many of them were to make something fail.
    """

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.context: Mapping[str, Any] | None = None
        self.orders = self.trials = 0
        campaign = Campaign.current()
        file = _scratch_file()
        os.ftruncate(file, boards.SIZE)
        self.board = Board(file)
        self.board.wipe()
        self.out, self.err, self.dump = _scratch_file(), _scratch_file(), _scratch_file()
        self.wake, answers = os.pipe()
        os.set_blocking(self.wake, False)
        self._label = campaign.labels.next()
        watched = campaign.labels.campaign if campaign.asks_for_watchdog() else 0
        self._process = subprocess.Popen(
            _command(launch, file, self.dump, answers),
            stdin=subprocess.PIPE,
            stdout=self.out,
            stderr=self.err,
            pass_fds=(file, self.dump, answers),
            cwd=launch.folder,
            env=_environment(launch.environment),
            process_group=0,
        )
        os.close(file)
        os.close(answers)
        self.pid = self._process.pid
        self.pidfd = open_pidfd(self.pid)
        self.tell(
            {
                "parent": os.getpid(),
                "label": self._label,
                "watched": watched,
                "hash_seed": launch.environment.get("PYTHONHASHSEED"),
                "told": launch.told,
            }
        )

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a message; one that has ended hears nothing, which is seen elsewhere."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def end(self, *, politely: bool) -> int | None:
        """End it, with all that it has started; give its status.

        Args:
            politely: let it tear its fixtures down before.
        """
        if politely:
            self.tell({"leave": True})
            until = time.monotonic() + _LEAVE_SECONDS
            while not has_ended(self.pid) and time.monotonic() < until:
                time.sleep(_LOOK_SECONDS)
        kill_group(self.pid)
        status = wait_for(self.pid)
        self._process.returncode = 0  # it has been waited for
        end_labelled(self._label)
        return status

    def close(self) -> None:
        """Close what the parent holds of one that has ended."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        for descriptor in (self.out, self.err, self.dump, self.wake, self.pidfd):
            if descriptor >= 0:
                os.close(descriptor)
        self.board.close()
        if self.launch.scratch:
            shutil.rmtree(self.launch.scratch, ignore_errors=True)


class Workers:
    """The workers of a run that wait for something to do.

    Args:
        launch: says how the next one is started.
    """

    def __init__(self, launch: Callable[[], Launch]) -> None:
        self._launch = launch
        self._idle: list[Worker] = []
        self._owner = os.getpid()
        self.started = 0

    def take(self, context: Mapping[str, Any], fits: Callable[[Worker], bool]) -> Worker:
        """Give a worker; one that knows the subject already, if there is one.

        Args:
            context: names the subject.
            fits: says of one that has done something whether it will do.
        """
        if self._owner != os.getpid():  # a fork, to which those of its parent do not listen
            self._idle, self._owner = [], os.getpid()
        fit = [worker for worker in self._idle if fits(worker)]
        fit.sort(key=lambda worker: worker.context == context)
        if fit:
            self._idle.remove(fit[-1])
            return fit[-1]
        self.started += 1
        return Worker(self._launch())

    def put_back(self, worker: Worker) -> None:
        """Keep a worker for the next trial."""
        self._idle.append(worker)

    def close(self) -> None:
        """Let all of them leave."""
        idle, self._idle = self._idle, []
        for worker in idle:
            if self._owner == os.getpid():
                worker.end(politely=True)
                worker.close()


@dataclass(slots=True)
class _Turn:
    """One task in one worker."""

    index: int
    errand: Errand
    worker: Worker
    timeout: float
    deadline: float
    sent: float
    hung_in: str | None = None

    @property
    def limit(self) -> float:
        """The seconds that the phase may take that it is in."""
        warming_up = self.worker.board.phase == WARM_UP
        return max(self.worker.launch.warm_up, self.timeout) if warming_up else self.timeout


class Spawn:
    """Runs each errand of one subject in a worker.

    Args:
        workers: those of the run.
        context: what a worker finds the subject by, plain values.
        jobs: how many errands may run at once, at least 1.
        cold: the first run of the subject in a process differs from the others. Where the
            workers run it once before any errand, as the parent has done, it does not.
    """

    kind = "spawn"

    def __init__(
        self, workers: Workers, context: Mapping[str, Any], jobs: int = 1, *, cold: bool = False
    ) -> None:
        self._cold = cold
        self._workers = workers
        self._context = context
        self._jobs = jobs
        self._child_signal = ChildSignal()

    def run(
        self, tasks: Iterable[Task], *, timeout: float, memory: int | None = None
    ) -> Iterator[Ended]:
        """Send each errand to a worker; see `faultinject.campaign.isolation.Isolation`.

        Every trial draws the random numbers that a fork of this process would draw now.
        """
        draws = random.getstate()

        def begin(index: int, errand: Errand, *, anew: bool = False) -> _Turn:
            worker = self._workers.take(
                self._context, lambda worker: not (anew and self._is_used(worker))
            )
            worker.context = self._context
            worker.board.wipe()
            worker.board.enter(WARM_UP)
            worker.tell(
                {
                    "context": self._context,
                    "order": errand.order.as_plain(),
                    "memory": memory,
                    "draws": draws,
                }
            )
            now = time.monotonic()
            return _Turn(index, errand, worker, timeout, now + timeout, now)

        running: list[_Turn] = []
        waiting = _errands(tasks)
        self._child_signal.set_aside()
        try:
            while True:
                while len(running) < self._jobs and (following := next(waiting, None)) is not None:
                    running.append(begin(*following))
                if not running:
                    return
                for turn in _wait(running):
                    running.remove(turn)
                    used, ended = self._is_used(turn.worker), self._finish(turn)
                    if used and not _is_good(ended):
                        running.append(begin(turn.index, turn.errand, anew=True))
                        continue
                    if ended.payload is not None:
                        ended.payload = ended.payload["payload"]
                    yield ended
        finally:
            for turn in running:
                turn.worker.end(politely=False)
                turn.worker.close()
            self._child_signal.put_back(missed=True)

    def _is_used(self, worker: Worker) -> bool:
        """Say whether a new worker might come to something else."""
        return bool(worker.orders if self._cold else worker.trials)

    def _finish(self, turn: _Turn) -> Ended:
        """Tell how a turn ended, and keep its worker or let it go."""
        worker, board = turn.worker, turn.worker.board
        if turn.hung_in is not None:
            ask_for_stacks(worker.pid, worker.dump)
        answer = None if turn.hung_in is not None else board.payload
        worker.orders += 1
        worker.trials += turn.errand.order.baseline is not None
        status: int | None = 0
        stays = answer is not None and answer["fit"] and not has_ended(worker.pid)
        if not stays:
            status = worker.end(politely=answer is not None)
        ended = Ended(
            turn.index,
            answer,
            board.phase if turn.hung_in is None else turn.hung_in,
            turn.hung_in is not None,
            ""
            if answer is not None
            else in_words(status, board, hung_in=turn.hung_in, limit=turn.limit),
            tail(worker.out) + tail(worker.err) + board.complaint,
            tail(worker.dump, head=WRITTEN_BYTES),
            time.monotonic() - (board.began or turn.sent),
            board.notes,
        )
        if stays:
            self._workers.put_back(worker)
        else:
            worker.close()
        return ended


def _errands(tasks: Iterable[Task]) -> Iterator[tuple[int, Errand]]:
    for index, task in enumerate(tasks):
        if not isinstance(task, Errand):
            raise TypeError(f"a worker can be told an errand, not {task!r}")
        yield index, task


def _is_good(ended: Ended) -> bool:
    """Say whether the worker came to what it always would: nobody looks twice at that."""
    return ended.payload is not None and bool(ended.payload["good"])


def _wait(running: list[_Turn]) -> list[_Turn]:
    """Wait until something happens; give the turns that have ended or must end."""
    ended: list[_Turn] = []
    poll = select.poll()
    for turn in running:
        for descriptor in (turn.worker.wake, turn.worker.pidfd):
            if descriptor >= 0:
                poll.register(descriptor, select.POLLIN)
    patience = min(turn.deadline for turn in running) - time.monotonic()
    if any(turn.worker.pidfd < 0 for turn in running):
        patience = min(patience, _LOOK_SECONDS)
    poll.poll(1000 * max(0.0, min(patience, LONGEST_WAIT)) + 1)
    now = time.monotonic()
    for turn in running:
        worker = turn.worker
        with contextlib.suppress(OSError):  # nothing to read
            os.read(worker.wake, 64)
        if worker.board.is_answered or has_ended(worker.pid):
            ended.append(turn)
        elif now >= turn.deadline:
            # It may have begun another phase since: that is looked up only here.
            end = worker.board.since + turn.limit
            # The phase after a long one may be a short one.
            turn.deadline = min(end, now + turn.timeout)
            if now >= end:
                turn.hung_in = worker.board.phase
                ended.append(turn)
    return ended


def _command(launch: Launch, *descriptors: int) -> list[str]:
    # The interpreter's own options: what it warns of, optimizes, and the like.
    options: list[str] = getattr(subprocess, "_args_from_interpreter_flags", list)()
    code = (
        f"import sys; sys.path[:] = {list(launch.paths)!r}; "
        f"from {launch.module} import main; main()"
    )
    return [sys.executable, *options, "-c", code, *map(str, descriptors)]


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """Give the environment in which every worker iterates over sets in the same order.

    A fork has the order of its parent, and nobody can ask that for its seed.
    """
    seed = given.get("PYTHONHASHSEED", "random")
    return {**given, "PYTHONHASHSEED": "0" if seed in ("", "random") else seed}


def _scratch_file() -> int:
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            return os.memfd_create("faultinject")
    with tempfile.TemporaryFile(buffering=0) as file:
        return os.dup(file.fileno())
