"""Exclusions: the lines that the user told coverage.py not to count.

Lives here: asking coverage.py about them, through its public interface. Not here: which
error paths they take away (`faultinject.errpaths.find`).
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable

from coverage import Coverage
from coverage.exceptions import CoverageException


class Exclusions:
    """Finds the excluded lines of a source.

    coverage.py's own analysis decides, so that a marked ``def``, ``if`` or ``except`` takes
    its whole block along exactly as it does in the user's coverage report. Nothing is
    measured, and no data of the user's are read or written.

    Args:
        patterns: regular expressions of excluded lines, as coverage.py's
            ``exclude_lines`` has them; coverage.py's defaults if not given.
    """

    def __init__(self, patterns: Iterable[str] | None = None) -> None:
        if patterns is None:
            patterns = Coverage(data_file=None, config_file=False).get_exclude_list()
        self._texts = tuple(patterns)
        self._patterns = [re.compile(text, re.MULTILINE) for text in self._texts]

    @classmethod
    def of(cls, measurement: Coverage, *, tell: Callable[[str], None] | None = None) -> Exclusions:
        """Exclude what a measurement of the user's excludes; its data is left alone.

        Args:
            measurement: the user's, or one that is set up as theirs would be.
            tell: told in a sentence if a plugin of coverage.py's cannot be loaded. Then
                what the configuration itself excludes is all. Without it the error is raised.
        """
        try:
            return cls(measurement.get_exclude_list())
        except Exception as error:  # a plugin is anybody's code, and so is what it raises
            if tell is None:
                raise
            tell(_without_plugins(measurement, error))
        patterns = measurement.get_option("report:exclude_lines")
        return cls(patterns if isinstance(patterns, list) else None)

    def lines(self, content: bytes | str, text: str) -> frozenset[int]:
        """Give the first lines of the statements that are excluded.

        Args:
            content: a source.
            text: the same, decoded.
        """
        # The analysis costs more than all the rest: it is for sources that a pattern matches.
        if not any(pattern.search(text) for pattern in self._patterns):
            return frozenset()
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "source.py")
            with open(copy, "wb") as stream:
                stream.write(content.encode() if isinstance(content, str) else content)
            # Data in a file, though there are none: those in memory are never closed.
            coverage = Coverage(data_file=os.path.join(folder, "data"), config_file=False)
            coverage.clear_exclude()
            for pattern in self._texts:
                coverage.exclude(pattern)
            try:
                _, _, excluded, _, _ = coverage.analysis2(copy)
            except CoverageException:  # it reads what the compiler does, but for very odd sources
                return frozenset()
        return frozenset(excluded)


def _without_plugins(measurement: Coverage, error: Exception) -> str:
    """Say that a plugin that the user's configuration names is of no use here."""
    named = measurement.get_option("run:plugins")
    names = ", ".join(map(str, named)) if isinstance(named, list) else ""
    # No public interface tells the file's name.
    file = getattr(getattr(measurement, "config", None), "config_file", None)
    where = f" in {file}" if file else ""
    return (
        f"a plugin of coverage.py's cannot be loaded (plugins = {names}{where}: "
        f"{type(error).__name__}: {error}): what it excludes counts as error paths. Install it, "
        "take it out, or give --fail-alloc-cov=none"
    )
