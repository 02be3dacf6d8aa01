"""Outputs: the files and folders that a report can be written to, by kind.

Lives here: the one list of kinds, which ``--fail-alloc-report`` and ``faultinject report``
share. Not here: what is shown at once, on a terminal or to GitHub
(`faultinject.report.table`, `faultinject.report.github`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultinject.errors import UsageError
from faultinject.report.findings import Findings
from faultinject.report.writing import require_folder_of_ours, write_file, write_folder

# What each kind is written to.
KINDS = {"json": "FILE", "html": "DIR", "lcov": "FILE", "cobertura": "FILE", "sarif": "FILE"}


@dataclass(frozen=True, slots=True)
class Output:
    """One place that a report goes to.

    Attributes:
        kind: one of `KINDS`.
        path: of the file; of ``html`` the folder.
    """

    kind: str
    path: Path

    def require_place(self) -> None:
        """Refuse a place where nothing could be written, before it is worked for.

        Raises:
            UsageError: naming it, and what would do.
        """
        if KINDS[self.kind] == "DIR":
            require_folder_of_ours(self.path)
        elif self.path.is_dir():
            raise UsageError("a folder, not a file", value=str(self.path), cure="Name a file")
        if not self.path.parent.is_dir():
            raise UsageError(
                "a place in a folder that does not exist",
                value=str(self.path),
                cure="Make the folder first",
            )

    def write(self, document: dict[str, Any], root: Path) -> None:
        """Write a report there, whole or not at all.

        Args:
            document: checked, of schema 1.
            root: the folder that its files are relative to.

        Raises:
            UsageError: it cannot be written, or says nothing that this kind could show.
        """
        if self.kind == "json":
            from faultinject.report.as_json import write_json

            write_json(self.path, document)
        elif self.kind == "html":
            from faultinject.report.pages import as_html

            write_folder(self.path, as_html(document, root))
        else:
            write_file(self.path, self._rendered(document, root))

    def _rendered(self, document: dict[str, Any], root: Path) -> str | bytes:
        # Imported late: coverage.py's reporters are of no use to a run that wants none.
        findings = Findings.of(document)
        if self.kind == "sarif":
            from faultinject.report.as_sarif import as_sarif

            return as_sarif(findings, root)
        from faultinject.report.as_coverage import as_cobertura, as_lcov

        write = as_lcov if self.kind == "lcov" else as_cobertura
        return write(findings, root)
