"""Places in source code: who called, and which callers a rule is meant for.

Lives here: `CallSite`, the search for the nearest frame outside faultinject, the
`Pattern` that names code, and `StackFilter`, the kernel's require/reject test. Not
here: what a rule does with the answer (`faultinject.engine.attr`), and which call
sites a campaign counts (`faultinject.campaign`).

Source of the filter: Linux 6.6 lib/fault-inject.c, fail_stacktrace(); address
ranges became patterns of modules, functions and files.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from sys import _getframe
from types import CodeType, FrameType
from typing import Final, NamedTuple, TypeAlias

from faultinject.errors import SpecError

SiteKey: TypeAlias = tuple[CodeType, int]
"""A code object and an instruction offset (``f_lasti``): what hot paths keep."""

NamedFrame: TypeAlias = tuple[str, str, str, int]
"""A frame by module, qualified name, file and line."""

_PACKAGE: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
_PLUGIN: Final = "pytest_faultinject"
_own_files: dict[str, bool] = {}


class CallSite(NamedTuple):
    """A place in source code from which something was called.

    Attributes:
        file: absolute path, or a name like ``<string>`` for code without a file.
        line: 1-based; 0 if it is unknown.
        function: the qualified name, as ``Ring.open``.
        module: the module's name, or "" if it is unknown.
        column: 0-based offset in UTF-8 bytes of the call's expression; -1 if unknown.
        first_line: where the function begins.
    """

    file: str
    line: int
    function: str
    module: str = ""
    column: int = -1
    first_line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


def _is_own(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    if file.startswith(_PACKAGE):
        return True
    # The plugin's place is unknown here: its folder's name and its module's must both fit.
    folder = os.path.basename(os.path.dirname(file))
    module = str(frame.f_globals.get("__name__", ""))
    return folder == _PLUGIN and module.partition(".")[0] == _PLUGIN


UNKNOWN: Final = CallSite("<unknown>", 0, "<unknown>")
"""The place of a call whose stack is all faultinject's own."""


def caller_frame(frame: FrameType | None = None) -> FrameType | None:
    """Find the nearest frame outside faultinject and its pytest plugin.

    Args:
        frame: where to begin, inclusive; the caller of this function if not given.

    Returns:
        The frame, or ``None`` if the whole stack is ours. Do not keep it: it keeps all
        its variables alive. Keep ``(frame.f_code, frame.f_lasti)``.
    """
    found: FrameType | None = sys._getframe(1) if frame is None else frame
    own = _own_files
    while found is not None:
        file = found.f_code.co_filename
        known = own.get(file)
        if known is None:
            if len(own) > 10_000:  # code that is compiled again and again under new names
                own.clear()
            known = own[file] = _is_own(found)
        if not known:
            return found
        found = found.f_back
    return None


def outer_frame() -> FrameType | None:
    """As `caller_frame`, for a function of ours that users call: begins with its caller.

    To leave the function itself out makes it a third cheaper.
    """
    try:
        found = _getframe(2)
    except ValueError:  # called from C, with no Python below
        return None
    if _own_files.get(found.f_code.co_filename) is False:
        return found
    return caller_frame(found)


def site_of(frame: FrameType) -> CallSite:
    """Decode the place where `frame` is now."""
    module = frame.f_globals.get("__name__")
    key = (frame.f_code, frame.f_lasti)
    return site_of_key(key, module if isinstance(module, str) else "")


def line_of(frame: FrameType) -> CallSite:
    """Decode the place where `frame` is now, without its column.

    Cheap also in a function of thousands of lines, where the search for the column alone
    takes a millisecond.
    """
    module = frame.f_globals.get("__name__")
    code = frame.f_code
    return CallSite(
        file=_absolute(code.co_filename),
        line=frame.f_lineno or code.co_firstlineno,
        function=code.co_qualname,
        module=module if isinstance(module, str) else "",
        first_line=code.co_firstlineno,
    )


def _absolute(file: str) -> str:
    return file if file.startswith("<") else os.path.abspath(file)


