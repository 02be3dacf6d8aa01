"""``sweep``: every call site of a function fails in turn, without pytest.

Lives here: the public function and its report. Not here: the order of a sweep
(`faultinject.campaign.sweeper`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any

from faultinject.campaign.allocations import installed_code
from faultinject.campaign.by_name import place_of, shown_below
from faultinject.campaign.choice import choose_by_value
from faultinject.campaign.functions import Functions
from faultinject.campaign.isolation import choose
from faultinject.campaign.limits import DEFAULT_MEMORY, parse_memory
from faultinject.campaign.oracles.selection import parse_oracles
from faultinject.campaign.outcome import Outcome
from faultinject.campaign.plan import Hits
from faultinject.campaign.record import (
    TestRecord,
    TrialRecord,
    count_outcomes,
    say_defects,
    told_apart,
)
from faultinject.campaign.replay import PlannedToken, RandomToken, parse_token
from faultinject.campaign.scope import Scope
from faultinject.campaign.settings import DEFAULT_TRIALS, Settings
from faultinject.campaign.site import Identity
from faultinject.campaign.sweeper import Sweeper
from faultinject.engine import observe
from faultinject.errors import UsageError
from faultinject.prng import fresh_seed


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep found. Print it, or read its records.

    Attributes:
        record: the census and all trials.
    """

    record: TestRecord

    @property
    def trials(self) -> list[TrialRecord]:
        """Every trial, in the order in which the sites were first reached."""
        return self.record.trials

    @property
    def bad(self) -> list[TrialRecord]:
        """The trials whose outcome is bad."""
        return self.record.bad

    @property
    def sites(self) -> int:
        """How many call sites a clean run reaches."""
        return self.record.sites

    def __str__(self) -> str:
        record = self.record
        counts = count_outcomes([record])
        parts = [f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome]]
        lines = [
            f"sweep of {record.nodeid}: {_plural(record.sites, 'call site')}, "
            f"{_plural(len(record.trials), 'trial')}" + (f": {', '.join(parts)}" if parts else "")
        ]
        lines += [f"  {note}" for note in record.notes]
        lines += [f"  {line}" for line in say_defects(item.interpreter for item in record.trials)]
        if record.not_run:
            lines.append(f"  {_plural(record.not_run, 'trial')} not run")
        tokens = [trial.replay for trial in record.trials]
        # A call of a function says already what was asked.
        asked = ["" if trial.fault else trial.request for trial in record.trials]
        places = told_apart([_fault(trial) for trial in record.trials], tokens, asked)
        for trial, place in zip(record.trials, places, strict=True):
            lines.append(
                f"  {trial.outcome.value.upper():<11} {place}{_label(trial)}"
                + (f": {trial.error}" if trial.error else "")
            )
            if trial.bad:
                lines += [f"              {line}" for line in (*trial.leaks, *trial.details)]
                lines.append(f"              replay={trial.replay!r}")
        return "\n".join(lines)


