"""Scopes: the functions of a source while their bodies wait to be read.

Lives here: `Scope`, and what the tree says about functions and loops as wholes. Not here:
the reading (`faultinject.errpaths.branches`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import UnionType

from faultinject.errpaths.source import statements_in
from faultinject.errpaths.values import Environment, Function

_OTHER_CODE = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Scope:
    """A function that is to be read.

    Attributes:
        node: the function.
        name: its name, as `faultinject.errpaths.qualname.inside` gives it.
        class_name: the class whose methods ``self`` has in it; "" outside of classes.
        outer: what the names of the enclosing function hold in the end.
    """

    node: Function
    name: str
    class_name: str
    outer: Environment


def classes_of(tree: ast.Module) -> dict[str, ast.ClassDef]:
    """Give the classes of a source by name; of several with one name, one."""
    classes: dict[str, ast.ClassDef] = {}
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        waiting.extend(statements_in(node))
        if isinstance(node, ast.ClassDef):
            classes[node.name] = node
    return classes


def parameters_of(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Give every parameter with its default."""
    positional = [*arguments.posonlyargs, *arguments.args]
    without = len(positional) - len(arguments.defaults)
    yield from zip(positional, [*[None] * without, *arguments.defaults], strict=True)
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    for rest in (arguments.vararg, arguments.kwarg):
        if rest is not None:
            yield rest, None


def is_generator(function: Function) -> bool:
    """Tell whether calling a function gives a generator instead of its result."""
    body = function.body if isinstance(function.body, list) else [function.body]
    return _own_code_has(body, ast.Yield | ast.YieldFrom)


def has_break(loop: ast.While | ast.For | ast.AsyncFor) -> bool:
    """Tell whether a loop may be left by a ``break`` of its own."""
    return _own_code_has(loop.body, ast.Break)


def _own_code_has(body: Sequence[ast.AST], wanted: type[ast.AST] | UnionType) -> bool:
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, wanted):
            return True
        if isinstance(node, ast.While | ast.For | ast.AsyncFor) and wanted is ast.Break:
            waiting.extend(node.orelse)  # a `break` in the body is that loop's own
        elif not isinstance(node, _OTHER_CODE):
            waiting.extend(ast.iter_child_nodes(node))
    return False
