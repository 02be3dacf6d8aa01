"""Programs: Python scripts and modules that are run with capabilities armed.

Lives here: finding one and running it as the interpreter would, which code is its own, what
is armed for it, and what is said of it at the end. Not here: the options of ``faultinject
run`` (`faultinject.cli`), and what an arming is (`faultinject.capabilities.arming`).

Not by `runpy`: what is armed would strike inside it, and a program's traceback would begin there.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader, SourcelessFileLoader
from importlib.util import find_spec
from types import CodeType, ModuleType, TracebackType
from typing import Any, Final

from faultinject.callsite import caller_frame
from faultinject.capabilities import registry
from faultinject.capabilities.arming import KERNEL_PROFILE, Arming, ArmingSet
from faultinject.capabilities.capability import Capability
from faultinject.engine.log import injections
from faultinject.engine.spec import parse_knobs, split
from faultinject.errors import UnavailableError, UsageError

IMPORT_SYSTEM: Final = ("importlib._bootstrap", "importlib._bootstrap_external", "zipimport")
"""Patterns of the code that carries out ``import``."""

_MAIN: Final = "__main__"
_WHERE: Final = "faultinject run"

# What a pattern takes for something else: its own separators, and lines behind a file.
_SEPARATORS: Final = re.compile(r"[,;|]|:(?=[0-9-]+\Z)")


@dataclass(frozen=True, slots=True)
class Program:
    """Something to run.

    Attributes:
        code: what is run.
        names: what its module has from the start, such as ``__file__``.
        argv0: what it finds as ``sys.argv[0]``.
        own: patterns of its own code: its file, of a module the whole package.
    """

    code: CodeType
    names: dict[str, Any]
    argv0: str
    own: tuple[str, ...]

    def run(self, armings: Sequence[Arming], arguments: Sequence[str]) -> int:
        """Run it in this process as ``__main__``, and disarm.

        An exception that it does not catch is printed as the interpreter does it, beginning
        with its own frames.

        Returns:
            The exit status: 0, or 1 after such an exception.

        Raises:
            SystemExit: its own.
            KeyboardInterrupt: likewise; it has been printed.
            SpecError: an arming cannot be entered.
            UnavailableError: likewise.
        """
        module = ModuleType(_MAIN)
        vars(module).update(self.names)
        sys.modules[_MAIN] = module
        sys.argv = [self.argv0, *arguments]
        # No ExitStack: what is armed everywhere would strike inside it.
        armed: AbstractContextManager[object] = ArmingSet(armings) if armings else nullcontext()
        with armed:
            try:
                exec(self.code, vars(module))
            except SystemExit:
                raise
            except BaseException as error:
                failure = error
            else:
                return 0
        return _print(failure)


def _print(error: BaseException) -> int:
    """Print what ended a program.

    Raises:
        KeyboardInterrupt: it is one, so that the process ends as by the signal.
    """
    error = error.with_traceback(_without_ours(error.__traceback__))
    sys.excepthook(type(error), error, error.__traceback__)
    if isinstance(error, KeyboardInterrupt):
        sys.excepthook = lambda *_: None
        raise error
    return 1


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """Leave out the entries before the first one of the program."""
    while traceback is not None:
        frame = traceback.tb_frame
        module = str(frame.f_globals.get("__name__", ""))
        if caller_frame(frame) is frame and module.partition(".")[0] not in (
            "importlib",
            "pkgutil",
        ):
            return traceback
        traceback = traceback.tb_next
    return None


def find_script(name: str) -> Program | int:
    """Find a script: a file, or a folder or archive with a ``__main__.py``.

    From now on modules are looked for beside it, or in that folder.

    Returns:
        The program; or the exit status, if it cannot be compiled, which has been said.

    Raises:
        UsageError: there is none.
    """
    path = os.path.abspath(name)
    if not os.path.exists(path):
        raise UsageError("no such script", value=name, where=_WHERE, cure="Name a file")
    spec = PathFinder.find_spec(_MAIN, [path]) if not path.endswith((".py", ".pyc")) else None
    sys.path.insert(0, os.path.dirname(path) if spec is None else path)
    if spec is not None:
        own = path if os.path.isdir(path) else f"{path}/**"
        return _program(spec, argv0=name, own=(_pattern(own),))
    if os.path.isdir(path):
        raise UsageError(
            "a folder without __main__.py", value=name, where=_WHERE, cure="Name a file"
        )
    loader: Any = SourceFileLoader(_MAIN, path)
    if path.endswith(".pyc"):
        loader = SourcelessFileLoader(_MAIN, path)
    try:
        if isinstance(loader, SourceFileLoader):
            code = loader.source_to_code(loader.get_data(path), path)
        else:
            code = loader.get_code(_MAIN)
    except Exception as error:
        return _print(error)
    names = {"__file__": path, "__loader__": loader, "__spec__": None, "__cached__": None}
    return Program(code, names, name, (_pattern(path),))


def find_module(name: str) -> Program | int:
    """Find a module as ``python -m`` does; of a package its ``__main__``.

    From now on modules are looked for in the current folder. The packages that it lies in
    are imported.

    Returns:
        The program; or the exit status, if a package cannot be imported or the module cannot
        be compiled, which has been said.

    Raises:
        UsageError: there is none.
    """
    sys.path.insert(0, os.getcwd())
    wanted = name
    try:
        spec = _found(wanted)
        if spec is not None and spec.submodule_search_locations is not None:
            wanted = f"{name}.{_MAIN}"
            spec = _found(wanted)
        if spec is not None:
            package = name.partition(".")[0]
            # A file with another name can be run as a module as well.
            own = (package,) if package.isidentifier() else ()
            return _program(spec, argv0=spec.origin or name, own=own)
    except UsageError:
        raise
    except Exception as error:
        return _print(error)
    raise UsageError(
        "no such module" if wanted == name else f"a package without {_MAIN}",
        value=name,
        where=f"{_WHERE} -m",
        cure="Name a module that can be imported from this folder",
    )


def _found(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            return None
        raise  # what its package imports
    except ValueError:  # such as one without a name
        return None


def _program(spec: ModuleSpec, *, argv0: str, own: tuple[str, ...]) -> Program:
    loader: Any = spec.loader
    code = loader.get_code(spec.name)
    if code is None:
        raise UsageError(
            "a module without Python code", value=spec.name, where=_WHERE, cure="Name another one"
        )
    names = {
        "__file__": spec.origin,
        "__loader__": loader,
        "__spec__": spec,
        "__cached__": spec.cached,
        "__package__": spec.parent,
    }
    # In `__main__` the file is all that tells whose code it is.
    file = (_pattern(code.co_filename),) if os.path.isabs(code.co_filename) else ()
    return Program(code, names, argv0, (*own, *file))


def _pattern(text: str) -> str:
    """Give a pattern of a file."""
    printable = "".join(each if each.isprintable() else "?" for each in text)
    return _SEPARATORS.sub("?", printable)


_NAMED: Final = re.compile(r"\s*\w+\s*=")


def arming_of(capability: Capability, text: str, own: tuple[str, ...]) -> Arming:
    """Read how a capability is to be armed, in all threads.

    Args:
        capability: what is to fail.
        text: knobs, or a word of `capability`'s own before them: a profile, a target.
        own: the program's own code.

    Raises:
        SpecError: the text cannot be read.
        UnavailableError: the capability cannot be used here.
    """
    reason = capability.unavailable()
    if reason is not None:
        raise UnavailableError(
            "a capability is not available here", value=capability.name, where=reason
        )
    knobs: dict[str, Any] = {}
    word, *rest = split(text, ",")
    if (knob := _knob_of(capability, word.strip())) is not None:
        knobs[knob] = word.strip()
        text = ",".join(rest)
    if text.strip():
        knobs |= parse_knobs(text, registry.knobs(capability.name))
    # Of what everybody calls only the script's share, unless somebody says whose.
    if capability.pervasive and "require" not in knobs and capability.unsweepable() is None:
        knobs["require"] = own
        knobs["reject"] = (*knobs.get("reject", ()), *IMPORT_SYSTEM)
    # The whole process is under test: what a script starts is part of it.
    return capability(**{"all_tasks": True, **knobs})


def _knob_of(capability: Capability, word: str) -> str | None:
    """Say which knob a word without a name is for: what fails, or a profile."""
    if "target" in capability.gates:
        return "target" if word[:1].isidentifier() and not _NAMED.match(word) else None
    return "profile" if word in (KERNEL_PROFILE, *capability.profiles) else None


def tell_injections(mark: int) -> None:
    """Say loudly what was injected: who reads a traceback must know that it was provoked."""
    struck = injections.since(mark)
    total = injections.total - mark
    print(f"faultinject: {total} fault{'' if total == 1 else 's'} injected", file=sys.stderr)
    for item in struck[:20]:
        print(f"faultinject:   {item}", file=sys.stderr)
    if total > 20:
        print(f"faultinject:   and {total - 20} more", file=sys.stderr)