def sweep(
    body: Callable[..., Any],
    prep: Callable[[], Any] | None = None,
    check: Callable[..., Any] | None = None,
    capabilities: str | Iterable[str] | None = None,
    isolation: str = "auto",
    *,
    source: str | Iterable[str] = (),
    omit: str | Iterable[str] = (),
    hits: str | int = "ends",
    identity: str = "instruction",
    persistent: bool = False,
    order: int = 1,
    max_errors: int | None = None,
    strict: bool = False,
    raises: type[BaseException] | tuple[type[BaseException], ...] = (),
    max: int | None = None,  # noqa: A002 - the option's name everywhere else
    timeout: float | None = None,
    memory: str | int | None = DEFAULT_MEMORY,
    trials: int = DEFAULT_TRIALS,
    seed: int | None = None,
    jobs: int = 1,
    oracles: str | Iterable[str] = "all",
    replay: str | None = None,
) -> SweepReport:
    """Fail every call site that `body` reaches, one per trial, and judge each trial.

    Each trial runs ``prep()``, ``body()`` with one fault, ``check()``, looks for
    what was left behind, and runs all three once more without a fault.

    Args:
        body: the code under test.
        prep: runs before each body, without faults. What it returns is passed to
            `body` and `check`, unless it is None.
        check: the invariant: runs after each body, whatever became of it, without
            faults. What it raises makes the trial ``CORRUPTED``.
        capabilities: a SPEC such as ``"failslab;fail_page_alloc:min_order=2"``,
            several of them, or None for every capability there is.
        isolation: ``fork`` (a child per trial), ``spawn`` (a fresh interpreter that does
            one trial after another, of functions that it finds by their names), ``none``
            (in this process: no crash or hang is survived, and state that a trial spoils
            stays spoilt), or ``auto``: a fork, unless it would be without threads that run.
        source: packages, modules, files or folders under test; the default is
            every frame outside faultinject.
        omit: what of `source` is not.
        hits: which hits of a site fail: ``first``, ``ends`` (first and last),
            ``all``, or the first N.
        identity: what one site is: ``line``, ``instruction``, ``site`` (with its
            callers) or ``all``.
        persistent: every later eligible call fails too, until the body ends.
        order: 2: call sites that a trial reaches and the clean body does not (handlers,
            ``finally`` blocks, retries) fail as well, after the trial's own fault.
        max_errors: of each call of a function at most so many errors, at least 1.
        strict: an injected error that reaches the caller is bad.
        raises: exception types that the body may answer a failure with.
        max: at most so many trials, at least 1.
        timeout: seconds for each phase of a trial; the default is
            max(5, 10 times the clean body).
        memory: what a trial may allocate beyond what a clean run does: bytes, a size such
            as ``"512M"``, or None for any number. Beyond it the code under test meets the
            real `MemoryError`. Only with a child per trial, on Linux.
        trials: random trials for each SPEC that names a probability.
        seed: of the random trials; a random one if it is None.
        jobs: children at once.
        oracles: what is looked at besides what `body` and `check` raise: ``all``, ``none``,
            names with commas between them (``descriptors,threads``), or names that are
            left out (``no-locks``).
        replay: a token of an earlier sweep: run that trial alone.

    Raises:
        SpecError: a SPEC that cannot be read.
        UsageError: any other argument that is out of its range; a campaign is running in
            this process already, as inside the body of another sweep; or the body does not
            pass when nothing fails, so that no trial could say anything.

    Source: SQLite's malloc tests and the kernel's fail-nth loop, by call site
    instead of by count.
    """
    if observe.current is not None:
        raise UsageError(
            "a campaign is already running in this process",
            where="sweep",
            cure="Call sweep outside the code that is being tried: campaigns do not nest",
            slug="observer-installed",
        )
    _runs_when_called("body", body)
    for role, function in (("prep", prep), ("check", check)):
        if function is not None:
            _runs_when_called(role, function)
    name = getattr(body, "__qualname__", None) or type(body).__qualname__
    declared = _exceptions(raises)
    looked_at = parse_oracles(oracles)
    root = os.getcwd()
    scope = Scope.parse(_several("source", source), _several("omit", omit), root=root)
    kind = choose(isolation, jobs=_at_least_one("jobs", jobs))
    choice = choose_by_value(capabilities)
    token = parse_token(replay) if replay is not None else None
    if isinstance(token, RandomToken):
        choice = choose_by_value(token.spec)
    elif token is not None and not token.capabilities <= choice.swept.keys():
        choice = choose_by_value(token.specs)
    settings = Settings(
        swept=choice.swept,
        by_default=choice.by_default,
        random=choice.random,
        scope=scope,
        foreign_code=installed_code(),
        hits=Hits.parse(hits),
        identity=_identity(identity),
        persistent=persistent,
        order=2 if isinstance(token, PlannedToken) and token.after else _order(order),
        most_errors=None if max_errors is None else _at_least_one("max_errors", max_errors),
        strict=strict,
        limit=_at_least_one("max", max) if max is not None else None,
        timeout=_positive("timeout", timeout) if timeout is not None else None,
        memory=parse_memory(memory, option="sweep(memory=…)"),
        trials=_at_least_one("trials", trials),
        seed=fresh_seed() if seed is None else _whole("seed", seed),
        raises=declared,
        oracles=looked_at,
    )
    subject = Functions(body, prep, check, raises=declared, scope=scope)
    functions = (body, prep, check, settings)
    with place_of(kind, functions, name, root, jobs=jobs, auto=isolation == "auto") as place:
        runs, notes = place
        sweeper = Sweeper(subject, settings, runs, name=name, shown=partial(shown_below, root))
        # Nobody knows yet what the clean body takes, so that nothing but `timeout` bounds it.
        if token is None:
            record = sweeper.sweep(clean_seconds=math.inf)
        else:
            record = sweeper.replay(token, clean_seconds=math.inf)
    record.notes += notes
    _refuse_broken(record)
    return SweepReport(record)


