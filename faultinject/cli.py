"""The command line: ``faultinject run``, ``report`` and ``list``.

A front-end: it translates arguments and contains no rule. ``python -m
faultinject`` is the same.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import faultinject
from faultinject.capabilities import registry
from faultinject.capabilities.arming import Arming
from faultinject.capabilities.capability import Capability
from faultinject.capabilities.fail_pymem import NO_LIMIT
from faultinject.engine.log import injections
from faultinject.engine.spec import parse_knobs
from faultinject.errors import FaultInjectError, UnavailableError, UsageError

# As argparse: the command line was wrong.
_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status.

    0 is success, 2 a wrong command line; ``run`` ends as the script does.
    """
    try:
        options = _parser().parse_args(arguments)
        return int(options.command(options))
    except FaultInjectError as error:
        print(error, file=sys.stderr)
        return _USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="faultinject", description="Make allocations fail, on purpose.", allow_abbrev=False
    )
    parser.add_argument(
        "--version", action="version", version=f"faultinject {faultinject.__version__}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_report(commands)
    _add_list(commands)
    return parser


# The class that argparse gives back has no public name.
_Commands = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add_run(commands: _Commands) -> None:  # type: ignore[valid-type]
    run = commands.add_parser(  # type: ignore[attr-defined]
        "run",
        help="run a script with capabilities armed",
        description="Run a Python script with capabilities armed in every thread. "
        "KNOBS are name=value,... or the kernel's interval,probability,space,times; "
        "left out, the first eligible call fails.",
        allow_abbrev=False,
    )
    for name in registry.names():
        run.add_argument(
            f"--{name.replace('_', '-')}",
            dest=f"knobs_{name}",
            metavar="KNOBS",
            nargs="?",
            const="",
            help=registry.get(name).doc,
        )
    run.add_argument("-m", dest="module", action="store_true", help="SCRIPT is a module's name")
    run.add_argument("script", metavar="SCRIPT", help="the script; put -- in front of it")
    run.add_argument("arguments", metavar="ARG", nargs=argparse.REMAINDER, help="its arguments")
    run.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    armings = [
        arming
        for capability in registry.all()
        if (arming := _arming(options, capability)) is not None
    ]
    if not options.module and not os.path.exists(options.script):
        raise UsageError(
            "no such script", value=options.script, where="faultinject run", cure="Name a file"
        )
    folder = os.getcwd() if options.module else os.path.dirname(os.path.abspath(options.script))
    sys.path.insert(0, folder)
    sys.argv = [options.script, *options.arguments]
    mark = injections.mark()
    try:
        with ExitStack() as armed:
            for arming in armings:
                armed.enter_context(arming)
            if options.module:
                runpy.run_module(options.script, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(options.script, run_name="__main__")
    finally:
        _tell(mark)
    return 0


def _arming(options: argparse.Namespace, capability: Capability) -> Arming | None:
    text: str | None = getattr(options, f"knobs_{capability.name}")
    if text is None:
        return None
    reason = capability.unavailable()
    if reason is not None:
        raise UnavailableError(
            "a capability is not available here", value=capability.name, where=reason
        )
    knobs: dict[str, Any] = {}
    if text.strip():
        knobs = parse_knobs(text, registry.knobs(capability.name))
    # The whole process is under test: what a script starts is part of it.
    return capability(**{"all_tasks": True, **knobs})


def _tell(mark: int) -> None:
    """Say loudly what was injected: who reads a traceback must know that it was provoked."""
    struck = injections.since(mark)
    total = injections.total - mark
    print(f"faultinject: {total} fault{'' if total == 1 else 's'} injected", file=sys.stderr)
    for item in struck[:20]:
        print(f"faultinject:   {item}", file=sys.stderr)
    if total > 20:
        print(f"faultinject:   and {total - 20} more", file=sys.stderr)


def _add_report(commands: _Commands) -> None:  # type: ignore[valid-type]
    report = commands.add_parser(  # type: ignore[attr-defined]
        "report", help="show a JSON report again", allow_abbrev=False
    )
    report.add_argument("file", metavar="FILE.json", help="the report; - is standard input")
    report.add_argument("-a", "--all", action="store_true", help="good trials as well")
    report.set_defaults(command=_report)


def _report(options: argparse.Namespace) -> int:
    from faultinject.report.as_text import as_text
    from faultinject.report.reading import read_report

    if options.file == "-":
        document = read_report(sys.stdin, "standard input")
    else:
        try:
            with open(options.file, encoding="utf-8") as stream:
                document = read_report(stream, options.file)
        except (OSError, UnicodeDecodeError) as error:
            print(f"faultinject: {options.file} cannot be read: {error}", file=sys.stderr)
            return _USAGE
    print(as_text(document, everything=options.all))
    return 0


def _add_list(commands: _Commands) -> None:  # type: ignore[valid-type]
    listing = commands.add_parser(  # type: ignore[attr-defined]
        "list", help="what can fail here: capabilities, defaults, availability", allow_abbrev=False
    )
    listing.set_defaults(command=_list)


def _list(options: argparse.Namespace) -> int:
    for capability in registry.all():
        reason = capability.unavailable()
        state = "available" if reason is None else f"not available: {reason}"
        print(f"{capability.name} (sizes in {capability.unit}): {state}")
        print(f"  {capability.doc}")
        origin = registry.origin(capability.name)
        if origin != "faultinject" and " of faultinject " not in origin:
            print(f"  from {origin}")
        for name, gate in capability.gates.items():
            kernel = f"; kernel {_shown(gate.kernel_default)}"
            differs = "" if gate.kernel_default == gate.default else kernel
            print(f"  {name}: {gate.doc} Default {_shown(gate.default)}{differs}.")
        for name in capability.profiles:
            print(f"  profile={name}")
    return 0


def _shown(value: object) -> str:
    if value == NO_LIMIT:
        return "no limit"
    return {True: "Y", False: "N"}[value] if isinstance(value, bool) else str(value)
