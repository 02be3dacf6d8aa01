"""Names of code that the options give: whether there is such code.

Lives here: the check of ``--fail-alloc-source`` and ``--fail-alloc-omit`` against what can be
imported, once the tests are collected: only then it is known from where. Not here: what a
name means (`faultinject.campaign.scope`), paths, which are checked where they are read.
"""

from __future__ import annotations

import ast
import difflib
import os
import sys
import tokenize
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import Final

import pytest

from faultinject.campaign.scope import Scope, Source
from faultinject.errpaths import qualname

OUTPUT: Final = "faultinject_names"
"""What a worker of pytest-xdist says of names, in its output."""

_LOCALS: Final = ".<locals>."


def check_names(config: pytest.Config, scope: Scope, remarks: list[str]) -> None:
    """Remark on a source that does not exist, and on an omission that leaves nothing out.

    No more than that: a test may make the module, and import it, while it runs. A worker of
    pytest-xdist tells its controller.

    Args:
        config: pytest's.
        scope: what the options name.
        remarks: sentences for the end are put here.
    """
    named = (
        ("--fail-alloc-source names nothing", scope.sources),
        ("--fail-alloc-omit leaves nothing out", scope.omit),
    )
    found = [
        f"{what}: {trouble}"
        for what, names in named
        for name in names
        if (trouble := _trouble(name))
    ]
    output: dict[str, list[str]] | None = getattr(config, "workeroutput", None)
    if output is not None:
        output[OUTPUT] = found
    remarks += found


def spec_of(name: str) -> ModuleSpec | None:
    """Find a module without importing it (but for the package it is in), as the tests would."""
    module = sys.modules.get(name)
    if module is not None and getattr(module, "__spec__", None) is not None:
        return module.__spec__
    try:
        return find_spec(name)
    except Exception:  # a package that breaks while it is imported breaks its tests, and says so
        return None


def _trouble(source: Source) -> str:
    """Say what of a source does not exist; "" if all of it may."""
    if source.folder is not None or source.pattern is None or "/" in source.text:
        return ""
    module, _, function = source.text.partition(":")
    if module.endswith(".py") or module == "*":
        return ""
    spec = None if module in sys.modules else spec_of(module)
    if spec is None and module not in sys.modules:
        return f"there is no module {module!r}{_near(module, _modules_beside(module))}"
    if not function or _has_member(sys.modules.get(module), function):
        return ""
    known = _functions(spec_of(module))
    if known is None or function in known:
        return ""
    return f"there is no {function!r} in {module}{_near(function, known)}"


def _near(name: str, others: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, sorted(others), n=3, cutoff=0.6)
    return f": did you mean {' or '.join(map(repr, found))}?" if found else ""


def _modules_beside(name: str) -> set[str]:
    """Give the modules that are imported, and those in the folders where tests import from."""
    package = name.rpartition(".")[0]
    beside = {known for known in tuple(sys.modules) if known.rpartition(".")[0] == package}
    if not package:
        for folder in sys.path:
            if os.path.isdir(folder):
                beside.update(entry.partition(".")[0] for entry in os.listdir(folder))
    return beside


def _has_member(module: object, name: str) -> bool:
    """Say whether a module that is imported has something of this name, however it was made."""
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is not None


def _functions(spec: ModuleSpec | None) -> set[str] | None:
    """Give the qualified names of a module's functions and classes; None if nobody can say."""
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    try:
        with tokenize.open(spec.origin) as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return None
    return {"<module>", *_named(tree, qualname.MODULE)}


def _named(node: ast.AST, outer: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        name = outer
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            name = qualname.inside(outer, child)
            own = qualname.shown(name)
            yield own
            # A pattern may stop at what is nested: it means all that is below.
            if _LOCALS in own:
                yield own.rpartition(".")[0]
        yield from _named(child, name)
