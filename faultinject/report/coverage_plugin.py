"""Error paths as coverage.py sees them: a plugin for its reporters.

To coverage.py a file of ours has one statement for each error path, and the statement ran
if the path was reached; its own reporters do the rest. Lives here: the plugin. Not here: who
runs the reporters (`faultinject.report.as_coverage`).
"""

from __future__ import annotations

import json
from typing import Any

from coverage.plugin import CoveragePlugin, FileReporter
from coverage.plugin_support import Plugins
from coverage.types import TLineNo

NAME = "faultinject.report.coverage_plugin"


class ErrorPathReporter(FileReporter):
    """One file: the first lines of its error paths.

    Args:
        filename: absolute.
        name: as the report has it, relative to the root folder.
        lines: on which an error path begins.
    """

    def __init__(self, filename: str, name: str, lines: list[int]) -> None:
        super().__init__(filename)
        self._name = name
        self._lines = set(lines)

    def relative_filename(self) -> str:
        """Give the name by which the report knows the file."""
        return self._name

    def source(self) -> str:
        """Give nothing: no report that is made with this shows the source."""
        return ""

    def lines(self) -> set[TLineNo]:
        """Give the lines on which an error path begins."""
        return self._lines


class ErrorPathPlugin(CoveragePlugin):
    """Knows the error paths of every file.

    Args:
        files: by absolute name; each with the name in the report and the lines.
    """

    def __init__(self, files: dict[str, tuple[str, list[int]]]) -> None:
        self._files = files

    def file_reporter(self, filename: str) -> FileReporter:
        """Give the reporter for one file that has error paths."""
        return ErrorPathReporter(filename, *self._files[filename])


def coverage_init(registry: Plugins, options: dict[str, Any]) -> None:
    """Register the plugin; coverage.py calls this with what was set for it."""
    registry.add_file_tracer(ErrorPathPlugin(json.loads(options["files"])))
