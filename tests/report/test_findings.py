"""Findings: trials and error paths by file, and the links between them."""

import json
from pathlib import Path

import jsonschema
from documents import error_path, make_document, small_document, trial, write_sources

from faultinject.report.as_json import SCHEMA_FILE
from faultinject.report.findings import Findings


def test_the_documents_of_these_tests_are_reports(tmp_path: Path) -> None:
    write_sources(tmp_path)
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))

    jsonschema.Draft202012Validator(schema).validate(small_document(tmp_path))


def test_each_path_knows_its_trials_and_each_trial_its_paths() -> None:
    found = Findings.of(small_document())

    ring = found.files["lib/ring.py"]
    branch = ring.paths[0]
    assert (branch.lines, branch.label) == ("13-15", "branch for None")
    assert [item.outcome.value for item in branch.entered_by] == [
        "propagated", "leaked", "recovered"
    ]  # fmt: skip
    assert [path.lines for path in branch.entered_by[2].entered] == ["13-15", "15", "21-22"]


def test_a_trial_without_a_call_site_belongs_to_no_file() -> None:
    found = Findings.of(make_document({"t.py::a": [trial("not_reached", site=None, replay="1|")]}))

    assert found.files == {}
    assert len(found.trials) == 1


def test_a_path_that_was_entered_by_a_trial_of_another_report_still_counts() -> None:
    paths = [error_path(1, 2, "except", "injected", entered_by=["gone"])]

    (path,) = Findings.of(make_document({}, {"a.py": paths})).paths

    assert (path.reached, path.entered_by) == ("injected", [])


def test_only_what_fails_the_run_is_said_to() -> None:
    trials = [
        trial("failed"),
        trial("failed", known=True),
        trial("crashed", interpreter="gh-1"),
        trial("propagated", verdict="bad"),
        trial("diverged"),
        trial("recovered"),
    ]

    found = Findings.of(make_document({"t.py::a": trials})).trials

    assert [item.fails_run for item in found] == [True, False, False, True, False, False]


def test_a_report_of_an_older_version_has_no_error_paths() -> None:
    document = make_document({"t.py::a": [trial()]})
    for key in ("size", "unit", "domain", "caller", "traceback", "verdict", "known", "details"):
        del document["tests"][0]["trials"][0][key]

    found = Findings.of(document)

    assert not found.has_paths
    assert found.trials[0].verdict == "good"