def _refuse_broken(record: TestRecord) -> None:
    """Refuse what does not even work without a fault: no trial would look like a good one."""
    if record.baseline == "passed":
        return
    (told, *_) = (note for note in record.notes if record.baseline in note)
    raise UsageError(
        told.replace("the test failed", "the body failed"),
        where=f"sweep of {record.nodeid}",
        cure="Sweep what passes, with its prep and check, as long as nothing fails",
        slug="clean-run",
    )


def _fault(trial: TrialRecord) -> str:
    if not trial.file:
        return "random faults, none of which struck"
    place = f"{trial.capability} at {trial.file}:{trial.line} in {trial.function}"
    what = f" ({trial.fault})" if trial.fault else ""
    return f"{place}, hit {trial.hit}{what}" if trial.hit else f"{place}, random{what}"


def _label(trial: TrialRecord) -> str:
    return f" (CPython: {trial.interpreter})" if trial.interpreter else ""


def _runs_when_called(role: str, function: object) -> None:
    if not callable(function):
        raise UsageError(f"{role} is not callable", value=function, where="sweep")
    for kind in (function, type(function).__call__):
        if iscoroutinefunction(kind) or isgeneratorfunction(kind) or isasyncgenfunction(kind):
            raise UsageError(
                f"{role} is a coroutine or generator function, whose call runs nothing yet",
                value=function,
                where="sweep",
                cure="Pass a plain function that runs it, as lambda: asyncio.run(main())",
            )


def _several(name: str, value: str | Iterable[str]) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Iterable):
        texts = list(value)
        if all(isinstance(text, str) for text in texts):
            return texts
    raise UsageError(
        f"{name} is not text",
        value=value,
        where=f"sweep({name}=…)",
        cure="Give a str, or several in a list",
    )


def _exceptions(value: object) -> tuple[type[BaseException], ...]:
    kinds = value if isinstance(value, tuple) else (value,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise UsageError(
                "raises is not an exception type",
                value=kind,
                where="sweep(raises=…)",
                cure="Give a class such as OSError, or a tuple of them",
            )
    return kinds


def _identity(text: str) -> Identity:
    try:
        return Identity(text)
    except ValueError:
        raise UsageError(
            "not an identity of call sites",
            value=text,
            where="identity",
            cure=f"Use {', '.join(item.value for item in Identity)}",
        ) from None


def _order(value: int) -> int:
    if value in (1, 2) and not isinstance(value, bool):
        return value
    raise UsageError(
        "not an order of faults", value=value, where="sweep(order=…)", cure="Give 1 or 2"
    )


def _at_least_one(name: str, value: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise UsageError(
        f"{name} is not a whole number of at least 1",
        value=value,
        where=f"sweep({name}=…)",
        cure="Give a whole number of at least 1",
    )


def _whole(name: str, value: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise UsageError(
        f"{name} is not a whole number", value=value, where=f"sweep({name}=…)", cure="Give an int"
    )


def _positive(name: str, value: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
        return float(value)
    raise UsageError(
        f"{name} is not a number of seconds above 0",
        value=value,
        where=f"sweep({name}=…)",
        cure="Give a number of seconds above 0",
    )


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
