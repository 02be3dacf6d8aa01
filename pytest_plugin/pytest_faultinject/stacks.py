"""The stacks that a crash or a hang leaves, cut to what the reader's own code did.

``faulthandler`` writes every frame down to the command line; forty of them are
pytest's and ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

_FRAME = re.compile(r'  File "(?P<file>.*)", line \S+ in ')

# The frame in which this plugin runs a test; below it there is only machinery.
_STARTS_THE_TEST = "/pytest_faultinject/subject.py"
_MACHINERY = ("/_pytest/", "/pluggy/")


def cut_stacks(text: str) -> str:
    """Drop what lies below the test function from each stack of a faulthandler dump.

    Other text, and a stack in which this plugin runs no test, stay as they are.
    """
    lines: list[str] = []
    for is_stack, block in groupby(text.splitlines(), lambda line: _FRAME.match(line) is not None):
        some = list(block)
        lines += _cut(some) if is_stack else some
    return "\n".join(lines)


def _cut(stack: list[str]) -> Iterable[str]:
    files = list(_files(stack))
    end = next((at for at, file in enumerate(files) if file.endswith(_STARTS_THE_TEST)), None)
    if end is None:
        return stack
    while end and any(part in files[end - 1] for part in _MACHINERY):
        end -= 1
    return stack[:end] or stack


def _files(stack: list[str]) -> Iterator[str]:
    for line in stack:
        frame = _FRAME.match(line)
        assert frame is not None
        yield frame["file"].replace("\\", "/")
