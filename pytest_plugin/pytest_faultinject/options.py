"""The one table of options: command line, ini file, and how a value is read.

Lives here: every option's name, help, ini type and reader, and the precedence:
command line, then ini file, then default. Not here: what the values do.

Nothing heavy is imported: this module is loaded in every run of pytest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest

Kind = Literal["flag", "text", "texts", "whole", "number", "percent"]

_INI_TYPES: dict[Kind, Literal["bool", "string", "args"]] = {
    "flag": "bool",
    "text": "string",
    "texts": "args",
    # Strings as well: the readers below refuse a wrong number with the option's name.
    "whole": "string",
    "number": "string",
    "percent": "string",
}


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        stem: the name after ``--fail-alloc``, or after ``--fail`` where it begins with
            ``function``; empty for the flag itself.
        kind: flag, one text, several texts, a whole number, a number, a percentage.
        help: one sentence for ``--help``.
        metavar: what the value is called there.
        default: what holds if nobody says anything.
        choices: the values that are allowed, where they can be listed.
        least: the smallest whole number, or what a number must be above.
    """

    stem: str
    kind: Kind
    help: str
    metavar: str | None = None
    default: Any = None
    choices: tuple[str, ...] = ()
    least: int | None = None

    @property
    def flag(self) -> str:
        """The name on the command line."""
        if self.stem.startswith("function"):
            return f"--fail-{self.stem}"
        return "--fail-alloc" + (f"-{self.stem}" if self.stem else "")

    @property
    def ini(self) -> str:
        """The name in the ini file, and the destination on the command line."""
        return self.flag[2:].replace("-", "_")


