"""Profiles: named tables of what goes wrong in life.

Lives here: `Row`, `rows` and `names`, and the reading of all three sources: the table of
this package (``profiles.toml``), other packages (the hook `faultinject_profiles`), and the
project's pyproject.toml. Not here: what targets and faults mean
(`faultinject.functions.target`, `faultinject.functions.fault`), and the states that rows ask
for (`faultinject.functions.condition`).

The first source is read once; the project's file every time.
"""

from __future__ import annotations

import builtins
import errno
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from faultinject.capabilities import registry
from faultinject.errors import SpecError
from faultinject.functions import condition, fault, target

_OWN: Final = "profiles.toml"
_KEYS: Final = ("target", "targets", "faults", "source", "only", "optional")
_CURE: Final = (
    'Write target = "mypkg.db:Session.commit", faults = ["OSError(ENOSPC)"], '
    'source = "who says that it has this error"'
)


@dataclass(frozen=True)
class Row:
    """One callable, or several under one pattern, and the errors it has in life.

    Attributes:
        target: a pattern for `faultinject.functions.target.resolve`.
        faults: texts for `faultinject.functions.fault.parse`, the likeliest first.
        source: what lists these errors: manual pages, or a piece of documentation.
        only: the state in which the callable can have them, one of
            `faultinject.functions.condition.CONDITIONS`; ``None`` for any.
    """

    target: str
    faults: tuple[str, ...]
    source: str
    only: str | None = None


def rows(name: str, *, ending: str | None = None, root: Path | None = None) -> tuple[Row, ...]:
    """Every row of a profile: ours, those of installed packages, those of the project.

    Rows of ours that this platform or version of Python has nothing for are left out. The
    modules that the rows name are imported.

    Args:
        name: such as ``disk``.
        ending: only rows whose targets may end so, as ``replace``; the others' modules are
            left alone.
        root: the folder of the project's pyproject.toml; where not given, the nearest one
            above the working directory counts.

    Raises:
        SpecError: there is no such profile, or a row of it is wrong; file and row are named.
        CapabilityError: an installed package could not be loaded.
    """
    every = _every(root)
    if name not in every:
        close = get_close_matches(name, every, n=3, cutoff=0.6)
        raise SpecError(
            "no such profile",
            value=name,
            cure=f"Perhaps {' or '.join(close)} is meant"
            if close
            else f"Give one of {', '.join(sorted(every))}",
        )
    found = (row for table, where in every[name] for row in _rows(table, where, ending))
    return tuple(dict.fromkeys(found))


def names(*, root: Path | None = None) -> list[str]:
    """The names of all profiles, ours first, in the order of their tables.

    Raises:
        SpecError: the project's file cannot be read.
        CapabilityError: an installed package could not be loaded.
    """
    return list(_every(root))


_Tables = dict[str, list[tuple[object, str]]]


def _every(root: Path | None) -> _Tables:
    """All tables by profile, each with the place it comes from."""
    found: _Tables = {name: [(table, f"{_OWN}: {name}")] for name, table in _own().items()}
    for origin, added in registry.call("faultinject_profiles"):
        if not isinstance(added, Mapping):
            raise SpecError(
                "profiles are no mapping from names to rows",
                value=added,
                where=origin,
                cure="Return a dict of lists of dicts",
            )
        for name, table in added.items():
            found.setdefault(name, []).append((table, f"{origin}: {name}"))
    file = _pyproject(root)
    for name, table in ({} if file is None else _of_project(file)).items():
        where = f"{file}: tool.faultinject.profiles.{name}"
        found.setdefault(name, []).append((table, where))
    return found


@lru_cache(maxsize=1)
def _own() -> dict[str, Any]:
    return tomllib.loads((files(__package__) / _OWN).read_text(encoding="utf-8"))


def _pyproject(root: Path | None) -> Path | None:
    folders = [root] if root is not None else [Path.cwd(), *Path.cwd().parents]
    places = (folder / "pyproject.toml" for folder in folders)
    return next((place for place in places if place.is_file()), None)


