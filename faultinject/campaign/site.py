"""Sites: the identity of a call site, and how finely two of them are told apart.

Lives here: `Site`, a call site that can be compared between processes and
between two versions of a file, and `Identify`, which finds it for a running
frame. Not here: the place as people read it (`faultinject.callsite.CallSite`).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from enum import Enum
from types import CodeType, FrameType

from faultinject.callsite import CallSite, caller_frame, site_of

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
    """

    file: str
    function: str
    first_line: int
    line: int
    column: int = -1
    stack: int = 0

    @property
    def offset(self) -> int:
        """Lines below the function's first line: what survives edits above the function."""
        return self.line - self.first_line

    def place(self) -> CallSite:
        """Give the site as reports show it."""
        return CallSite(self.file, self.line, self.function, "", self.column, self.first_line)


@dataclass(slots=True)
class Identify:
    """Finds the `Site` of a frame; decodes each instruction once."""

    identity: Identity = Identity.INSTRUCTION
    _sites: dict[tuple[CodeType, int], Site] = field(default_factory=dict, repr=False)
    _deep: dict[tuple[Site, int], Site] = field(default_factory=dict, repr=False)

    def __call__(self, frame: FrameType) -> Site:
        """Give the site of the call that `frame` is in the middle of."""
        key = (frame.f_code, frame.f_lasti)
        site = self._sites.get(key)
        if site is None:
            site = self._sites[key] = self._decode(frame)
        if self.identity is not Identity.SITE:
            return site
        digest = _stack_digest(frame)
        deep = self._deep.get((site, digest))
        if deep is None:
            deep = self._deep[site, digest] = Site(
                site.file, site.function, site.first_line, site.line, site.column, digest
            )
        return deep

    def _decode(self, frame: FrameType) -> Site:
        place = site_of(frame)
        column = -1 if self.identity is Identity.LINE else place.column
        return Site(place.file, place.function, place.first_line, place.line, column)


def _stack_digest(frame: FrameType) -> int:
    digest = 1
    outer = frame.f_back
    for _ in range(STACK_FRAMES):
        outer = caller_frame(outer) if outer is not None else None
        if outer is None:
            break
        code = outer.f_code
        line = (outer.f_lineno or code.co_firstlineno) - code.co_firstlineno
        digest = zlib.crc32(f"{code.co_qualname}+{line}".encode(), digest)
        outer = outer.f_back
    return digest or 1
