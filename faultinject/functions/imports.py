"""Imports: statements that call `builtins.__import__`, and what their author expects of them.

Lives here: whether a frame is at an ``import`` statement, whether that stands where its
author believes that it may fail, and the words of the error that such an import has in life.
Not here: how the statement comes to be seen (``call_import.c``, `faultinject.functions.hook`),
what stands around a statement (`faultinject.functions.guards`), and the rows of the profile
(`faultinject.functions.profiles`).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from opcode import opmap
from types import FrameType
from typing import Final, cast

from faultinject.functions.fault import Fault
from faultinject.functions.guards import guards_around

IMPORT: Final = "__import__"
"""The name of the target that stands for ``import`` statements."""

IMPORT_MODULE: Final = "importlib.import_module"
"""The name of the function that does the same."""

_PARAMETERS: Final = {
    IMPORT: ("name", "globals", "locals", "fromlist", "level"),
    IMPORT_MODULE: ("name", "package"),
}
_WORDLESS: Final = ("ImportError", "ModuleNotFoundError")
_STATEMENT: Final = opmap["IMPORT_NAME"]


def is_at_import(frame: FrameType) -> bool:
    """Whether a frame is at an ``import`` statement, or at a call of `__import__`.

    C code that imports for a Python function calls it as well, and the frame is the same.
    """
    code = frame.f_code
    return code.co_code[frame.f_lasti] == _STATEMENT or IMPORT in code.co_names


def is_guarded(frame: FrameType) -> bool:
    """Whether an import at which a frame is may fail, as far as its author is concerned.

    It stands in a ``try`` with an ``except ImportError``, or in ``with suppress(ImportError)``.
    What catches more, as ``except Exception``, says so only if imports are all it guards.
    """
    return any(
        issubclass(ModuleNotFoundError, each)
        and (issubclass(each, ImportError) or _imports_only(guard.body))
        for guard in guards_around(frame)
        for each in guard.caught(frame.f_globals)
    )


def _imports_only(body: Sequence[ast.stmt]) -> bool:
    """Whether a block imports, and does nothing else but note it: ``HAS_YAML = True``."""
    return all(
        isinstance(each, ast.Import | ast.ImportFrom | ast.Pass)
        or (isinstance(each, ast.Assign | ast.Expr) and isinstance(each.value, ast.Constant))
        for each in body
    )


def worded(
    fault: Fault,
    target: str,
    frame: FrameType,
    arguments: Sequence[object],
    named: Mapping[str, object],
) -> Fault:
    """Give an import's error the words and the name that it has in life, if it has none.

    Of a submodule that is missing, ``import yaml.nodes``, the package is named, unless it is
    the importing module's own.

    Args:
        fault: what the call fails with.
        target: the name of what is called; of another than an import the fault stays.
        frame: where it is called.
        arguments: of the call.
        named: those of them that are given by name.
    """
    if target not in (IMPORT, IMPORT_MODULE) or fault.text not in _WORDLESS:
        return fault
    home = str(frame.f_globals.get("__package__") or frame.f_globals.get("__name__") or "")
    given = dict(zip(_PARAMETERS[target], arguments, strict=False)) | dict(named)
    name = _absolute(given, str(given.get("package") or home))
    top = name.partition(".")[0]
    missing = name if top == home.partition(".")[0] else top
    cls = cast(type[ImportError], type(fault.make()))
    return fault.made_by(lambda: cls(f"No module named {missing!r}", name=missing))


def _absolute(given: Mapping[str, object], package: str) -> str:
    name, level = str(given.get("name", "")), given.get("level", 0)
    if name.startswith("."):  # only a function is given it so
        level = len(name) - len(name.lstrip("."))
        name = name.lstrip(".")
    if not isinstance(level, int) or level < 1:
        return name
    listed = given.get("fromlist")
    if not name and isinstance(listed, tuple) and listed:  # from . import name
        name = str(listed[0])
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], name])
