"""Leftovers: what is left, by name and number, and what two runs differ in.

Lives here: the count, the difference, and names without what differs from run to
run. Not here: what is counted (the files beside).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from types import TracebackType

Leftovers = Counter[str]

_DIGITS = re.compile(r"\d+")


def more_than(left: Mapping[str, int], clean: Mapping[str, int]) -> list[str]:
    """Name what is left over beyond what a clean run leaves, one line each."""
    lines = []
    for name, count in left.items():
        extra = count - clean.get(name, 0)
        if extra > 0:
            lines.append(name if extra == 1 else f"{name} (x{extra})")
    return lines


def lines_beyond(lines: Iterable[str], clean: Iterable[str]) -> list[str]:
    """Give the lines that a clean run does not say, each as often as it is said more."""
    left: Leftovers = Counter(lines)
    left.subtract(Counter(clean))
    return list(left.elements())


def without_numbers(text: str) -> str:
    """Give a name without the numbers that differ from run to run."""
    return _DIGITS.sub("N", text)


def last_place(traceback: TracebackType | None) -> str:
    """Word where an error was raised, as it follows the error's own words."""
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    return f" at {code.co_filename}:{traceback.tb_lineno} in {code.co_qualname}"
