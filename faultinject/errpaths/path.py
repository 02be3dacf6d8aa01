"""Error paths: the code that runs only because something failed.

Lives here: `ErrorPath`, one such piece of code with its place and with what shows that
it ran, and `SourcePaths`, all those of one file. Not here: how they are found
(`faultinject.errpaths.find`), and which of them ran.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class PathKind(Enum):
    """What makes a piece of code an error path.

    ``EXCEPT``, ``EXCEPT_STAR``: the body of a handler. ``FINALLY``: the exceptional way
    through a ``finally`` block, which the normal way runs too. ``WITH``: the exit of a
    ``with`` statement on an exception. ``SUPPRESS``: the same, of ``contextlib.suppress``.
    ``NONE_BRANCH``: what runs because an allocation call gave ``None``. ``ELSE``: the same,
    where the test was for success: its ``else``, or what follows when the success left.
    ``RAISE``, ``ERROR_RETURN``: a ``raise`` (or an ``assert`` that the allocation went
    well), and a ``return`` of an error, inside the two before.
    """

    EXCEPT = "except"
    EXCEPT_STAR = "except-star"
    FINALLY = "finally"
    WITH = "with"
    SUPPRESS = "suppress"
    NONE_BRANCH = "none-branch"
    ELSE = "else"
    RAISE = "raise"
    ERROR_RETURN = "error-return"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of source, in the units of ``ast`` and of ``code.co_positions()``.

    Attributes:
        line: 1-based.
        column: 0-based, in UTF-8 bytes.
        end_line: 1-based, inclusive.
        end_column: exclusive.
    """

    line: int
    column: int
    end_line: int
    end_column: int

    def covers(self, other: Span) -> bool:
        """Tell whether `other` lies inside, its edges included."""
        return (self.line, self.column) <= (other.line, other.column) and (
            other.end_line,
            other.end_column,
        ) <= (self.end_line, self.end_column)


@dataclass(frozen=True, slots=True)
class ErrorPath:
    """One error path of one source file.

    Attributes:
        file: the file, as it was given to the finder.
        function: the qualified name of the enclosing function or class as ``co_qualname``
            has it, ``<module>`` outside of any; a comprehension belongs to what it is in.
        kind: what makes it an error path.
        line: its first line: the one with the keyword (``except``, ``finally``, ``if``,
            ``else``, ``case``, ``with``, ``raise`` …), or of the expression.
        end_line: its last line; of a ``with``, the last line of the managers' expressions.
        entry: the lines of which at least one runs when the path does, ascending and never
            empty: those of the first statement that has code; of a ``with``, the keyword's
            and those of the managers' expressions: to one of them the interpreter
            attributes the exit (3.12 to the keyword, 3.11 and 3.13 to a manager).
        by_line: whether one of the entry lines running proves that the path ran. False
            where they run otherwise too: ``finally``, ``with``, ``except E: pass`` on one
            line, an expression. `code` then says where to look.
        code: what runs when the path does, by place: the statements or the expression; of
            a ``with``, from the keyword to the last manager; of a ``suppress`` that stands
            beside other managers, its own expression. An ``assert`` is there as a whole.
        key: names the path within its file, and survives edits elsewhere in the file.
        types: the exceptions named by the handler, ``suppress`` or ``raise``, as written;
            empty for a bare ``except`` and where there is nothing to name.
        guarded: the first and last line of what the path guards: the body of a ``try`` or
            ``with``; of a ``finally``, handlers and ``else`` included. None for the rest.
        allocations: the lines of the allocation calls whose ``None`` leads here, ascending;
            where a function of the same file makes the allocation, the line that calls it
            and those in it. Empty for handlers, ``finally`` and ``with``.
    """

    file: str
    function: str
    kind: PathKind
    line: int
    end_line: int
    entry: tuple[int, ...]
    by_line: bool
    code: Span
    key: str
    types: tuple[str, ...] = ()
    guarded: tuple[int, int] | None = None
    allocations: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a source has no list of error paths.

    Attributes:
        file: the file, as it was given to the finder.
        reason: what is wrong with it, in a few words without a full stop.
        line: where, 1-based; 0 where the whole file is meant.
    """

    file: str
    reason: str
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class SourcePaths:
    """What the finder says of one file.

    Attributes:
        file: the file, as it was given to the finder.
        digest: tells whether the file's bytes are still those that were read; "" if they
            could not be read at all.
        paths: in the order of their first lines; excluded ones are left out.
        excluded: how many were left out because coverage's settings exclude them.
        unreadable: why `paths` is empty, or None if the file was understood.
    """

    file: str
    digest: str = ""
    paths: tuple[ErrorPath, ...] = ()
    excluded: int = 0
    unreadable: Unreadable | None = None
