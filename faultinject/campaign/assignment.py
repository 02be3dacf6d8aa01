"""The assignment: which test tries what, over a whole run.

Lives here: `Assignment`, which knows all tests of a run.
Two rules meet here. With ``per="suite"`` each aim is tried once, in the quickest test
that reaches it. With a budget, what was never tried comes first, then what was tried
longest ago; what one test has tried comes later in every other one.
Not here: how what a test reaches is seen beforehand (`faultinject.campaign.forecast`
has the values), the time itself (``.budget``), earlier runs (``.history``).

With a forecast the quickest test is known, and what the budget is spent on is chosen
among the trials of all tests. Without one, tests take what they reach in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import log2
from typing import Final, NamedTuple

from faultinject.campaign.aim import Aim
from faultinject.campaign.budget import Budget
from faultinject.campaign.claims import Claims
from faultinject.campaign.forecast import Forecast
from faultinject.campaign.history import History
from faultinject.campaign.plan import Shard

KINDS: Final = ("test", "suite")

# What is more urgent and comes later shall not be lost to an estimate that was too low.
_MARGIN: Final = 1.25


class _Urgency(NamedTuple):
    """What a budget is spent on first: the least.

    Attributes:
        rank: how often it is tried in this run before.
        last: the run that tried it last, in whatever test; 0 is never.
        before: the same for this test.
        slowness: of the test's body, where that is known: the quickest first.
        place: of the test in the order of the run.
        number: among what the test reaches.
    """

    rank: int
    last: int
    before: int
    slowness: int
    place: int
    number: int


# More urgent than whatever waits.
_NOTHING: Final = _Urgency(-1, 0, 0, 0, 0, 0)


@dataclass(slots=True)
class Chosen:
    """What one test tries.

    Attributes:
        aims: which of those offered, by their numbers, in the order of their trials.
        elsewhere: how many of those offered another test tries.
        over_limit: how many the limit per test leaves out.
        over_budget: how many the budget leaves out.
    """

    aims: list[int] = field(default_factory=list)
    elsewhere: int = 0
    over_limit: int = 0
    over_budget: int = 0


class Assignment:
    """Says what each test tries.

    Args:
        per: ``test``: every test tries all that it reaches; ``suite``: each aim is
            tried in one test.
        order: the names of all tests, in the order in which they will run.
        forecast: what each of them reaches, if somebody has looked.
        budget: the time for all trials.
        history: what earlier runs have tried.
        shard: this machine's part.
        workers: how many processes share the tests of `order`.
        claims: what these processes have agreed on, without a forecast and by suite.
        shown: gives a source file's name as reports show it.
    """

    def __init__(
        self,
        per: str,
        order: Sequence[str] = (),
        *,
        forecast: Forecast | None = None,
        budget: Budget | None = None,
        history: History | None = None,
        shard: Shard | None = None,
        workers: int = 1,
        claims: Claims | None = None,
        shown: Callable[[str], str] = str,
    ) -> None:
        self.forecast = forecast
        self.budget = budget
        self._shared = per == "suite"
        self._history = history or History()
        self._shard = shard if shard is not None and shard.count > 1 else None
        self._workers = workers
        self._claims = claims if self._shared else None
        self._shown = shown
        self._places = {test: place for place, test in enumerate(order)}
        self._here = 0
        self._turns = 0
        self._contents: dict[Aim, str] = {}
        # In this run, by what is the same in every test.
        self._tried: dict[Aim, int] = {}
        self._left_out: set[Aim] = set()
        self._candidates = self._find_candidates(forecast or {}) if self._shared else {}
        self._urgencies: dict[str, dict[Aim, _Urgency]] = {}
        self._waiting = [] if budget is None else sorted(self._all_waiting(forecast or {}))

    def begin_turn(self, test: str) -> None:
        """Begin the turn of a test; tests before it in the order get none any more."""
        self._here = self._places.get(test, self._here)
        self._turns += 1

    def untried(self) -> int:
        """Count what was foreseen and nobody has tried, or said why not."""
        foreseen = self._candidates.keys()
        done = self._tried.keys() | self._left_out
        return sum(aim not in done and self._is_of_shard(aim, 0) for aim in foreseen)

    def content(self, aim: Aim) -> str:
        """Give an aim's text; see `Aim.content`."""
        text = self._contents.get(aim)
        if text is None:
            text = self._contents[aim] = aim.content(self._shown)
        return text

    # What follows is for `faultinject.campaign.turn`.

    def is_affordable(self, test: str, aim: Aim, number: int) -> bool:
        """Say again of something chosen whether the budget has time for it."""
        if self.forecast is None:
            return True
        urgency = self._urgency(test, aim, number)
        last = self._last_paid(since=urgency)
        return last is None or urgency <= last

    def choose(self, test: str, aims: Sequence[Aim], limit: int | None) -> Chosen:
        """Choose among what a test reaches."""
        chosen = Chosen()
        offered = list(self._of_shard(test, aims))
        mine = [number for number in offered if self._is_mine(test, aims[number])]
        chosen.elsewhere = len(offered) - len(mine)
        if self.budget is not None:
            urgency = {number: self._urgency(test, aims[number], number) for number in mine}
            affordable = self._affordable(sorted((urgency[number], number) for number in mine))
            self._leave_out(chosen, "over_budget", mine, affordable, aims)
            mine = affordable
        if self._claims is not None:
            mine, others = self._claim(self._claims, mine, aims, limit)
            chosen.elsewhere += others
        if limit is not None:
            self._leave_out(chosen, "over_limit", mine, mine[:limit], aims)
            mine = mine[:limit]
        chosen.aims = mine
        return chosen

    def choose_later(self, aims: Sequence[Aim]) -> list[int]:
        """Choose among what one test reaches only where another fault has struck.

        Which test that is, nobody can foresee: by suite, the first one tries it.
        """
        chosen = []
        for number, aim in enumerate(aims):
            if self._shared:
                if aim in self._tried or not (self._claims is None or self._claims.take(aim)):
                    continue
                self._tried[aim] = 1
            chosen.append(number)
        return chosen

    def give_back_later(self, aim: Aim) -> None:
        """Let whoever reaches it next try what was chosen and not tried."""
        self._tried.pop(aim, None)
        self.give_back(aim)

    def has_later(self, aim: Aim) -> bool:
        """Say whether a test that is still to come reaches an aim, and may try it."""
        return any(self._places[test] > self._here for test in self._candidates.get(aim, ()))

    def leave_out(self, aims: Iterable[Aim]) -> None:
        """Give up what no later test will try; it is reported."""
        self._left_out.update(aims)

    def note_tried(self, aims: Iterable[Aim]) -> None:
        """Write down what a test has tried."""
        for aim in aims:
            self._tried[aim] = self._tried.get(aim, 0) + 1

    def give_back(self, aim: Aim) -> None:
        """Let another process try what was chosen here and not tried."""
        if self._claims is not None and not aim.test:
            self._claims.give_back(aim)

    def _find_candidates(self, forecast: Forecast) -> Mapping[Aim, list[str]]:
        """Give for each aim the tests that reach it, the quickest first."""
        found: dict[Aim, list[str]] = {}
        quick = sorted(
            (test for test in forecast if test in self._places),
            key=lambda test: (_slowness(forecast[test].seconds), self._places[test]),
        )
        for test in quick:
            for aim in forecast[test].aims:
                if not aim.test:
                    found.setdefault(aim, []).append(test)
        return found

    def _claim(
        self, claims: Claims, wanted: list[int], aims: Sequence[Aim], limit: int | None
    ) -> tuple[list[int], int]:
        """Claim what is wanted, up to the limit; leave out, and count, what others have."""
        claimed, others = 0, set()
        for number in wanted:
            if claimed == limit:
                break
            if aims[number].test or claims.take(aims[number]):
                claimed += 1
            else:
                others.add(number)
        return [number for number in wanted if number not in others], len(others)

    def _owner(self, aim: Aim) -> str | None:
        """Give the quickest test that reaches an aim and has not had its turn."""
        for test in self._candidates.get(aim, ()):
            if self._places[test] >= self._here:
                return test
        return None

    def _is_mine(self, test: str, aim: Aim) -> bool:
        if not self._shared or aim.test:
            return True
        return aim not in self._tried and self._owner(aim) in (test, None)

    def _of_shard(self, test: str, aims: Sequence[Aim]) -> Iterator[int]:
        """Give the numbers of what this machine tries, of all that a test reaches."""
        for number, aim in enumerate(aims):
            if self._shard is None or (
                self._is_of_shard(aim, number)
                if self._shared and not aim.test
                else self._shard.takes(test, int(aim.hit) if aim.site is None else number)
            ):
                yield number

    def _is_of_shard(self, aim: Aim, number: int) -> bool:
        # By content: which test is the quickest may differ from machine to machine.
        return self._shard is None or self._shard.takes(self.content(aim), 0)

    def _all_waiting(self, forecast: Forecast) -> Iterator[tuple[_Urgency, float]]:
        """Give every trial that is foreseen, with its urgency and the seconds of its body.

        Of several tests that could try the same, those come first that tried it longest
        ago, and then the quickest.
        """
        rivals: dict[Aim, list[tuple[int, float, int, int]]] = {}
        order = list(self._places)
        for test, foreseen in forecast.items():
            if test not in self._places:
                continue
            place = self._places[test]
            for number in self._of_shard(test, foreseen.aims):
                aim = foreseen.aims[number]
                if self._shared and not aim.test and self._owner(aim) != test:
                    continue
                before = self._history.last_in(test, self.content(aim))
                rivals.setdefault(aim, []).append((before, foreseen.seconds, place, number))
        for aim, tests in rivals.items():
            last = self._history.last(self.content(aim))
            for rank, (before, seconds, place, number) in enumerate(sorted(tests)):
                tries = int(aim.hit) if aim.test else rank
                urgency = _Urgency(tries, last, before, _slowness(seconds), place, number)
                self._urgencies.setdefault(order[place], {})[aim] = urgency
                yield urgency, seconds

    def _urgency(self, test: str, aim: Aim, number: int) -> _Urgency:
        foreseen = self._urgencies.get(test, {}).get(aim)
        if foreseen is not None:
            return foreseen
        text = self.content(aim)
        last, before = self._history.last(text), self._history.last_in(test, text)
        rank = int(aim.hit) if aim.test else self._tried.get(aim, 0)
        return _Urgency(rank, last, before, 0, self._here, number)

    def _affordable(self, wanted: list[tuple[_Urgency, int]]) -> list[int]:
        """Give what the budget has time for, the most urgent first."""
        assert self.budget is not None
        if self.budget.is_spent:
            return []
        if self.forecast is None:
            return self._even_share(wanted)
        last = self._last_paid()
        return [number for urgency, number in wanted if last is None or urgency <= last]

    def _last_paid(self, since: _Urgency | None = None) -> _Urgency | None:
        """Give the urgency of the last trial that there is time for; None if there is for all.

        Args:
            since: what this test has tried before this one is paid for.
        """
        assert self.budget is not None
        left, past = self.budget.left, 0
        last = _NOTHING
        for urgency, seconds in self._waiting:
            if urgency.place < self._here:
                past += 1
                continue
            if since is not None and urgency.place == self._here and urgency < since:
                continue
            cost = _MARGIN * self.budget.cost(seconds)
            # One that takes longer than the whole budget is tried all the same, alone.
            if left < cost / 2 and (last is not _NOTHING or self.budget.spent):
                break
            left -= cost
            last = urgency
        else:
            return None
        if past > len(self._waiting) // 2:
            self._waiting = [item for item in self._waiting if item[0].place >= self._here]
        return last

    def _even_share(self, wanted: list[tuple[_Urgency, int]]) -> list[int]:
        """Without a forecast: all that was never tried, and a fair part of the rest."""
        assert self.budget is not None
        tests = -(-len(self._places) // self._workers) - self._turns + 1
        left = self.budget.left / max(1, tests)
        chosen = []
        for urgency, number in wanted:
            left -= self.budget.cost(0.0)
            if urgency.rank == urgency.last == 0 or left >= 0:
                chosen.append(number)
        return chosen

    def _leave_out(
        self,
        chosen: Chosen,
        reason: str,
        wanted: Sequence[int],
        kept: Sequence[int],
        aims: Sequence[Aim],
    ) -> None:
        """Count what is wanted and not kept: a later test may try it, or nobody does."""
        stay = set(kept)
        for number in wanted:
            if number not in stay:
                if self.has_later(aims[number]):
                    chosen.elsewhere += 1
                else:
                    setattr(chosen, reason, getattr(chosen, reason) + 1)


def _slowness(seconds: float) -> int:
    """Give steps of a fifth, from a millisecond on.

    What is between is noise, and the choice shall be the same tomorrow.
    """
    return int(4 * log2(1 + int(1000 * seconds)))
