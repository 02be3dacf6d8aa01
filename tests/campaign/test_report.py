"""The report: JSON that its schema describes, read back and told as text."""

import copy
import io
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import faultinject as fi
from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import TestRecord, TrialRecord
from faultinject.errors import UsageError
from faultinject.report.as_json import SCHEMA_FILE, as_json, write_json
from faultinject.report.as_text import as_text
from faultinject.report.reading import read_report


def open_ring() -> None:
    first, second = fi.kmalloc(64), fi.kmalloc(128)
    if first is None or second is None:
        raise MemoryError
    fi.kfree(second)
    fi.kfree(first)


def validate(report: object) -> None:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(report)


def trial(outcome: Outcome, **known: Any) -> TrialRecord:
    token = "1|failslab|ring.py|open_ring+1.2|1|transient|t.py::test_open"
    return TrialRecord(
        "failslab", "ring.py", 7, "open_ring", 1, outcome, None, [], token, 0.001, **known
    )


@pytest.fixture
def every_outcome() -> list[TestRecord]:
    record = TestRecord("t.py::test_open", sites=10, not_run=3, notes=["a note"])
    record.trials = [trial(outcome) for outcome in Outcome]
    record.trials.append(trial(Outcome.LEAKED, known=True))
    failed = TestRecord("t.py::test_failed", baseline="failed without a fault")
    return [record, failed]


def test_the_report_of_a_real_sweep_validates() -> None:
    swept = fi.sweep(open_ring)
    drawn = fi.sweep(open_ring, capabilities="failslab:probability=50", trials=5, seed=3)
    failed = TestRecord("<lambda>", baseline="failed without a fault: ZeroDivisionError")

    report = as_json([swept.record, drawn.record, failed], version="0.1.0")

    validate(report)
    assert report["schema"] == 1
    assert report["python"] == platform.python_version()
    assert report["summary"]["tests"] == 3
    assert report["summary"]["leaked"] >= 2


def test_the_summary_counts_each_outcome_and_what_fails_the_run(
    every_outcome: list[TestRecord],
) -> None:
    report = as_json(every_outcome, version="0.1.0")

    validate(report)
    counts = {outcome.value: 1 for outcome in Outcome} | {"leaked": 2}
    assert report["summary"] == {
        "tests": 2,
        "sites": 10,
        "trials": 11,
        "not_run": 3,
        "bad": 6,
        "known": 1,
        "interpreter": 0,
        **counts,
    }


def test_a_campaign_without_tests_has_a_report_too() -> None:
    report = as_json([], version="0.1.0")

    validate(report)
    assert report["tests"] == []
    assert as_text(report) == "0 tests, 0 call sites, 0 trials"


def remove(key: str) -> Callable[[dict[str, Any]], None]:
    def change(trial: dict[str, Any]) -> None:
        del trial[key]

    return change


def put(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(trial: dict[str, Any]) -> None:
        trial[key] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(remove(key) for key in ("capability", "site", "hit", "outcome", "interpreter")),
        *(remove(key) for key in ("error", "leaks", "replay", "duration")),
        put("outcome", "LEAKED"),
        put("outcome", "broken"),
        put("hit", -1),
        put("hit", "1"),
        put("leaks", "one"),
        put("leaks", [1]),
        put("site", {"file": "ring.py"}),
        put("site", "ring.py:7"),
        put("replay", ""),
        put("duration", -0.1),
        put("verdict", "fine"),
        put("error", 5),
    ],
)
def test_the_schema_refuses_what_is_no_report(
    every_outcome: list[TestRecord], change: Callable[[dict[str, Any]], None]
) -> None:
    report = as_json(every_outcome, version="0.1.0")

    change(report["tests"][0]["trials"][0])

    with pytest.raises(jsonschema.ValidationError):
        validate(report)


@pytest.mark.parametrize("key", ["schema", "faultinject", "python", "tests", "summary"])
def test_the_schema_refuses_a_report_with_a_part_missing(
    every_outcome: list[TestRecord], key: str
) -> None:
    report = as_json(every_outcome, version="0.1.0")
    del report[key]

    with pytest.raises(jsonschema.ValidationError):
        validate(report)


