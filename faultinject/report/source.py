"""Sources of a report: found again, and compared with what ran.

Lives here: `Source`, one file as a report may show it. Not here: its colours
(`faultinject.report.highlight`), the tree that error paths are found in
(`faultinject.errpaths.source`).
"""

from __future__ import annotations

import io
import tokenize
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from faultinject.errpaths.source import digest_of


class State(Enum):
    """Whether a source may be shown beside what a report says of its lines."""

    SAME = "the source that ran"
    UNKNOWN = "nobody noted what the source was like in the run"
    CHANGED = "the source has changed since the run"
    MISSING = "the source cannot be read here"


@dataclass(frozen=True, slots=True)
class Source:
    """One source file.

    Attributes:
        lines: its lines as the parser counts them; empty where they may not be shown.
    """

    state: State
    lines: tuple[str, ...] = ()


def read_source(root: Path, name: str, digest: str, last_line: int) -> Source:
    """Find a source again.

    Args:
        root: the folder that `name` is relative to.
        name: as the report has it.
        digest: of the file in the run; "" if the report does not say.
        last_line: the last line that the report speaks of: a file that ends before it is
            another one, whatever is known of it.
    """
    content = _content(root, name, known=bool(digest))
    if content is None:
        return Source(State.MISSING)
    if digest and digest_of(content) != digest:
        return Source(State.CHANGED)
    lines = tuple(_decoded(content).removesuffix("\n").split("\n"))
    if last_line > len(lines):
        return Source(State.CHANGED)
    return Source(State.SAME if digest else State.UNKNOWN, lines)


def digest_of_file(path: Path) -> str | None:
    """Give what tells whether a file has changed, or None if it cannot be read."""
    try:
        return digest_of(path.read_bytes())
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return None


def _content(root: Path, name: str, *, known: bool) -> bytes | None:
    try:
        path = (root / name).resolve()
        # A report that somebody sent must not make us publish a file of this machine.
        if not known and not path.is_relative_to(root.resolve()):
            return None
        return path.read_bytes()
    except (OSError, ValueError, RuntimeError):
        return None


def _decoded(content: bytes) -> str:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        text = content.decode(encoding, "replace")
    except (SyntaxError, LookupError):
        text = content.decode("utf-8", "replace")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
