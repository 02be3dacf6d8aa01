"""Temporary files and folders that nobody removed.

Lives here: the names that `tempfile` gave out in a run, and which of them exist at
its end. Not here: the folders of pytest's ``tmp_path``, which are made otherwise and
are pytest's to remove.

A listing of the temporary folder would show what other processes do there. An audit
hook would stay for good, and have the interpreter allocate in places where it does
not otherwise. So the names are taken where `tempfile` itself takes them: that costs
nothing until a name is wanted, and finds those in other folders as well, such as the
new version that is written beside a file.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

from faultinject.campaign.oracles.leftovers import Leftovers, without_numbers
from faultinject.campaign.oracles.makers import Makers, Mark, Stack, is_marked, unmarked
from faultinject.functions.acts import raised

# The private names of `tempfile` that this file rests on; a test holds each of them.
_tempfile: Any = tempfile
_INNERMOST = {
    "_mkstemp_inner": ("temporary file", "dir", "pre", "suf"),
    "mkdtemp": ("temporary folder", "dir", "prefix", "suffix"),
}


class TemporaryFiles:
    """The names that `tempfile` gives out while `noting`, to be looked for later.

    Args:
        shown: gives a source file's name as reports show it.
        makers: tells who made one.
    """

    def __init__(self, shown: Callable[[str], str], makers: Makers) -> None:
        self._shown = shown
        self._makers = makers
        self._made: dict[str, _Made] = {}  # by path

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Stand between `tempfile` and its sequence of names."""
        before = _tempfile._name_sequence
        mine = _NotedNames(_tempfile._get_candidate_names(), self._note)
        _tempfile._name_sequence = mine
        try:
            yield
        finally:
            if _tempfile._name_sequence is mine:
                _tempfile._name_sequence = before

    def left(self, mark: Mark = unmarked) -> Leftovers:
        """Name what was made and still exists, but not what lies in a folder so named.

        Nor what the code would have removed, had that call not been made to fail. A folder
        of the test's own does not stand for what others made in it.
        """
        there = sorted(path for path in self._made if os.path.lexists(path))
        named = {
            path: mark(self._made[path].told, self._made[path].stack)
            for path in there
            if not _kept_by_a_fault(path)
        }
        outer = [(path + os.sep, is_marked(name)) for path, name in named.items()]
        return Counter(
            name
            for path, name in named.items()
            if not any(
                path.startswith(folder) and (is_marked(name) or not of_test)
                for folder, of_test in outer
            )
        )

    def shape_of(self, path: str) -> str | None:
        """Give the name of something made, without what was random in it; None for others."""
        made = self._made.get(path)
        return made and made.shape

    def maker_of(self, path: str) -> Stack:
        """Give where a temporary file was made; nothing for others."""
        made = self._made.get(path)
        return made.stack if made else ()

    def _note(self, name: str, frame: FrameType | None) -> None:
        if frame is None or frame.f_code.co_name not in _INNERMOST:
            return
        kind, *names = _INNERMOST[frame.f_code.co_name]
        folder, prefix, suffix = (frame.f_locals.get(each) for each in names)
        if folder is None or prefix is None or suffix is None:
            return
        folder, prefix, suffix = (os.fsdecode(part) for part in (folder, prefix, suffix))
        path = os.path.abspath(os.path.join(folder, prefix + name + suffix))
        shape = f"{without_numbers(prefix)}*{without_numbers(suffix)}"
        told = f"{kind}: {shape}, made at {self._place(frame)}"
        self._made[path] = _Made(shape, told, self._makers.stack(frame))

    def _place(self, frame: FrameType | None) -> str:
        while frame is not None and frame.f_code.co_filename == tempfile.__file__:
            frame = frame.f_back
        if frame is None:
            return "an unknown place"
        code = frame.f_code
        return f"{self._shown(code.co_filename)}:{frame.f_lineno} in {code.co_qualname}"


class _Made(NamedTuple):
    """One name that was given out.

    Attributes:
        shape: the name, without what was random in it.
        told: all that a report tells.
        stack: where it was made.
    """

    shape: str
    told: str
    stack: Stack


def _kept_by_a_fault(path: str) -> bool:
    inside = path + os.sep
    return any(kept == path or kept.startswith(inside) for kept in raised.not_removed)


class _NotedNames:
    """A sequence of names that tells each name that it gives, and who asked."""

    def __init__(self, names: Iterator[str], note: Callable[[str, FrameType | None], None]) -> None:
        self._names = names
        self._note = note

    def __iter__(self) -> _NotedNames:
        return self

    def __next__(self) -> str:
        name = next(self._names)
        self._note(name, sys._getframe(1))
        return name
