"""``--fail-alloc-last-bad``: the bad trials of last time, and the tests that they are of.

Lives here: `Repeat`, which selects the tests and groups their tokens. Not here: what
is remembered (`faultinject.campaign.last_bad`), how a token is run (``.campaign``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pytest

from faultinject.campaign.last_bad import Remembered
from faultinject.campaign.record import TestRecord
from faultinject.campaign.replay import RandomToken, Token
from pytest_faultinject.marks import has_campaign
from pytest_faultinject.setup import Setup, read_setup
from pytest_faultinject.words import plural


class Repeat:
    """The trials that were bad last time.

    Args:
        config: pytest's.
        remembered: their tokens, for each test.
    """

    def __init__(self, config: pytest.Config, remembered: Remembered) -> None:
        self._config = config
        self._remembered = remembered
        self._setups: dict[object, Setup] = {}
        self.is_on = bool(remembered)

    def headline(self) -> str:
        """Say in words what will be repeated."""
        if not self._remembered:
            return "no bad trial is remembered: the whole campaign runs"
        return f"last time bad: {self._counts()}"

    def select(self, items: list[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
        """Part the tests that have something to repeat from the others.

        If none of them is selected, all are, and the whole campaign runs.
        """
        if not self.is_on:
            return items, []
        mine = [item for item in items if item.nodeid in self._remembered and has_campaign(item)]
        if not mine:
            self.is_on = False
            return items, []
        chosen = {id(item) for item in mine}
        return mine, [item for item in items if id(item) not in chosen]

    def complaint(self) -> str | None:
        """Say why the whole campaign runs although something is remembered."""
        if self.is_on or not self._remembered:
            return None
        return (
            f"faultinject: {self._counts()} were bad last time, none of them selected: "
            "the whole campaign runs"
        )

    def groups(self, item: pytest.Item) -> Iterator[tuple[Setup, Sequence[Token]]]:
        """Give an item's tokens with what they carry, those of a kind together."""
        groups: dict[object, list[Token]] = {}
        for token in self._remembered[item.nodeid]:
            groups.setdefault(_kind(token), []).append(token)
        for kind, tokens in groups.items():
            if kind not in self._setups:
                self._setups[kind] = read_setup(self._config, tokens[0])
            yield self._setups[kind], tokens

    def _counts(self) -> str:
        trials = sum(len(tokens) for tokens in self._remembered.values())
        return f"{plural(trials, 'trial')} of {plural(len(self._remembered), 'test')}"


def _kind(token: Token) -> tuple[object, ...]:
    """Give what a token changes of the options."""
    options = tuple(sorted(token.options.items()))
    if isinstance(token, RandomToken):
        return "random", token.spec, token.seed, options
    return token.capability, options


def merged(name: str, records: Iterable[TestRecord]) -> TestRecord:
    """Put the records of one test's groups together."""
    whole = TestRecord(name)
    for record in records:
        if record.baseline != "passed":
            whole.baseline = record.baseline
        whole.sites = max(whole.sites, record.sites)
        whole.trials += record.trials
        whole.not_run += record.not_run
        whole.over_budget += record.over_budget
        whole.runs_twice &= record.runs_twice
        whole.notes += [note for note in record.notes if note not in whole.notes]
        whole.entered += [text for text in record.entered if text not in whole.entered]
    return whole