def test_a_later_versions_report_is_no_report_of_this_schema(
    every_outcome: list[TestRecord],
) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validate({**as_json(every_outcome, version="0.1.0"), "schema": 2})


def test_a_report_is_written_whole_and_read_back(
    tmp_path: Path, every_outcome: list[TestRecord]
) -> None:
    path = tmp_path / "report.json"
    path.write_text("an older report")
    every_outcome[0].trials[0].error = "ValueError: ä \udc80"

    write_json(path, as_json(every_outcome, version="0.1.0"))

    with path.open(encoding="utf-8") as stream:
        again = read_report(stream, "report.json")
    assert again == as_json(every_outcome, version="0.1.0")
    assert "ä" in path.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [path]


def read(text: str) -> dict[str, Any]:
    return read_report(io.StringIO(text), "report.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON: 'report.json'"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a faultinject report: 'report.json'"),
        ("{}", "not a faultinject report"),
        ('{"schema": 2}', r"a report of another schema version: 2 \(report.json\).*version 1"),
        ('{"schema": 1}', "a report with a part missing: 'tests'"),
        ('{"schema": 1, "tests": [5]}', r"a report with a wrong value \(.*: tests\[0\]\)"),
        ('{"schema": 1, "tests": 5}', "a report with a wrong value: "),
    ],
)
def test_a_file_that_is_no_report_is_refused_by_its_name(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(text)


WHOLE = as_json(
    [TestRecord("t.py::test_open", sites=1, trials=[trial(Outcome.LEAKED)], notes=["a note"])],
    version="0.1.0",
)


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path to a value inside a document."""
    found = [path] if path else []
    if isinstance(value, dict):
        found += [place for key in value for place in places(value[key], (*path, key))]
    if isinstance(value, list):
        found += [place for key, item in enumerate(value) for place in places(item, (*path, key))]
    return found


ODD: st.SearchStrategy[object] = st.sampled_from(
    [None, True, -1, 1.5, "", "x", [], {}, [[]], {"a": 1}]
)


@given(place=st.sampled_from(places(WHOLE)), value=ODD)
def test_a_report_that_was_edited_is_told_or_refused_and_never_a_crash(
    place: tuple[Any, ...], value: object
) -> None:
    report = copy.deepcopy(WHOLE)
    inner: Any = report
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value

    try:
        again = read(json.dumps(report))
    except UsageError:
        return

    assert isinstance(as_text(again, everything=True), str)


def test_the_text_has_every_bad_trial_and_how_to_repeat_it(
    every_outcome: list[TestRecord],
) -> None:
    report = as_json(every_outcome, version="0.1.0")

    text = as_text(report)
    everything = as_text(report, everything=True)

    assert text.count("replay: pytest --fail-alloc-replay='1|failslab|") == 6
    assert "RECOVERED" not in text
    assert "(known)" not in text
    assert "RECOVERED" in everything
    assert "(known)" in everything
    assert "  a note" in text.splitlines()
    assert text.splitlines()[-1].startswith(
        "2 tests, 10 call sites, 11 trials: 1 recovered, 1 propagated, 1 failed"
    )


def test_a_defect_of_the_interpreter_is_told_in_a_line_of_its_own() -> None:
    met = trial(Outcome.CRASHED)
    met.interpreter = "gh-152107"
    report = as_json([TestRecord("t.py::test_it", sites=1, trials=[met])], version="0.1.0")

    validate(report)
    assert (report["summary"]["bad"], report["summary"]["interpreter"]) == (0, 1)
    assert as_text(report).splitlines() == [
        "1 test, 1 call site, 1 trial: 1 crashed",
        "1 trial met a defect of CPython itself (gh-152107) and did not fail the run",
    ]
    assert "CRASHED" in as_text(report, everything=True)
    assert "(CPython: gh-152107)" in as_text(report, everything=True)
