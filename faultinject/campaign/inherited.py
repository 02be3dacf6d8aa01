"""What a forked child inherits from its parent and has to let go of.

Lives here: its output, its input, positions in files, the handler of SIGCHLD, the
coverage measurement, the way out. Not here: the child's life and its result
(`faultinject.campaign.isolation`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import threading
from typing import Any, NoReturn

if sys.platform != "win32":
    import fcntl


def flush_streams() -> None:
    """Write out what waits in the streams: before a fork, or the child does it as well."""
    for stream in (sys.stdout, sys.stderr):
        # Whatever the test has put in their place, and in whatever state it is.
        with contextlib.suppress(Exception):
            stream.flush()


def redirect_descriptors(out: int, err: int) -> None:
    """Point the process's standard output and error at two files."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            # What a crash cuts off is at most a line.
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def leave_input() -> None:
    """Read nothing that is meant for the parent: a terminal would stop the child for it."""
    with contextlib.suppress(OSError):
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        if empty:
            os.close(empty)


def files_being_read() -> list[int]:
    """Give the descriptors of regular files that are open for reading alone.

    For `leave_positions`. The parent looks them up: that costs a child more.
    """
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return []  # no /proc
    found = []
    for descriptor in numbers:
        with contextlib.suppress(OSError):  # the listing's own
            if descriptor > 2 and stat.S_ISREG(os.fstat(descriptor).st_mode):
                flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
                if flags & os.O_ACCMODE == os.O_RDONLY and not flags & os.O_PATH:
                    found.append(descriptor)
    return found


def leave_positions(descriptors: list[int]) -> None:
    """Read files that are open for reading from a position of one's own.

    Else a trial that reads on, in a file that a wide fixture has opened, reads on in
    the parent as well. A file open for writing stays shared: it may be a common log.

    Args:
        descriptors: what `files_being_read` gave in the parent.
    """
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # a file of somebody else
            _reopen(descriptor)


def _reopen(descriptor: int) -> None:
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    inherits = os.get_inheritable(descriptor)
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    own = os.open(f"/proc/self/fd/{descriptor}", flags | os.O_CLOEXEC)
    try:
        os.lseek(own, position, os.SEEK_SET)
        os.dup2(own, descriptor, inheritable=inherits)
    finally:
        os.close(own)


class ChildSignal:
    """The user's way to hear of children that end, set aside while they are the campaign's.

    A handler that waits for every child would take a trial's end away, and one that
    counts would count trials. ``SIG_IGN`` makes the kernel forget how a child ended.
    """

    def __init__(self) -> None:
        self._handler: Any = None

    def set_aside(self) -> None:
        """Handle SIGCHLD as a fresh process does; in the main thread, which alone can."""
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGCHLD)
            if handler not in (None, signal.SIG_DFL):
                self._handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def put_back(self, *, missed: bool = False) -> None:
        """Undo `set_aside`: in the child, and in the parent when all children are gone.

        Args:
            missed: call the handler if children of the user's own have ended meanwhile.
        """
        handler, self._handler = self._handler, None
        if handler is None:
            return
        signal.signal(signal.SIGCHLD, handler)
        if missed and callable(handler):
            with contextlib.suppress(ChildProcessError):
                options = os.WEXITED | os.WNOHANG | os.WNOWAIT
                if os.waitid(os.P_ALL, 0, options) is not None:
                    signal.raise_signal(signal.SIGCHLD)


def leave_coverage() -> None:
    """Measure no coverage: the user's is that of the clean run.

    The inherited data would also replace the parent's file when it is written.
    """
    coverage = sys.modules.get("coverage")
    if coverage is not None:
        with contextlib.suppress(Exception):  # a coverage that is half imported, or of old
            measurement = coverage.Coverage.current()
            if measurement is not None:
                measurement.stop()


def leave_process(status: int) -> NoReturn:
    """End the process at once, also where `os._exit` has been replaced by more."""
    module = sys.modules.get("posix", os)
    module._exit(status)
    raise AssertionError("the process has ended")  # pragma: no cover
