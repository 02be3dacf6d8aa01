"""Observing: noticing which error paths run, in this process and in trials.

Lives here: `Sources`, whose error paths are looked for; `Observer`, the one who notices;
and `choose_observer`. Not here: how it notices: by the interpreter's own events from 3.12
on (`faultinject.errpaths.monitor`), by coverage.py's lines before
(`faultinject.errpaths.observe_lines`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol, TypeGuard

from faultinject.errpaths.hits import Hit
from faultinject.errpaths.path import ErrorPath, SourcePaths
from faultinject.errpaths.qualname import MODULE

Tell = Callable[[str], None]
"""Told of each hit, as text, at the moment that it happens."""


class Sources:
    """The files whose error paths are observed; each is read once.

    Args:
        under_test: whether a file is one of them, by its absolute path.
        read: gives the error paths of a file; `faultinject.errpaths.find.find_in_file`.
        shown: gives a file's name as reports show it.
        places: folders and files that hold all of them; empty if nobody knows.
    """

    def __init__(
        self,
        under_test: Callable[[str], bool],
        read: Callable[[str], SourcePaths],
        shown: Callable[[str], str] = str,
        places: Iterable[str] = (),
    ) -> None:
        self.places = tuple(places)
        self._under_test = under_test
        self._read = read
        self._shown = shown
        self._known: dict[str, SourcePaths | None] = {}

    def of(self, file: str) -> SourcePaths | None:
        """Give the error paths of a file, or None if it is not under test.

        Args:
            file: as a code object names it; what is no file has no error paths.
        """
        if file not in self._known:
            path = os.path.abspath(file)
            ours = not file.startswith("<") and self._under_test(path) and os.path.isfile(path)
            self._known[file] = self._read(path) if ours else None
        return self._known[file]

    def hit(self, path: ErrorPath, *, sure: bool = True) -> Hit:
        """Give a hit of a path."""
        return Hit(self._shown(path.file), path.key, sure)

    def missed(self) -> set[Hit]:
        """Give what may have run already, unseen: paths of modules that are imported.

        Not those in functions: an import may call some, but which, nobody can say.
        """
        paths = (path for source in self.imported() for path in source.paths)
        return {self.hit(path, sure=False) for path in paths if path.function == MODULE}

    def imported(self) -> list[SourcePaths]:
        """Give what is known of the modules under test that are imported now.

        Read before a fork, they need not be read by each child.
        """
        files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        found = [self.of(file) for file in sorted(filter(_is_source, files))]
        return [source for source in found if source is not None]

    def seen(self) -> dict[str, str]:
        """Give the files that were asked for and are under test, and the digest of each."""
        known = self._known.values()
        return {self._shown(found.file): found.digest for found in known if found is not None}


def _is_source(file: object) -> TypeGuard[str]:
    return isinstance(file, str) and file.endswith(".py")


class Observer(Protocol):
    """Notices which error paths are entered.

    From `start` to `stop` it collects what this process enters. In a block of `watching`
    it tells somebody instead, also in a process that is a fork of this one.
    """

    sources: Sources

    def start(self) -> None:
        """Begin.

        Raises:
            UnavailableError: it cannot be done here.
        """

    def stop(self) -> None:
        """End; what was collected is kept."""

    def watching(self, tell: Tell) -> AbstractContextManager[None]:
        """Inside the block each hit is told; where it cannot be sooner, at the block's end."""

    def entered(self) -> set[Hit]:
        """Give what this process has entered outside of such blocks."""


def choose_observer(sources: Sources) -> Observer:
    """Make the observer that this version of Python can have."""
    if sys.version_info >= (3, 12):
        from faultinject.errpaths.monitor import Monitor

        return Monitor(sources)
    from faultinject.errpaths.observe_lines import LineObserver

    return LineObserver(sources)
