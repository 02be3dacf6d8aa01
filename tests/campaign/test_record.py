"""Records: what a campaign found, in values that survive a pipe and a file."""

import json
from dataclasses import replace

from faultinject.campaign.outcome import Outcome, Verdict
from faultinject.campaign.record import (
    TestRecord,
    TrialRecord,
    count_outcomes,
    say_defects,
    told_apart,
)

TRIAL = TrialRecord(
    "failslab",
    "examples/ring.py",
    41,
    "Ring.open",
    1,
    Outcome.LEAKED,
    "MemoryError",
    ["kmalloc of 64 bytes, allocated at examples/ring.py:39 in Ring.open"],
    "1|failslab|examples/ring.py|Ring.open+7.12|1|transient|test_ring.py::test_open",
    0.0041234567,
    details=["invariant broken: KeyError"],
    text="a traceback",
    output="a line",
)


def with_outcome(outcome: Outcome, **known: bool | str) -> TrialRecord:
    return replace(TRIAL, outcome=outcome, **known)  # type: ignore[arg-type]


def test_a_trial_is_spelled_as_the_schema_says() -> None:
    assert TRIAL.as_json() == {
        "capability": "failslab",
        "site": {"file": "examples/ring.py", "line": 41, "function": "Ring.open"},
        "hit": 1,
        "size": None,
        "unit": None,
        "domain": None,
        "caller": None,
        "fault": None,
        "persistent": False,
        "outcome": "leaked",
        "verdict": "bad",
        "known": False,
        "interpreter": None,
        "error": "MemoryError",
        "leaks": ["kmalloc of 64 bytes, allocated at examples/ring.py:39 in Ring.open"],
        "details": ["invariant broken: KeyError"],
        "traceback": "a traceback",
        "caught": None,
        "replay": TRIAL.replay,
        "duration": 0.004123,
    }


def test_a_random_trial_in_which_nothing_struck_has_no_site() -> None:
    trial = replace(TRIAL, capability="random", file="", line=0, function="", hit=0)

    assert trial.as_json()["site"] is None


def test_a_known_problem_is_bad_for_the_reader_and_fails_no_run() -> None:
    known = with_outcome(Outcome.LEAKED, known=True)

    assert (known.verdict, known.bad) == (Verdict.BAD, False)
    assert (TRIAL.verdict, TRIAL.bad) == (Verdict.BAD, True)


def test_a_defect_of_the_interpreter_is_named_and_fails_no_run() -> None:
    met = with_outcome(Outcome.CRASHED, interpreter="gh-152107")

    assert (met.verdict, met.bad) == (Verdict.BAD, False)
    assert met.as_json()["interpreter"] == "gh-152107"


def test_defects_of_the_interpreter_are_counted_in_one_sentence() -> None:
    one = "1 trial met a defect of CPython itself (gh-1) and did not fail the run"
    three = "3 trials met a defect of CPython itself (gh-1: 2, gh-2: 1) and did not fail the run"

    assert say_defects(["", None]) == []
    assert say_defects(["gh-1", ""]) == [one]
    assert say_defects(["gh-2", "gh-1", "gh-1"]) == [three]


def test_places_that_read_alike_are_told_apart_by_column_and_then_by_request() -> None:
    alike = ["ring.py:4 in fill"] * 3

    told = told_apart(
        [*alike, "ring.py:5 in fill", "no call site", "no call site", "twice", "twice"],
        [
            *("1|p|r|fill+1.8@obj#34|1|t", "1|p|r|fill+1.8@mem#34|1|t", "1|p|r|fill+1.9|1|t"),
            *("1|p|r|fill+2.9|1|t", "1|random|failslab|3|0|t", "cut"),
            *("1|random|failslab|3|0|t", "1|random|failslab|3|1|t"),
        ],
        ["56 bytes, obj domain", "8 bytes, mem domain", *["8 bytes"] * 2, "", "", *["9 bytes"] * 2],
    )

    assert told == [
        "ring.py:4 in fill, column 9 (56 bytes, obj domain)",
        "ring.py:4 in fill, column 9 (8 bytes, mem domain)",
        "ring.py:4 in fill, column 10",
        "ring.py:5 in fill",
        "no call site",
        "no call site",
        "twice",
        "twice",
    ]


def test_strict_is_a_property_of_the_trial() -> None:
    assert not with_outcome(Outcome.PROPAGATED).bad
    assert with_outcome(Outcome.PROPAGATED, strict=True).bad


def test_a_record_survives_the_way_to_another_process() -> None:
    record = TestRecord("test_ring.py::test_open", sites=3, not_run=2, notes=["a note"])
    record.trials = [TRIAL, with_outcome(Outcome.RECOVERED, persistent=True)]

    again = TestRecord.from_plain(json.loads(json.dumps(record.as_plain())))

    assert again == record
    assert again.trials[0].text == "a traceback"


def test_only_trials_that_fail_the_run_are_bad() -> None:
    record = TestRecord("t")
    record.trials = [with_outcome(outcome) for outcome in Outcome]
    record.trials.append(with_outcome(Outcome.HUNG, known=True))

    assert [trial.outcome.name for trial in record.bad] == (
        ["CRASHED", "HUNG", "CORRUPTED", "LEAKED", "UNRAISABLE", "FAILED"]
    )


def test_outcomes_are_counted_over_all_tests() -> None:
    first, second = TestRecord("a"), TestRecord("b")
    first.trials = [TRIAL, with_outcome(Outcome.RECOVERED)]
    second.trials = [TRIAL]

    assert count_outcomes([first, second]) == {Outcome.LEAKED: 2, Outcome.RECOVERED: 1}


def test_the_c_function_that_asked_is_said_where_it_has_a_name() -> None:
    asked = replace(TRIAL, size=48, unit="bytes", domain="obj")

    named = replace(asked, caller="PyList_New libpython3.11.so.1.0+0x1f0")
    unnamed = replace(asked, caller="python3.11+0x114408")

    assert named.request == "48 bytes, obj domain, PyList_New"
    assert unnamed.request == "48 bytes, obj domain"
