"""Settings: everything that decides how one test is swept.

Lives here: the values, already read and checked. Not here: the text that users
write (`faultinject.campaign.choice` reads SPECs; the front-ends read options).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from faultinject.campaign.limits import DEFAULT_MEMORY
from faultinject.campaign.oracles.selection import ALL, Oracles
from faultinject.campaign.plan import Hits, Shard
from faultinject.campaign.scope import Scope
from faultinject.campaign.site import Identity

# A body may take ten times as long as the clean one, and never less than this.
LEAST_TIMEOUT = 5.0
TIMEOUT_FACTOR = 10.0

DEFAULT_TRIALS = 20


@dataclass(frozen=True, slots=True)
class RandomMode:
    """One SPEC that names a probability: capabilities armed together, with their knobs."""

    spec: str
    knobs: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Settings:
    """How one test is swept.

    Attributes:
        swept: for each capability that is swept, its gates and stack filters.
        random: the SPECs that are armed with a seed instead.
        by_default: nobody named `swept`. Then a body that asks the model memory is
            kernel-style code, written for None, and real allocations do not fail in it.
        scope: whose code is under test.
        own_code: folders and files whose allocations `fail_pymem` fails where `scope`
            names no source; empty for all code.
        foreign_code: folders and files whose allocations are their callers', unless a
            source names something in them.
        limit: at most so many trials; None for all.
        timeout: seconds for each phase of a trial; None for
            max(5, 10 times the clean body).
        memory: bytes that a trial may allocate beyond what a clean run does; None for
            any number.
        most_errors: how many errors of each call of a function are tried; None for all.
        order: 2: what a trial reaches that a clean run does not, is failed as well.
        trials: random trials for each SPEC that names a probability.
        seed: where the random trials' seeds come from.
        raises: exception types that the test declares as acceptable.
        oracles: what is looked at besides the test's own outcome.
        token_options: what a replay token must carry besides the fault.
    """

    swept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    random: tuple[RandomMode, ...] = ()
    by_default: bool = False
    scope: Scope = field(default_factory=Scope)
    own_code: tuple[str, ...] = ()
    foreign_code: tuple[str, ...] = ()
    hits: Hits = field(default_factory=lambda: Hits("ends"))
    identity: Identity = Identity.INSTRUCTION
    persistent: bool = False
    strict: bool = False
    limit: int | None = None
    shard: Shard | None = None
    timeout: float | None = None
    memory: int | None = DEFAULT_MEMORY
    most_errors: int | None = None
    order: int = 1
    trials: int = DEFAULT_TRIALS
    seed: int = 0
    raises: tuple[type[BaseException], ...] = ()
    oracles: Oracles = ALL
    token_options: Mapping[str, str] = field(default_factory=dict)

    def time_limit(self, clean_seconds: float) -> float:
        """Give the seconds that each phase of a trial may take."""
        if self.timeout is not None:
            return self.timeout
        return max(LEAST_TIMEOUT, TIMEOUT_FACTOR * clean_seconds)

    def memory_limit(self, clean_bytes: int) -> int | None:
        """Give the bytes that a trial may allocate.

        Args:
            clean_bytes: what a clean run does, at most.
        """
        return None if self.memory is None else self.memory + clean_bytes
