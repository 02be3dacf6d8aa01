"""Error paths as tables of cases write them."""

from __future__ import annotations

from textwrap import dedent

from faultinject.errpaths.find import find_paths
from faultinject.errpaths.path import ErrorPath

# Where a source begins with this line, the first line of a case is line 2.
HEAD = "import faultinject as fi, errno\n"


def paths_of(source: str) -> tuple[ErrorPath, ...]:
    """The error paths of a source that can be read."""
    found = find_paths(dedent(source), "m.py")
    assert found.unreadable is None
    return found.paths


def shown(path: ErrorPath) -> str:
    """Lines, kind, `@` entry with `~` where lines do not decide, `<` allocations."""
    entry = ",".join(map(str, path.entry)) + ("" if path.by_line else "~")
    calls = ",".join(map(str, path.allocations))
    return f"{path.line}-{path.end_line} {path.kind.value} @{entry} <{calls}"
