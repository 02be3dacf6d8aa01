"""Callables by name: what a pattern of `fail_function` means.

Lives here: `Target`, and `resolve`, which finds the objects that a call site really calls.
Not here: what such a call fails with (`faultinject.functions.fault`), and where calls are
seen.

Names are looked up, never evaluated; the modules that they name are imported.
"""

from __future__ import annotations

import builtins
import inspect
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import import_module
from pkgutil import iter_modules
from types import MethodType, ModuleType
from typing import Final

from faultinject.errors import SpecError
from faultinject.functions.hook import hook

_DOTTED: Final = r"(?!\d)\w+(?:\.(?!\d)\w+)*"
_PATTERN: Final = re.compile(rf"{_DOTTED}(?::{_DOTTED})?\Z")
_STARRED: Final = re.compile(rf"(?P<holder>{_DOTTED}(?::{_DOTTED})?)[.:](?P<last>\w*\*[\w*]*)\Z")
_WHERE: Final = "fail_function's target"
_FORMS: Final = (
    "Write a builtin (open), a function (os.replace), a method (mypkg.db:Session.commit), or "
    "all of a class or module (socket.socket.*)"
)
_MOST_NEAR: Final = 3

# Modules whose public name is not their own without the underscore.
_PUBLIC: Final = {
    "posix": "os",
    "nt": "os",
    "posixpath": "os.path",
    "ntpath": "os.path",
    "genericpath": "os.path",
}


@dataclass(frozen=True)
class Target:
    """One callable whose calls can fail.

    Attributes:
        name: the canonical dotted name, the same for all aliases: ``open`` for ``io.open``.
        callable: what a call site calls: a function, a builtin, a type, or the descriptor of
            a C method, as ``_io.TextIOWrapper.write`` for ``f.write(...)``; of a class or
            static method, what it holds. Compare by identity.
        owner: for a method that the named class inherits, that class: only calls on its
            instances are meant (of a class method: on it or a class below). ``None`` where
            `callable` alone decides.
    """

    name: str
    callable: object
    owner: type | None = None


def resolve(pattern: str) -> tuple[Target, ...]:
    """Find what `pattern` names, and import the modules on the way.

    Args:
        pattern: a builtin (``open``), a dotted name (``os.replace``), or a module and a name
            in it (``mypkg.db:Session.commit``). A last part with ``*`` means the public
            callables of the class or module whose names fit (``socket.socket.*``), but no
            exceptions.

    Returns:
        At least one target; each callable once, in the order of their names.

    Raises:
        SpecError: the text is no such name, or nothing has it; near names are listed.
    """
    text = pattern.strip()
    starred = _STARRED.match(text)
    if starred:
        return _matching(_find(starred["holder"], text)[-1], starred["last"], text)
    if not _PATTERN.match(text):
        raise SpecError("not the name of a callable", value=text, where=_WHERE, cure=_FORMS)
    *holders, found = _find(text, text)
    if isinstance(found, ModuleType):
        raise SpecError(
            "a module is no callable",
            value=text,
            where=_WHERE,
            cure=f"Name a function of it, or all with {text}.*",
        )
    target = _target(holders[-1], re.split("[.:]", text)[-1], text)
    if target is None:
        raise SpecError(
            f"this is no callable, but {_a(type(found).__name__)}",
            value=text,
            where=_WHERE,
            cure="Name what is called",
        )
    return (target,)


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiouAEIOU' else 'a'} {noun}"


# -- looking up ------------------------------------------------------------------------


def _find(name: str, text: str) -> list[object]:
    """The objects on the way to `name`, beginning with its module."""
    module, colon, rest = name.partition(":")
    if colon:
        found: list[object] = [_imported(module, text)]
        names = rest.split(".")
    else:
        first, *names = name.split(".")
        if hasattr(builtins, first):
            found, names = [builtins], [first, *names]
        else:
            found = [_imported(first, text)]
    for part in names:
        found.append(_part(found[-1], part, text))
    return found


def _part(holder: object, name: str, text: str) -> object:
    try:
        return getattr(holder, name)
    except AttributeError:
        if isinstance(holder, ModuleType) and hasattr(holder, "__path__"):
            submodule = f"{holder.__name__}.{name}"
            if _exists(submodule):
                return _imported(submodule, text)
    raise SpecError(
        f"{_shown(holder)} has no {name}",
        value=text,
        where=_WHERE,
        cure=_near(name, (each for each in dir(holder) if not each.startswith("__"))),
    )


