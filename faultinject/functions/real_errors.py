"""Errors as they come in life: with their numbers, their words and their codes.

Lives here: what `faultinject.functions.fault` builds from a text that it has read. Not here:
the reading.
"""

from __future__ import annotations

import ast
import errno
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

CONSTANT: Final = re.compile(r"[A-Z][A-Z0-9_]*\Z")
"""How the names of numbers look."""

# What the system says where Python raises these; TimeoutError comes from elsewhere as well.
USUAL: Final[dict[type[BaseException], int]] = {
    BlockingIOError: errno.EAGAIN,
    BrokenPipeError: errno.EPIPE,
    ChildProcessError: errno.ECHILD,
    ConnectionAbortedError: errno.ECONNABORTED,
    ConnectionRefusedError: errno.ECONNREFUSED,
    ConnectionResetError: errno.ECONNRESET,
    FileExistsError: errno.EEXIST,
    FileNotFoundError: errno.ENOENT,
    InterruptedError: errno.EINTR,
    IsADirectoryError: errno.EISDIR,
    NotADirectoryError: errno.ENOTDIR,
    PermissionError: errno.EACCES,
    ProcessLookupError: errno.ESRCH,
}

# What sqlite3_errstr() says, and sqlite3 puts beside it into the exception.
_SQLITE: Final = {
    "attempt to write a readonly database": "SQLITE_READONLY",
    "database disk image is malformed": "SQLITE_CORRUPT",
    "database is locked": "SQLITE_BUSY",
    "database or disk is full": "SQLITE_FULL",
    "database schema has changed": "SQLITE_SCHEMA",
    "database table is locked": "SQLITE_LOCKED",
    "disk I/O error": "SQLITE_IOERR",
    "file is not a database": "SQLITE_NOTADB",
    "unable to open database file": "SQLITE_CANTOPEN",
}


def is_exception(found: object) -> bool:
    """Whether it is a class of exceptions."""
    return isinstance(found, type) and issubclass(found, BaseException)


def is_numbered(cls: type[BaseException]) -> bool:
    """Whether Python raises it with a number and the system's words for it."""
    return issubclass(cls, OSError) and cls.__module__ == "builtins"


def os_error(cls: type[BaseException], number: int) -> tuple[str, Callable[[], BaseException]]:
    """Give the text of an error of the system, and what builds one."""

    def build() -> BaseException:
        return cls(number, os.strerror(number))

    return f"{cls.__name__}({errno.errorcode.get(number, number)})", build


def literal(node: ast.expr, modules: Iterable[Any]) -> object:
    """The value of a literal, or of a number by its name in one of the modules.

    Raises:
        LookupError: no module has this name.
        ValueError: it is neither.
    """
    sign = 1
    if (
        isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.USub)
        and isinstance(node.operand, ast.Name)
    ):
        sign, node = -1, node.operand
    if not isinstance(node, ast.Name):
        return ast.literal_eval(node)
    if not CONSTANT.match(node.id):
        raise ValueError(node.id)
    for module in modules:
        number = getattr(module, node.id, None)
        if isinstance(number, int):
            return sign * number
    raise LookupError(node.id)


def like_sqlite(error: BaseException) -> BaseException:
    """Give it the number that sqlite3 gives to such an error."""
    if type(error).__module__ != "sqlite3":
        return error
    name = _SQLITE.get(str(error))
    code = getattr(sys.modules["sqlite3"], name, None) if name else None
    if code is not None:
        vars(error).update(sqlite_errorcode=code, sqlite_errorname=name)
    return error
