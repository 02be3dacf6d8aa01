"""Running a piece of a test in a forked child, and getting its answer.

Real faults are injected in children only: a crash is then an answer, and the parent's
memory stays as it was, so that a census and the strikes after it see the same.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from typing import Any

LIMIT = 20  # seconds; a child that hangs is ended by the kernel


class Ended(Exception):
    """The child gave no answer; `status` is as `os.waitpid` gives it."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def in_a_child(piece: Callable[[], Any]) -> Any:
    """Give what `piece` returns in a child of this process."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(LIMIT)
            os.close(read)
            answer = pickle.dumps(piece())
            with os.fdopen(write, "wb") as pipe:
                pipe.write(answer)
            status = 0
        except BaseException as error:
            sys.stderr.write(f"child: {error!r}\n")
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise Ended(status)
    return pickle.loads(answer)
