"""Child processes that nobody waited for.

Lives here: which children there are, and who started them. Not here: the child that the
trial itself runs in (`faultinject.campaign.isolation`).
"""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from collections import Counter
from collections.abc import Iterator
from types import FrameType
from typing import Any

from faultinject.campaign.oracles.leftovers import Leftovers
from faultinject.campaign.oracles.makers import Makers, Mark, Stack, unmarked

# Private names of `subprocess` that this file rests on: `_cleanup`, which a `Popen` calls before
# it starts its child, `_active`, and the name of the caller. A test holds each of them.
_TOLD = "Popen.__init__"


class Children:
    """The children that there are now, to be compared with those that there are later.

    Args:
        makers: tells who started one.
    """

    def __init__(self, makers: Makers | None = None) -> None:
        self._makers = makers
        # By the identity of each `Popen`, which may be gone, or be another that was noted.
        self._started: dict[int, tuple[weakref.ref[Any], Stack]] = {}
        self._before = set(_child_processes())

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Note who starts children with `subprocess`, if that is loaded."""
        module: Any = sys.modules.get("subprocess")
        before = getattr(module, "_cleanup", None)
        if before is None:
            yield
            return

        def cleanup() -> None:
            frame = sys._getframe(1)
            if frame.f_code.co_qualname == _TOLD:
                self._note(frame.f_locals["self"], frame)
            before()

        module._cleanup = cleanup
        try:
            yield
        finally:
            module._cleanup = before

    def left(self, mark: Mark = unmarked) -> Leftovers:
        """Count the children that there are now and were not then, ended ones as well."""
        more = [pid for pid in _child_processes() if pid not in self._before]
        if not more:
            return Counter()
        started = {} if mark is unmarked else {it.pid: stack for it, stack in self._living()}
        return Counter(mark("child process", started.get(pid, ())) for pid in more)

    def maker_of_pipe(self, descriptor: int) -> Stack:
        """Give where a child was started that this descriptor leads to; nothing for others."""
        for child, stack in self._living():
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe is not None and not pipe.closed and pipe.fileno() == descriptor:
                    return stack
        return ()

    def _note(self, child: object, frame: FrameType) -> None:
        if self._makers is not None:
            self._started[id(child)] = (weakref.ref(child), self._makers.stack(frame))

    def _living(self) -> Iterator[tuple[Any, Stack]]:
        """Give the objects of children that are still there.

        One that is let go of while its child runs is kept by `subprocess`, but a weak
        reference may not survive that. (Where warnings are errors, it is not even kept.)
        """
        if not self._started:
            return
        module: Any = sys.modules["subprocess"]
        kept = {id(child): child for child in module._active or ()}
        for key, (held, stack) in self._started.items():
            child = held() or kept.get(key)
            if child is not None and hasattr(child, "pid"):
                yield child, stack


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
