"""The table of error paths: a line per file, as coverage tools have it.

Lives here: the lines of text, the sentence that sums them up, and the threshold's verdict.
Not here: colours (`pytest_faultinject.summary`), the numbers (`faultinject.report.counts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from faultinject.report.counts import PathCounts
from faultinject.report.findings import Findings, FoundPath, span_text

_STATES = ("clean", "injected", "never")


def path_table(findings: Findings, *, missing: bool = False) -> list[str]:
    """Give the table's lines; none where no error path was found.

    Args:
        findings: the report.
        missing: add the lines of the error paths that were never reached, and name apart
            the handlers that no call site can enter.
    """
    files = [file for file in findings.files.values() if file.paths]
    troubles = [
        f"{file.name}: error paths not known: {file.trouble}"
        for file in findings.files.values()
        if file.trouble
    ]
    if not files:
        return troubles
    total = PathCounts.of(findings.paths)
    states = [*_STATES, *(["undecided"] if total.undecided else [])]
    head = ["error paths", "paths", *states, "%"]
    rows = [_row(file.name, PathCounts.of(file.paths), states) for file in files]
    last = _row("TOTAL", total, states)
    if missing:
        head.append("never reached")
        rows = [[*row, _missing_lines(file.paths)] for row, file in zip(rows, files, strict=True)]
        last.append("")
    lines = _aligned([head, *rows, last], left=1 + missing)
    rule = "-" * max(map(len, lines))
    apart = list(_out_of_reach(findings)) if missing else []
    return [lines[0], rule, *lines[1:-1], rule, lines[-1], *apart, *troubles]


def total_line(findings: Findings) -> str:
    """Sum the table up in one sentence."""
    counts = PathCounts.of(findings.paths)
    if not counts.total and not counts.undecided:
        return "no error paths in the code under test"
    parts = [f"{getattr(counts, state)} {state}" for state in _STATES]
    parts += [f"{counts.undecided} undecided"] if counts.undecided else []
    noun = "error path" if counts.total == 1 else "error paths"
    return f"{counts.total} {noun}: {', '.join(parts)} ({counts.shown_percent} reached)"


def shortfall(findings: Findings, least: float | None) -> str | None:
    """Say by how much too few error paths were reached, or None if there are enough.

    Args:
        findings: the report.
        least: the percentage that must be reached, 0 to 100; None for no threshold.
    """
    if least is None:
        return None
    if not findings.has_paths:
        return f"the report has no error paths: {least:g}% of them are required"
    counts = PathCounts.of(findings.paths)
    if counts.percent >= least:
        return None
    return (
        f"error paths: {counts.percent:.2f}% reached ({counts.reached} of {counts.total}), "
        f"{least:g}% are required"
    )


def _row(name: str, counts: PathCounts, states: Sequence[str]) -> list[str]:
    numbers = [str(getattr(counts, state)) for state in states]
    return [name, str(counts.total), *numbers, counts.shown_percent]


def _missing_lines(paths: Iterable[FoundPath]) -> str:
    spans = {(path.line, path.end_line) for path in paths if path.reached == "never"}
    return ", ".join(span_text(*span) for span in sorted(spans))


def _out_of_reach(findings: Findings) -> Iterator[str]:
    found = [path for path in findings.paths if path.unreachable]
    if found:
        yield "handlers that no call site can enter: each one that was reached has been tried"
        yield from (
            f"  {path.file}:{path.lines} {path.label}, in {path.function}" for path in found
        )


def _aligned(rows: list[list[str]], *, left: int) -> list[str]:
    """Write columns under each other: the first to the left, and the last if `left` is 2."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    to_the_left = {0, len(widths) - 1 if left == 2 else 0}
    return [
        "   ".join(
            cell.ljust(width) if at in to_the_left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