OPTIONS = (
    Option(
        "",
        "flag",
        "Fail every allocation call site that each test reaches, one at a time, "
        "and judge how the test takes it.",
    ),
    Option(
        "spec",
        "texts",
        "What fails: capability[:knob=value,...][;capability...]. A capability "
        "without probability is swept, with one it is random mode. Implies --fail-alloc; "
        "repeatable. Default: every capability there is.",
        "SPEC",
    ),
    Option(
        "function",
        "texts",
        "Fail calls of functions: PROFILE (disk, permission, descriptors, network, process, "
        "database, threads, imports, or the project's own), injectable (what is marked so), or "
        "TARGET, such as os.fsync or mypkg.db:Session.commit, with the ERROR that it fails with, "
        "such as OSError(EIO). A campaign by itself, or beside --fail-alloc; repeatable.",
        "PROFILE|TARGET[:ERROR]",
    ),
    Option(
        "function-max-errors",
        "whole",
        "Try at most N errors at each place that calls a function. Default: all that it can have.",
        "N",
        least=1,
    ),
    Option(
        "source",
        "texts",
        "Code under test: a package, module, mypkg.cache:LRU.put, file or "
        "folder; repeatable. Default: every caller outside faultinject; of the interpreter's "
        "own allocations those of the project's code, not of its tests.",
        "SOURCE",
    ),
    Option("omit", "texts", "What of the code under test is left out; repeatable.", "SOURCE"),
    Option(
        "hits",
        "text",
        "Which hits of a call site are failed: first, ends (first and last), all, or the first N.",
        "first|ends|N|all",
        "ends",
    ),
    Option(
        "identity",
        "text",
        "What makes two calls one call site.",
        "line|instruction|site|all",
        "instruction",
        ("line", "instruction", "site", "all"),
    ),
    Option(
        "phases",
        "text",
        "Phases of a test in which calls are failed: call, setup, teardown; "
        "function-scoped fixtures only.",
        "PHASE,...",
        "call",
    ),
    Option(
        "order",
        "whole",
        "2: what a trial reaches that the clean run does not (handlers, finally blocks, retries) "
        "fails as well, after the trial's own fault.",
        "1|2",
        1,
        least=1,
    ),
    Option("persistent", "flag", "After its fault, fail every eligible call until the body ends."),
    Option("strict", "flag", "An injected error that reaches the test is bad."),
    Option(
        "max", "whole", "At most N trials per test; the rest is reported as not run.", "N", least=1
    ),
    Option(
        "trials",
        "whole",
        "Random trials per test and SPEC, where it names a probability.",
        "N",
        20,
        least=1,
    ),
    Option(
        "seed",
        "whole",
        "Seed of the random trials. Default: a new one, shown in the header.",
        "N",
        least=0,
    ),
    Option(
        "timeout",
        "number",
        "Seconds for the body of one trial. Default: max(5, 10 times the clean run).",
        "SECONDS",
        least=0,
    ),
    Option(
        "memory",
        "text",
        "What a trial may allocate beyond what the clean run does, such as 512M, or none for "
        "no limit.",
        "SIZE",
        "1G",
    ),
    Option(
        "oracle",
        "text",
        "What is looked at besides the test's own outcome: all, none, names, or no-NAME to leave "
        "one out.",
        "NAME,...",
        "all",
    ),
    Option(
        "per",
        "text",
        "test: each test tries every call site that it reaches. suite: each call site is tried "
        "once in the run, in the quickest test that reaches it.",
        "test|suite",
        "test",
        ("test", "suite"),
    ),
    Option(
        "budget",
        "number",
        "Seconds for all trials of the run together: first what was never tried, then what was "
        "tried longest ago; the next run goes on with the rest.",
        "SECONDS",
        least=0,
    ),
    Option("shard", "text", "Run only this machine's part of each test's trials.", "I/N"),
    Option("jobs", "text", "Trials at once: a number, or auto for one per core.", "N|auto", "1"),
    Option(
        "isolation",
        "text",
        "Where a trial runs: fork (a child of this process), spawn (a fresh interpreter that "
        "does one after another), none (this process), or auto.",
        "auto|fork|spawn|none",
        "auto",
        ("auto", "fork", "spawn", "none"),
    ),
    Option(
        "fork-after",
        "text",
        "What is set up once, before the children are forked: session (wide fixtures; each "
        "trial sets up its own function-scoped ones), or fixtures (those as well: quicker, but "
        "trials share the files and connections that they open).",
        "session|fixtures",
        "session",
        ("session", "fixtures"),
    ),
    Option(
        "replay",
        "text",
        "Run the one trial that a token names, of the one test that it names.",
        "TOKEN",
    ),
    Option(
        "last-bad",
        "flag",
        "Run only the trials that were bad last time, or all if none were. Implies --fail-alloc.",
    ),
    Option("known", "text", "File of known problems: bad trials that do not fail the run.", "FILE"),
    Option(
        "update-known",
        "flag",
        "Write this run's problems into the known-problems file; what is mended goes, "
        "lines about tests that were not tried stay.",
    ),
    Option(
        "report",
        "texts",
        "Where results go, besides the section at the end: term (a table of error paths by file "
        "in it), term-missing (the same, with the lines of those that never ran), github, "
        "json:FILE, html:DIR, lcov:FILE, cobertura:FILE or sarif:FILE; repeatable. Default: the "
        "section alone, with error paths in one sentence.",
        "KIND[:PLACE]",
    ),
    Option(
        "fail-under",
        "percent",
        "Fail the run if less than this percentage of the error paths was reached.",
        "N",
    ),
    Option(
        "cov",
        "text",
        "What coverage.py's data says beside a campaign: off (what it would say without one), or "
        "merge (lines that ran under injection count too, in the context faultinject). With none "
        "error paths are not observed, which saves some time.",
        "off|merge|none",
        "off",
        ("off", "merge", "none"),
    ),
)


def add_options(parser: pytest.Parser) -> None:
    """Register every option and its ini twin."""
    group = parser.getgroup("faultinject", "fault injection (faultinject)")
    for option in OPTIONS:
        settings: dict[str, Any] = {"dest": option.ini, "help": option.help, "default": None}
        if option.kind == "flag":
            settings["action"] = "store_true"
        else:
            settings["metavar"] = option.metavar
            if option.kind == "texts":
                settings["action"] = "append"
        group.addoption(option.flag, **settings)
        parser.addini(
            option.ini, f"{option.flag}: {option.help}", type=_INI_TYPES[option.kind], default=None
        )


