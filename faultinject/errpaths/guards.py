"""Guards: handlers, ``finally``, ``with`` and ``contextlib.suppress``.

Lives here: finding those error paths that the language itself marks. Not here: what runs
because an allocation gave ``None`` (`faultinject.errpaths.branches`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from faultinject.errpaths.draft import Draft, draft_of_block
from faultinject.errpaths.imports import Imports
from faultinject.errpaths.path import PathKind, Span
from faultinject.errpaths.qualname import MODULE, inside
from faultinject.errpaths.source import Source, last_line, span_of, statements_in


def find_guards(source: Source, imports: Imports) -> Iterator[Draft]:
    """Give the guards of a source, in no order."""
    # Not recursive: an `elif` is a level of the tree, and some sources have hundreds.
    waiting: list[tuple[ast.AST, str]] = [(source.tree, MODULE)]
    while waiting:
        node, function = waiting.pop()
        match node:
            case ast.Try() | ast.TryStar():
                yield from _guards_of_try(source, function, node)
            case ast.With() | ast.AsyncWith():
                yield from _guards_of_with(source, function, node, imports)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                function = inside(function, node)
        waiting.extend((inner, function) for inner in statements_in(node))


def names_of(types: ast.expr | None) -> tuple[str, ...]:
    """Give the exceptions that an expression names, as they are written."""
    if types is None:
        return ()
    if isinstance(types, ast.Tuple):
        return tuple(ast.unparse(element) for element in types.elts)
    return (ast.unparse(types),)


def _guards_of_try(source: Source, function: str, node: ast.Try | ast.TryStar) -> Iterator[Draft]:
    star = isinstance(node, ast.TryStar)
    for handler in node.handlers:
        yield draft_of_block(
            source,
            function,
            PathKind.EXCEPT_STAR if star else PathKind.EXCEPT,
            handler.lineno,
            handler.body,
            types=names_of(handler.type),
            guarded=_lines(node.body),
        )
    if node.finalbody:
        last = last_line([*node.body, *node.handlers, *node.orelse])
        yield draft_of_block(
            source,
            function,
            PathKind.FINALLY,
            source.keyword_line("finally", last, node.finalbody[0].lineno),
            node.finalbody,
            guarded=(_lines(node.body)[0], last),
        )


def _guards_of_with(
    source: Source, function: str, node: ast.With | ast.AsyncWith, imports: Imports
) -> Iterator[Draft]:
    managers = [item.context_expr for item in node.items]
    last = span_of(managers[-1])
    header = Span(node.lineno, node.col_offset, last.end_line, last.end_column)
    suppressing = [
        manager
        for manager in managers
        if isinstance(manager, ast.Call)
        and imports.full_name(manager.func) == "contextlib.suppress"
    ]
    for manager in suppressing:
        place = span_of(manager) if len(managers) > 1 else header
        types = tuple(name for argument in manager.args for name in names_of(argument))
        yield _draft_of_exit(function, PathKind.SUPPRESS, place, node, types)
    if len(suppressing) < len(managers):
        yield _draft_of_exit(function, PathKind.WITH, header, node)


def _draft_of_exit(
    function: str,
    kind: PathKind,
    place: Span,
    node: ast.With | ast.AsyncWith,
    types: tuple[str, ...] = (),
) -> Draft:
    return Draft(
        function,
        kind,
        place.line,
        place.end_line,
        tuple(sorted({node.lineno, *range(place.line, place.end_line + 1)})),
        False,
        place,
        (node.lineno, place.line),
        types=types,
        guarded=_lines(node.body),
    )


def _lines(statements: Sequence[ast.stmt]) -> tuple[int, int]:
    return span_of(statements[0]).line, last_line(statements)
