"""Entries: the lines or instructions of a code object with which an error path begins.

Lives here: reading them off the bytecode. Where lines decide, lines are told. Where other
code runs on the same line, its instructions have places that tell columns as well, and the
exception table tells the exceptional copy of a ``finally`` block from the normal one. Not
here: where the paths are in the source (`faultinject.errpaths.find`), noticing that
something runs (`faultinject.errpaths.monitor`).
"""

from __future__ import annotations

import dis
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import Final

from faultinject.errpaths.path import ErrorPath, PathKind, Span

_WITHS: Final = (PathKind.WITH, PathKind.SUPPRESS)

# Code of their own that stands in no function of the source's: it belongs to what it is in.
_UNNAMED: Final = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")

_ASSERTS: Final = ("LOAD_ASSERTION_ERROR", "LOAD_COMMON_CONSTANT")


@dataclass(frozen=True, slots=True)
class Entries:
    """Where error paths begin in one code object.

    Attributes:
        lines: the paths by line.
        offsets: the others by the offset of an instruction, none of which begins a line:
            where it does, the interpreter tells a tool of the line and no other one of the
            instruction.
    """

    lines: dict[int, tuple[ErrorPath, ...]] = field(default_factory=dict)
    offsets: dict[int, tuple[ErrorPath, ...]] = field(default_factory=dict)

    @property
    def paths(self) -> set[str]:
        """The keys of all that begin here."""
        found = (*self.lines.values(), *self.offsets.values())
        return {path.key for paths in found for path in paths}


def find_entries(code: CodeType, paths: Sequence[ErrorPath]) -> Entries:
    """Give the error paths that begin in a code object.

    Args:
        code: a function, class body or module, as it was compiled from the source.
        paths: those of its file.
    """
    function = function_of(code)
    mine = [path for path in paths if path.function == function]
    found = Entries()
    starts = {line for _, line in dis.findlinestarts(code)} if mine else set()
    for path in mine:
        if path.by_line:
            for line in starts.intersection(path.entry):
                found.lines[line] = (*found.lines.get(line, ()), path)
    if not all(path.by_line for path in mine):
        body = _Bytecode(code, mine)
        for path in mine:
            for offset in () if path.by_line else body.entries(path):
                found.offsets[offset] = (*found.offsets.get(offset, ()), path)
    return found


def function_of(code: CodeType) -> str:
    """Name the function that a code object belongs to, as `ErrorPath.function` does."""
    parts = code.co_qualname.split(".")
    while parts and parts[-1] in _UNNAMED:
        parts.pop()
        if parts and parts[-1] == "<locals>":
            parts.pop()
    return ".".join(parts) or "<module>"


class _Bytecode:
    """One code object, decoded."""

    def __init__(self, code: CodeType, mine: Sequence[ErrorPath]) -> None:
        self._all = list(dis.get_instructions(code))
        self._index = {instruction.offset: i for i, instruction in enumerate(self._all)}
        self._line_starts = {offset for offset, _ in dis.findlinestarts(code)}
        # To the interpreter a line begins also where a jump or an error comes to it.
        self._line_starts |= {item.offset for item in self._all if item.is_jump_target}
        self._table = dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]
        self._line_starts |= {entry.target for entry in self._table}
        self._suppressing = [path.code for path in mine if path.kind is PathKind.SUPPRESS]

    def entries(self, path: ErrorPath) -> Iterator[int]:
        """Give the offsets with which a path begins, once for each copy of its code."""
        if path.kind is PathKind.FINALLY:
            found = self._exceptional_copies(path)
        elif path.kind in _WITHS:
            found = self._exits(path)
        else:
            found = self._beginnings(path)
        for index in found:
            # What begins a line cannot be told; what follows it runs as well, or nearly so.
            late = index + 1 < len(self._all) and self._begins_line(index)
            late = late and not self._begins_line(index + 1)
            yield self._all[index + late].offset

    def _begins_line(self, index: int) -> bool:
        item = self._all[index]
        has_line = item.positions is not None and item.positions.lineno is not None
        return has_line and item.offset in self._line_starts

    def _beginnings(self, path: ErrorPath) -> Iterator[int]:
        """Give where the code of a path is entered: once for each copy that the compiler made."""
        inside = False
        for number, instruction in enumerate(self._all):
            place = _span(instruction)
            if place is None:
                continue  # it goes with what is before it
            was_inside, inside = inside, path.code.covers(place)
            if not inside or was_inside:
                continue
            if place.line in path.entry:
                failing = self._failing_assertion(number, path)
                yield number if failing is None else failing

    def _failing_assertion(self, number: int, path: ErrorPath) -> int | None:
        """Find where an ``assert`` fails: the path is there as a whole, with its test."""
        if path.kind is not PathKind.RAISE or path.by_line:
            return None
        for i in range(number, len(self._all)):
            place = _span(self._all[i])
            if place is not None and not path.code.covers(place):
                return None
            if self._all[i].opname in _ASSERTS:
                return i
        return None

    def _exceptional_copies(self, path: ErrorPath) -> Iterator[int]:
        for target in self._handlers():
            first = next(self._placed_from(target), None)
            if first is None or not path.code.covers(first):
                continue
            if first.line in path.entry or first.line == path.code.line:
                yield target

    def _exits(self, path: ErrorPath) -> Iterator[int]:
        """Give where a manager's exit is called, or where it has taken the exception."""
        for target in self._handlers():
            if not self._is_exit(target):
                continue
            manager = self._manager(target, path.code)
            if manager is None or not path.code.covers(manager):
                continue
            if path.kind is PathKind.WITH:
                if not any(code.covers(manager) for code in self._suppressing):
                    yield target
                continue
            for instruction in self._all[target:]:
                if instruction.opname == "POP_JUMP_IF_TRUE":
                    yield self._index[int(instruction.argval)]
                    break

    def _is_exit(self, target: int) -> bool:
        return any(item.opname == "WITH_EXCEPT_START" for item in self._all[target : target + 3])

    def _manager(self, target: int, code: Span) -> Span | None:
        """Find the manager whose exit is called at a handler.

        The exit has the place of the manager's expression, or before 3.13 of the whole
        statement: then the manager is what ran last before the body.
        """
        place = next(self._placed_from(target), None)
        if place is None or code.covers(place):
            return place
        starts = [entry.start for entry in self._table if entry.target == self._all[target].offset]
        if not starts or min(starts) not in self._index:
            return None
        before = (_span(item) for item in reversed(self._all[: self._index[min(starts)]]))
        return next((span for span in before if span is not None and not span.covers(place)), None)

    def _handlers(self) -> Iterator[int]:
        for offset in sorted({entry.target for entry in self._table}):
            index = self._index.get(offset)
            if index is not None and self._all[index].opname == "PUSH_EXC_INFO":
                yield index

    def _placed_from(self, index: int) -> Iterator[Span]:
        for instruction in self._all[index:]:
            place = _span(instruction)
            if place is not None:
                yield place


def _span(instruction: dis.Instruction) -> Span | None:
    at = instruction.positions
    if at is None or None in (at.lineno, at.col_offset, at.end_lineno, at.end_col_offset):
        return None
    return Span(at.lineno, at.col_offset, at.end_lineno, at.end_col_offset)  # type: ignore[arg-type]
