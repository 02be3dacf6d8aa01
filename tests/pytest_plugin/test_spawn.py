"""Trials in a worker: what they come to, when that is chosen, and what a worker is told."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from campaigns import Campaign
from projects import run_apart, run_in

pytestmark = pytest.mark.usefixtures("alone")

SLAB = "--fail-alloc-spec=failslab"
SPAWN = "--fail-alloc-isolation=spawn"

# What all the tests of one project share: who ran what, and in which process.
CONFTEST = """
import os
from pathlib import Path

import pytest

FIRST = os.getpid()


def pytest_addoption(parser):
    parser.addoption("--flavour", default="none")


def note(*words):
    with Path(__file__).with_name("journal.txt").open("a") as file:
        print(os.getpid(), *words, file=file)


@pytest.fixture
def take():
    import faultinject as fi

    def take():
        got = fi.kmalloc(64, fi.GFP_KERNEL)
        if got is None:
            raise MemoryError
        return got

    yield take


@pytest.fixture(scope="session")
def server():
    note("server up")
    yield
    note("server down")


@pytest.fixture(scope="module")
def shared():
    note("module up")
    yield []
    note("module down")
"""

CASES = """
import logging
import os
import random
import warnings

import pytest

import faultinject as fi
from conftest import note


def test_good(server, take):
    note("good")
    fi.kfree(take())
    other = fi.kmalloc(32, fi.GFP_KERNEL)
    if other is not None:
        fi.kfree(other)


@pytest.mark.parametrize("name", ["a/b", "[z]"])
def test_named(name, server, shared, tmp_path, capsys, take):
    print("seen")
    (tmp_path / "x").touch(exist_ok=False)
    fi.kfree(take())
    assert capsys.readouterr().out == "seen\\n"


def test_failed(shared):
    print("what it printed")
    logging.warning("what it logged")
    assert fi.kmalloc(64, fi.GFP_KERNEL)


class TestState:
    count = 0

    def test_class(self, server):
        self.count += 1
        assert self.count == 1
        if (got := fi.kmalloc(64, fi.GFP_KERNEL)) is not None:
            fi.kfree(got)


def test_died(server):
    if (got := fi.kmalloc(64, fi.GFP_KERNEL)) is None:
        print("dying words", flush=True)
        logging.error("logged at the end")
        warnings.warn("just now", ResourceWarning)
        os.abort()
    fi.kfree(got)


STATE = []


def test_spoils():
    assert STATE == []
    if (got := fi.kmalloc(64, fi.GFP_KERNEL)) is None:
        STATE.append("spoilt")
    else:
        fi.kfree(got)


def test_finds_nothing_spoilt(take):
    assert STATE == []
    fi.kfree(take())


def test_draws(take):
    drawn = [random.random() for _ in range(3)]
    note("drew", *drawn)
    fi.kfree(take())


def test_flavour(request, take):
    assert request.config.getoption("flavour") == "vanilla"
    assert request.config.getini("markers")[0].startswith("mine")
    fi.kfree(take())


@pytest.mark.xfail(strict=True)
def test_fails_by_itself(take):
    fi.kfree(take())
    assert False
"""

PROJECT = {
    "conftest.py": CONFTEST,
    "test_cases.py": CASES,
    "test_more.py": "from test_cases import test_good\n",
    "plain.py": "def pytest_report_header():\n    return 'plain is here'\n",
}
ARGUMENTS = (SLAB, "-v", "--flavour=vanilla", "-p", "plain", "-o", "markers=mine: of my own")


def campaign_in(folder: Path, *arguments: str) -> Campaign:
    return run_in(folder, PROJECT, *ARGUMENTS, "-W", "always::ResourceWarning", *arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spawned")


@pytest.fixture(scope="module")
def spawned(folder: Path) -> Campaign:
    return campaign_in(folder, SPAWN, f"--basetemp={folder / 'tmp'}")


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return campaign_in(tmp_path_factory.mktemp("forked"), "--fail-alloc-isolation=fork")


def comparable(test: dict[str, Any]) -> dict[str, Any]:
    """Give a test's record without times, addresses, and the stack below the test."""
    trials = []
    for trial in test["trials"]:
        upper, found, _ = (trial.get("traceback") or "").partition(" in test_died\n")
        text = json.dumps(trial | {"duration": 0, "traceback": upper + found})
        text = re.sub(r"0x[0-9a-f]+", "0x", text)
        trials.append(re.sub(r"/[^ \"]*/(spawned|forked)\d+", "", text))
    return test | {"trials": trials}


