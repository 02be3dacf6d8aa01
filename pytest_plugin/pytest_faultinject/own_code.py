"""Whose allocations fail where no source is named: the project's own code, not its tests.

Lives here: finding both from pytest's and coverage's settings. Not here: how code is
recognised (`faultinject.campaign.allocations`), and named sources (``.setup``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from faultinject.campaign.allocations import installed_code

_HARNESS = ("faultinject", "pytest_faultinject")


def own_code(config: pytest.Config) -> tuple[str, ...]:
    """Give what is measured by coverage, if that is said anywhere; else the root folder.

    A source of coverage's is a folder or a package; so is one of these.
    """
    root = config.rootpath
    # The harness never fails by itself: it would run wild, in the place where it is made.
    named = [text for text in _measured(config) if text.partition(".")[0] not in _HARNESS]
    found = []
    for text in named:
        folder = root / text
        found.append(str(folder.resolve()) if folder.exists() else text)
    return tuple(found) or (str(root),)


def _measured(config: pytest.Config) -> list[str]:
    given = getattr(config.option, "cov_source", None)
    if isinstance(given, list):
        named = [text for text in given if isinstance(text, str) and text]
        if named:
            return named
    try:
        from coverage import Coverage
        from coverage.exceptions import CoverageException
    except ImportError:
        return []
    try:
        with _in_folder(config.rootpath):
            measured = Coverage(data_file=None)
    except CoverageException:
        return []  # a broken configuration is coverage's to complain about
    options = ("run:source", "run:source_pkgs", "run:source_dirs")
    return [text for option in options for text in _texts(measured.get_option(option))]


def _texts(value: object) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else []


class _in_folder:  # noqa: N801 - reads as words where it is used
    """Inside the block the current folder is another one: coverage looks there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = os.getcwd()

    def __enter__(self) -> None:
        os.chdir(self._folder)

    def __exit__(self, *exc_info: object) -> None:
        os.chdir(self._before)


def foreign_code(config: pytest.Config, items: Iterable[pytest.Item]) -> tuple[str, ...]:
    """Give the tests, and everything that is installed.

    Tests are the files that were collected, every ``conftest.py`` that was loaded, the
    folders of ``testpaths``, and each folder on the way to a collected file whose name
    begins with ``test``.
    """
    root = config.rootpath
    files = {item.path for item in items}
    tests = {str(path) for path in files}
    for plugin in config.pluginmanager.get_plugins():
        file = getattr(plugin, "__file__", None)
        if file and os.path.basename(file) == "conftest.py":
            tests.add(file)
    folders = {root / text for text in config.getini("testpaths")}
    folders.update(folder for file in files for folder in _test_folders(file, root))
    tests.update(str(folder) + os.sep for folder in folders if folder.is_dir() and folder != root)
    return (*installed_code(), *sorted(tests))


def _test_folders(file: Path, root: Path) -> Iterator[Path]:
    for folder in file.parents:
        if folder == root or root not in folder.parents:
            return
        if folder.name.lower().startswith("test"):
            yield folder
