"""Reading and checking every option at start-up, before a test is collected.

Lives here: from options to `Setup`, which holds for the whole session. Not
here: the table of options (``.options``), a single test's mark (``.marks``).
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from faultinject.campaign.choice import Choice
from faultinject.campaign.choice import choose as choose_spec
from faultinject.campaign.isolation import choose as choose_isolation
from faultinject.campaign.known import KnownProblems
from faultinject.campaign.limits import parse_memory
from faultinject.campaign.oracles.selection import parse_oracles
from faultinject.campaign.plan import Hits, Shard
from faultinject.campaign.replay import Token, parse_token
from faultinject.campaign.scope import Scope
from faultinject.campaign.settings import Settings
from faultinject.campaign.site import Identity
from faultinject.errors import FaultInjectError
from pytest_faultinject.options import OPTIONS, read_value, refusal
from pytest_faultinject.own_code import foreign_code, own_code
from pytest_faultinject.reports import Reports
from pytest_faultinject.token_options import (
    apply_token,
    carried_code,
    own_code_of,
    token_options,
)

PHASES = ("call", "setup", "teardown")
_CALLS = "fail_function"


@dataclass(frozen=True, slots=True)
class Setup:
    """What the options say, for the whole session.

    Attributes:
        settings: how each test is swept, before its own mark.
        phases: the phases in which calls fail.
        isolation: ``fork``, ``spawn`` or ``none``.
        jobs: trials at once.
        token: the one trial to replay, or None.
        known: the known problems.
        known_path: their file, or None.
        update_known: write that file anew at the end.
        reports: where results go, and how many error paths must be reached.
        shows_seed: whether trials are random, so that their seed matters.
        forks_after_fixtures: whether function-scoped fixtures are set up once.
        per: ``test``, or ``suite``: each call site is tried in one test.
        budget: seconds for all trials, or None.
        last_bad: run only what was bad last time.
        avoids_threads: spawn instead of fork where threads of the tests run.
        merges_coverage: lines that ran under injection count in the user's coverage.
        observes: error paths are observed.
    """

    settings: Settings
    phases: frozenset[str]
    isolation: str
    jobs: int
    token: Token | None
    known: KnownProblems
    known_path: Path | None
    update_known: bool
    reports: Reports
    shows_seed: bool
    forks_after_fixtures: bool
    per: str = "test"
    budget: float | None = None
    last_bad: bool = False
    avoids_threads: bool = False
    merges_coverage: bool = False
    observes: bool = True

    @property
    def tries_all(self) -> bool:
        """Whether each call site is tried in this very run, unless a test's limit forbids."""
        part = self.settings.shard is not None or self.last_bad or self.token is not None
        return not part and not self.settings.random

    def for_items(self, config: pytest.Config, items: Sequence[pytest.Item]) -> Setup:
        """Give the same, once it is known which files hold tests."""
        foreign = foreign_code(config, items)
        return replace(self, settings=replace(self.settings, foreign_code=foreign))


def read_setup(config: pytest.Config, token: Token | None = None) -> Setup:
    """Read every option.

    Args:
        config: pytest's.
        token: to be read as if it were given to be replayed.

    Raises:
        pytest.UsageError: naming the option, the value and what is allowed.
    """
    try:
        return _read(config, token)
    except FaultInjectError as error:
        raise pytest.UsageError(str(error)) from None


def _read(config: pytest.Config, token: Token | None) -> Setup:
    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    for option in OPTIONS:
        values[option.stem], names[option.stem] = read_value(config, option.stem)
    if values["replay"] is not None:
        _refuse_two_selections(values, names)
        token = parse_token(values["replay"], option=names["replay"])
    if token is not None:
        apply_token(values, names, token)
    with _project_importable(str(config.rootpath)):
        calls = _calls(values, names)
        choice = _choice(values["spec"] or (), names["spec"])
    if calls is not None:
        alone = not values["spec"] and not values[""]
        choice = choice.beside(calls, alone=alone)
    jobs = _jobs(values["jobs"], names["jobs"])
    isolation = choose_isolation(values["isolation"], jobs=jobs, option=names["isolation"])
    phases = _phases(values["phases"], names["phases"])
    settings = Settings(
        swept=choice.swept,
        by_default=choice.by_default,
        random=choice.random,
        scope=Scope.parse(
            values["source"] or (),
            values["omit"] or (),
            root=str(config.rootpath),
            option=names["source"],
            omit_option=names["omit"],
        ),
        own_code=own_code(config) if token is None else own_code_of(config, token),
        hits=Hits.parse(values["hits"], option=names["hits"]),
        identity=_identity(values["identity"], names["identity"]),
        most_errors=values["function-max-errors"],
        order=_order(values["order"], names["order"]),
        persistent=bool(values["persistent"]),
        strict=bool(values["strict"]),
        limit=values["max"],
        shard=None
        if values["shard"] is None
        else Shard.parse(values["shard"], option=names["shard"]),
        timeout=values["timeout"],
        memory=parse_memory(values["memory"], option=names["memory"]),
        trials=values["trials"],
        seed=_seed(config, values["seed"]),
        oracles=parse_oracles(values["oracle"], option=names["oracle"]),
    )
    settings = replace(
        settings,
        token_options=token.options
        if token is not None
        else token_options(values, calls, settings.oracles) | carried_code(config, settings),
    )
    if token is None:
        _require_cache(config, values, names)
    known_path, known = _known(config, values, names)
    if token is not None:
        # Somebody wants to see this trial, and the file is about whole campaigns.
        known_path, known, values["update-known"] = None, KnownProblems(), False
    reports = Reports.parse(
        values["report"] or (),
        fail_under=values["fail-under"],
        where=names["report"],
        place=lambda text, where: _path(config, text, where),
    )
    return Setup(
        settings,
        phases,
        isolation,
        jobs,
        token,
        known,
        known_path,
        bool(values["update-known"]),
        reports,
        bool(choice.random),
        _forks_after_fixtures(values, names, isolation, phases),
        values["per"],
        values["budget"],
        bool(values["last-bad"]) and token is None,
        isolation == "fork" and values["isolation"] == "auto",
        values["cov"] == "merge",
        _observes(values, names, reports, token),
    )


