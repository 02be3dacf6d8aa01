"""The known-problems file: what a project lives with for now does not fail its runs."""

from pathlib import Path

import pytest

from faultinject.campaign.known import HEADER, KnownProblems, write_known
from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import TrialRecord
from faultinject.errors import UsageError

TOKEN = "1|failslab|ring.py|Ring.open+7.12|1|transient|test_ring.py::test_open"
RANDOM = "1|random|failslab:probability=10|42|3|random|test_ring.py::test_open"


def trial(outcome: str = "leaked", token: str = TOKEN, **known: object) -> TrialRecord:
    return TrialRecord(
        "failslab",
        "ring.py",
        12,
        "Ring.open",
        1,
        Outcome(outcome),
        None,
        [],
        token,
        0.0,
        **known,  # type: ignore[arg-type]
    )


def read(tmp_path: Path, text: str) -> KnownProblems:
    path = tmp_path / "known.txt"
    path.write_text(text, encoding="utf-8")
    return KnownProblems.read(path, option="--fail-alloc-known")


def marked(known: KnownProblems, *trials: TrialRecord) -> list[bool]:
    for item in trials:
        known.mark_trial(item)
    return [item.known for item in trials]


def test_a_trial_that_is_listed_is_known_and_no_longer_bad(tmp_path: Path) -> None:
    known = read(tmp_path, f"# the ring\n\nleaked {TOKEN}\n")
    listed, other = trial(), trial("failed")

    assert marked(known, listed, other) == [True, False]
    assert (listed.bad, other.bad) == (False, True)
    assert len(known) == 1


def test_a_good_trial_is_never_marked(tmp_path: Path) -> None:
    known = read(tmp_path, f"recovered {TOKEN}\n")

    assert marked(known, trial("recovered")) == [False]


@pytest.mark.parametrize(
    ("token", "same"),
    [
        (TOKEN.replace("+7.12", "+9.4"), True),
        (TOKEN.replace("|1|transient", "|2|transient"), False),
        (TOKEN.replace("Ring.open", "Ring.close"), False),
        (TOKEN.replace("ring.py|", "rings.py|"), False),
        (TOKEN.replace("failslab", "fail_page_alloc"), False),
        (TOKEN.replace("test_open", "test_close"), False),
        (RANDOM, False),
    ],
)
def test_a_problem_is_the_same_after_an_edit_of_its_function(
    tmp_path: Path, token: str, same: bool
) -> None:
    known = read(tmp_path, f"leaked {TOKEN}\n")

    assert marked(known, trial(token=token)) == [same]


def test_a_random_problem_is_known_by_its_seed_and_number(tmp_path: Path) -> None:
    known = read(tmp_path, f"failed {RANDOM}\n")

    others = [RANDOM.replace("|42|", "|43|"), RANDOM.replace("|3|", "|4|")]

    assert marked(known, trial("failed", RANDOM)) == [True]
    assert marked(known, *(trial("failed", token) for token in others)) == [False, False]


def test_what_did_not_come_up_again_is_counted_for_the_tests_that_ran(tmp_path: Path) -> None:
    known = read(tmp_path, f"leaked {TOKEN}\nfailed {TOKEN}\n")

    marked(known, trial())

    assert known.gone(["test_ring.py::test_open"]) == 1
    assert known.gone(["test_ring.py::test_close"]) == 0


def test_a_file_that_was_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "known.txt"
    trials = [trial("leaked"), trial("leaked"), trial("failed"), trial("hung", RANDOM)]

    lines = write_known(path, trials)

    text = path.read_text(encoding="utf-8")
    assert lines == 3
    assert text == HEADER + f"failed {TOKEN}\nhung {RANDOM}\nleaked {TOKEN}\n"
    assert marked(KnownProblems.read(path, option="x"), *trials) == [True] * 4


def test_no_problems_at_all_leave_a_file_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "known.txt"

    assert write_known(path, []) == 0
    assert len(KnownProblems.read(path, option="x")) == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"broken {TOKEN}", r"not an outcome: 'broken' \(.*known.txt:2\).*crashed, hung"),
        ("leaked", r"not a replay token: '' \(.*known.txt:2\)"),
        ("leaked 1|failslab", r"not a replay token: .*known.txt:2"),
        (f"leaked 2{TOKEN[1:]}", r"a replay token of version 2: .*known.txt:2"),
    ],
)
def test_a_line_that_is_none_of_ours_is_refused_by_its_number(
    tmp_path: Path, line: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, f"# first\n{line}\n")


def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"leaked \xff")

    for name in ("missing.txt", "latin.txt"):
        with pytest.raises(UsageError, match=rf"cannot be read: .*{name}.*--fail-alloc-known"):
            KnownProblems.read(tmp_path / name, option="--fail-alloc-known")
