"""Leaving: what a ``raise`` or a ``return`` gives to the caller."""

from __future__ import annotations

import ast
import re

# errno's names, and the word for the kernel's way of giving one in a pointer.
_ERRNO = re.compile(r"E[A-Z0-9]{2,}|NULL")
_ERROR_MAKERS = re.compile(r"ERR_PTR|\w+(Error|Exception)")


def is_error(node: ast.expr | None) -> bool:
    """Tell whether a returned expression says that something went wrong.

    Errors are nothing, ``None``, ``False``, a negated value (``-1``, ``-errno.ENOMEM``), a
    name of errno's, an exception that is made but not raised, and a tuple with one of these.
    """
    match node:
        case None | ast.UnaryOp(op=ast.USub()):
            return True
        case ast.Constant(value=value):
            return value is None or value is False
        case ast.Name() | ast.Attribute():
            return _ERRNO.fullmatch(_last_name(node)) is not None
        case ast.Call(func=function):
            return _ERROR_MAKERS.fullmatch(_last_name(function)) is not None
        case ast.Tuple(elts=elements):
            return any(is_error(element) for element in elements)
    return False


def raised_types(statement: ast.Raise) -> tuple[str, ...]:
    """Give the exception that a ``raise`` names, as it is written."""
    raised = statement.exc
    if isinstance(raised, ast.Call):
        raised = raised.func
    return () if raised is None else (ast.unparse(raised),)


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
