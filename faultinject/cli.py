"""The command line: ``faultinject run``, ``report``, ``explain`` and ``list``.

A front-end: it translates arguments and contains no rule. ``python -m
faultinject`` is the same.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import faultinject
from faultinject.campaign.c_unnamed import cannot_be_told
from faultinject.capabilities import registry
from faultinject.capabilities.capability import Capability
from faultinject.capabilities.fail_pymem import NO_LIMIT
from faultinject.engine.log import injections
from faultinject.errors import FaultInjectError, UnavailableError, UsageError
from faultinject.program import Program, arming_of, find_module, find_script, tell_injections
from faultinject.report.outputs import KINDS, Output

# As argparse: the command line was wrong.
_USAGE = 2
# `explain` found no report.
_NOTHING_FOUND = 1
# `report` was told how many error paths must be reached.
_TOO_FEW = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status.

    0 is success, 2 a wrong command line; ``run`` ends as the script does, ``report`` with 1
    where too few error paths were reached, ``explain`` with 1 where there is nothing to explain.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except FaultInjectError as error:
        print(error, file=sys.stderr)
        return _USAGE
    except BrokenPipeError:
        if options.command is _run:
            raise  # what was injected can be told to nobody
        # Whoever reads has read enough. Else the interpreter, too, would find nobody there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


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
    _add_explain(commands)
    _add_list(commands)
    return parser


# The class that argparse gives back has no public name.
_Commands = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add_run(commands: _Commands) -> None:  # type: ignore[valid-type]
    capabilities = registry.all()
    options = " ".join(f"[{_option(capability)} [KNOBS]]" for capability in capabilities)
    run = commands.add_parser(  # type: ignore[attr-defined]
        "run",
        help="run a script with capabilities armed",
        usage=f"faultinject run [-h] {options} [-m] -- SCRIPT [ARG ...]",
        description="Run a Python script with capabilities armed in every thread. "
        "KNOBS are name=value,... or the kernel's interval,probability,space,times, or a "
        "profile (of --fail-function: what fails, as disk or os.replace); "
        "left out, the first eligible call fails. Real allocations and calls of functions fail "
        "in the script and in what it calls, but not in its imports; require= names other code.",
        allow_abbrev=False,
    )
    for capability in capabilities:
        run.add_argument(
            _option(capability),
            dest=f"knobs_{capability.name}",
            metavar="KNOBS",
            nargs="?",
            const="",
            help=capability.doc,
        )
    run.add_argument("-m", dest="module", action="store_true", help="SCRIPT is a module's name")
    run.add_argument("script", metavar="-- SCRIPT", help="the script")
    rest = run.add_argument(
        "arguments", metavar="ARG", nargs=argparse.REMAINDER, help="its arguments"
    )
    rest.required = False
    run.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    given = {
        capability: text
        for capability in registry.all()
        if (text := getattr(options, f"knobs_{capability.name}")) is not None
    }
    _refuse_scripts(given)
    find = find_module if options.module else find_script
    program = find(options.script)
    if not isinstance(program, Program):
        return program
    armings = [arming_of(capability, text, program.own) for capability, text in given.items()]
    mark = injections.mark()
    try:
        return program.run(armings, options.arguments)
    finally:
        tell_injections(mark)


def _refuse_scripts(given: Mapping[Capability, str]) -> None:
    for capability, text in given.items():
        if os.path.isfile(text):
            raise UsageError(
                "a file stands where knobs do",
                value=text,
                where=_option(capability),
                cure=f"Write -- in front of the script: {_option(capability)} -- {text}",
            )


def _option(capability: Capability) -> str:
    return f"--{capability.name.replace('_', '-')}"


def _add_report(commands: _Commands) -> None:  # type: ignore[valid-type]
    report = commands.add_parser(  # type: ignore[attr-defined]
        "report",
        help="show JSON reports again, or write them in another form",
        description="Show one report, or several runs' together, and write them in other forms.",
        allow_abbrev=False,
    )
    report.add_argument(
        "files", metavar="FILE.json", nargs="+", help="a report; - is standard input"
    )
    report.add_argument("-a", "--all", action="store_true", help="good trials as well")
    report.add_argument(
        "--missing", action="store_true", help="name the lines of error paths that never ran"
    )
    report.add_argument(
        "--root",
        metavar="DIR",
        default=".",
        help="the folder of the sources, pytest's root folder; default: this one",
    )
    for kind, metavar in KINDS.items():
        report.add_argument(f"--{kind}", metavar=metavar, help=_OUTPUT_HELP[kind])
    report.add_argument(
        "--github",
        action="store_true",
        help="print annotations, and add to the summary of the job that this runs in",
    )
    report.add_argument(
        "--fail-under",
        metavar="N",
        type=_percent,
        help="status 1 if less than this percentage of the error paths was reached",
    )
    report.set_defaults(command=_report)


_OUTPUT_HELP = {
    "json": "write one report of all",
    "html": "write a folder of pages, one for each source file",
    "lcov": "write the error paths in LCOV's form",
    "cobertura": "write the error paths in Cobertura's form",
    "sarif": "write bad trials and error paths that never ran, for code scanning",
}


def _percent(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage from 0 to 100")
    return number


def _report(options: argparse.Namespace) -> int:
    from faultinject.report.as_text import as_text
    from faultinject.report.findings import Findings
    from faultinject.report.merge import merge
    from faultinject.report.reading import read_report_file
    from faultinject.report.table import shortfall

    given = [(kind, getattr(options, kind)) for kind in KINDS]
    outputs = [Output(kind, Path(place)) for kind, place in given if place is not None]
    root = Path(options.root)
    if not root.is_dir():
        raise UsageError("no such folder", value=options.root, where="--root", cure="Name a folder")
    for output in outputs:
        output.require_place()
    document = merge([read_report_file(name) for name in options.files], options.files)
    print(as_text(document, everything=options.all, missing=options.missing))
    for output in outputs:
        output.write(document, root)
        print(f"report written to {output.path}")
    findings = Findings.of(document)
    if options.github:
        from faultinject.report.github import annotate, write_summary

        for line in annotate(findings):
            print(line)
        write_summary(findings)
    short = shortfall(findings, options.fail_under)
    if short is not None:
        print(f"faultinject: {short}", file=sys.stderr)
        return _TOO_FEW
    return 0


def _add_explain(commands: _Commands) -> None:  # type: ignore[valid-type]
    explain = commands.add_parser(  # type: ignore[attr-defined]
        "explain",
        help="say why an allocation failed, from a kernel log",
        description="Read a kernel log (dmesg, syslog, journalctl, or pasted), and explain "
        "each page allocation failure in it: by the watermark rule of that kernel, zone by zone.",
        allow_abbrev=False,
    )
    explain.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="the log; - is standard input"
    )
    explain.add_argument(
        "--kernel", metavar="RELEASE", help="the kernel's release, from 2.6 on, such as 6.1"
    )
    explain.add_argument(
        "-v", "--verbose", action="store_true", help="every step, and the free blocks"
    )
    explain.add_argument("--json", action="store_true", help="everything, for other programs")
    explain.add_argument(
        "--test", action="store_true", help="pytest tests that load the state and are refused"
    )
    explain.add_argument("--svg", metavar="FILE", help="the free blocks of each zone as a picture")
    explain.add_argument(
        "--now",
        action="store_true",
        help="no log: which requests this machine would meet at once, by its /proc",
    )
    explain.set_defaults(command=_explain)


def _explain(options: argparse.Namespace) -> int:
    from faultinject.klog.as_json import json_pieces
    from faultinject.klog.as_text import as_text
    from faultinject.klog.explain import Explanation, explain
    from faultinject.klog.reading import read_reports
    from faultinject.klog.release import parse_release

    if options.kernel is not None:
        parse_release(options.kernel, option="--kernel")
    if options.now:
        return _explain_now(options)
    if options.test and (options.json or options.verbose):
        raise UsageError(
            "--test prints a file of tests, and nothing else",
            where="explain",
            cure="Leave --json and --verbose out",
        )
    with _opened(options.file) as stream:
        found: Iterable[Explanation] = (
            explain(report, kernel=options.kernel) for report in read_reports(stream)
        )
        if options.svg:
            from faultinject.klog.as_svg import as_svg
            from faultinject.report.writing import write_file

            found = list(found)
            write_file(Path(options.svg), as_svg(found))
        if options.json:
            pieces = 0
            for piece in json_pieces(found):
                print(piece, end="")
                pieces += 1
            # Neither the head nor the end is a report.
            return 0 if pieces > 2 else _NOTHING_FOUND
        count = 0
        if options.test:
            from faultinject.klog.as_test import as_test

            explained = list(found)
            if count := len(explained):
                print(as_test(explained), end="")
        else:
            for count, each in enumerate(found, 1):
                if count > 1:
                    print()
                print(as_text(each, verbose=options.verbose), end="")
    if not count:
        print(
            "no report of a failed allocation in this log; there would be a line such as "
            "'…: page allocation failure: order:4, mode:0x…'",
            file=sys.stderr,
        )
    return 0 if count else _NOTHING_FOUND


def _explain_now(options: argparse.Namespace) -> int:
    from faultinject.klog.now import now_as_text, survey

    if options.file != "-" or options.json or options.verbose or options.svg or options.test:
        raise UsageError(
            "--now goes with --kernel only", where="explain", cure="Leave the log out, or --now"
        )
    try:
        buddyinfo, zoneinfo = (
            Path(f"/proc/{name}").read_text(encoding="ascii") for name in ("buddyinfo", "zoneinfo")
        )
    except OSError as error:
        raise UnavailableError(
            f"this machine does not tell the state of its zones: {error.strerror}",
            value=error.filename,
            where="explain --now",
            cure="Run it on Linux, where /proc is mounted",
        ) from None
    page_kb = os.sysconf("SC_PAGE_SIZE") // 1024
    release = options.kernel or platform.release()
    print(f"Linux {release}: what would be met at once, without reclaiming anything")
    print()
    found = survey(buddyinfo, zoneinfo, release, page_kb=page_kb)
    print(now_as_text(found, page_kb=page_kb), end="")
    return 0


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    if name == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return open(name, "rb")
    except OSError as error:
        raise UsageError(
            f"the log cannot be read: {error.strerror}",
            value=name,
            where="explain",
            cure="Name a file, or - for standard input",
        ) from None


def _add_list(commands: _Commands) -> None:  # type: ignore[valid-type]
    listing = commands.add_parser(  # type: ignore[attr-defined]
        "list", help="what can fail here: capabilities, defaults, availability", allow_abbrev=False
    )
    listing.add_argument(
        "--injectable",
        metavar="MODULE",
        nargs="*",
        help="instead: the functions that these modules, which are imported, mark error_injectable",
    )
    listing.set_defaults(command=_list)


def _list(options: argparse.Namespace) -> int:
    if options.injectable is not None:
        return _list_injectable(options.injectable)
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
        if capability.name == "fail_pymem" and reason is None and (said := cannot_be_told()):
            print(f"  {said}.")
    return 0


def _list_injectable(modules: Sequence[str]) -> int:
    from faultinject.functions.injectable import injectables

    sys.path.insert(0, os.getcwd())
    for module in modules:
        try:
            import_module(module)
        except Exception as error:
            raise UsageError(
                f"the module cannot be imported: {type(error).__name__}: {error}",
                value=module,
                where="list --injectable",
                cure="Name modules as Python does, as mypkg.db",
            ) from error
    found = injectables()
    for each in found:
        print(f"{each.target.name}: {', '.join(fault.text for fault in each.faults)}")
        print(f"  {os.path.relpath(each.file)}:{each.line}")
    if not found:
        print("no module that is imported marks a function error_injectable", file=sys.stderr)
    return 0


def _shown(value: object) -> str:
    if value == NO_LIMIT:
        return "no limit"
    if value == "":
        return "none"
    return {True: "Y", False: "N"}[value] if isinstance(value, bool) else str(value)