def _exists(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _imported(name: str, text: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is None or not f"{name}.".startswith(f"{missing}."):
            raise SpecError(
                f"the module {name} cannot be imported: {type(error).__name__}: {error}",
                value=text,
                where=_WHERE,
                cure="Repair it, or leave the target out",
            ) from error
    parent, _, last = missing.rpartition(".")
    siblings = getattr(sys.modules[parent], "__path__", []) if parent in sys.modules else None
    near = {module.name for module in iter_modules(siblings)}
    if not parent:
        near |= {*sys.stdlib_module_names, *dir(builtins)}
    raise SpecError(
        f"no module {missing}", value=text, where=_WHERE, cure=_near(last, near, parent)
    )


def _shown(holder: object) -> str:
    if isinstance(holder, ModuleType):
        return f"the module {holder.__name__}"
    if isinstance(holder, type):
        return f"the class {public_name(holder) or holder.__qualname__}"
    return _a(type(holder).__name__)


def _near(name: str, known: Iterable[str], parent: str = "") -> str:
    close = get_close_matches(name, sorted(set(known)), n=_MOST_NEAR, cutoff=0.6)
    if not close:
        return _FORMS
    dotted = [f"{parent}.{each}" if parent else each for each in close]
    return f"Perhaps {' or '.join(dotted)} is meant"


# -- targets ---------------------------------------------------------------------------


def _matching(holder: object, glob: str, text: str) -> tuple[Target, ...]:
    found: dict[tuple[int, type | None], Target] = {}
    for name in dir(holder):
        if name.startswith("_") or not fnmatchcase(name, glob) or not _belongs(holder, name):
            continue
        target = _target(holder, name, text)
        if target is not None:
            found.setdefault((id(target.callable), target.owner), target)
    if not found:
        raise SpecError(
            f"{_shown(holder)} has no public callable of such a name",
            value=text,
            where=_WHERE,
            cure=_FORMS,
        )
    return tuple(found.values())


def _belongs(holder: object, name: str) -> bool:
    """Whether ``*`` means it: what a module merely imports is another's."""
    value = inspect.getattr_static(holder, name)
    if isinstance(value, type) and issubclass(value, BaseException):
        return False  # called in order to be raised
    if not isinstance(holder, ModuleType):
        return True
    home = getattr(value, "__module__", None) or ""
    return holder.__name__ in (home, *_public_modules(home))


def _target(holder: object, name: str, text: str) -> Target | None:
    """The target of this name, as a call site would see it; ``None`` if it is no callable."""
    owner = None
    found = hook.original(getattr(holder, name))
    if isinstance(holder, type):
        held = inspect.getattr_static(holder, name)
        if isinstance(held, staticmethod | classmethod):
            found = held.__func__
        elif callable(held):
            found = held
        if name not in vars(holder) and not isinstance(held, staticmethod):
            owner = holder
    elif isinstance(found, MethodType):
        found = found.__func__
    if not callable(found):
        return None
    known = public_name(found)
    if isinstance(holder, type):
        # As the class is known: a method may come from one that nobody has heard of.
        known = f"{public_name(holder) or holder.__qualname__}.{name}"
    elif known is None:
        known = f"{re.split('[.:][^.:]*$', text)[0].replace(':', '.')}.{name}"
    return Target(known, found, owner)


def public_name(found: object) -> str | None:
    """The name under which everybody knows a function or class; ``None`` if it has none."""
    home = getattr(found, "__module__", None)
    path = getattr(found, "__qualname__", None)
    if not isinstance(path, str):
        return None
    if not isinstance(home, str):
        home = "builtins"
    for module in ("builtins", *_public_modules(home), home):
        place: object = sys.modules.get(module)
        for part in path.split("."):
            place = getattr(place, part, None)
        if hook.original(place) is found:
            return path if module == "builtins" else f"{module}.{path}"
    return None


def _public_modules(home: str) -> list[str]:
    """The modules that may give out publicly what stands in `home`, likeliest first."""
    package, _, last = home.rpartition(".")
    found = [_PUBLIC[home]] if home in _PUBLIC else []
    if last.startswith("_"):
        found.append(package or last.lstrip("_"))
    return found
