"""From the names of packages and files to rules that the C module can match.

Lives here: `CodeScope`, the code under test as file names and qualified names. Not
here: the same question for the model memory, asked of live frames
(`faultinject.campaign.scope`), and the matching (``scope.c``).

Inside an allocator no module can be looked up; a code object knows its file and its
qualified name, and nothing else. So code that was compiled under another file name than
its module's, such as ``<string>``, belongs to nobody here, and what it allocates to its
caller.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from typing import Final, TypeAlias

from faultinject.callsite import Pattern

Rule: TypeAlias = tuple[int, int, str, str, int, int, int]
"""kind, says, path, qualified name, first and last line, rank: as scope.h reads it."""

_MakeRule: TypeAlias = Callable[[int, str], Rule]

# Kinds and meanings of scope.h.
_EXACT, _PREFIX, _GLOB = range(3)
_INCLUDE, _OMIT, _STOP, _REQUIRE, _REJECT = 1, 2, 4, 8, 16

_ANY_LAST: Final = 2**31 - 1
_ALWAYS: Final = 1 << 20  # the rank of an omission: no longer path overrides it
_LINES: Final = re.compile(r":([0-9]+)(?:-([0-9]+))?\Z")

HARNESS: Final = (
    "faultinject",
    "pytest_faultinject",
    "pytest",
    "_pytest",
    "pluggy",
    "coverage",
    "pytest_cov",
    "pytest_timeout",
    "pytest_asyncio",
    "xdist",
    "execnet",
)
"""Packages whose own requests never count and never fail, unless a source names them."""

MAX_DEPTH: Final = 32
"""How many frames away the code under test is looked for; the kernel's limit."""


@dataclass(frozen=True, slots=True)
class CodeScope:
    """The code under test, resolved to files: what the C module is armed with.

    Attributes:
        rules: for the C module.
        extensions: shared objects under test.
        depth: frames that are looked at for one under test.
        filter_depth: frames that require and reject look at.
        filtered: whether the scope asks anything of frames, beyond leaving the harness out.
    """

    rules: tuple[Rule, ...]
    extensions: tuple[str, ...] = ()
    depth: int = MAX_DEPTH
    filter_depth: int = MAX_DEPTH
    filtered: bool = False

    @classmethod
    def of(
        cls,
        sources: Iterable[str] = (),
        omit: Iterable[str] = (),
        *,
        exclude: Iterable[str] = (),
        require: Iterable[str] = (),
        reject: Iterable[str] = (),
        filter_depth: int = MAX_DEPTH,
        depth: int = MAX_DEPTH,
        harness: Iterable[str] = HARNESS,
    ) -> CodeScope:
        """Resolve what is under test.

        Each text is an existing file or folder, or a pattern (`faultinject.callsite.Pattern`):
        a package or module with its extension modules, a function, a file glob. One
        that matches nothing is no error. Without sources all code is under test that is
        not omitted. A request belongs to the nearest frame under test; one that the
        harness makes on the way there, to nobody.

        Args:
            sources: what is under test.
            omit: what is not, even inside a source.
            exclude: what is not, unless a source names it or something inside it.
            require: the kernel's filter: one of these must be among the callers.
            reject: the kernel's filter: none of these may be.
            filter_depth: frames that the two look at.
            depth: frames to look at for one under test.
            harness: packages that never count, unless a source names them.
        """
        rules: list[Rule] = []
        for name in harness:
            rules += _resolve(name, _STOP, loaded_only=True).rules
        exclude = tuple(exclude)
        for text in exclude:
            rules += _resolve(text, _OMIT).rules
        extensions: list[str] = []
        named = False
        excluded = frozenset(os.path.abspath(text) for text in exclude)
        for text in sources:
            resolved = _resolve(text, _INCLUDE)
            named = True
            rules += resolved.rules
            extensions += _shared_in(resolved.places, excluded)
        if named:
            # A source that matches nothing must not put everything under test.
            rules.append((_EXACT, _INCLUDE, "", "", 0, _ANY_LAST, 0))
        omitted: set[str] = set()
        for text in omit:
            resolved = _resolve(text, _OMIT, rank=_ALWAYS)
            named = True
            rules += resolved.rules
            omitted.update(_shared_in(resolved.places))
        filters = _filters(require, _REQUIRE) + _filters(reject, _REJECT)
        return cls(
            rules=tuple(rules) + filters,
            extensions=tuple(dict.fromkeys(item for item in extensions if item not in omitted)),
            depth=depth,
            filter_depth=filter_depth,
            filtered=named or bool(filters) or any(rule[1] == _OMIT for rule in rules),
        )

    def with_filters(
        self, require: Iterable[str], reject: Iterable[str], filter_depth: int
    ) -> CodeScope:
        """Give the same scope with the kernel's filters."""
        filters = _filters(require, _REQUIRE) + _filters(reject, _REJECT)
        return replace(self, rules=self.rules + filters, filter_depth=filter_depth, filtered=True)


