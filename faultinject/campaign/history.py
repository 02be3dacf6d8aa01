"""The history: when each call site was last tried, over the runs that have a budget.

Lives here: the values and their plain form. Not here: where they are kept (the
front-end has a place), and what follows from them (`faultinject.campaign.assignment`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faultinject.campaign.record import TestRecord

VERSION = 1

# What nobody has tried for so many runs may be gone; if it is not, it counts as never
# tried, and so comes first.
KEPT_RUNS = 200


class History:
    """For each aim, by its content, the number of the run that last tried it; 0 is never.

    Attributes:
        runs: how many there were.
        pace: how much longer than guessed trials took in the last one, if it is known.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.pace: float | None = None
        self._aims: dict[str, int] = {}
        self._tests: dict[str, dict[str, int]] = {}

    def last(self, aim: str) -> int:
        """Give the run that last tried an aim, in whatever test."""
        return self._aims.get(aim, 0)

    def last_in(self, test: str, aim: str) -> int:
        """Give the run that last tried an aim in this test."""
        return self._tests.get(test, {}).get(aim, 0)

    def add_run(self, records: Sequence[TestRecord]) -> None:
        """Add a run that had a budget."""
        self.runs += 1
        for record in records:
            for aim in record.tried:
                self._aims[aim] = self.runs
                self._tests.setdefault(record.nodeid, {})[aim] = self.runs
        guessed = sum(record.guessed for record in records)
        if guessed > 0:
            self.pace = sum(record.spent for record in records) / guessed

    def as_plain(self) -> dict[str, Any]:
        """Give plain values; each aim is spelled once."""
        oldest = self.runs - KEPT_RUNS
        aims = {aim: run for aim, run in self._aims.items() if run > oldest}
        numbers = {aim: number for number, aim in enumerate(aims)}
        tests = {
            test: [[numbers[aim], run] for aim, run in tried.items() if run > oldest]
            for test, tried in self._tests.items()
        }
        return {
            "version": VERSION,
            "runs": self.runs,
            "pace": self.pace,
            "aims": [[aim, run] for aim, run in aims.items()],
            "tests": {test: tried for test, tried in tests.items() if tried},
        }

    @classmethod
    def from_plain(cls, plain: object) -> History:
        """Rebuild what `as_plain` gave; anything else is an empty history."""
        history = cls()
        if not isinstance(plain, dict) or plain.get("version") != VERSION:
            return history
        try:
            names = [str(aim) for aim, _ in plain["aims"]]
            history._aims = {str(aim): int(run) for aim, run in plain["aims"]}
            history._tests = {
                str(test): {names[number]: int(run) for number, run in tried}
                for test, tried in plain["tests"].items()
            }
            history.runs = int(plain["runs"])
            history.pace = None if plain["pace"] is None else float(plain["pace"])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            return cls()  # somebody else wrote it: it is only about an order
        return history
