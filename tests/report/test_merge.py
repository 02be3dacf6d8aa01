"""Several reports as one: of shards, of machines, of versions of Python."""

from typing import Any

import pytest
from documents import error_path, make_document, small_document, trial

from faultinject.errors import UsageError
from faultinject.report.findings import Findings
from faultinject.report.merge import merge

OPEN = "tests/test_ring.py::test_open"


def document(
    *trials: dict[str, Any], python: str = "3.13.0", **paths: list[dict[str, Any]]
) -> dict[str, Any]:
    files = {f"{name}.py": found for name, found in paths.items()}
    return make_document({OPEN: list(trials)}, files, python=python)


def test_one_report_stays_as_it_is() -> None:
    alone = small_document()

    assert merge([alone], ["a.json"]) == alone


def test_the_same_report_twice_says_what_it_said_once() -> None:
    alone = small_document()

    twice = merge([alone, small_document()], ["a.json", "b.json"])

    assert twice["tests"] == alone["tests"]
    assert twice["error_paths"] == alone["error_paths"]
    assert twice["summary"]["trials"] == alone["summary"]["trials"]


def test_shards_come_together() -> None:
    one, two = trial(hit=1), trial("leaked", hit=2)

    merged = merge([document(one), document(two)], ["a.json", "b.json"])

    (test,) = merged["tests"]
    assert test["trials"] == [one, two]
    assert merged["summary"]["tests"] == 1
    assert (merged["summary"]["trials"], merged["summary"]["leaked"]) == (2, 1)
    assert merged["summary"]["bad"] == 1


def test_of_one_trial_in_two_reports_the_worse_outcome_counts() -> None:
    good, bad, worse = trial("recovered"), trial("leaked"), trial("crashed")

    merged = merge([document(good), document(worse), document(bad)], ["a", "b", "c"])

    assert [item["outcome"] for item in merged["tests"][0]["trials"]] == ["crashed"]


def test_a_known_problem_gives_way_to_one_that_fails_the_run() -> None:
    known, bad = trial("crashed", known=True), trial("leaked")

    merged = merge([document(known), document(bad)], ["a", "b"])

    assert merged["tests"][0]["trials"] == [bad]


@pytest.mark.parametrize(
    ("one", "two", "together"),
    [
        ("clean", "never", "clean"),
        ("injected", "clean", "clean"),
        ("never", "injected", "injected"),
        ("undecided", "injected", "injected"),
        ("undecided", "never", "undecided"),
        ("never", "never", "never"),
    ],
)
def test_a_path_ran_if_it_ran_anywhere(one: str, two: str, together: str) -> None:
    first = document(ring=[error_path(3, 4, "except", one, entered_by=["a"])])
    second = document(ring=[error_path(3, 4, "except", two, entered_by=["a", "b"])])

    merged = merge([first, second], ["a.json", "b.json"])

    (file,) = merged["error_paths"]["files"]
    (path,) = file["paths"]
    assert (path["reached"], path["entered_by"]) == (together, ["a", "b"])
    counted = {state: merged["error_paths"][state] for state in ("clean", "injected", "never")}
    assert sum(counted.values()) == merged["error_paths"]["total"]
    assert merged["error_paths"][together] == 1


def test_two_paths_on_one_line_stay_two() -> None:
    twins = [error_path(3, 3, "with", "clean"), error_path(3, 3, "with", "never")]

    merged = merge([document(ring=twins), document(ring=twins)], ["a", "b"])

    assert merged["error_paths"]["files"][0]["paths"] == twins


def test_versions_of_python_are_named_and_files_of_all_are_there() -> None:
    first = document(python="3.11.7", ring=[error_path(3, 4, "except", "clean")])
    second = document(python="3.13.0", pool=[error_path(5, 6, "except", "never")])

    merged = merge([first, second], ["a.json", "b.json"])

    assert merged["python"] == "3.11.7, 3.13.0"
    assert list(Findings.of(merged).files) == ["pool.py", "ring.py"]


def test_a_report_without_error_paths_takes_none_away() -> None:
    first = document(ring=[error_path(3, 4, "except", "clean")])

    merged = merge([make_document({}), first], ["a.json", "b.json"])

    assert merged["error_paths"]["total"] == 1


def test_reports_of_different_sources_are_refused_by_name() -> None:
    first, second = document(), document()
    first["sources"], second["sources"] = {"ring.py": "aa"}, {"ring.py": "bb"}

    with pytest.raises(UsageError, match=r"'ring.py' \(a.json, b.json\)"):
        merge([first, second], ["a.json", "b.json"])