def _of_project(file: Path) -> Mapping[str, object]:
    try:
        document: Any = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(
            f"the project's settings cannot be read: {error}",
            where=str(file),
            cure="Repair the file",
        ) from None
    for key in ("tool", "faultinject", "profiles"):
        document = document.get(key, {}) if isinstance(document, Mapping) else None
    if not isinstance(document, Mapping):
        raise SpecError(
            "profiles are no table",
            value=document,
            where=f"{file}: tool.faultinject.profiles",
            cure="Begin each row with [[tool.faultinject.profiles.NAME]]",
        )
    return document


# -- rows ------------------------------------------------------------------------------


def _rows(table: object, where: str, ending: str | None) -> Iterator[Row]:
    entries = [table] if isinstance(table, Mapping) else table
    if not isinstance(entries, list | tuple):
        raise SpecError("a profile is no list of rows", value=entries, where=where, cure=_CURE)
    for number, entry in enumerate(entries, 1):
        own = where.startswith(_OWN)
        yield from _expanded(entry, f"{where}, row {number}", ending, own=own)


def _expanded(entry: object, where: str, ending: str | None, *, own: bool) -> Iterator[Row]:
    if not isinstance(entry, Mapping):
        raise SpecError("a row is no table", value=entry, where=where, cure=_CURE)
    unknown = next((key for key in entry if key not in _KEYS), None)
    if unknown is not None:
        raise SpecError(
            "a row has no such key",
            value=unknown,
            where=where,
            cure=f"Give some of {', '.join(_KEYS)}",
        )
    source = entry.get("source")
    if not isinstance(source, str) or not source.strip():
        raise SpecError("a row names no source", value=source, where=where, cure=_CURE)
    only = entry.get("only")
    if only is not None and only not in condition.CONDITIONS:
        raise SpecError(
            "a row asks for an unknown state",
            value=only,
            where=f"{where}, only",
            cure=f"Give one of {', '.join(condition.CONDITIONS)}, or leave it out",
        )
    targets = _texts(entry, "targets" if "targets" in entry else "target", where)
    if ending is not None:
        targets = [text for text in targets if _may_end(text, ending)]
        if not targets:
            return
    faults = _texts(entry, "faults", where)
    if own:
        faults = [text for text in faults if not text.startswith("E") or _known(text)]
    for text in faults:
        _checked(fault.parse, text, f"{where}, faults")
    for text in targets:
        if entry.get("optional") is True and not _exists(text):
            continue
        _checked(target.resolve, text, f"{where}, target")
        yield Row(text, tuple(faults), source.strip(), only)


def _may_end(pattern: str, ending: str) -> bool:
    last = re.split("[.:]", pattern)[-1]
    return "*" in last or last == ending


def _texts(entry: Mapping[Any, object], key: str, where: str) -> list[str]:
    given = entry.get(key)
    texts = [given] if isinstance(given, str) else given
    if (
        not isinstance(texts, list | tuple)
        or not texts
        or not all(isinstance(text, str) for text in texts)
    ):
        raise SpecError(f"a row has no {key}", value=given, where=f"{where}, {key}", cure=_CURE)
    return list(texts)


def _checked(read: Any, text: str, where: str) -> None:
    try:
        read(text)
    except SpecError as error:
        place = f"{where}; {error.where}" if error.where else where
        raise SpecError(error.what, value=error.value, where=place, cure=error.cure) from error


def _exists(pattern: str) -> bool:
    # Asked first: to refuse a package that is not installed, all that are must be looked through.
    top = re.split("[.:]", pattern)[0]
    try:
        if not hasattr(builtins, top) and top not in sys.modules and find_spec(top) is None:
            return False
        target.resolve(pattern)
    except (SpecError, ValueError):  # the latter where there is no name at all
        return False
    return True


def _known(text: str) -> bool:
    """Whether this platform has the error's number: Windows has no quotas."""
    name = text.split()[0]
    return name in ("EOFError",) or hasattr(errno, name)
