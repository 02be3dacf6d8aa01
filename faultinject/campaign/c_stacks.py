"""The C stacks of a fault and of the crash after it: from the child to the parent.

Lives here: what a child does so that a crash leaves stacks, reading them, and saying
them in a line. Not here: what is written at the crash itself (``crash_stack.c``), the
names of functions (`faultinject.campaign.c_symbols`, `faultinject.campaign.c_unnamed`),
what the stacks mean (`faultinject.campaign.interpreter_defects`).
"""

from __future__ import annotations

import faulthandler
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from faultinject.campaign.c_symbols import symbols_of
from faultinject.campaign.c_unnamed import name_of, program
from faultinject.native import core

# The C stacks stand first in a dump, and take at most about so many bytes.
WRITTEN_BYTES = 4096

# Of a stack, so many functions are named in a report.
_SHOWN = 8

_EVALUATION: Final = "_PyEval_EvalFrameDefault"

_OBJECT = re.compile(r"faultinject: object ([0-9a-f]+) (.*)")
_STACK = re.compile(r"faultinject: (fault|crash)((?: (?:\?|[0-9a-f]+)\+[0-9a-f]+)*)")


@dataclass(frozen=True, slots=True)
class Frame:
    """One function on a C stack.

    Attributes:
        path: the file it is in; "" for code that is in none.
        offset: how far behind the file's beginning in memory; without a file, the address.
        name: of the function; "" if it has none, as a static one of a stripped file.
    """

    path: str
    offset: int
    name: str = ""

    def __str__(self) -> str:
        return self.name or f"{os.path.basename(self.path) or '?'}+{self.offset:#x}"


Stack = tuple[Frame, ...]
"""From the innermost function to the evaluation of Python code that called into C."""


def dump_stacks_to(descriptor: int) -> None:
    """Have a fatal signal write the stacks of Python, and of C where that is possible.

    Those of C come first: what writes them hands the signal on, to faulthandler or to
    whatever the code under test has put in its place.

    Args:
        descriptor: open for writing as long as the process lives.
    """
    faulthandler.enable(file=descriptor)
    hook = core.loaded()
    if hook is not None:
        hook.watch_crashes(descriptor)


def forget_fault() -> None:
    """Begin a trial: no fault of an earlier one in this process is its fault."""
    hook = core.loaded()
    if hook is not None:
        hook.forget_fault()


def last_fault() -> list[str]:
    """Give the stack of the last fault of this process, as text for `read_stack`."""
    hook = core.loaded()
    return [] if hook is None else [f"{_file(path)}+{at:#x}" for path, at in hook.fault_stack()]


def _file(path: str) -> str:
    """Give the file of the program for the name that it was started by, which the linker says."""
    return program() if path == sys.orig_argv[0] else path


def part_dump(dump: str) -> tuple[str, list[str], list[str]]:
    """Part what a dying child wrote.

    Returns:
        faulthandler's text, the stack of the fault, and that of the crash; the stacks
        as text for `read_stack`, empty where there are none.
    """
    objects: dict[str, str] = {}
    stacks: dict[str, list[str]] = {"fault": [], "crash": []}
    others = []
    for line in dump.splitlines(keepends=True):
        if found := _OBJECT.match(line):
            objects[found[1]] = found[2]
        elif found := _STACK.match(line):
            places = (place.split("+") for place in found[2].split())
            stacks[found[1]] = [f"{objects.get(key, '')}+0x{at}" for key, at in places]
        else:
            others.append(line)
    return "".join(others), stacks["fault"], stacks["crash"]


def read_stack(lines: Iterable[str]) -> Stack:
    """Name the functions of a stack; those of faultinject itself are left out."""
    frames = []
    for line in lines:
        path, _, text = line.rpartition("+")
        offset = int(text, 16)
        if os.path.basename(path).startswith("_hook."):
            continue
        name = (symbols_of(path).name(offset) or name_of(path, offset)) if path else ""
        frames.append(Frame(path, offset, name))
        if frames[-1].name == _EVALUATION:
            break
    return tuple(frames)


def in_a_line(stack: Stack) -> str:
    """Say a stack in a line, the innermost function first."""
    names = [str(frame) for frame in stack[:_SHOWN]]
    return " < ".join(names + ["..."] * (len(stack) > _SHOWN))