@lru_cache(maxsize=512)
def site_of_key(key: SiteKey, module: str = "") -> CallSite:
    """Decode a place that was kept as a code object and an instruction offset.

    Args:
        key: ``(frame.f_code, frame.f_lasti)``.
        module: the module's name, which a code object does not know.
    """
    code, lasti = key
    line: int | None = None
    column: int | None = None
    if lasti >= 0:
        position = next(islice(code.co_positions(), lasti // 2, None), None)
        if position is not None:
            line, _, column, _ = position
    return CallSite(
        file=_absolute(code.co_filename),
        line=code.co_firstlineno if line is None else line,
        function=code.co_qualname,
        module=module,
        column=-1 if column is None else column,
        first_line=code.co_firstlineno,
    )


_LINES: Final = re.compile(r":([0-9]+)(?:-([0-9]+))?\Z")
_MODULE: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")
_FUNCTION: Final = re.compile(r"(?!\d)[\w.<>]+\Z")
_RESERVED: Final = ",;|"
_CURE: Final = (
    "A pattern is a module (mypkg.cache), a function (mypkg.cache:LRU.put), "
    "a file glob (src/*.py), or a file with lines (src/cache.py:40-60)"
)


class Pattern:
    """A name for code: a module, a function, files, or lines of files.

    * ``mypkg.cache``: the module and all its submodules.
    * ``mypkg.cache:LRU.put``: the function and what is nested in it; ``mypkg.cache:LRU``
      is all of the class.
    * a file glob, recognised by a ``/``, by the ending ``.py`` or by being ``*``:
      ``*`` and ``?`` stay within one part of a path, ``**`` crosses borders, ``*`` alone
      is everything, a folder means all below. A relative glob matches the end of a path,
      from a ``/`` on. ``:40-60`` narrows it to lines, both included. A range that ends
      before it begins matches nothing, as in the kernel.

    Patterns are equal if their texts are. ``, ; |`` separate things in spec texts and
    cannot stand in a pattern; ``?`` matches them.
    """

    __slots__ = ("_first", "_function", "_last", "_module", "_path", "text")

    def __init__(self, text: str) -> None:
        self.text: Final = text.strip()
        self._module = ""
        self._function = ""
        self._path: re.Pattern[str] | None = None
        self._first = 0
        self._last = sys.maxsize
        self._read()

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read a pattern.

        Raises:
            SpecError: the text has none of the forms above.
        """
        if not isinstance(text, str):
            raise SpecError("a pattern is not text", value=text, cure=_CURE)
        return cls(text)

    def _read(self) -> None:
        text = self.text
        if not text:
            raise SpecError("a pattern is empty", cure=_CURE)
        for character in text:
            if character in _RESERVED or not character.isprintable():
                raise SpecError(
                    f"a pattern cannot contain {character!r}",
                    value=text,
                    cure="Write ? in its place, in a file glob",
                )
        path = text.replace("\\", "/") if os.sep == "\\" else text
        lines = _LINES.search(path)
        stem = path[: lines.start()] if lines else path
        if "/" in stem or stem.endswith(".py") or stem == "*":
            if lines:
                self._first = int(lines[1])
                self._last = int(lines[2] or lines[1])
            self._path = re.compile(_glob_to_regex(stem))
            return
        module, colon, function = text.partition(":")
        if not _MODULE.match(module) or (colon and not _FUNCTION.match(function)):
            raise SpecError("not a pattern", value=text, cure=_CURE)
        self._module = module
        self._function = function

    @property
    def has_lines(self) -> bool:
        """Whether the line of a frame matters, not only its code."""
        return self._last != sys.maxsize

    def matches_code(self, module: str, qualname: str, filename: str) -> bool:
        """Whether the pattern means this code, lines left aside."""
        if self._path is not None:
            return self._path.match(filename.replace(os.sep, "/")) is not None
        if not _is_or_below(module, self._module):
            return False
        return not self._function or _is_or_below(qualname, self._function)

    def matches_line(self, line: int) -> bool:
        """Whether `line` is within the pattern's lines; true if it names none."""
        return self._first <= line <= self._last

    def matches(self, module: str, qualname: str, filename: str, line: int) -> bool:
        """Whether the pattern means this place."""
        return self.matches_line(line) and self.matches_code(module, qualname, filename)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, Pattern) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.text)


