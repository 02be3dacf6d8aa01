"""The text that chooses among the oracles."""

from typing import Any

import pytest

import faultinject as fi
from faultinject.campaign.oracles.selection import ALL, parse_oracles, write_oracles
from faultinject.errors import UsageError


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ("all", ALL),
        ("none", set()),
        ("locks", {"locks"}),
        ("descriptors,threads", {"descriptors", "threads"}),
        (" descriptors , threads ", {"descriptors", "threads"}),
        (["descriptors", "threads,locks"], {"descriptors", "threads", "locks"}),
        ("no-locks", ALL - {"locks"}),
        ("no-locks,no-files", ALL - {"locks", "files"}),
        ("no-locks,locks", ALL),
        ("all,no-locks", ALL - {"locks"}),
        ("locks,files,no-locks", {"files"}),
        ("locks,none,files", {"files"}),
    ],
)
def test_names_add_and_take_away_from_left_to_right(given: Any, chosen: set[str]) -> None:
    assert parse_oracles(given) == chosen


def test_a_text_that_takes_away_first_begins_with_what_was_chosen_before() -> None:
    before = frozenset({"locks", "files"})

    assert parse_oracles("no-locks", start=before) == {"files"}
    assert parse_oracles("threads", start=before) == {"threads"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("lock", r"no such oracle: 'lock' \(here\)\. Perhaps locks.* is meant"),
        ("no-lokcs", "no such oracle: 'no-lokcs'.*Perhaps no-locks"),
        ("descriptors,", "no such oracle: ''.*Give one of all, descriptors"),
        ("", "no such oracle: ''"),
        ("no-all", "no such oracle: 'no-all'"),
        ("LOCKS", "no such oracle: 'LOCKS'"),
        ([], r"no oracle is named: \[\]"),
        (["locks", 5], "no oracle is named"),
        (None, "no oracle is named"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_near_name(given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_oracles(given, option="here")


@pytest.mark.parametrize(
    ("chosen", "text"),
    [
        (ALL, "all"),
        (frozenset(), "none"),
        (ALL - {"locks"}, "no-locks"),
        (frozenset({"threads", "descriptors"}), "descriptors,threads"),
    ],
)
def test_a_choice_is_written_as_it_is_read(chosen: frozenset[str], text: str) -> None:
    assert write_oracles(chosen) == text
    assert parse_oracles(text) == chosen


def test_a_sweep_refuses_a_wrong_name_before_anything_runs() -> None:
    def never() -> None:
        raise AssertionError("nothing may run")

    with pytest.raises(UsageError, match=r"no such oracle: 'leaks' \(oracles\)"):
        fi.sweep(never, oracles="leaks")
