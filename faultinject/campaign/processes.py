"""The processes of a campaign: what is the same for a forked child and a spawned worker.

Lives here: what all of them share (`Campaign`: labels, and one watchdog), how the end
of one is told in words, its last output, its stacks. Not here: who starts one and when it
must end (`faultinject.campaign.isolation`, ``.spawn``), how what it has started is
found (``.reaper``).
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import time

from faultinject.campaign.board import Board
from faultinject.campaign.child import NO_REPORT
from faultinject.campaign.limits import kernel_kills
from faultinject.campaign.reaper import Labels, start_watchdog

# Of a child's output and stack dump, at most so many bytes are kept, the last ones.
KEPT_BYTES = 16_384

# The system refuses to wait for more than some weeks at once.
LONGEST_WAIT = 3600.0

# The phase of a worker before it is a match for a forked child: it imports, collects,
# and runs the test once.
WARM_UP = "warm-up"

# The phases of a trial, as a sentence about its end says them.
PHASES = {
    WARM_UP: "while its process was made ready",
    "start": "before it began",
    "setup": "in its set-up",
    "body": "in its body",
    "invariants": "in an invariant",
    "teardown": "in its tear-down",
    "leftovers": "while its leftovers were counted",
    "rerun": "in the clean re-run afterwards",
}

# How long a hung child gets to write its stacks before it is killed.
_DUMP_SECONDS = 0.25


class Campaign:
    """What the trials of one process share: their labels, and one watchdog.

    Made anew in a process that is a fork of one that had it.

    Attributes:
        labels: one for each trial, or each worker.
    """

    _of_this_process: Campaign | None = None

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.labels = Labels()
        self._is_watched = False
        self._kernel_kills = kernel_kills()

    def watch(self) -> None:
        """Start the watchdog, unless it has been."""
        if self.asks_for_watchdog():
            start_watchdog(self.labels.campaign)

    def asks_for_watchdog(self) -> bool:
        """Say whether somebody has to start the watchdog; asked once, for it is expected then."""
        asks, self._is_watched = self.labels.works and not self._is_watched, True
        return asks

    def kernel_struck(self) -> bool:
        """Say whether the kernel has ended a process for lack of memory since it was asked last."""
        before, self._kernel_kills = self._kernel_kills, kernel_kills()
        return self._kernel_kills > before

    @classmethod
    def current(cls) -> Campaign:
        """Give that of this process."""
        found = cls._of_this_process
        if found is None or found.pid != os.getpid():
            found = cls._of_this_process = cls()
        return found


def open_pidfd(pid: int) -> int:
    """Give a descriptor that can be read from when the process has ended; -1 without."""
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            return os.pidfd_open(pid)
    return -1


def wait_for(pid: int) -> int | None:
    """Wait for the end of a child; give its status, None if somebody else has taken it."""
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return None  # a thread of the user's waits for every child, and was quicker


def has_ended(pid: int) -> bool:
    """Say whether a child has ended; it stays to be waited for."""
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    try:
        return os.waitid(os.P_PID, pid, flags) is not None
    except ChildProcessError:
        return True


def kill_group(pid: int) -> None:
    """Kill a child and its group; before it is waited for, while its number is still taken."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            kill(pid, signal.SIGKILL)


def ask_for_stacks(pid: int, dump: int) -> None:
    """Make a hung child write its stacks to `dump`, and give it a moment to do so."""
    if not hasattr(faulthandler, "register"):
        return
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGUSR2)
        os.kill(pid, signal.SIGCONT)  # one that has stopped itself cannot write
    until = time.monotonic() + _DUMP_SECONDS
    size = -1
    while time.monotonic() < until:
        time.sleep(0.02)
        now = os.fstat(dump).st_size
        if now and now == size:
            return  # it has finished writing
        size = now


def tail(descriptor: int, *, head: int = 0) -> str:
    """Give the last of a file, and at most `head` bytes of what stands first in it."""
    size = os.fstat(descriptor).st_size
    if not size:
        return ""
    cut = max(0, size - KEPT_BYTES)
    data = os.pread(descriptor, min(head, cut), 0) + os.pread(descriptor, KEPT_BYTES, cut)
    return data.decode(errors="replace")


def in_words(status: int | None, board: Board, *, hung_in: str | None, limit: float) -> str:
    """Say how a process ended that left no report.

    Args:
        status: what `wait_for` gave.
        board: its own.
        hung_in: the phase that passed the time limit, if it was ended for that.
        limit: in seconds.
    """
    phase = hung_in or board.phase
    where = PHASES.get(phase, f"in the phase {phase!r}")
    if hung_in is not None:
        return f"did not end in {limit:g} seconds ({where})"
    if status is None:
        return "ended without a report, and somebody else learned how"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            said = f"killed by {signal.Signals(number).name}"
        except ValueError:
            said = f"killed by signal {number}"
        if number == signal.SIGKILL and Campaign.current().kernel_struck():
            said += " (the kernel ran out of memory and ended a process at that time)"
    elif os.WEXITSTATUS(status) == NO_REPORT:
        said = "ended without a report: it broke the run around it"
    else:
        said = f"exited with status {os.WEXITSTATUS(status)} without a report"
    return said if phase == "body" else f"{said} ({where})"
