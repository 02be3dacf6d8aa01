"""Findings: a report's plain document, as the renderers look at it.

Lives here: trials and error paths with the links between them, gathered by file. Every
renderer begins with `Findings.of`. Not here: reading and checking the document
(`faultinject.report.reading`), counting (`faultinject.report.counts`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import named_caller

# What each kind of error path is called where people read it.
KINDS = {
    "except": "except",
    "except-star": "except*",
    "finally": "finally, on an exception",
    "with": "with, left by an exception",
    "suppress": "suppress",
    "none-branch": "branch for None",
    "raise": "raise",
    "error-return": "return of an error",
    "else": "else of a checked call",
}

LEFT = "test"
"""Where a fault ended that nothing caught, as the document says it."""

# In the order in which a reader wants to know: the best that can be said comes first.
STATES = ("clean", "injected", "never", "undecided")


@dataclass(slots=True, eq=False)
class StruckTrial:
    """One trial, and the test that it belongs to.

    Attributes:
        verdict: ``good``, ``warning`` or ``bad``.
        interpreter: the known defect of CPython behind a bad outcome, or None.
        entered: the error paths that it entered because of its fault.
        caught_by: the one of them in which the fault ended, if that is known.
        left: whether nothing caught the fault: it left the test.
    """

    test: str
    capability: str
    file: str
    line: int
    function: str
    hit: int
    outcome: Outcome
    verdict: str
    known: bool
    interpreter: str | None
    persistent: bool
    error: str | None
    leaks: tuple[str, ...]
    details: tuple[str, ...]
    traceback: str
    request: str
    replay: str
    entered: list[FoundPath] = field(default_factory=list)
    caught_by: FoundPath | None = None
    left: bool = False

    @property
    def ended(self) -> FoundPath | str | None:
        """Where its fault ended: a path, `LEFT`, or None where nobody knows."""
        return LEFT if self.left else self.caught_by

    @property
    def fails_run(self) -> bool:
        """Whether this trial is why a run ends with an error."""
        return self.verdict == "bad" and not self.known and self.interpreter is None

    @property
    def command(self) -> str:
        """The line that runs this trial again."""
        return f"pytest --fail-alloc-replay={shlex.quote(self.replay)}"


@dataclass(slots=True, eq=False)
class FoundPath:
    """One error path, and the trials that entered it.

    Attributes:
        reached: one of `STATES`.
        unreachable: whether no call site that was reached can enter it.
    """

    file: str
    line: int
    end_line: int
    kind: str
    function: str
    types: tuple[str, ...]
    reached: str
    unreachable: bool = False
    entered_by: list[StruckTrial] = field(default_factory=list)

    @property
    def label(self) -> str:
        """What it is, in words: ``except MemoryError``."""
        word = KINDS.get(self.kind, self.kind)
        return f"{word} {', '.join(self.types)}" if self.types else word

    @property
    def lines(self) -> str:
        """Its lines: ``45`` or ``45-48``."""
        return span_text(self.line, self.end_line)


@dataclass(slots=True)
class FileFindings:
    """What a campaign found about one file.

    Attributes:
        name: relative to the root folder, with ``/``.
        digest: of the file's bytes as they were in the run; "" where nobody noted it.
        trouble: why its error paths are not known, or "".
    """

    name: str
    paths: list[FoundPath] = field(default_factory=list)
    trials: list[StruckTrial] = field(default_factory=list)
    digest: str = ""
    trouble: str = ""


@dataclass(slots=True)
class Findings:
    """A whole report.

    Attributes:
        files: by name; each has a trial, an error path, or a reason why it has none.
        trials: all, also those without a call site.
        tests: the document's own entries.
        has_paths: whether error paths were looked for at all.
        python: the versions that ran.
        version: of faultinject.
    """

    files: dict[str, FileFindings]
    trials: list[StruckTrial]
    tests: list[dict[str, Any]]
    has_paths: bool
    python: str
    version: str

    @property
    def paths(self) -> Iterator[FoundPath]:
        """Every error path."""
        return (path for file in self.files.values() for path in file.paths)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Findings:
        """Gather what a checked document of schema 1 says, by file."""
        found = cls(
            files={},
            trials=[_trial(test, trial) for test in document["tests"] for trial in test["trials"]],
            tests=document["tests"],
            has_paths="error_paths" in document,
            python=document.get("python", ""),
            version=document.get("faultinject", ""),
        )
        found._add_paths(document.get("error_paths", {"files": ()})["files"])
        found._add_ends(document)
        for trial in found.trials:
            if trial.file:
                found._file(trial.file).trials.append(trial)
        for name, digest in document.get("sources", {}).items():
            if name in found.files and not found.files[name].digest:
                found.files[name].digest = digest
        for file in found.files.values():
            file.paths.sort(key=lambda path: (path.line, -path.end_line, path.kind))
            file.trials.sort(key=lambda trial: trial.line)
        found.files = dict(sorted(found.files.items()))
        return found

    def _file(self, name: str) -> FileFindings:
        return self.files.setdefault(name, FileFindings(name))

    def _add_paths(self, entries: list[dict[str, Any]]) -> None:
        by_token = {trial.replay: trial for trial in self.trials}
        for entry in entries:
            if not entry["paths"] and not entry.get("unreadable"):
                continue
            file = self._file(entry["file"])
            file.digest = entry.get("digest") or ""
            file.trouble = entry.get("unreadable") or ""
            for plain in entry["paths"]:
                path = _path(file.name, plain)
                file.paths.append(path)
                for token in plain.get("entered_by", ()):
                    if token in by_token:
                        path.entered_by.append(by_token[token])
                        by_token[token].entered.append(path)

    def _add_ends(self, document: dict[str, Any]) -> None:
        places = {(path.file, path.line, path.kind): path for path in self.paths}
        plain = (trial for test in document["tests"] for trial in test["trials"])
        for trial, said in zip(self.trials, plain, strict=True):
            end = said.get("caught")
            trial.left = end == LEFT
            if isinstance(end, dict):
                trial.caught_by = places.get((end["file"], end["line"], end["kind"]))


def span_text(line: int, end_line: int) -> str:
    """Write lines as coverage tools do: ``45``, or ``45-48``."""
    return str(line) if end_line <= line else f"{line}-{end_line}"


def _path(file: str, plain: dict[str, Any]) -> FoundPath:
    return FoundPath(
        file=file,
        line=plain["line"],
        end_line=plain["end_line"],
        kind=plain["kind"],
        function=plain.get("function", ""),
        types=tuple(plain.get("types", ())),
        reached=plain["reached"],
        unreachable=bool(plain.get("unreachable", False)),
    )


def _trial(test: dict[str, Any], plain: dict[str, Any]) -> StruckTrial:
    site = plain["site"] or {"file": "", "line": 0, "function": ""}
    outcome = Outcome(plain["outcome"])
    size, unit = plain.get("size"), plain.get("unit")
    request = [f"{size} {unit}"] if size and unit else []
    request += [f"{plain['domain']} domain"] if plain.get("domain") else []
    named = named_caller(plain.get("caller") or "")
    request += [named] if named else []
    request = [plain["fault"]] if plain.get("fault") else request
    return StruckTrial(
        test=test["nodeid"],
        capability=plain["capability"],
        file=site["file"],
        line=site["line"],
        function=site["function"],
        hit=plain["hit"],
        outcome=outcome,
        verdict=plain.get("verdict", outcome.verdict().value),
        known=bool(plain.get("known", False)),
        interpreter=plain.get("interpreter"),
        persistent=bool(plain.get("persistent", False)),
        error=plain["error"],
        leaks=tuple(plain["leaks"]),
        details=tuple(plain.get("details", ())),
        traceback=plain.get("traceback") or "",
        request=", ".join(request),
        replay=plain["replay"],
    )
