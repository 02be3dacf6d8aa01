"""HTML: a folder with an index, a page for each source file, a style sheet and a script.

Everything can be read without the script and without a network. Lives here: the folder and
the names in it. Not here: what is on a source's page (`faultinject.report.page`), and how
it looks (``html/``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faultinject.report.findings import FileFindings, Findings
from faultinject.report.highlight import plain
from faultinject.report.page import DETAILS, Detail, coloured, last_line
from faultinject.report.source import read_source
from faultinject.report.templates import FOLDER, Templates

# In bytes: a page above it is slow to open, and refused by some artifact viewers.
LARGEST_PAGE = 1_000_000

# How many rows the index has: all, or what fits.
_INDEX_ROWS = (1_000_000_000, 1000, 500, 100)


def as_html(document: dict[str, Any], root: Path) -> dict[str, str | bytes]:
    """Give the folder's files by name.

    Args:
        document: checked, of schema 1.
        root: the folder that the report's files are relative to.
    """
    findings = Findings.of(document)
    templates = Templates(findings, page_name)
    files: dict[str, str | bytes] = {
        name: (FOLDER / name).read_bytes() for name in ("report.css", "report.js")
    }
    files["index.html"] = _fitting(templates.index, _INDEX_ROWS)
    for file in findings.files.values():
        files[page_name(file.name)] = _source_page(templates, file, root)
    return files


def page_name(file: str) -> str:
    """Name the page of a source file: readable, and another one for each file."""
    readable = re.sub(r"[^A-Za-z0-9.]+", "_", file).strip("_.")[-80:]
    digest = hashlib.sha256(file.encode(errors="backslashreplace")).hexdigest()[:8]
    return f"{readable or 'source'}-{digest}.html"


def _source_page(templates: Templates, file: FileFindings, root: Path) -> bytes:
    source = read_source(root, file.name, file.digest, last_line(file))
    colours = coloured(source)

    def render(detail: Detail) -> str:
        html = colours if detail.colours else plain(source.lines)
        return templates.source(file, source, html, detail)

    return _fitting(render, DETAILS)


def _fitting(render: Callable[[Any], str], sizes: tuple[Any, ...]) -> bytes:
    """Render with the first of some sizes that makes a page small enough, or the last one."""
    data = b""
    for size in sizes:
        data = render(size).encode(errors="backslashreplace")
        if len(data) < LARGEST_PAGE:
            break
    return data
