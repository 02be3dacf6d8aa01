"""What is remembered of bad trials from run to run, and what takes them off the list."""

from __future__ import annotations

import pytest

from faultinject.campaign.last_bad import read_remembered, updated
from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import TestRecord, TrialRecord


def token(function: str = "open", *, place: str = "4.1", hit: int = 1, test: str = "t") -> str:
    return f"1|failslab|ring.py|{function}+{place}|{hit}|transient|{test}"


def trial(replay: str, outcome: Outcome = Outcome.FAILED, *, known: bool = False) -> TrialRecord:
    _, capability, file, place, hit, _, _ = replay.split("|")
    function = place.partition("+")[0]
    return TrialRecord(
        capability, file, 1, function, int(hit), outcome, None, [], replay, 0.0, known=known
    )


def record(*trials: TrialRecord, test: str = "t", **others: object) -> TestRecord:
    return TestRecord(test, trials=list(trials), **others)  # type: ignore[arg-type]


BAD = token()
LISTED = {"t": [BAD]}


def after(*records: TestRecord, repeated: bool = False, sharded: bool = False) -> list[str]:
    """Give what is on the list of test ``t`` after a run, if `BAD` was before it."""
    listed = updated(read_remembered(LISTED), records, repeated=repeated, sharded=sharded)
    return listed.get("t", [])


def test_what_was_bad_is_put_on_the_list_by_its_token() -> None:
    records = [record(trial(BAD), trial(token("close"), Outcome.RECOVERED)), record(test="other")]

    assert updated({}, records) == LISTED


def test_a_known_problem_is_not_put_on_the_list() -> None:
    assert updated({}, [record(trial(BAD, known=True))]) == {}


@pytest.mark.parametrize("outcome", [Outcome.RECOVERED, Outcome.PROPAGATED])
def test_what_is_good_now_is_taken_off_the_list(outcome: Outcome) -> None:
    assert after(record(trial(BAD, outcome)), repeated=True) == []


@pytest.mark.parametrize("outcome", [Outcome.DIVERGED, Outcome.NOT_REACHED])
def test_an_outcome_that_says_nothing_leaves_it_on_the_list(outcome: Outcome) -> None:
    assert after(record(trial(BAD, outcome)), repeated=True) == [BAD]


def test_a_test_that_did_not_run_or_did_not_pass_keeps_its_list() -> None:
    assert after() == [BAD]
    assert after(record(test="other")) == [BAD]
    assert after(record(baseline="failed when run again without a fault"), repeated=True) == [BAD]


def test_a_repeated_trial_whose_call_site_is_gone_is_taken_off_the_list() -> None:
    assert after(record(), repeated=True) == []


@pytest.mark.parametrize("repeated", [True, False])
def test_what_there_was_no_time_or_no_room_for_stays_on_the_list(repeated: bool) -> None:
    assert after(record(not_run=1), repeated=repeated) == [BAD]


def test_what_another_test_tried_stays_on_the_list() -> None:
    alike = trial(token(place="9.1"), Outcome.RECOVERED)

    assert after(record(alike, elsewhere=1)) == [BAD]


def test_a_call_site_that_an_edit_has_moved_is_listed_where_it_is_now() -> None:
    moved = token(place="9.1")

    assert after(record(trial(moved))) == [moved]
    assert after(record(trial(moved, Outcome.RECOVERED))) == []


@pytest.mark.parametrize("other", [token("close"), token(hit=3)], ids=["function", "hit"])
def test_a_sweep_that_tried_nothing_alike_leaves_it_on_the_list(other: str) -> None:
    assert after(record(trial(other, Outcome.RECOVERED))) == [BAD]


def test_a_part_of_a_sweep_says_nothing_about_the_rest() -> None:
    assert after(record(trial(token(place="9.1"), Outcome.RECOVERED)), sharded=True) == [BAD]


@pytest.mark.parametrize(
    "plain", [None, [], {"t": "text"}, {"t": ["nonsense", 5]}, {"t": ["9|a|b|c+1|1|transient|t"]}]
)
def test_a_list_that_cannot_be_read_is_an_empty_one(plain: object) -> None:
    assert read_remembered(plain) == {}
