"""`--fail-function`: calls of functions in a campaign of pytest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from campaigns import Campaign
from projects import paste, run_in

STORE = '''
import os


def save(path, text):
    """Write a file whole or not at all."""
    temporary = path + ".tmp"
    try:
        with open(temporary, "w") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def load(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        raise LookupError(path) from error


def size(path):
    try:
        return os.path.getsize(path)
    except OSError as error:
        return error.nothing


def names(path):
    try:
        return os.listdir(path)
    except OSError:
        return []
'''

TEST = """
import store


def test_save(tmp_path):
    store.save(str(tmp_path / "kept"), "text")
    assert (tmp_path / "kept").read_text() == "text"


def test_load(tmp_path):
    with open(tmp_path / "kept", "w") as file:
        file.write("text")
    assert store.load(tmp_path / "kept") == "text"


def test_size(tmp_path):
    (tmp_path / "kept").write_text("text")
    assert store.size(tmp_path / "kept") == 4


def test_names(tmp_path):
    assert store.names(tmp_path) == []


def test_nothing_that_fails():
    assert store.__name__ == "store"
"""

FILES = {"store.py": STORE, "test_store.py": TEST, "pytest.ini": "[pytest]\n"}
CALLS = (
    "--fail-function=open:ENOSPC",
    "--fail-function=os.replace:EIO",
    "--fail-function=io.TextIOWrapper.read:EIO",
    "--fail-function=os.path.getsize:EACCES",
    "--fail-function=os.unlink:EIO",
    "--fail-function=os.listdir:EACCES",
)


def called(campaign: Campaign, test: str) -> list[tuple[str, str]]:
    trials = campaign.tests[f"test_store.py::{test}"]["trials"]
    return [(trial["fault"], trial["outcome"]) for trial in trials]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def campaign(folder: Path) -> Campaign:
    return run_in(folder, FILES, *CALLS)


def test_each_call_of_the_project_fails_and_those_of_its_tests_do_not(campaign: Campaign) -> None:
    assert {name: called(campaign, name) for name in ("test_save", "test_load", "test_size")} == {
        # Of what was never made nothing can be removed: a bug that no test had found.
        "test_save": [
            ("open: OSError(ENOSPC)", "failed"),
            ("os.replace: OSError(EIO)", "propagated"),
        ],
        "test_load": [
            ("open: OSError(ENOSPC)", "propagated"),
            ("io.TextIOWrapper.read: OSError(EIO)", "propagated"),
        ],
        "test_size": [("os.path.getsize: OSError(EACCES)", "failed")],
    }
    assert campaign.result.ret == 1
    assert campaign.summary["trials"] == 6


def test_it_is_a_campaign_by_itself_in_which_no_allocation_fails(campaign: Campaign) -> None:
    assert "faultinject: fail_function; isolation fork" in campaign.text
    trials = [trial for test in campaign.tests.values() for trial in test["trials"]]
    assert {trial["capability"] for trial in trials} == {"fail_function"}


def test_a_bad_trial_says_what_was_called_and_how_to_call_it_again(
    campaign: Campaign, folder: Path
) -> None:
    said = "FAILED with a fail_function fault at store.py:27 in size"
    assert f"{said} (os.path.getsize: OSError(EACCES))" in campaign.text
    assert "faultinject: fail_function failed os.path.getsize: OSError(EACCES) at" in campaign.text

    (line,) = (
        line.partition("replay: ")[2]
        for line in campaign.result.outlines
        if "replay: " in line and "test_size" in line
    )
    ran = paste(line, folder)

    assert ran.returncode == 1
    assert "FAILED      fail_function at store.py:27 in size" in ran.stdout
    assert "1 test, 1 call site, 1 trial: 1 failed" in ran.stdout


def test_a_fault_says_which_error_path_caught_it(campaign: Campaign) -> None:
    (ended,) = campaign.tests["test_store.py::test_names"]["trials"]
    assert (ended["outcome"], ended["fault"]) == ("recovered", "os.listdir: OSError(EACCES)")
    assert (ended["caught"]["file"], ended["caught"]["kind"]) == ("store.py", "except")


def test_beside_allocations_both_fail_and_the_allocations_are_those_of_before(
    tmp_path: Path,
) -> None:
    lines = ("--fail-alloc-identity=line", "-k", "save")
    alone = run_in(tmp_path, FILES, "--fail-alloc", *lines)
    both = run_in(tmp_path, FILES, "--fail-alloc", *CALLS, *lines)

    def places(campaign: Campaign) -> list[Any]:
        trials = campaign.tests["test_store.py::test_save"]["trials"]
        return [
            (trial["capability"], trial["site"]["line"])
            for trial in trials
            if trial["capability"] != "fail_function"
        ]

    assert places(both) == places(alone) != []
    assert [fault for fault, _ in called(both, "test_save") if fault] == [
        "open: OSError(ENOSPC)",
        "os.replace: OSError(EIO)",
    ]


def test_what_only_a_trial_reaches_fails_in_a_second_order_and_is_replayed(tmp_path: Path) -> None:
    campaign = run_in(tmp_path, FILES, *CALLS, "--fail-alloc-order=2", "-k", "save")
    found = called(campaign, "test_save")
    token = campaign.tokens("test_store.py::test_save")[-1]
    again = run_in(tmp_path, FILES, f"--fail-alloc-replay={token}")

    assert found[2:] == [
        ("os.unlink: OSError(EIO) after open: OSError(ENOSPC) at store.py:9", "propagated")
    ]
    assert called(again, "test_save") == found[2:]


def test_a_replay_sees_calls_where_the_campaign_saw_them_beside_allocations(
    tmp_path: Path,
) -> None:
    both = ("--fail-alloc-spec=fail_pymem", *CALLS, "--fail-alloc-order=2")
    campaign = run_in(tmp_path, FILES, *both, "-k", "size")

    tokens = campaign.tokens("test_store.py::test_size")
    assert {";order=2" in token for token in tokens} == {True}
    (token, *_) = (token for token in tokens if token.startswith("1|fail_pymem|"))
    again = run_in(tmp_path, FILES, f"--fail-alloc-replay={token}")
    assert again.summary["trials"] == 1
    assert "not_reached" not in again.outcomes("test_store.py::test_size")


TWO_WAYS = """
import os