def _is_or_below(name: str, top: str) -> bool:
    return name == top or name.startswith(top + ".")


def _glob_to_regex(glob: str) -> str:
    if glob == "*":
        return r"(?s:.*)\Z"
    if glob.startswith("./"):
        glob = glob[2:]
    glob = glob.rstrip("/") or "/"
    parts = []
    at = 0
    while at < len(glob):
        character = glob[at]
        at += 1
        if character == "*":
            if glob.startswith("*", at):
                at += 1
                parts.append(".*")
            else:
                parts.append("[^/]*")
        elif character == "?":
            parts.append("[^/]")
        else:
            parts.append(re.escape(character))
    begin = "" if glob.startswith("/") or glob[1:2] == ":" else "(?:.*/)?"
    return rf"(?s:{begin}{''.join(parts)}(?:/.*)?)\Z"


class StackFilter:
    """The kernel's test of who is calling, with patterns for addresses.

    Frames are examined from the innermost outwards, at most `depth` of them; frames of
    faultinject itself are passed over and not counted. One frame in `reject` refuses at
    once. Otherwise the call is permitted if `require` is empty or one frame is in it. A
    depth of 0 examines nothing, so that any `require` refuses and no `reject` does.
    Source: Linux lib/fault-inject.c, fail_stacktrace().
    """

    __slots__ = ("_cache", "depth", "reject", "require", "trivial")

    def __init__(
        self,
        require: Iterable[str | Pattern] = (),
        reject: Iterable[str | Pattern] = (),
        depth: int = 32,
    ) -> None:
        self.require: Final = tuple(Pattern(str(pattern)) for pattern in require)
        self.reject: Final = tuple(Pattern(str(pattern)) for pattern in reject)
        self.depth: Final = depth
        self.trivial: Final = not self.require and not self.reject
        # What the patterns say of a code object, lines left aside; most frames match nothing.
        self._cache: dict[
            tuple[CodeType, str], tuple[tuple[Pattern, ...], tuple[Pattern, ...]]
        ] = {}

    def permits(self, frame: FrameType | None = None) -> bool:
        """Whether a call from `frame` may fail; from the caller's if not given."""
        found = not self.require
        if self.trivial or self.depth <= 0:
            return found
        at = caller_frame(sys._getframe(1) if frame is None else frame)
        left = self.depth
        while at is not None and left:
            left -= 1
            require, reject = self._candidates(at)
            if reject or (require and not found):
                line = at.f_lineno or 0
                if any(pattern.matches_line(line) for pattern in reject):
                    return False
                found = found or any(pattern.matches_line(line) for pattern in require)
            outer = at.f_back
            at = None if outer is None else caller_frame(outer)
        return found

    def _candidates(self, frame: FrameType) -> tuple[tuple[Pattern, ...], tuple[Pattern, ...]]:
        code = frame.f_code
        module = str(frame.f_globals.get("__name__", ""))
        known = self._cache.get((code, module))
        if known is None:
            place = (module, code.co_qualname, code.co_filename)
            known = (
                tuple(pattern for pattern in self.require if pattern.matches_code(*place)),
                tuple(pattern for pattern in self.reject if pattern.matches_code(*place)),
            )
            if len(self._cache) > 4096:
                self._cache.clear()
            self._cache[code, module] = known
        return known

    def permits_named(self, frames: Iterable[NamedFrame]) -> bool:
        """The same test over frames that are given by name, innermost first."""
        found = not self.require
        if self.trivial or self.depth <= 0:
            return found
        for place in islice(frames, self.depth):
            if any(pattern.matches(*place) for pattern in self.reject):
                return False
            found = found or any(pattern.matches(*place) for pattern in self.require)
        return found
