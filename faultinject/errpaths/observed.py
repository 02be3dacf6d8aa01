"""What was observed: for each error path whether it ran, clean or under injection only.

Lives here: joining the paths of the sources with the hits of clean runs and of trials, and
the form that the JSON report has. Not here: how hits are noticed
(`faultinject.errpaths.observe`), what a trial's hits say of its fault
(`faultinject.errpaths.links`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from faultinject.errpaths.hits import Hit
from faultinject.errpaths.path import ErrorPath, SourcePaths


class Reached(Enum):
    """How an error path was reached.

    ``CLEAN``: it ran without a fault. ``INJECTED``: it ran, but only in trials. ``NEVER``:
    it did not run. ``UNDECIDED``: lines of it ran that run otherwise too, and nothing
    tells which way it was.
    """

    CLEAN = "clean"
    INJECTED = "injected"
    NEVER = "never"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class ObservedPath:
    """One error path, and what was seen of it.

    Attributes:
        entered_by: the replay tokens of the trials whose faults entered it, sorted: trials
            end in any order.
        unreachable: it is a handler, and no call site that was reached can enter it: each
            one was tried.
    """

    path: ErrorPath
    reached: Reached
    entered_by: tuple[str, ...] = ()
    unreachable: bool = False

    def as_json(self) -> dict[str, Any]:
        """Give it as schema 1 spells it."""
        path = self.path
        return {
            "line": path.line,
            "end_line": path.end_line,
            "kind": path.kind.value,
            "function": path.function,
            "types": list(path.types),
            "reached": self.reached.value,
            "entered_by": list(self.entered_by),
            "unreachable": self.unreachable,
        }


@dataclass(frozen=True, slots=True)
class ObservedFile:
    """One file under test.

    Attributes:
        name: as reports show it.
        source: its error paths, or why they are not known.
        paths: what was seen of each.
    """

    name: str
    source: SourcePaths
    paths: tuple[ObservedPath, ...]

    def as_json(self) -> dict[str, Any]:
        """Give it as schema 1 spells it."""
        trouble = self.source.unreadable
        return {
            "file": self.name,
            "digest": self.source.digest,
            "unreadable": None if trouble is None else _place(trouble.line) + trouble.reason,
            "paths": [path.as_json() for path in self.paths],
        }


def join(
    sources: Mapping[str, SourcePaths],
    clean: Iterable[Hit],
    trials: Sequence[tuple[str, Iterable[Hit]]],
    *,
    exhausted: bool = False,
) -> list[ObservedFile]:
    """Put paths and hits together, by file and in their order.

    Args:
        sources: the files under test, by the names that hits have.
        clean: hits of runs without a fault.
        trials: for each its replay token, and what it entered because of its fault.
        exhausted: every call site that clean runs reach has had a trial.
    """
    ran_clean = set(clean)
    tokens: dict[Hit, set[str]] = {}
    for token, hits in trials:
        for hit in hits:
            tokens.setdefault(hit, set()).add(token)
    return [
        ObservedFile(
            name,
            source,
            tuple(
                _observed(path, Hit(name, path.key), ran_clean, tokens, exhausted=exhausted)
                for path in source.paths
            ),
        )
        for name, source in sorted(sources.items())
    ]


def _observed(
    path: ErrorPath,
    hit: Hit,
    clean: set[Hit],
    tokens: Mapping[Hit, set[str]],
    *,
    exhausted: bool,
) -> ObservedPath:
    unsure = hit._replace(sure=False)
    if hit in clean:
        reached = Reached.CLEAN
    elif hit in tokens:
        reached = Reached.INJECTED
    elif unsure in clean or unsure in tokens:
        reached = Reached.UNDECIDED
    else:
        reached = Reached.NEVER
    unreachable = exhausted and reached is Reached.NEVER and path.guarded is not None
    return ObservedPath(path, reached, tuple(sorted(tokens.get(hit, ()))), unreachable)


def as_json(files: Iterable[ObservedFile]) -> dict[str, Any]:
    """Give ``error_paths`` as schema 1 spells it; undecided paths are not in the total."""
    listed = [file for file in files if file.paths or file.source.unreadable]
    counts = Counter(path.reached for file in listed for path in file.paths)
    decided = {
        reached.value: counts[reached]
        for reached in (Reached.CLEAN, Reached.INJECTED, Reached.NEVER)
    }
    return {
        "files": [file.as_json() for file in listed],
        "total": sum(decided.values()),
        **decided,
        "undecided": counts[Reached.UNDECIDED],
    }


def _place(line: int) -> str:
    return f"line {line}: " if line else ""
