"""Records: what a campaign found, in plain values that every report reads.

Lives here: one record per trial and per test, and their JSON form (schema 1).
Not here: how they look on a terminal (`faultinject.report`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from faultinject.campaign.outcome import Outcome, Verdict

SCHEMA = 1

# The baseline of a test that was not even looked at.
BUDGET_SPENT = "not taken: the budget was spent before"


def named_caller(caller: str) -> str:
    """Give the name of a C function that asked; "" where only its address is known."""
    name, _, _ = caller.partition(" ")
    return "" if "+0x" in name else name


def requested(size: int, unit: str, domain: str, caller: str, fault: str) -> str:
    """Say what a trial's call asked for; "" where nobody knows. See `TrialRecord`."""
    if fault:
        return fault
    parts = [f"{size} {unit}"] if size else []
    parts += [f"{domain} domain"] if domain else []
    named = named_caller(caller)
    return ", ".join([*parts, named] if named else parts)


@dataclass(slots=True)
class TrialRecord:
    """One trial, judged.

    Attributes:
        file: relative to the root folder, with ``/``; empty for a random trial
            in which nothing was injected.
        hit: which hit of the site was failed; 0 for a random trial.
        error: one line about what ended the run, or None.
        leaks: one line for each thing left behind.
        details: one line for each other reason for the outcome.
        replay: the token.
        known: listed in the known-problems file, so that it does not fail the run.
        duration: seconds in the body.
        text: the traceback, only of a bad trial.
        output: what the trial printed, only of a bad trial.
        size: of the request that failed, in `unit`; 0 if nothing struck, or nobody
            lived to tell.
        domain: of a real allocation: raw, mem, obj or arena; else "".
        caller: of a real allocation: the C function that asked, where it is known.
        fault: of a call of a function: what was called and what it failed with; of a chain
            all of it.
        interpreter: the known defect of CPython that a bad outcome is put down to, so
            that it does not fail the run; else "".
        entered: the error paths that it entered because of its fault, in order, each as
            the witness of the sweep says it.
        caught: where the fault ended: the file, line and kind of an error path, ``test``
            if it left the test, or None where nobody knows.
    """

    capability: str
    file: str
    line: int
    function: str
    hit: int
    outcome: Outcome
    error: str | None
    leaks: list[str]
    replay: str
    duration: float
    details: list[str] = field(default_factory=list)
    persistent: bool = False
    known: bool = False
    strict: bool = False
    text: str = ""
    output: str = ""
    size: int = 0
    unit: str = ""
    domain: str = ""
    caller: str = ""
    fault: str = ""
    interpreter: str = ""
    entered: list[str] = field(default_factory=list)
    caught: dict[str, Any] | str | None = None

    @property
    def bad(self) -> bool:
        """Whether this trial fails the run."""
        return not (self.known or self.interpreter) and self.verdict is Verdict.BAD

    @property
    def verdict(self) -> Verdict:
        """What the outcome means, known problem or not."""
        return self.outcome.verdict(strict=self.strict)

    @property
    def request(self) -> str:
        """What was asked for, in words; empty where nobody knows."""
        return requested(self.size, self.unit, self.domain, self.caller, self.fault)

    def as_json(self) -> dict[str, Any]:
        """Give the record as schema 1 spells it."""
        site = {"file": self.file, "line": self.line, "function": self.function}
        return {
            "capability": self.capability,
            "site": site if self.file else None,
            "hit": self.hit,
            "size": self.size or None,
            "unit": self.unit or None,
            "domain": self.domain or None,
            "caller": self.caller or None,
            "fault": self.fault or None,
            "persistent": self.persistent,
            "outcome": self.outcome.value,
            "verdict": self.verdict.value,
            "known": self.known,
            "interpreter": self.interpreter or None,
            "error": self.error,
            "leaks": self.leaks,
            "details": self.details,
            "traceback": self.text or None,
            "caught": self.caught,
            "replay": self.replay,
            "duration": round(self.duration, 6),
        }

    def as_plain(self) -> dict[str, Any]:
        """Give the whole record as plain values, for another process."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["outcome"] = self.outcome.value
        return plain

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> TrialRecord:
        """Rebuild what `as_plain` gave."""
        return cls(**{**plain, "outcome": Outcome(plain["outcome"])})


@dataclass(slots=True)
class TestRecord:
    """One test's sweep.

    Attributes:
        baseline: ``passed``, or why there was no campaign.
        sites: how many call sites the census found.
        not_run: trials left out: by the limit per test, by the budget, by an early end.
        over_budget: of these, the ones that the budget had no time for.
        elsewhere: trials of what this test reaches that are another test's.
        runs_twice: whether the clean test can be run twice in one process; if
            not, the re-run oracle was off.
        notes: sentences for the reader.
        tried: what was tried, by its content; this and what follows only with a budget.
        spent: seconds of wall time for all trials.
        guessed: what `faultinject.campaign.budget.guess` gives for them.
        entered: the error paths that its census run entered, each once.
    """

    # It is about a test, it is not one: keeps pytest from collecting it.
    __test__ = False

    nodeid: str
    baseline: str = "passed"
    sites: int = 0
    trials: list[TrialRecord] = field(default_factory=list)
    not_run: int = 0
    runs_twice: bool = True
    notes: list[str] = field(default_factory=list)
    over_budget: int = 0
    elsewhere: int = 0
    tried: list[str] = field(default_factory=list)
    spent: float = 0.0
    guessed: float = 0.0
    entered: list[str] = field(default_factory=list)

    @property
    def bad(self) -> list[TrialRecord]:
        """The trials that fail the run."""
        return [trial for trial in self.trials if trial.bad]

    def as_json(self) -> dict[str, Any]:
        """Give the record as schema 1 spells it."""
        return {
            "nodeid": self.nodeid,
            "baseline": self.baseline,
            "sites": self.sites,
            "not_run": self.not_run,
            "runs_twice": self.runs_twice,
            "notes": self.notes + self._shares(),
            "trials": [trial.as_json() for trial in self.trials],
        }

    def _shares(self) -> list[str]:
        """Say in sentences which trials this test did not get, and why."""
        said = []
        if self.elsewhere:
            said.append(f"trials of call sites that other tests try: {self.elsewhere}")
        if self.over_budget:
            said.append(f"trials that the budget had no time for: {self.over_budget}")
        return said

    def as_plain(self) -> dict[str, Any]:
        """Give the whole record as plain values, for another process."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        plain["trials"] = [trial.as_plain() for trial in self.trials]
        return plain

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> TestRecord:
        """Rebuild what `as_plain` gave."""
        trials = [TrialRecord.from_plain(trial) for trial in plain["trials"]]
        return cls(**{**plain, "trials": trials})


