"""LCOV and Cobertura files of the error paths, written by coverage.py's own reporters.

A line stands for the error paths that begin on it, and counts as run if all of them were
reached, in clean runs or under injection. Paths of which nobody knows are left out. Not
here: what coverage.py asks about a file (`faultinject.report.coverage_plugin`).
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from coverage import Coverage, CoverageData
from coverage.exceptions import CoverageException

from faultinject.errors import UsageError
from faultinject.report import coverage_plugin
from faultinject.report.findings import FileFindings, Findings
from faultinject.report.visible import visible


def as_lcov(findings: Findings, root: Path) -> bytes:
    """Give the report as LCOV."""
    return _rendered(findings, root, "lcov")


def as_cobertura(findings: Findings, root: Path) -> bytes:
    """Give the report as Cobertura's XML."""
    return _rendered(findings, root, "xml")


def _rendered(findings: Findings, root: Path, kind: str) -> bytes:
    files: dict[str, tuple[str, list[int]]] = {}
    reached: dict[str, list[int]] = {}
    for file in findings.files.values():
        lines = _lines(file)
        if lines:
            # Neither the data nor XML can have every name that a file can have.
            absolute = visible(os.path.abspath(root / file.name))
            files[absolute] = (visible(file.name), sorted(lines))
            reached[absolute] = [line for line, ran in lines.items() if ran]
    if not files:
        raise UsageError(
            "a report without error paths",
            where="LCOV, Cobertura",
            cure="These formats are about error paths only; leave them out",
        )
    # What a program of the user's measures is another instance, and stays as it is.
    coverage = Coverage(data_file=None, config_file=False, messages=False)
    coverage.set_option("run:plugins", [coverage_plugin.NAME])
    coverage.set_option(f"{coverage_plugin.NAME}:files", json.dumps(files))
    data = coverage.get_data()
    try:
        _fill(data, reached)
        return _reported(coverage, kind)
    finally:
        data.close(force=True)


def _reported(coverage: Coverage, kind: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="faultinject-") as folder:
        out = Path(folder) / "out"
        try:
            if kind == "lcov":
                coverage.lcov_report(outfile=str(out))
            else:
                coverage.xml_report(outfile=str(out))
        except CoverageException as error:
            raise UsageError("coverage.py wrote no report", where=str(error)) from None
        return out.read_bytes()


def _fill(data: CoverageData, reached: dict[str, list[int]]) -> None:
    # In this order: a file without lines is not in the data until it was touched, and a
    # touched one has no tracer until it is named.
    data.add_lines(reached)
    tracer = f"{coverage_plugin.NAME}.{coverage_plugin.ErrorPathPlugin.__name__}"
    data.add_file_tracers(dict.fromkeys((file for file in reached if reached[file]), tracer))
    for file in reached:
        data.touch_file(file, tracer)


def _lines(file: FileFindings) -> dict[int, bool]:
    lines: dict[int, bool] = {}
    for path in file.paths:
        if path.reached != "undecided":
            lines[path.line] = lines.get(path.line, True) and path.reached != "never"
    return lines
