"""Find: the error paths of a source, read off its text.

Lives here: `find_paths` for a source and `find_in_file` for a file. Nothing is imported
or run to be looked at. Not here: what counts as one (`faultinject.errpaths.guards`,
`faultinject.errpaths.branches`), and which of them ran.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias

from faultinject.errpaths.allocators import Allocators, mention_allocators
from faultinject.errpaths.branches import find_branches
from faultinject.errpaths.draft import Draft, finish
from faultinject.errpaths.guards import find_guards
from faultinject.errpaths.imports import Imports
from faultinject.errpaths.path import SourcePaths, Unreadable
from faultinject.errpaths.source import Source, digest_of, parse

ExcludedLines: TypeAlias = Callable[[bytes | str, str], Collection[int]]
"""Gives the excluded lines of a source, of which it gets the content and the text."""


def find_in_file(
    file: str, *, excluded: ExcludedLines | None = None, allocators: Iterable[str] = ()
) -> SourcePaths:
    """Give the error paths of a file; see `find_paths`."""
    try:
        with open(file, "rb") as stream:
            content = stream.read()
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        return SourcePaths(file, unreadable=Unreadable(file, reason))
    return find_paths(content, file, excluded=excluded, allocators=allocators)


def find_paths(
    content: bytes | str,
    file: str,
    *,
    excluded: ExcludedLines | None = None,
    allocators: Iterable[str] = (),
) -> SourcePaths:
    """Give the error paths of a source.

    Args:
        content: the source; bytes are decoded as Python does it, by cookie and mark.
        file: its name, for the result.
        excluded: finds lines that take no part, as `Exclusions.lines` does.
        allocators: calls whose ``None`` means a failure, beside the model memory's and
            this source's own functions that hand one on: a bare name for a call of that
            name on any object, ``package.module.name`` for that function.

    Returns:
        The paths; of a source that cannot be understood, the reason. It never raises
        for what is in the source.
    """
    digest = digest_of(content)
    source = parse(content, file)
    if isinstance(source, Unreadable):
        return SourcePaths(file, digest, unreadable=source)
    try:
        drafts = _drafts(source, tuple(allocators))
    except RecursionError:
        reason = "cannot be read: nested too deeply"
        return SourcePaths(file, digest, unreadable=Unreadable(file, reason))
    lines = excluded(content, source.text) if excluded is not None and drafts else ()
    paths = [path for draft, path in finish(source, drafts) if not draft.excluded(lines)]
    return SourcePaths(file, digest, tuple(paths), len(drafts) - len(paths))


def _drafts(source: Source, extra: tuple[str, ...]) -> list[Draft]:
    imports = Imports(source.tree)
    drafts = list(find_guards(source, imports))
    if mention_allocators(source.text, extra):
        drafts += find_branches(source, imports, Allocators(imports, source, extra))
    return drafts
