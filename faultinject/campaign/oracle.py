"""The oracle: what a run left behind that a clean run does not leave.

Lives here: the count of leftovers (model objects, file descriptors, threads,
child processes), the difference of two counts, and the recorder of errors that
could not be raised. Not here: what a leftover means for the trial's name
(`faultinject.campaign.outcome`).

Always differential: a clean run fills caches and opens logs, and that is no leak.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from faultinject.campaign.propagation import describe
from faultinject.mm import memory as mm_memory

Leftovers = Counter[str]

_DIGITS = re.compile(r"\d+")


@dataclass(slots=True)
class Snapshot:
    """What existed at one moment, to be compared with what exists later."""

    objects: set[tuple[int, int, str]] = field(default_factory=set)
    descriptors: dict[int, str] = field(default_factory=dict)
    threads: set[threading.Thread] = field(default_factory=set)
    children: set[int] = field(default_factory=set)
    shown: Callable[[str], str] = str

    @classmethod
    def take(cls, shown: Callable[[str], str] = str) -> Snapshot:
        """Look at the process as it is now.

        Args:
            shown: gives a source file's name as reports show it.
        """
        return cls(
            {key for key, _ in _live_objects(shown)},
            _open_descriptors(),
            set(threading.enumerate()),
            set(_child_processes()),
            shown,
        )

    def left_since(self) -> Leftovers:
        """Name everything that exists now and did not then.

        Objects that only a collection of cycles would free are given that chance first.
        """
        gc.collect()
        left: Leftovers = Counter()
        for key, name in _live_objects(self.shown):
            if key not in self.objects:
                left[name] += 1
        left += self._more_descriptors()
        for thread in threading.enumerate():
            if thread not in self.threads and thread.is_alive():
                left[f"thread: {_DIGITS.sub('N', thread.name)}"] += 1
        for pid in _child_processes():
            if pid not in self.children:
                left["child process"] += 1
        return left

    def _more_descriptors(self) -> Leftovers:
        """Count by kind: one that was closed and opened anew is no leftover."""
        now = _open_descriptors()
        if now == self.descriptors:
            return Counter()
        kinds = Counter(_kind_of(target) for target in now.values())
        kinds.subtract(_kind_of(target) for target in self.descriptors.values())
        return Counter({f"file descriptor: {kind}": more for kind, more in (+kinds).items()})


def more_than(left: Mapping[str, int], clean: Mapping[str, int]) -> list[str]:
    """Name what is left over beyond what a clean run leaves, one line each."""
    lines = []
    for name, count in left.items():
        extra = count - clean.get(name, 0)
        if extra > 0:
            lines.append(name if extra == 1 else f"{name} (x{extra})")
    return lines


def _live_objects(shown: Callable[[str], str]) -> Iterator[tuple[tuple[int, int, str], str]]:
    for memory in list(mm_memory.all_memories()):
        for item in memory.leaks():
            site = item.site
            place = f"{shown(site.file)}:{site.line} in {site.function}"
            name = f"{item.kind} of {item.size} bytes, allocated at {place}"
            yield (id(memory), item.address, name), name


def _open_descriptors() -> dict[int, str]:
    """Give each open descriptor with what it stands for."""
    found = {}
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return {}
    for text in numbers:
        try:
            found[int(text)] = os.readlink(f"/proc/self/fd/{text}")
        except OSError:
            continue  # the descriptor of the listing itself
    return found


def _kind_of(target: str) -> str:
    """Name what a descriptor stands for, without what differs from run to run."""
    kind = target.partition(":")[0] if ":" in target else os.path.basename(target)
    return _DIGITS.sub("N", kind)


def _child_processes() -> list[int]:
    """Give the children of every thread of this process; the kernel lists them by thread."""
    found: list[int] = []
    try:
        threads = os.listdir("/proc/self/task")
    except OSError:
        return found
    for thread in threads:
        # As bytes: the first use of a text codec would import it anew in every trial.
        with (
            contextlib.suppress(OSError),  # a thread that has just ended
            open(f"/proc/self/task/{thread}/children", "rb", buffering=0) as listing,
        ):
            found += [int(pid) for pid in listing.readall().split()]
    return found


class UnraisableLog:
    """Errors that were lost where none can be raised: ``__del__``, callbacks, threads.

    While `watching`, they are written down here and nowhere else.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Take the place of ``sys.unraisablehook`` and ``threading.excepthook``."""
        unraisable, thread = sys.unraisablehook, threading.excepthook
        sys.unraisablehook = self._unraisable
        threading.excepthook = self._thread
        try:
            yield
        finally:
            sys.unraisablehook, threading.excepthook = unraisable, thread

    def _unraisable(self, event: Any) -> None:
        error: BaseException | None = event.exc_value
        what = describe(error) if error is not None else str(event.exc_type)
        where = _last_place(event.exc_traceback)
        about = event.err_msg or f"in {type(event.object).__name__}"
        self.lines.append(f"{what}{where} ({about})")

    def _thread(self, event: Any) -> None:
        if event.exc_type is SystemExit:
            return  # a thread may end itself
        error: BaseException | None = event.exc_value
        what = describe(error) if error is not None else str(event.exc_type)
        self.lines.append(f"{what}{_last_place(event.exc_traceback)} (in a thread)")


def _last_place(traceback: TracebackType | None) -> str:
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    return f" at {code.co_filename}:{traceback.tb_lineno} in {code.co_qualname}"
