"""Qualified names, as the compiler gives them to code objects, read off the tree.

Not here: the names of running frames (`faultinject.callsite`).
"""

from __future__ import annotations

import ast
from typing import Final

MODULE: Final = "<module>"
"""The name of what stands outside of every function and class."""

_LOCALS: Final = "<locals>"


def inside(outer: str, node: ast.AST) -> str:
    """Name the body of a function, lambda or class that stands in `outer`.

    `outer` is a name that this function gave, or `MODULE`. A function names itself with
    parentheses at its end, ``f()``, until `shown` takes them off: what stands in a
    function is a local, what stands in a class is not.
    """
    name = getattr(node, "name", "<lambda>")
    own = name if isinstance(node, ast.ClassDef) else f"{name}()"
    if outer == MODULE:
        return own
    if outer.endswith("()"):
        return f"{outer[:-2]}.{_LOCALS}.{own}"
    return f"{outer}.{own}"


def shown(name: str) -> str:
    """Give a name as ``co_qualname`` has it."""
    return name.removesuffix("()")
