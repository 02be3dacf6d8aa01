"""Sites: the identity of a call site, and how finely two of them are told apart.

Lives here: `Site`, a call site that can be compared between processes and
between two versions of a file, and `Identify`, which finds it for a running
frame. Not here: the place as people read it (`faultinject.callsite.CallSite`).
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, replace
from enum import Enum
from types import CodeType, FrameType
from typing import TypeAlias

from faultinject.callsite import CallSite, caller_frame

# Frames that tell two ways to the same instruction apart under Identity.SITE.
STACK_FRAMES = 8


class Identity(Enum):
    """What makes two calls the same call site.

    ``LINE``: the line. ``INSTRUCTION``: the call expression, so that two calls on
    one line are two sites. ``SITE``: the expression and the callers, eight frames
    deep. ``ALL``: the expression, and every hit of it gets a trial of its own.
    """

    LINE = "line"
    INSTRUCTION = "instruction"
    SITE = "site"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Site:
    """A call site, by content.

    Attributes:
        file: the source file as the interpreter names it.
        function: the qualified name of the enclosing function.
        first_line: the first line of that function.
        line: the line of the call.
        column: the column of the call expression; -1 where the identity is the line.
        stack: a digest of the callers, 0 unless they belong to the identity.
        at: the offset of the instruction in its bytecode, -1 where the column tells
            instructions apart. Another Python version has others.
        domain: which of the interpreter's allocators is asked; "" if it is none, or any.
        caller: the C function that asks, where that belongs to the identity; of a call of
            a function what is called.
    """

    file: str
    function: str
    first_line: int
    line: int
    column: int = -1
    stack: int = 0
    at: int = -1
    domain: str = ""
    caller: str = ""

    @property
    def offset(self) -> int:
        """Lines below the function's first line: what survives edits above the function."""
        return self.line - self.first_line

    def place(self) -> CallSite:
        """Give the site as reports show it."""
        return CallSite(self.file, self.line, self.function, "", self.column, self.first_line)


class Identify:
    """Finds the `Site` of a frame; decodes each code object once.

    Tables are keyed by the identity of a code object, which they keep alive: its
    own hash runs over all of its instructions.
    """

    def __init__(self, identity: Identity = Identity.INSTRUCTION) -> None:
        self._identity = identity
        self._sites: dict[tuple[int, int], Site] = {}
        self._codes: dict[int, tuple[CodeType, list[tuple[int | None, ...]]]] = {}

    def __call__(self, frame: FrameType) -> Site:
        """Give the site of the call that `frame` is in the middle of."""
        code = frame.f_code
        key = (id(code), frame.f_lasti)
        site = self._sites.get(key)
        if site is None:
            site = self._sites[key] = self._decode(code, frame.f_lasti)
        if self._identity is Identity.SITE:
            return replace(site, stack=stack_digest(frame))
        return site

    def _decode(self, code: CodeType, lasti: int) -> Site:
        known = self._codes.get(id(code))
        if known is None:
            known = self._codes[id(code)] = (code, list(code.co_positions()))
        positions = known[1]
        index = lasti // 2
        line: int | None = None
        column: int | None = None
        if 0 <= index < len(positions):
            line, _, column, _ = positions[index]
        if column is None or self._identity is Identity.LINE:
            column = -1
        first = code.co_firstlineno
        return Site(
            source_of(code), code.co_qualname, first, first if line is None else line, column
        )


Instruction: TypeAlias = tuple[int, int]
"""The fingerprint of a code object, and an offset in it: what outlives both, as plain numbers."""


def fingerprint(code: CodeType) -> int:
    """Tell functions of one name and one line apart, such as two lambdas: by their places."""
    return zlib.crc32(code.co_linetable)


def source_of(code: CodeType) -> str:
    """Give a code object's file as sites name it: absolute, unless it is no file."""
    file = code.co_filename
    return file if file.startswith("<") else os.path.abspath(file)


def stack_digest(frame: FrameType) -> int:
    """Digest the callers of a frame: what tells two ways to one instruction apart.

    Only those inside the body count: who runs the campaign is no part of a site.
    """
    digest = 1
    outer = frame.f_back
    for _ in range(STACK_FRAMES):
        while outer is not None and caller_frame(outer) is not outer:
            outer = None if _runs_bodies(outer) else outer.f_back
        if outer is None:
            break
        code = outer.f_code
        line = (outer.f_lineno or code.co_firstlineno) - code.co_firstlineno
        digest = zlib.crc32(f"{code.co_qualname}+{line}".encode(), digest)
        outer = outer.f_back
    return digest or 1


def _runs_bodies(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    return module.startswith(("faultinject.campaign.", "pytest_faultinject."))
