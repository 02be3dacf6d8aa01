"""The turn: one test's part of a run.

Lives here: `Turn`. Not here: what the other tests try (`faultinject.campaign.assignment`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from faultinject.campaign.aim import Aim
from faultinject.campaign.assignment import Assignment, Chosen
from faultinject.campaign.budget import guess
from faultinject.campaign.record import BUDGET_SPENT, TestRecord
from faultinject.campaign.strike import PlannedFault

# After this part of the budget it is looked at again what there is time for.
_PATIENCE: Final = 0.02


class Turn:
    """One test's turn: what it tries, and what became of it.

    Args:
        assignment: the run's.
        test: its name.

    Attributes:
        ran_out: whether its trials ended because there was no time for the next one.
    """

    def __init__(self, assignment: Assignment, test: str) -> None:
        assignment.begin_turn(test)
        self._assignment = assignment
        self._test = test
        self._aims: Sequence[Aim] = ()
        self._chosen = Chosen()
        self._begun = 0
        self._body_seconds = 0.0
        # What was spent before this test's first trial; None if it never got that far.
        self._spent_before: float | None = None
        # What was spent when it was last asked whether the next one can be afforded.
        self._asked_at = 0.0
        self.ran_out = False

    @property
    def is_wanted(self) -> bool:
        """Whether there may be anything to try, so that a census is worth its time."""
        budget = self._assignment.budget
        if budget is not None and budget.is_spent:
            return False
        foreseen = (self._assignment.forecast or {}).get(self._test)
        if foreseen is None:
            return True
        return bool(self._assignment.choose(self._test, foreseen.aims, None).aims)

    def skip(self) -> TestRecord:
        """Give the record of a test that has nothing to try."""
        record = TestRecord(self._test)
        foreseen = (self._assignment.forecast or {}).get(self._test)
        if foreseen is None:
            record.baseline = BUDGET_SPENT
            return record
        record.sites = foreseen.sites
        self.choose(foreseen.aims, None)
        self.finish(record, ())
        return record

    def choose(self, aims: Sequence[Aim], limit: int | None) -> list[int]:
        """Choose among what the test reaches.

        Args:
            aims: all there is to try, in the order of the census.
            limit: at most so many; None for all.

        Returns:
            their numbers, in the order in which they are to be tried.
        """
        self._aims = aims
        self._chosen = self._assignment.choose(self._test, aims, limit)
        return self._chosen.aims

    def goes_on(self) -> bool:
        """Say whether there is time for the next trial; asked once before each one."""
        budget = self._assignment.budget
        if budget is None:
            return True
        if self._begun:
            budget.learn(self._body_seconds)
        began, self._begun = self._begun, self._begun + 1
        self.ran_out = budget.is_spent
        # What a trial takes is known better now. Not asked each time: that is slow.
        is_due = budget.spent - self._asked_at >= _PATIENCE * budget.seconds
        if began and is_due and began < len(self._chosen.aims):
            self._asked_at = budget.spent
            number = self._chosen.aims[began]
            aim = self._aims[number]
            self.ran_out |= not self._assignment.is_affordable(self._test, aim, number)
        return not self.ran_out

    def spending(self, body_seconds: float) -> AbstractContextManager[None]:
        """Give the block in which the trials run.

        Args:
            body_seconds: of the clean test.
        """
        self._body_seconds = body_seconds
        budget = self._assignment.budget
        if budget is None:
            return nullcontext()
        self._spent_before = self._asked_at = budget.spent
        return budget.spending()

    def choose_later(
        self, record: TestRecord, faults: Sequence[tuple[Aim, PlannedFault]]
    ) -> list[tuple[Aim, PlannedFault]]:
        """Choose among the faults that follow another one; others have tried the rest."""
        chosen = self._assignment.choose_later([aim for aim, _ in faults])
        record.elsewhere += len(faults) - len(chosen)
        return [faults[number] for number in chosen]

    def finish_later(self, record: TestRecord, aims: Sequence[Aim], done: Collection[int]) -> None:
        """Count what was chosen and not tried.

        Args:
            record: the test's.
            aims: what `choose_later` gave.
            done: the positions of those tried.
        """
        for number, aim in enumerate(aims):
            if number not in done:
                self._assignment.give_back_later(aim)
        record.not_run += len(aims) - len(done)
        record.over_budget += (len(aims) - len(done)) if self.ran_out else 0

    def finish(self, record: TestRecord, done: Collection[int]) -> None:
        """Write down what was tried, and count in the record what was not.

        Args:
            record: the test's.
            done: the positions of those tried, in what `choose` gave.
        """
        assignment, chosen = self._assignment, self._chosen
        tried = [self._aims[chosen.aims[position]] for position in done]
        assignment.note_tried(tried)
        record.elsewhere += chosen.elsewhere
        record.over_budget += chosen.over_budget
        record.not_run += chosen.over_budget + chosen.over_limit
        for number in set(chosen.aims).difference(chosen.aims[position] for position in done):
            assignment.give_back(self._aims[number])
            if assignment.has_later(self._aims[number]):
                record.elsewhere += 1
            else:
                record.not_run += 1
                record.over_budget += self.ran_out
        assignment.leave_out(aim for aim in self._aims if not assignment.has_later(aim))
        if assignment.budget is not None and self._spent_before is not None:
            record.spent = assignment.budget.spent - self._spent_before
            record.guessed = len(tried) * guess(self._body_seconds)
            record.tried = [assignment.content(aim) for aim in tried if not aim.test]
