"""Where results go: ``--fail-alloc-report`` and the threshold, read and carried out.

Lives here: `Reports`, which is what the options say, and what it writes at the end of a
session. Not here: how each kind of report looks (`faultinject.report`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from faultinject.errors import FaultInjectError
from faultinject.report.findings import Findings
from faultinject.report.outputs import KINDS, Output
from faultinject.report.table import path_table, shortfall, total_line
from pytest_faultinject.options import refusal

_ANNOTATES_FAILURES = "pytest_github_actions_annotate_failures"

_SECTIONS = frozenset({"term", "term-missing"})
_WORDS = _SECTIONS | {"github"}
_ALLOWED = "term, term-missing, github, " + ", ".join(f"{k}:{what}" for k, what in KINDS.items())


@dataclass(frozen=True, slots=True)
class Reports:
    """Where results go.

    Attributes:
        outputs: files and folders.
        by_file: whether the section at the end has the table of error paths, a line per file.
        missing: whether its table names the lines that were never reached.
        github: annotations and the job's summary, inside GitHub Actions.
        fail_under: how much of the error paths must be reached, in percent, or None.
    """

    outputs: tuple[Output, ...] = ()
    by_file: bool = False
    missing: bool = False
    github: bool = False
    fail_under: float | None = None

    @property
    def wants_paths(self) -> bool:
        """Whether somebody asked for something that says which error paths ran."""
        return bool(self.outputs) or self.by_file or self.github or self.fail_under is not None

    @classmethod
    def parse(
        cls,
        texts: Sequence[str],
        *,
        fail_under: float | None,
        where: str,
        place: Callable[[str, str], Path],
    ) -> Reports:
        """Read what was asked for.

        Args:
            texts: as ``--fail-alloc-report`` has them; the section at the end is there with
                any of them and with none.
            fail_under: what ``--fail-alloc-fail-under`` says.
            where: the option's name.
            place: from what was written, and where, to a path.

        Raises:
            pytest.UsageError: it is none of the kinds, or cannot be written there.
        """
        outputs: list[Output] = []
        words = set()
        for text in texts:
            kind, colon, rest = text.partition(":")
            if text in _WORDS:
                words.add(text)
            elif kind in KINDS and colon and rest:
                outputs.append(_output(kind, place(rest, where), where))
            else:
                raise refusal(where, text, _ALLOWED)
        return cls(
            outputs=tuple(outputs),
            by_file=bool(words & _SECTIONS),
            missing="term-missing" in words,
            github="github" in words,
            fail_under=fail_under,
        )

    def write(self, document: dict[str, Any], root: Path) -> tuple[list[str], bool]:
        """Write every file and folder.

        Args:
            document: the report.
            root: the folder that its files are relative to.

        Returns:
            A line for each, and whether all could be written.
        """
        lines: list[str] = []
        complete = True
        for output in self.outputs:
            try:
                output.write(document, root)
            except FaultInjectError as error:
                lines.append(str(error))
                complete = False
            else:
                lines.append(f"report written to {output.path}")
        return lines, complete

    def shortfall(self, document: dict[str, Any]) -> str | None:
        """Say by how much too few error paths were reached, or None."""
        if self.fail_under is None:
            return None
        return shortfall(Findings.of(document), self.fail_under)

    def table(self, document: dict[str, Any], *, short: bool) -> list[str]:
        """Give the table of error paths, or the sentence that sums it up."""
        if "error_paths" not in document:
            return []
        findings = Findings.of(document)
        if not self.wants_paths and not any(findings.paths):
            return []
        wanted = self.missing or (self.by_file and not short)
        lines = path_table(findings, missing=self.missing) if wanted else []
        return lines or [total_line(findings)]

    def tell_github(self, document: dict[str, Any], config: pytest.Config) -> list[str]:
        """Write the job's summary; give the annotations, which must begin a line."""
        if not self.github or os.environ.get("GITHUB_ACTIONS") != "true":
            return []
        from faultinject.report.github import annotate, write_summary

        findings = Findings.of(document)
        errors = not config.pluginmanager.has_plugin(_ANNOTATES_FAILURES)
        try:
            write_summary(findings)
        except FaultInjectError as error:
            return [str(error), *annotate(findings, errors=errors)]
        return list(annotate(findings, errors=errors))


def _output(kind: str, path: Path, where: str) -> Output:
    output = Output(kind, path)
    is_folder = KINDS[kind] == "DIR"
    noun = "folder" if is_folder else "file"
    if path.is_dir() and not is_folder:
        raise refusal(where, path, "a file, not a folder")
    if not path.parent.is_dir():
        raise refusal(where, path, f"a {noun} in a folder that exists")
    try:
        output.require_place()
    except FaultInjectError as error:
        raise pytest.UsageError(f"{where}: {error}") from None
    return output