@dataclass(slots=True)
class _Resolved:
    """What a text comes to: rules, and the folders and files that may hold shared objects.

    They are looked for only where somebody asks: a folder of installed packages is large.
    """

    rules: list[Rule]
    places: list[str]


def _filters(texts: Iterable[str], says: int) -> tuple[Rule, ...]:
    found: list[Rule] = []
    for text in texts:
        # One rule that can match nothing keeps a pattern of an unknown module refusing.
        found.append((_EXACT, says, "", "", 0, _ANY_LAST, 0))
        found += _resolve(text, says).rules
    return tuple(found)


def _resolve(text: str, says: int, *, rank: int = 0, loaded_only: bool = False) -> _Resolved:
    def rule(kind: int, path: str, name: str = "", first: int = 0, last: int = _ANY_LAST) -> Rule:
        return (kind, says, path, name, first, last, rank + len(path) + len(name))

    if os.sep in text and os.path.exists(text):
        return _path_rules(os.path.abspath(text), rule)
    stem, first, last = text, 0, _ANY_LAST
    lines = _LINES.search(text)
    if lines:
        stem, first, last = text[: lines.start()], int(lines[1]), int(lines[2] or lines[1])
    if "/" in stem or stem.endswith(".py") or stem == "*":
        Pattern.parse(text)  # for its errors
        if os.path.isabs(stem) and os.path.isfile(stem):
            return _Resolved([rule(_EXACT, stem, "", first, last)], [])
        glob = stem.removeprefix("./")
        return _Resolved([rule(_GLOB, glob.rstrip("/") or "/", "", first, last)], [])
    Pattern.parse(text)
    module, _, function = text.partition(":")
    resolved = _Resolved([rule(_EXACT, f"<frozen {module}>", function)], [])
    for path in _files_of(module, loaded_only=loaded_only):
        found = _path_rules(path, lambda kind, at: rule(kind, at, function))
        resolved.rules += found.rules
        if not function:
            resolved.places += found.places
    return resolved


def _path_rules(path: str, rule: _MakeRule) -> _Resolved:
    """Make the rules of one existing file or folder."""
    if os.path.isdir(path):
        return _Resolved([rule(_PREFIX, path.rstrip(os.sep) + os.sep)], [path])
    if path.endswith(tuple(EXTENSION_SUFFIXES)):
        return _Resolved([], [path])
    rules = [rule(_EXACT, path)]
    relative = os.path.relpath(path)
    if not relative.startswith(os.pardir):
        rules.append(rule(_EXACT, relative))  # a script is compiled under the name it was given
    return _Resolved(rules, [])


def _shared_in(places: Iterable[str], excluded: Container[str] = ()) -> Iterator[str]:
    """Find the shared objects among and below these places, under all their names.

    Args:
        places: files and folders.
        excluded: folders below them that are not looked into.
    """
    suffixes = tuple(EXTENSION_SUFFIXES)
    for place in places:
        found = [] if os.path.isdir(place) else [place]
        for where, folders, names in os.walk(place):
            folders[:] = [name for name in folders if os.path.join(where, name) not in excluded]
            found += [os.path.join(where, name) for name in names if name.endswith(suffixes)]
        for path in found:
            yield from dict.fromkeys((path, os.path.realpath(path)))


def _files_of(name: str, *, loaded_only: bool) -> list[str]:
    """Find the files and folders of a module, without importing anything."""
    module = sys.modules.get(name)
    if module is not None:
        folders = list(getattr(module, "__path__", ()))
        if folders:
            return [os.path.abspath(folder) for folder in folders]
        file = getattr(module, "__file__", None)
        return [os.path.abspath(file)] if isinstance(file, str) else []
    if loaded_only:
        return []
    top, *below = name.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):  # a module that hides itself is not found either
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        return [spec.origin] if spec.origin and not below and os.path.isabs(spec.origin) else []
    found = []
    for folder in spec.submodule_search_locations:
        at = os.path.join(os.path.abspath(folder), *below)
        candidates = [at, at + ".py", *(at + suffix for suffix in EXTENSION_SUFFIXES)]
        found += [path for path in candidates if os.path.exists(path)][:1]
    return found
