"""Importing modules once more, so that what they do when they are imported is done in a test.

Lives here: `import_afresh`. Not here: how an ``import`` is made to fail
(`faultinject.functions.imports`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import BuiltinImporter, ExtensionFileLoader, FrozenImporter, ModuleSpec
from types import ModuleType
from typing import Final

from faultinject.errors import SpecError

_NAME: Final = re.compile(r"(?!\d)\w+(?:\.(?!\d)\w+)*\Z")
_WHERE: Final = "import_afresh"
_ONCE: Final = (BuiltinImporter, FrozenImporter)


def import_afresh(*names: str) -> ModuleType:
    """Import modules once more, for a test of what they do when they are imported.

    ``try: import yaml`` at the top of a module has happened before any test begins. With
    this it happens inside of one, where it can be made to fail::

        def test_the_package_can_be_imported():
            fi.import_afresh("mypkg", "mypkg.cli")

    The modules, and all below them, are taken out of `sys.modules` for the length of the
    call. At its end, also after an error, the old ones are there again, and nobody else has
    noticed: the classes of the new ones are others, and no thread should import them
    meanwhile. Extension modules cannot be imported twice, and stay. What an import does
    elsewhere, such as registering a codec, is done once more, and not undone.

    Args:
        names: of modules and packages, at least one. Of a package those submodules are
            imported that it imports by itself, or that are named.

    Returns:
        The new module of the first name.

    Raises:
        SpecError: no name is given, one is none of a module, or it is one of a module that
            cannot be imported twice.
        Exception: whatever the import raises; `ModuleNotFoundError` if there is no such
            module.
    """
    if not names:
        raise SpecError("no module is named", where=_WHERE, cure="Name one, as mypkg")
    for name in names:
        _check(name)
    with _taken_out(names):
        first, *_ = [import_module(name) for name in names]
        return first


def _check(name: object) -> None:
    if not isinstance(name, str) or not _NAME.match(name):
        raise SpecError(
            "not the name of a module", value=name, where=_WHERE, cure="Write it as mypkg.cli"
        )
    if name == "__main__" or _is_once_only(sys.modules.get(name)):
        raise SpecError(
            "this module cannot be imported twice",
            value=name,
            where=_WHERE,
            cure="Name the Python module that imports it",
        )


def _is_once_only(module: ModuleType | None) -> bool:
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    return isinstance(loader, ExtensionFileLoader) or loader in _ONCE


@contextmanager
def _taken_out(names: Sequence[str]) -> Iterator[None]:
    """Take modules and all below them out of `sys.modules` for the length of the block."""
    old = _at_or_below(names)
    attributes = list(_attributes_outside(names, old))
    for name in old:
        del sys.modules[name]
    again = _Again({name: module for name, module in old.items() if _is_once_only(module)})
    sys.meta_path.insert(0, again)
    try:
        yield
    finally:
        sys.meta_path.remove(again)
        for name, module in _at_or_below(names).items():
            if not _is_once_only(module):
                del sys.modules[name]
        sys.modules.update(old)
        for parent, last, had in attributes:
            if had is not None:
                setattr(parent, last, had)
            elif last in vars(parent):
                delattr(parent, last)


def _at_or_below(names: Sequence[str]) -> dict[str, ModuleType]:
    """Give the modules by name; what somebody has blocked, None in `sys.modules`, stays so."""
    starts = tuple(f"{name}." for name in names)
    return {
        name: module
        for name, module in sys.modules.items()
        if module is not None and f"{name}.".startswith(starts)
    }


def _attributes_outside(
    names: Sequence[str], old: dict[str, ModuleType]
) -> Iterator[tuple[ModuleType, str, ModuleType | None]]:
    """Give what packages that are not taken out have of those that are."""
    for name in names:
        above, _, last = name.rpartition(".")
        parent = sys.modules.get(above)
        if parent is not None and above not in old:
            yield parent, last, vars(parent).get(last)


class _Again(MetaPathFinder, Loader):
    """Finds modules that are there already, so that their new packages come to have them."""

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        self._modules = modules
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """Find one of those, and no other."""
        return ModuleSpec(name, self) if name in self._modules else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Give the one that is there."""
        module = self._modules[spec.name]
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Let it be what it was."""
        if module.__spec__ is not None:
            module.__spec__ = self._specs[module.__spec__.name]