def where():
    return os.getcwd()


def names(path):
    try:
        return os.listdir(path)
    except OSError:
        return where()


def size(path):
    try:
        return os.path.getsize(path)
    except OSError:
        return where()
"""

BOTH = """
import ways


def test_names(tmp_path):
    ways.names(tmp_path)


def test_size(tmp_path):
    ways.size(tmp_path)
"""


@pytest.mark.parametrize(("per", "times"), [("test", 2), ("suite", 1)])
def test_what_two_faults_lead_to_is_tried_once_where_a_suite_tries_each_site_once(
    tmp_path: Path, per: str, times: int
) -> None:
    campaign = run_in(
        tmp_path,
        {"ways.py": TWO_WAYS, "test_ways.py": BOTH, "pytest.ini": "[pytest]\n"},
        *("--fail-function=os.listdir:EACCES|os.path.getsize:EACCES|os.getcwd:ENOENT",),
        *("--fail-alloc-order=2", f"--fail-alloc-per={per}"),
    )

    faults = [
        trial["fault"].partition(" at ")[0]
        for test in ("test_names", "test_size")
        for trial in campaign.tests[f"test_ways.py::{test}"]["trials"]
    ]
    behind = [fault for fault in faults if " after " in fault]
    assert len(behind) == times
    assert behind[0] == "os.getcwd: OSError(ENOENT) after os.listdir: OSError(EACCES)"
    assert campaign.summary["not_run"] == 0


def test_a_known_problem_fails_no_run(tmp_path: Path) -> None:
    known = "--fail-alloc-known=known.txt"
    (tmp_path / "known.txt").touch()
    written = run_in(tmp_path, FILES, *CALLS, known, "--fail-alloc-update-known", "-k", "size")
    again = run_in(tmp_path, FILES, *CALLS, known, "-k", "size")

    assert "os.path.getsize) = OSError(EACCES)|" in (tmp_path / "known.txt").read_text()
    assert (written.summary["trials"], again.summary["known"]) == (1, 1)
    assert again.result.ret == 0


def test_a_spawned_worker_fails_calls_too(tmp_path: Path, campaign: Campaign) -> None:
    apart = run_in(tmp_path, FILES, *CALLS, "--fail-alloc-isolation=spawn", "-k", "load or size")

    for test in ("test_load", "test_size"):
        assert called(apart, test) == called(campaign, test)


COVERED = """
[run]
branch = true
source = .
omit = test_*
data_file = measured
"""


def test_the_totals_of_coverage_are_those_of_a_run_without_a_campaign(tmp_path: Path) -> None:
    for name, text in {**FILES, ".coveragerc": COVERED}.items():
        (tmp_path / name).write_text(text)

    def totals(*arguments: str) -> object:
        command = [sys.executable, "-m", "pytest", "-q", "--cov", "--cov-report=json", *arguments]
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)
        return json.loads((tmp_path / "coverage.json").read_text())["files"]["store.py"]["summary"]

    assert totals(*CALLS) == totals()


def test_a_target_may_be_a_module_beside_the_tests_which_nothing_has_imported(
    tmp_path: Path,
) -> None:
    (tmp_path / "rooms.py").write_text("def enter(name):\n    return name\n")
    (tmp_path / "hotel.py").write_text("import rooms\ndef check_in():\n    rooms.enter('a')\n")
    (tmp_path / "test_hotel.py").write_text("import hotel\ndef test_it():\n    hotel.check_in()\n")

    # As `pytest` alone is started: the current folder is not on the path.
    result = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "--fail-function=rooms:enter:TimeoutError"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "1 test, 1 call site, 1 trial: 1 propagated" in result.stdout, result.stdout
