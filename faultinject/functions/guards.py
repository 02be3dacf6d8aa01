"""Guards: what the author of a call expects of it, by the ``except`` around it.

Lives here: `guards_around`, which reads the ``try`` and ``with suppress(...)`` around the place
at which a frame is. Not here: what is to be concluded of it (`faultinject.functions.imports`).

It is read from the source: what has none is not guarded. Names are looked up, and nothing is
evaluated.
"""

from __future__ import annotations

import ast
import builtins
import linecache
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from types import CodeType, FrameType, ModuleType
from typing import Any, Final, NamedTuple

# Frames that do not run where they are written.
_ELSEWHERE: Final = ("<lambda>", "<genexpr>")
_BLOCKS: Final = (ast.stmt, ast.ExceptHandler, ast.match_case)
_MOST_KNOWN: Final = 10_000


class Guard(NamedTuple):
    """What one ``except``, or one argument of ``suppress``, catches.

    Attributes:
        types: the expression; None for all there is.
        body: what it guards.
        maker: of a ``with``, what is called.
    """

    types: ast.expr | None
    body: Sequence[ast.stmt]
    maker: ast.expr | None = None

    def caught(self, names: Mapping[str, Any]) -> tuple[type, ...]:
        """Give the classes that it catches, as far as they can be looked up.

        Args:
            names: the globals of the code.
        """
        if self.maker is not None and _meant(self.maker, names) is not suppress:
            return ()
        found = BaseException if self.types is None else _meant(self.types, names)
        several = found if isinstance(found, tuple) else (found,)
        return tuple(each for each in several if isinstance(each, type))


_Place = tuple[int, int]  # line and column
# By the identity of a code object, whose own hash is slow, and kept alive for it.
_known: dict[tuple[int, int], tuple[CodeType, tuple[Guard, ...]]] = {}


def guards_around(frame: FrameType) -> tuple[Guard, ...]:
    """Give what guards the place at which a frame is, as far as its function goes."""
    code = frame.f_code
    known = _known.get((id(code), frame.f_lasti))
    if known is None:
        if len(_known) > _MOST_KNOWN:  # code that is compiled again and again
            _known.clear()
        known = _known[id(code), frame.f_lasti] = (code, _read(frame))
    return known[1]


def _read(frame: FrameType) -> tuple[Guard, ...]:
    code = frame.f_code
    if code.co_name in _ELSEWHERE:
        return ()
    line, _, column, _ = next(islice(code.co_positions(), frame.f_lasti // 2, None))
    tree = _tree("".join(linecache.getlines(code.co_filename, frame.f_globals)))
    if line is None or tree is None:
        return ()
    return _around(tree, (line, column or 0), ())


@lru_cache(maxsize=64)
def _tree(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _around(node: ast.AST, place: _Place, outside: tuple[Guard, ...]) -> tuple[Guard, ...]:
    """Give what guards a place inside a node."""
    for name, block in ast.iter_fields(node):
        for inner in block if isinstance(block, list) else ():
            if not isinstance(inner, _BLOCKS) or not _contains(inner, place):
                continue
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                return _around(inner, place, ())
            return _around(inner, place, (*outside, *(_guards(node) if name == "body" else ())))
    return outside


def _contains(node: ast.AST, place: _Place) -> bool:
    if isinstance(node, ast.match_case):
        return any(_contains(inner, place) for inner in node.body)
    first = (getattr(node, "lineno", 0), getattr(node, "col_offset", 0))
    last = (getattr(node, "end_lineno", 0), getattr(node, "end_col_offset", 0))
    return first <= place < last


def _guards(node: ast.AST) -> Iterator[Guard]:
    if isinstance(node, ast.Try | ast.TryStar):
        for handler in node.handlers:
            yield Guard(handler.type, node.body)
    elif isinstance(node, ast.With | ast.AsyncWith):
        for item in node.items:
            if isinstance(item.context_expr, ast.Call):
                for given in item.context_expr.args:
                    yield Guard(given, node.body, item.context_expr.func)


def _meant(node: ast.expr, names: Mapping[str, Any]) -> object:
    """Look up a name, an attribute or a tuple of them; None if that is not what it is."""
    if isinstance(node, ast.Tuple):
        return tuple(_meant(each, names) for each in node.elts)
    if isinstance(node, ast.Name):
        return names.get(node.id, getattr(builtins, node.id, None))
    if isinstance(node, ast.Attribute):
        holder = _meant(node.value, names)
        return vars(holder).get(node.attr) if isinstance(holder, ModuleType | type) else None
    return None