def test_each_test_has_the_record_that_forks_give_it(spawned: Campaign, forked: Campaign) -> None:
    assert list(spawned.tests) == list(forked.tests)
    for nodeid in forked.tests:
        assert comparable(spawned.tests[nodeid]) == comparable(forked.tests[nodeid]), nodeid
    outcomes = [spawned.outcomes(f"test_cases.py::test_{name}") for name in ("died", "spoils")]
    assert outcomes == [["crashed"], ["corrupted"]]
    assert spawned.outcomes("test_cases.py::test_good") == ["propagated", "recovered"]
    assert spawned.result.parseoutcomes() == forked.result.parseoutcomes()


def test_what_a_trial_wrote_is_shown_as_that_of_a_fork_is(
    spawned: Campaign, forked: Campaign
) -> None:
    for campaign in (spawned, forked):
        for words in ("what it printed", "what it logged", "dying words", "logged at the end"):
            assert f"  > {words}" in campaign.text or f"{words}\n" in campaign.text, words
        assert "ResourceWarning: just now" in campaign.text


def test_the_header_says_where_trials_run(spawned: Campaign) -> None:
    assert "faultinject: failslab; isolation spawn" in spawned.result.outlines
    assert spawned.text.count("plain is here") == 1


@pytest.fixture(scope="module")
def journal(folder: Path, spawned: Campaign) -> dict[str, list[str]]:
    """Give what each process noted: this run's own first."""
    notes: dict[str, list[str]] = {}
    for line in (folder / "journal.txt").read_text(encoding="utf-8").splitlines():
        pid, _, words = line.partition(" ")
        notes.setdefault(pid, []).append(words)
    return notes


def test_a_worker_sets_wide_fixtures_up_once_and_tears_them_down(
    journal: dict[str, list[str]],
) -> None:
    _, first, *_ = journal.values()

    # The run that makes it warm, the census' two, and of each trial two: all with one server.
    assert first[:8] == ["server up", *["good"] * 7]
    for notes in journal.values():
        assert notes.count("server up") <= 1
    left = [notes for notes in journal.values() if notes.count("server up")]
    assert sum("server down" in notes for notes in left) >= len(left) - 3  # of those that died


def test_every_run_draws_what_a_fork_would(journal: dict[str, list[str]]) -> None:
    _, *workers = journal.values()
    drawn = [note for notes in workers for note in notes if note.startswith("drew")]

    # Of the last worker that ran it; the first run there is to make it warm.
    assert len(set(drawn[-4:])) == 1


def test_nothing_temporary_is_left(folder: Path, spawned: Campaign) -> None:
    left = [path.name for path in (folder / "tmp").iterdir()]

    assert [name for name in left if name.startswith(("spawned", "faultinject"))] == []


def test_no_worker_is_left(journal: dict[str, list[str]]) -> None:
    assert len(journal) > 3
    assert not any(os.path.exists(f"/proc/{pid}") for pid in journal)


THREADED = """
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

import faultinject as fi
from conftest import note


def ask(pool):
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    assert pool.submit(len, "four").result() == 4
    if got is not None:
        fi.kfree(got)


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
        pool.submit(len, "").result()
        yield pool


def test_before(take):
    note("before")
    fi.kfree(take())


@pytest.mark.parametrize("number", [1, 2])
def test_asks(pool, number):
    note("asks")
    ask(pool)
"""

AFTER = """
import faultinject as fi
from conftest import note


def test_after(take):
    note("after")
    fi.kfree(take())
"""


def processes(folder: Path, word: str) -> list[str]:
    lines = (folder / "journal.txt").read_text(encoding="utf-8").splitlines()
    return list(dict.fromkeys(line.split()[0] for line in lines if line.endswith(f" {word}")))