def _observes(
    values: Mapping[str, Any], names: Mapping[str, str], reports: Reports, token: Token | None
) -> bool:
    """Say whether error paths are observed: always, but for a replay that nobody asks for them."""
    if values["cov"] != "none":
        return token is None or reports.wants_paths
    for stem, asked in (("fail-under", reports.fail_under), ("report", reports.missing)):
        if asked:
            raise refusal(
                names["cov"], "none", f"off or merge, for {names[stem]} is about error paths"
            )
    return False


@contextmanager
def _project_importable(root: str) -> Iterator[None]:
    """Find the project's modules, which a SPEC may name, as its tests will find them.

    pytest puts their folder into ``sys.path`` only when it collects them.
    """
    if root in sys.path:
        yield
        return
    sys.path.append(root)
    try:
        yield
    finally:
        with suppress(ValueError):  # a module that was imported has taken it away
            sys.path.remove(root)


def _calls(values: Mapping[str, Any], names: Mapping[str, str]) -> Choice | None:
    """Read which calls of functions fail."""
    texts = values["function"]
    if not texts:
        return None
    return _choice([f"{_CALLS}:target={'|'.join(texts)}"], names["function"])


def _order(value: int, where: str) -> int:
    if value > 2:
        raise refusal(where, value, "1 or 2")
    return value


def _jobs(text: str, where: str) -> int:
    if text == "auto":
        return max(
            1,
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1,
        )
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 1024:
        return int(text)
    raise refusal(where, text, "a whole number from 1 to 1024, or auto")


def _phases(text: str, where: str) -> frozenset[str]:
    phases = [part.strip() for part in text.split(",")]
    for phase in phases:
        if phase not in PHASES:
            raise refusal(where, phase or text, f"some of {', '.join(PHASES)}, with commas")
    return frozenset(phases)


def _refuse_two_selections(values: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Refuse a token beside the list of last time, where both were typed."""
    if values["last-bad"] and names["last-bad"].startswith("--"):
        raise pytest.UsageError(
            f"{names['last-bad']} and {names['replay']}: each says which trials run. Give one."
        )


def _forks_after_fixtures(
    values: Mapping[str, Any], names: Mapping[str, str], isolation: str, phases: frozenset[str]
) -> bool:
    if values["fork-after"] != "fixtures":
        return False
    where = names["fork-after"]
    if isolation != "fork" and where == names["replay"]:
        return False  # a token says how it was found; where it is run again is the user's
    if isolation != "fork":
        raise refusal(where, "fixtures", f"session: with isolation {isolation} nothing is forked")
    if "setup" in phases:
        raise refusal(where, "fixtures", "session: calls of the set-up are to fail, in each trial")
    return True


def _choice(specs: list[str] | tuple[()], where: str) -> Choice:
    try:
        return choose_spec(specs, option=where)
    except FaultInjectError as error:
        # The grammar knows the place in the text, not who gave the text.
        said = str(error)
        raise pytest.UsageError(said if where in said else f"{where}: {said}") from None


def _identity(text: str, where: str) -> Identity:
    try:
        return Identity(text)
    except ValueError:
        raise refusal(where, text, f"one of {', '.join(item.value for item in Identity)}") from None


def _seed(config: pytest.Config, given: int | None) -> int:
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if given is not None:
        return given
    if worker is not None and "faultinject_seed" in worker:
        return int(worker["faultinject_seed"])
    return random.SystemRandom().getrandbits(32)


def _known(
    config: pytest.Config, values: Mapping[str, Any], names: Mapping[str, str]
) -> tuple[Path | None, KnownProblems]:
    update = bool(values["update-known"])
    if values["known"] is None:
        if update:
            raise pytest.UsageError(
                f"{names['update-known']}: there is no file to write. "
                "Give --fail-alloc-known=FILE as well."
            )
        return None, KnownProblems()
    path = _path(config, values["known"], names["known"])
    if update and not path.exists():
        _require_folder(path, names["known"])
        return path, KnownProblems()
    anywhere = values["per"] == "suite"
    return path, KnownProblems.read(path, option=names["known"], anywhere=anywhere)


def _require_cache(
    config: pytest.Config, values: Mapping[str, Any], names: Mapping[str, str]
) -> None:
    for stem in ("budget", "last-bad"):
        if values[stem] and not hasattr(config, "cache"):
            raise pytest.UsageError(
                f"{names[stem]}: what earlier runs did is kept in pytest's cache, and there is "
                "none. Leave out -p no:cacheprovider."
            )


def _path(config: pytest.Config, text: str, where: str) -> Path:
    """Start at the ini file's folder for what it says, else where pytest was started."""
    if where.startswith("-") or config.inipath is None:
        return config.invocation_params.dir / text
    return config.inipath.parent / text


def _require_folder(path: Path, where: str) -> None:
    if path.is_dir():
        raise refusal(where, path, "a file, not a folder")
    if not path.parent.is_dir():
        raise refusal(where, path, "a file in a folder that exists")
