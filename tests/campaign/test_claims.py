"""Processes that share a run claim what they try, so that no two try the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from faultinject.campaign.aim import Aim
from faultinject.campaign.assignment import Assignment, Chosen
from faultinject.campaign.claims import Claims
from faultinject.campaign.record import TestRecord
from faultinject.campaign.site import Site
from faultinject.campaign.turn import Turn


def aims(names: str) -> list[Aim]:
    return [Aim("failslab", Site("ring.py", name, 1, 1), "1") for name in names.split()]


@pytest.fixture
def processes(tmp_path: Path) -> tuple[Assignment, Assignment]:
    """Two processes of one run, each with its own part of the tests."""
    one, two = (Assignment("suite", workers=2, claims=Claims(tmp_path)) for _ in range(2))
    return one, two


def test_only_the_first_one_gets_a_claim(tmp_path: Path) -> None:
    one, two = Claims(tmp_path), Claims(tmp_path)
    wanted, other = aims("a b")

    assert one.take(wanted)
    assert not two.take(wanted)
    assert two.take(other)


def test_a_claim_that_is_given_back_can_be_had(tmp_path: Path) -> None:
    one, two = Claims(tmp_path), Claims(tmp_path)
    (wanted,) = aims("a")
    one.take(wanted)

    one.give_back(wanted)

    assert two.take(wanted)


def test_where_nobody_sees_the_folder_each_one_goes_by_itself(tmp_path: Path) -> None:
    one, two = Claims(tmp_path / "gone"), Claims(tmp_path / "gone")
    (wanted,) = aims("a")

    assert (one.take(wanted), two.take(wanted)) == (True, True)
    one.give_back(wanted)


def test_what_another_process_tries_is_not_chosen_and_is_counted(
    processes: tuple[Assignment, Assignment],
) -> None:
    one, two = processes
    one.choose("t", aims("a b"), None)

    assert two.choose("u", aims("b c a d"), None) == Chosen([1, 3], elsewhere=2)


def test_the_limit_per_test_counts_what_is_claimed_and_claims_no_more(
    processes: tuple[Assignment, Assignment],
) -> None:
    one, two = processes
    one.choose("t", aims("a"), None)

    assert two.choose("u", aims("a b c d"), 2) == Chosen([1, 2], elsewhere=1, over_limit=1)
    assert one.choose("v", aims("d c"), None) == Chosen([0], elsewhere=1)


def test_what_was_chosen_and_not_tried_is_given_back(
    processes: tuple[Assignment, Assignment],
) -> None:
    one, two = processes
    turn = Turn(one, "t")
    turn.choose(aims("a b c"), None)

    turn.finish(TestRecord("t"), [0])

    assert two.choose("u", aims("a b c"), None).aims == [1, 2]


def test_a_random_trial_is_its_own_tests_and_not_claimed(
    processes: tuple[Assignment, Assignment],
) -> None:
    drawn = [Aim("failslab:probability=10", None, "0", test="t")]

    assert [one.choose("t", drawn, None).aims for one in processes] == [[0], [0]]


def test_where_each_test_tries_all_that_it_reaches_nothing_is_claimed(tmp_path: Path) -> None:
    one, two = (Assignment("test", claims=Claims(tmp_path)) for _ in range(2))

    assert one.choose("t", aims("a"), None).aims == two.choose("t", aims("a"), None).aims == [0]