def test_auto_spawns_where_the_tests_threads_run_and_forks_elsewhere(tmp_path: Path) -> None:
    project = {"conftest.py": CONFTEST, "test_a.py": THREADED, "test_b.py": AFTER}

    campaign = run_in(tmp_path, project, SLAB)

    assert {name: campaign.outcomes(name) for name in campaign.tests} == {
        "test_a.py::test_before": ["propagated"],
        "test_a.py::test_asks[1]": ["recovered"],
        "test_a.py::test_asks[2]": ["recovered"],
        "test_b.py::test_after": ["propagated"],
    }
    # The run that counts, and a fork for the census and one for the trial; or one worker.
    assert [len(processes(tmp_path, word)) for word in ("before", "asks", "after")] == [3, 2, 3]
    said = "a thread runs that the tests have started (mine_0), which a fork would be without"
    assert campaign.text.count(said) == 1
    (note,) = (note for test in campaign.tests.values() for note in test["notes"])
    assert note.startswith(said)


def test_threads_of_the_harness_are_no_reason(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_b=AFTER)

    plugins = ("-p", "xdist", "-p", "pytest_timeout")
    timed = ("--timeout=60", "--timeout-method=thread")
    campaign = run_apart(pytester, SLAB, *plugins, "-n1", *timed)

    assert campaign.outcomes("test_b.py::test_after") == ["propagated"]
    assert campaign.tests["test_b.py::test_after"]["notes"] == []
    assert len(processes(pytester.path, "after")) == 3


def test_the_workers_of_xdist_have_workers_and_say_it_once(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_a=THREADED, test_c=THREADED)

    campaign = run_apart(pytester, SLAB, "-p", "xdist", "-n2", "--dist=loadfile")

    assert [campaign.outcomes(f"test_{name}.py::test_asks[1]") for name in "ac"] == [
        ["recovered"],
        ["recovered"],
    ]
    assert campaign.text.count("which a fork would be without") == 1


def test_where_no_worker_can_be_auto_forks_and_says_why(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        CONFTEST
        + "\n@pytest.fixture(scope='session', autouse=True)\n"
        + "def only_one(request):\n"
        + "    with (request.config.rootpath / 'claimed').open('x'):\n        yield\n"
    )
    pytester.makepyfile(test_a=THREADED.replace("    ask(pool)", "    assert fi.kmalloc(9, 0xCC0)"))

    campaign = run_apart(pytester, SLAB, "-k", "asks")

    assert campaign.outcomes("test_a.py::test_asks[1]") == ["failed"]
    assert "in a worker of its own the test does not run (no trial was run" in campaign.text
    assert "FileExistsError" in campaign.text
    campaign.result.assert_outcomes(failed=2, deselected=1)


def test_who_asks_for_workers_is_told_why_there_is_none(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "from pathlib import Path\n\n"
        "with Path(__file__).with_name('claimed').open('x'):\n    pass\n" + CONFTEST
    )
    pytester.makepyfile(test_b=AFTER)

    campaign = run_apart(pytester, SLAB, SPAWN)

    (note,) = campaign.tests["test_b.py::test_after"]["notes"]
    assert note.startswith("no trial was run: the clean census run exited with status 1")
    assert "FileExistsError" in note


NO_FORK = "import os\n\ndel os.fork, os.forkpty\n"


def test_without_a_fork_auto_spawns(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_b=AFTER, no_fork=NO_FORK)

    campaign = run_apart(pytester, SLAB, "-p", "no_fork")

    assert "faultinject: failslab; isolation spawn" in campaign.result.outlines
    assert campaign.outcomes("test_b.py::test_after") == ["propagated"]
    assert len(processes(pytester.path, "after")) == 2


def test_a_token_of_a_worker_is_replayed_in_one(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_b=AFTER.replace("fi.kfree(take())", "assert fi.kmalloc(9, 0xCC0)"))
    first = run_apart(pytester, SLAB, SPAWN)
    (token,) = first.tokens("test_b.py::test_after")

    replayed = run_apart(pytester, f"--fail-alloc-replay={token}", SPAWN)
    repeated = run_apart(pytester, "--fail-alloc-last-bad", SPAWN)

    for campaign in (first, replayed, repeated):
        assert campaign.outcomes("test_b.py::test_after") == ["failed"]


def test_a_worker_leaves_the_files_of_the_session_alone(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    logged = AFTER.replace('note("after")', '__import__("logging").warning("clean")')
    pytester.makepyfile(test_b=logged)

    run_apart(pytester, SLAB, SPAWN, "--log-file=log.txt", "--junitxml=junit.xml", "--cache-clear")

    assert (pytester.path / "log.txt").read_text(encoding="utf-8").count("clean") == 1
    assert 'tests="1"' in (pytester.path / "junit.xml").read_text(encoding="utf-8")
