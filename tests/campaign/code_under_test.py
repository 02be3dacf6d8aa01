"""What tests of leftovers put under test: code that makes things, and code that fails."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable


def fails() -> list[str]:
    return os.listdir("/")


def makes_a_folder(within: str | None = None) -> str:
    return tempfile.mkdtemp(dir=within)


def makes_a_file() -> str:
    descriptor, path = tempfile.mkstemp()
    os.close(descriptor)
    return path


def opens(path: str) -> int:
    return os.open(path, os.O_RDONLY)


def starts(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def runs(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def calls(function: Callable[[], str]) -> str:
    return function()


# As decorators and data classes do: nobody knows whose code this is.
exec("def calls_from_text(function):\n    return function()\n")