def raw_value(config: pytest.Config, option: Option) -> tuple[Any, str]:
    """Give an option's value as it was written, and where it was written.

    Returns:
        the value, or None if nobody said anything; and the name to blame.
    """
    given = config.getoption(option.ini)
    if given is not None and given is not False:
        return given, option.flag
    where = _where_in_ini(config, option.ini)
    try:
        written = config.getini(option.ini)
    except (TypeError, ValueError, pytest.UsageError):
        # A native TOML table: its value is no string, and a number is a good number.
        from pytest_faultinject.private import native_ini_value

        written = native_ini_value(config, option.ini)
        if option.kind == "flag":
            raise refusal(where, written, "true or false") from None
        if option.kind == "texts" and not isinstance(written, list):
            written = [written]
    if written is None or written is False or written in ("", []):
        return None, option.flag
    return written, where


def _where_in_ini(config: pytest.Config, name: str) -> str:
    if any(item.partition("=")[0] == name for item in config.getoption("override_ini") or ()):
        return f"-o {name}"
    return f"{name} in {config.inipath or 'the ini file'}"


def read_value(config: pytest.Config, stem: str) -> tuple[Any, str]:
    """Give an option's checked value, and the name to blame for it."""
    option = next(item for item in OPTIONS if item.stem == stem)
    value, where = raw_value(config, option)
    if value is None:
        return option.default, where
    return _READERS[option.kind](option, value, where), where


def read_text(stem: str, text: str, where: str) -> Any:
    """Check a value that came from elsewhere; `where` is to blame for it."""
    option = next(item for item in OPTIONS if item.stem == stem)
    return _READERS[option.kind](option, text, where)


def is_active(config: pytest.Config) -> bool:
    """Say whether this run is a campaign: the flag, or what implies it on the command line."""
    implying = ("fail_alloc_spec", "fail_function", "fail_alloc_replay", "fail_alloc_last_bad")
    # An empty text is given as well, and refused later; a flag that is not given is False.
    implied = any(config.getoption(name) not in (None, False) for name in implying)
    return implied or bool(raw_value(config, OPTIONS[0])[0])


def idle_options(config: pytest.Config) -> list[str]:
    """Give what was typed although no campaign runs; what the ini file says waits for one."""
    return [option.flag for option in OPTIONS if config.getoption(option.ini) not in (None, False)]


def _read_text(option: Option, value: Any, where: str) -> str:
    text = str(value).strip()
    if not text:
        raise refusal(where, value, f"a value: {option.metavar}")
    if option.choices and text not in option.choices:
        raise refusal(where, value, f"one of {', '.join(option.choices)}")
    return text


def _read_texts(option: Option, value: Any, where: str) -> list[str]:
    return [_read_text(option, item, where) for item in value]


def _read_whole(option: Option, value: Any, where: str) -> int:
    text = str(value).strip()
    least = option.least or 0
    if text.isascii() and text.isdigit() and len(text) <= 20 and int(text) >= least:
        return int(text)
    raise refusal(where, value, f"a whole number of at least {least}")


def _read_number(option: Option, value: Any, where: str) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = -1.0
    if 0 < number < float("inf"):
        return number
    raise refusal(where, value, "a number of seconds above 0")


def _read_percent(option: Option, value: Any, where: str) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = -1.0
    if 0 <= number <= 100:
        return number
    raise refusal(where, value, "a percentage from 0 to 100")


_READERS: dict[Kind, Callable[[Option, Any, str], Any]] = {
    "flag": lambda option, value, where: bool(value),
    "text": _read_text,
    "texts": _read_texts,
    "whole": _read_whole,
    "number": _read_number,
    "percent": _read_percent,
}


def refusal(where: str, value: object, allowed: str) -> pytest.UsageError:
    """Word the refusal of a value: the option, the value, and what is allowed."""
    return pytest.UsageError(f"{where}: {str(value)!r} is not allowed. Give {allowed}.")
