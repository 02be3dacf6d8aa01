"""Drafts: error paths as they are written down while a tree is walked.

Lives here: `Draft`, an `ErrorPath` without its key, and the lines that show that a block
of statements was entered. Not here: what is an error path (`faultinject.errpaths.guards`
for handlers and the like, `faultinject.errpaths.branches` for failed allocations).
"""

from __future__ import annotations

import ast
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from faultinject.errpaths.path import ErrorPath, PathKind, Span
from faultinject.errpaths.qualname import shown
from faultinject.errpaths.source import Source, last_line, span_of, span_of_block

# In front of a block or statement: nothing, or a keyword that is no code by itself.
_BARE = re.compile(r"\s*(else\s*:\s*)?")
# In front of and behind an expression: what makes no instruction of its own.
_BARE_BEFORE = re.compile(r"[\s()\[{]*(else|or|and)?[\s(]*")
_BARE_AFTER = re.compile(r"[\s)\]},:]*(#.*)?")


@dataclass(frozen=True, slots=True)
class Draft:
    """An error path, by what stands in the source; fields as in `ErrorPath`.

    Attributes:
        statements: the first lines of the statements that it consists of; where all of
            them are excluded, so is the path.
        marks: the lines whose exclusion is the path's.
    """

    function: str
    kind: PathKind
    line: int
    end_line: int
    entry: tuple[int, ...]
    by_line: bool
    code: Span
    marks: tuple[int, ...]
    statements: tuple[int, ...] = ()
    types: tuple[str, ...] = ()
    guarded: tuple[int, int] | None = None
    allocations: tuple[int, ...] = ()

    def excluded(self, lines: Collection[int]) -> bool:
        """Tell whether coverage's settings take the path away."""
        if any(mark in lines for mark in self.marks):
            return True
        return bool(self.statements) and all(line in lines for line in self.statements)


def draft_of_block(
    source: Source,
    function: str,
    kind: PathKind,
    line: int,
    statements: Sequence[ast.stmt],
    *,
    types: tuple[str, ...] = (),
    guarded: tuple[int, int] | None = None,
    allocations: Collection[int] = (),
) -> Draft:
    """Write down a block of statements, whose keyword stands at `line`."""
    entered, lines = _entry(statements)
    by_line = kind is not PathKind.FINALLY
    if entered is None:
        by_line = False
    elif not _BARE.fullmatch(source.before(span_of(entered))):
        # The keyword's line runs whether or not the block does.
        lines = [number for number in lines if number > entered.lineno] or [entered.lineno]
        by_line = by_line and lines[0] > entered.lineno
    code = span_of_block(statements)
    return Draft(
        function,
        kind,
        line,
        code.end_line,
        tuple(lines),
        by_line,
        code,
        (line,),
        tuple(span_of(statement).line for statement in statements),
        types,
        guarded,
        tuple(sorted(allocations)),
    )


def draft_of_statement(
    source: Source,
    function: str,
    kind: PathKind,
    statement: ast.stmt,
    *,
    types: tuple[str, ...] = (),
    allocations: Collection[int] = (),
) -> Draft:
    """Write down one simple statement."""
    code = span_of(statement)
    alone = _BARE.fullmatch(source.before(code)) is not None
    return Draft(
        function,
        kind,
        code.line,
        code.end_line,
        tuple(range(code.line, code.end_line + 1)),
        alone and not isinstance(statement, ast.Assert),  # which runs to find nothing wrong
        code,
        (code.line,),
        types=types,
        allocations=tuple(sorted(allocations)),
    )


def draft_of_expression(
    source: Source,
    function: str,
    kind: PathKind,
    code: Span,
    within: int,
    allocations: Collection[int],
) -> Draft:
    """Write down an expression that stands in the statement at line `within`."""
    alone = _BARE_BEFORE.fullmatch(source.before(code)) and _BARE_AFTER.fullmatch(
        source.after(code)
    )
    return Draft(
        function,
        kind,
        code.line,
        code.end_line,
        tuple(range(code.line, code.end_line + 1)),
        bool(alone),
        code,
        (within, code.line),
        allocations=tuple(sorted(allocations)),
    )


def finish(source: Source, drafts: Collection[Draft]) -> Iterator[tuple[Draft, ErrorPath]]:
    """Give every draft its key, in the order of the source.

    A key is made of what the path is and says, not of where it stands. Where several of
    one function are alike, they are numbered.
    """
    kinds = list(PathKind)
    twins: dict[str, int] = {}
    for draft in sorted(
        drafts, key=lambda draft: (draft.line, draft.code, kinds.index(draft.kind))
    ):
        function = shown(draft.function)
        name = f"{function}:{draft.kind.value}:{_digest(source, draft):08x}"
        number = twins[name] = twins.get(name, 0) + 1
        yield (
            draft,
            ErrorPath(
                source.file,
                function,
                draft.kind,
                draft.line,
                draft.end_line,
                draft.entry,
                draft.by_line,
                draft.code,
                f"{name}:{number}",
                draft.types,
                draft.guarded,
                draft.allocations,
            ),
        )


def _digest(source: Source, draft: Draft) -> int:
    """Digest the text, not the tree: its shape is another one in each version of Python."""
    if draft.line < draft.code.line:
        texts = list(source.lines[draft.line - 1 : draft.code.end_line])
    elif draft.statements:
        texts = [source.before(draft.code), *source.cut(draft.code).split("\n")]
    else:
        texts = source.cut(draft.code).split("\n")
    stripped = (text.strip() for text in texts)
    kept = [text for text in stripped if text and not text.startswith("#")]
    return zlib.crc32("\n".join(kept).encode("utf-8", "surrogatepass"))


def _entry(statements: Sequence[ast.stmt]) -> tuple[ast.stmt | None, list[int]]:
    """Find the first statement that has code, and the lines of it that can come first."""
    for statement in statements:
        if not _is_declaration(statement):
            return statement, sorted(_first_lines(statement))
    return None, [statements[0].lineno]


def _is_declaration(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.AnnAssign):
        return statement.value is None and isinstance(statement.target, ast.Name)
    return isinstance(statement, ast.Global | ast.Nonlocal)


def _first_lines(statement: ast.stmt) -> set[int]:
    head: ast.expr | ast.stmt
    inner: Sequence[ast.stmt] = ()
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return set(range(span_of(statement).line, statement.lineno + 1))
        case ast.If() | ast.While():
            head = statement.test
            if isinstance(head, ast.Constant):  # has no code: `while True`
                inner = [*statement.body, *statement.orelse]
        case ast.For() | ast.AsyncFor():
            head = statement.iter
        case ast.With() | ast.AsyncWith():
            head = statement.items[-1].context_expr
        case ast.Match():
            head = statement.subject
        case ast.Try() | ast.TryStar():
            return {statement.lineno, *_entry(statement.body)[1]}
        case _:
            head = statement
    lines = set(range(statement.lineno, last_line([head]) + 1))
    if inner:
        lines.update(_entry(inner)[1])
    return lines