def say_defects(references: Iterable[str | None]) -> list[str]:
    """Say in a sentence how many trials met a defect of CPython itself; none if none did.

    Args:
        references: of each trial, as `TrialRecord.interpreter` has it.
    """
    counts = Counter(reference for reference in references if reference)
    if not counts:
        return []
    several = len(counts) > 1
    names = [f"{name}: {count}" if several else name for name, count in sorted(counts.items())]
    total = sum(counts.values())
    return [
        f"{total} {'trial' if total == 1 else 'trials'} met a defect of CPython itself "
        f"({', '.join(names)}) and did not fail the run"
    ]


_COLUMN: Final = re.compile(r"\+\d+\.(\d+)")


def told_apart(places: Sequence[str], tokens: Sequence[str], requests: Sequence[str]) -> list[str]:
    """Give the places of trials, to those that read alike with what tells them apart.

    That is the column, counted from 1, and where it is not enough what was asked for.

    Args:
        places: one for each trial, as a report shows it.
        tokens: of the same trials.
        requests: likewise, in words; "" where nobody knows.
    """
    columns = [_COLUMN.search("".join(token.split("|", 4)[3:4])) for token in tokens]
    more = [f", column {int(found[1]) + 1}" if found else "" for found in columns]
    asked = [f" ({request})" if request else "" for request in requests]
    told = list(places)
    for parts in (more, asked):
        kinds = Counter(place for place, _ in set(zip(told, parts, strict=True)))
        told = [
            f"{place}{part}" if kinds[place] > 1 else place
            for place, part in zip(told, parts, strict=True)
        ]
    return told


def say_idle(trials: Iterable[TrialRecord]) -> list[str]:
    """Say of random trials that none of them injected anything, where that is so."""
    drawn = [trial for trial in trials if trial.hit == 0]
    if not drawn or any(trial.outcome is not Outcome.NOT_REACHED for trial in drawn):
        return []
    number = "the random trial" if len(drawn) == 1 else f"any of the {len(drawn)} random trials"
    return [
        f"nothing was injected in {number}: what their SPEC fails is not asked for, "
        "or its knobs let every call pass"
    ]


def count_tried(tokens: Iterable[str]) -> int:
    """Count the call sites that trials have struck, each once for all tests.

    Args:
        tokens: of each trial, as `TrialRecord.replay` has it.
    """
    # Of a token: the capability, the file and the place in it.
    fields = (token.split("|", 4) for token in tokens)
    return len({tuple(field[1:4]) for field in fields if field[1] != "random"})


def count_outcomes(tests: Iterable[TestRecord]) -> Counter[Outcome]:
    """Count the trials of all tests by outcome."""
    return Counter(trial.outcome for test in tests for trial in test.trials)
