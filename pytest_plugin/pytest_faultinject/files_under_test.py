"""Which files' error paths count: those of the code under test.

Lives here: the answer from the options, and the search for files that no test imports.
Not here: whose allocations fail (``.own_code``, `faultinject.campaign.scope`), although
both begin with the same options.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import pytest

import faultinject
from faultinject.campaign.allocations import installed_code
from faultinject.campaign.scope import Scope, Source
from faultinject.errpaths.path import ErrorPath
from pytest_faultinject.own_code import own_code


class FilesUnderTest:
    """Tells files under test from all others.

    Named sources are under test, whatever they are. Without any, that is the project's own
    code: what coverage.py measures, or else all below the root folder; but no tests, and
    nothing that is installed.

    Args:
        config: pytest's.
        scope: what the options name.
    """

    def __init__(self, config: pytest.Config, scope: Scope) -> None:
        self._config = config
        self._scope = scope
        self._root = str(config.rootpath)
        # The harness is no code under test either, in the place where it is made.
        harness = (os.path.dirname(faultinject.__file__), os.path.dirname(__file__))
        self._installed = tuple(folder + os.sep for folder in (*installed_code(), *harness))
        self._test_files = [str(text) for text in config.getini("python_files")]
        self._test_folders = [
            str(folder) + os.sep
            for text in config.getini("testpaths")
            if (folder := config.rootpath / text) != config.rootpath
        ]

    @cached_property
    def _own(self) -> tuple[Source, ...]:
        named = own_code(self._config)
        return tuple(Source.parse(text, root=self._root, option="source") for text in named)

    def covers(self, file: str) -> bool:
        """Say whether a file may hold code under test, by its absolute path."""
        if any(_covers_file(source, file, self._root) for source in self._scope.sources):
            return True
        if self._scope.sources or file.startswith(self._installed) or self._is_test(file):
            return False
        return any(_covers_file(source, file, self._root) for source in self._own)

    def places(self) -> list[str]:
        """Give the folders and files of the named sources; none if any cannot be found."""
        found: list[str] = []
        for source in self._scope.sources:
            if source.folder is not None:
                found.append(source.folder.rstrip(os.sep))
            else:
                named = _places_of(source.text.partition(":")[0], self._root)
                if not named:
                    return []
                found += named
        return found

    def wants(self, path: ErrorPath) -> bool:
        """Say whether an error path of such a file is under test: a source may be a function."""
        return not any(self._covers(source, path) for source in self._scope.omit) and (
            not self._scope.sources
            or any(self._covers(source, path) for source in self._scope.sources)
        )

    def unseen(self, seen: Iterable[str]) -> Iterator[str]:
        """Find more files: in named folders, and in the packages of files that were seen.

        Args:
            seen: files under test, by their absolute paths.
        """
        folders = {_package_of(file) for file in seen} - {""}
        for source in self._scope.sources or self._own:
            named = source.folder
            if named is None and source.pattern is not None:
                named = os.path.join(self._root, *source.text.partition(":")[0].split("."))
            if named is not None and os.path.isdir(named) and named.rstrip(os.sep) != self._root:
                folders.add(named.rstrip(os.sep))
        found: set[str] = set()
        for folder in folders:
            found.update(file for file in _modules(folder) if self.covers(file))
        yield from sorted(found.difference(seen))

    def _covers(self, source: Source, path: ErrorPath) -> bool:
        names = _modules_of(path.file, self._root)
        return any(source.covers(name, path.function, path.file, path.line) for name in names)

    def _is_test(self, file: str) -> bool:
        name = os.path.basename(file)
        if name == "conftest.py" or any(fnmatch.fnmatch(name, glob) for glob in self._test_files):
            return True
        if file.startswith(tuple(self._test_folders)):
            return True
        if not file.startswith(self._root + os.sep):
            return False
        folders = Path(file).relative_to(self._root).parts[:-1]
        return any(folder.lower().startswith("test") for folder in folders)


def _places_of(name: str, root: str) -> list[str]:
    """Find a package's folders, or a module's file, without importing it."""
    top = name.partition(".")[0]
    if name.endswith(".py") or not top.isidentifier():
        return []
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):  # it is no module, or one that was made by hand
        spec = None
    if spec is not None:
        return list(spec.submodule_search_locations or filter(None, [spec.origin]))
    below = [os.path.join(root, *folder, top) for folder in ((), ("src",))]
    return [place for place in below if os.path.isdir(place)]


def _covers_file(source: Source, file: str, root: str) -> bool:
    if source.folder is not None or source.pattern is None:
        return source.covers("", "", file, 0)
    # Of a function in it, or of some lines, the file is enough here.
    function = source.text.partition(":")[2]
    names = _modules_of(file, root)
    return any(source.pattern.matches_code(name, function, file) for name in names)


def _modules_of(file: str, root: str) -> tuple[str, ...]:
    """Name a file's module: by its package, and by its place below the root folder."""
    top = os.path.dirname(_package_of(file) or file)
    named = [_dotted(os.path.relpath(file, top))]
    if file.startswith(root + os.sep):
        named.append(_dotted(os.path.relpath(file, root)))
    return tuple(dict.fromkeys(named))


def _dotted(path: str) -> str:
    return path.removesuffix(".py").replace(os.sep, ".").removesuffix(".__init__")


def _package_of(file: str) -> str:
    """Give the folder of the outermost package that a file is in; "" for none."""
    found, folder = "", os.path.dirname(file)
    while os.path.exists(os.path.join(folder, "__init__.py")):
        found, folder = folder, os.path.dirname(folder)
    return found


def _modules(folder: str) -> Iterator[str]:
    """Find the modules of a folder and of the packages in it, as coverage.py does."""
    for place, folders, files in os.walk(folder):
        if place != folder and "__init__.py" not in files:
            folders.clear()
            continue
        folders.sort()
        yield from (os.path.join(place, name) for name in files if name.endswith(".py"))
