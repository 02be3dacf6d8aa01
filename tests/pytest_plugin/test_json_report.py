"""The JSON report, schema version 1: what other programs may rely on."""

from __future__ import annotations

import json
import platform
from typing import Any

import jsonschema
import pytest
from campaigns import REPORT
from projects import run_apart, run_here, run_in

import faultinject
from faultinject.campaign.outcome import Outcome
from faultinject.report.as_json import SCHEMA_FILE

pytestmark = pytest.mark.usefixtures("alone")

RING = """
import faultinject as fi


class Ring:
    def open(self):
        self.slots = []
        for _ in range(3):
            slot = fi.kmalloc(64, fi.GFP_KERNEL)
            if slot is None:
                raise MemoryError("no slot")
            self.slots.append(slot)

    def close(self):
        for slot in self.slots:
            fi.kfree(slot)
"""

TEST = """
import os
import time

import pytest
from lib.ring import Ring

import faultinject as fi


def test_open():
    ring = Ring()
    ring.open()
    ring.close()


def test_nothing():
    pass


def test_crash():
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    if got is None:
        os.abort()
    fi.kfree(got)


@pytest.mark.fail_alloc(timeout=0.3)
def test_hang():
    while (got := fi.kmalloc(64, fi.GFP_KERNEL)) is None:
        while True:
            time.sleep(0.01)
    fi.kfree(got)


@pytest.mark.fail_alloc("failslab:probability=0")
def test_random():
    fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))


RUNS = []


def test_only_once():
    assert not RUNS
    RUNS.append(1)


@pytest.mark.parametrize("name", ["a b", "ä/ö", "x|y%"])
def test_name(name):
    fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
"""

OUTCOMES = [outcome.value for outcome in Outcome]


@pytest.fixture
def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a run with something of everything, started in a folder below the root."""
    folder = tmp_path_factory.mktemp("report")
    files = {
        "pytest.ini": "[pytest]\npythonpath = .\n",
        "lib/ring.py": RING,
        "tests/test_it.py": TEST,
    }
    run_in(folder, files, "--fail-alloc-spec=failslab", "--fail-alloc-trials=1", start="tests")
    return (folder / "tests" / REPORT).read_text(encoding="utf-8")


@pytest.fixture
def report(written: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(written)
    return loaded


def test_a_report_has_the_form_that_is_promised(
    report: dict[str, Any], schema: dict[str, Any]
) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(report, schema)

    assert (report["schema"], report["faultinject"]) == (1, faultinject.__version__)
    assert report["python"] == platform.python_version()
    tests = {test["nodeid"]: test for test in report["tests"]}
    trials = tests["tests/test_it.py::test_open"]["trials"]

    # Every key that design and documents name, with paths relative and with slashes.
    assert [
        {name: trial[name] for name in ("capability", "site", "hit", "outcome", "interpreter")}
        for trial in trials
    ] == [
        {
            "capability": "failslab",
            "site": {"file": "lib/ring.py", "line": 9, "function": "Ring.open"},
            "hit": hit,
            "outcome": outcome,
            "interpreter": None,
        }
        for hit, outcome in ((1, "propagated"), (3, "leaked"))
    ]
    assert [trial["error"] for trial in trials] == ["MemoryError: no slot"] * 2
    place = "allocated at lib/ring.py:9 in Ring.open"
    assert [trial["leaks"] for trial in trials] == [[], [f"kmalloc of 64 bytes, {place} (x2)"]]
    assert [trial["replay"] for trial in trials] == [
        f"1|failslab|lib/ring.py|Ring.open+3.19|{hit}|transient|tests/test_it.py::test_open"
        for hit in (1, 3)
    ]
    assert all(0 <= trial["duration"] < 60 for trial in trials)

    # Every test that was tried is there, and what stopped the others.
    assert tests["tests/test_it.py::test_nothing"]["trials"] == []
    assert tests["tests/test_it.py::test_nothing"]["sites"] == 0
    assert tests["tests/test_it.py::test_only_once"]["baseline"].startswith("failed when run again")
    assert {test["baseline"] for test in report["tests"]} >= {"passed"}
    assert "tests/test_it.py::test_name[a b]" in tests

    # What has no site says null.
    (random,) = tests["tests/test_it.py::test_random"]["trials"]
    assert (random["site"], random["hit"]) == (None, 0)

    # The summary counts every outcome, also those that nobody met.
    summary = report["summary"]
    counted = [trial["outcome"] for test in report["tests"] for trial in test["trials"]]
    assert [summary[name] for name in OUTCOMES] == [counted.count(name) for name in OUTCOMES]
    assert (summary["crashed"], summary["hung"], summary["corrupted"]) == (1, 1, 0)
    assert summary["tests"] == len(report["tests"]) == 9
    assert summary["trials"] == len(counted)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["schema"], 2),
        (["summary", "unraisable"], None),
        (["summary", "trials"], -1),
        (["tests", 0, "trials", 0, "outcome"], "broken"),
        (["tests", 0, "trials", 0, "hit"], "1"),
        (["tests", 0, "trials", 0, "site", "file"], ""),
        (["tests", 0, "trials", 0, "replay"], "2|failslab"),
        (["tests", 0, "trials", 0, "duration"], -0.1),
        (["tests", 0, "nodeid"], ""),
    ],
)
def test_the_schema_refuses_another_form(
    report: dict[str, Any], schema: dict[str, Any], place: list[str | int], value: object
) -> None:
    inner: Any = report
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, schema)


@pytest.mark.parametrize(
    "key", ["capability", "site", "hit", "outcome", "interpreter", "error", "leaks", "replay"]
)
def test_the_schema_wants_every_key_of_a_trial(
    report: dict[str, Any], schema: dict[str, Any], key: str
) -> None:
    del report["tests"][0]["trials"][0][key]

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, schema)


def test_a_run_without_tests_writes_an_empty_report(
    pytester: pytest.Pytester, schema: dict[str, Any]
) -> None:
    campaign = run_here(pytester, "--fail-alloc")

    assert campaign.tests == {}
    assert {campaign.summary[name] for name in ("tests", "trials", *OUTCOMES)} == {0}


def test_a_file_outside_the_root_folder_keeps_its_whole_path(pytester: pytest.Pytester) -> None:
    inner = pytester.mkdir("inner")
    (pytester.path / "far.py").write_text(RING)
    (inner / "test_it.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(pytester.path)!r})\n"
        "from far import Ring\n\n\n"
        "def test_it():\n"
        "    ring = Ring()\n"
        "    ring.open()\n"
        "    ring.close()\n"
    )

    campaign = run_here(pytester, "--fail-alloc-spec=failslab", "--rootdir=inner", "inner")

    sites = [trial["site"] for trial in campaign.tests["test_it.py::test_it"]["trials"]]
    assert {site["file"] for site in sites} == {(pytester.path / "far.py").as_posix()}


def test_a_report_is_written_also_when_the_run_is_cut_short(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import faultinject as fi


        def test_first():
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))


        def test_second():
            raise KeyboardInterrupt
        """
    )

    campaign = run_apart(pytester, "--fail-alloc-spec=failslab")

    assert list(campaign.tests) == ["test_it.py::test_first"]
    assert campaign.result.ret == pytest.ExitCode.INTERRUPTED


def test_an_older_report_is_replaced_as_a_whole(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    (pytester.path / "campaign.json").write_text("x" * 100_000)

    campaign = run_here(pytester, "--fail-alloc")

    assert campaign.summary["tests"] == 1
    assert not list(pytester.path.glob("*.partial"))
