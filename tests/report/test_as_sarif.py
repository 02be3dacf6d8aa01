"""SARIF: what code scanning needs to show a result, and to know it again."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from documents import error_path, make_document, small_document, trial

from faultinject.report.as_sarif import as_sarif
from faultinject.report.findings import Findings


def sarif(document: dict[str, Any], root: Path = Path("/src")) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(as_sarif(Findings.of(document), root))
    return loaded


def results(document: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sarif(document)["runs"][0]["results"]
    return found


def locations(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from result["locations"]
    yield from result.get("relatedLocations", ())


def test_the_document_has_what_sarif_2_1_0_requires(tmp_path: Path) -> None:
    document = sarif(small_document(), tmp_path)

    assert document["version"] == "2.1.0"
    assert "sarif-2.1.0" in document["$schema"]
    (run,) = document["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "faultinject"
    rules = [rule["id"] for rule in driver["rules"]]
    assert len(set(rules)) == len(rules)
    base = run["originalUriBaseIds"]["%SRCROOT%"]["uri"]
    assert base == tmp_path.as_uri() + "/"
    assert run["results"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["message"]["text"]
        assert result["level"] in ("error", "note")
        for location in locations(result):
            place = location["physicalLocation"]
            assert place["artifactLocation"]["uriBaseId"] == "%SRCROOT%"
            assert not place["artifactLocation"]["uri"].startswith("/")
            assert 1 <= place["region"]["startLine"] <= place["region"]["endLine"]


def test_a_bad_trial_is_an_error_at_its_call_site_with_the_paths_that_it_entered() -> None:
    leaked = next(item for item in results(small_document()) if item["ruleId"] == "leaked")

    place = leaked["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "lib/ring.py"
    assert place["region"]["startLine"] == 12
    assert [item["message"]["text"] for item in leaked["relatedLocations"]] == [
        "entered this error path: branch for None",
        "entered this error path: raise MemoryError",
    ]
    assert "kmalloc of 64 bytes" in leaked["message"]["text"]
    assert "pytest --fail-alloc-replay='1|failslab" in leaked["message"]["text"]


def test_good_trials_are_no_results_and_paths_that_never_ran_are_notes() -> None:
    rules = [result["ruleId"] for result in results(small_document())]

    assert sorted(rules) == ["crashed", *["error-path-never-reached"] * 3, "failed", "leaked"]


def test_trials_of_one_call_site_that_came_to_the_same_are_one_result() -> None:
    both = {name: [trial("failed", test=name)] for name in ("t.py::a", "t.py::b")}

    (result,) = results(make_document(both))

    assert result["occurrenceCount"] == 2
    assert result["properties"]["tests"] == ["t.py::a", "t.py::b"]


def test_a_known_problem_is_suppressed_and_a_defect_of_cpython_is_a_note() -> None:
    known = trial("failed", known=True)
    defect = trial("crashed", line=13, verdict="bad", interpreter="gh-1")

    by_rule = {
        item["ruleId"]: item for item in results(make_document({"t.py::a": [known, defect]}))
    }

    assert by_rule["failed"]["suppressions"][0]["kind"] == "external"
    assert by_rule["crashed"]["level"] == "note"


def moved(document: dict[str, Any], lines: int) -> dict[str, Any]:
    """The same, after lines were added at the top of every file."""
    other = copy.deepcopy(document)
    for test in other["tests"]:
        for item in test["trials"]:
            if item["site"]:
                item["site"]["line"] += lines
    for file in other["error_paths"]["files"]:
        for path in file["paths"]:
            path["line"] += lines
            path["end_line"] += lines
    return other


def test_a_result_is_known_again_when_the_lines_have_moved() -> None:
    def prints(document: dict[str, Any]) -> list[str]:
        return [item["partialFingerprints"]["faultinject/v1"] for item in results(document)]

    before, after = prints(small_document()), prints(moved(small_document(), 7))

    assert before == after
    assert len(set(before)) == len(before)


def test_a_name_with_odd_characters_is_a_valid_uri() -> None:
    paths = {"a b/ä%.py": [error_path(1, 1, "except", "never")]}

    (result,) = results(make_document({}, paths))

    artifact = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert artifact["uri"] == "a%20b/%C3%A4%25.py"
