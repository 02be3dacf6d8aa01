"""Leftovers of a test that an error ended: those of the code under test, and the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import code_under_test
import pytest
from code_under_test import fails

import faultinject as fi
from faultinject.callsite import CallSite
from faultinject.campaign.oracles.bundle import Bundle
from faultinject.campaign.oracles.leftovers import Leftovers
from faultinject.campaign.oracles.makers import is_marked
from faultinject.native.places import CodeScope

CODE = str(code_under_test.__file__)
GO_ON = threading.Event()


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    GO_ON.clear()
    yield tmp_path
    GO_ON.set()


def outcome(body: Callable[[], object], **settings: Any) -> str:
    """What becomes of a test whose call of `fails` fails."""
    (trial,) = fi.sweep(
        body,
        capabilities="fail_function:target=os.listdir:EIO",
        isolation="fork",
        **{"source": [CODE], **settings},
    ).trials
    return trial.outcome.value


def has_a_folder_of_its_own() -> None:
    folder = tempfile.mkdtemp()
    fails()
    shutil.rmtree(folder)


def has_a_file_of_its_own() -> None:
    descriptor, path = tempfile.mkstemp()
    fails()
    os.close(descriptor)
    os.unlink(path)


def has_a_thread_of_its_own() -> None:
    thread = threading.Thread(target=GO_ON.wait)
    thread.start()
    fails()
    GO_ON.set()
    thread.join()
    GO_ON.clear()


def has_a_child_of_its_own() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    fails()
    child.communicate(b"\n")


def asks_for_a_child() -> None:
    child = code_under_test.runs([sys.executable, "-S", "-c", "input()"])
    fails()
    child.communicate(b"\n")


def asks_for_a_folder() -> None:
    folder = code_under_test.makes_a_folder()
    fails()
    shutil.rmtree(folder)


def asks_for_a_folder_in_its_own() -> None:
    folder = tempfile.mkdtemp()
    code_under_test.makes_a_folder(folder)
    fails()
    shutil.rmtree(folder)


def asks_for_a_thread() -> None:
    thread = code_under_test.starts(GO_ON.wait)
    fails()
    GO_ON.set()
    thread.join()
    GO_ON.clear()


def is_called_back() -> None:
    folder = code_under_test.calls(tempfile.mkdtemp)
    fails()
    shutil.rmtree(folder)


def is_called_back_from_text() -> None:
    folder = code_under_test.calls_from_text(tempfile.mkdtemp)  # type: ignore[attr-defined]
    fails()
    shutil.rmtree(folder)


def has_its_file_opened() -> None:
    descriptor, path = tempfile.mkstemp()
    os.close(descriptor)
    other = code_under_test.opens(path)
    fails()
    os.close(other)
    os.unlink(path)


def works_in_a_thread() -> None:
    folders: list[str] = []
    thread = threading.Thread(target=lambda: folders.append(tempfile.mkdtemp()))
    thread.start()
    thread.join()
    fails()
    shutil.rmtree(folders[0])


@pytest.mark.parametrize(
    "body",
    [
        *(has_a_folder_of_its_own, has_a_file_of_its_own),
        *(has_a_thread_of_its_own, has_a_child_of_its_own),
    ],
)
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_what_a_test_made_is_no_leak_of_the_code_whose_error_came_out(
    body: Callable[[], None],
) -> None:
    assert outcome(body) == "propagated"


@pytest.mark.parametrize(
    "body",
    [
        *(asks_for_a_folder, asks_for_a_folder_in_its_own, asks_for_a_thread),
        *(asks_for_a_child, is_called_back, has_its_file_opened),
    ],
)
def test_what_the_code_under_test_made_is_its_leak_whoever_asked(body: Callable[[], None]) -> None:
    assert outcome(body) == "leaked"


@pytest.mark.parametrize("body", [is_called_back_from_text, works_in_a_thread])
def test_where_nobody_knows_who_made_something_the_code_under_test_did(
    body: Callable[[], None],
) -> None:
    assert outcome(body) == "leaked"


def test_where_all_code_is_under_test_nothing_is_a_tests_own() -> None:
    assert outcome(has_a_folder_of_its_own, source=()) == "leaked"


def test_a_test_that_goes_on_after_the_error_has_its_last_line() -> None:
    def passes_and_forgets() -> None:
        folder = tempfile.mkdtemp()
        try:
            fails()
        except OSError:
            return
        shutil.rmtree(folder)

    assert outcome(passes_and_forgets) == "leaked"


@pytest.mark.parametrize(
    ("make", "expected"), [(tempfile.mkdtemp, "failed"), (code_under_test.makes_a_folder, "leaked")]
)
def test_a_test_that_fails_has_not_reached_its_last_line_either(
    make: Callable[[], str], expected: str
) -> None:
    def body() -> None:
        folder = make()
        try:
            fails()
        except OSError:
            raise AssertionError("not what was expected") from None
        shutil.rmtree(folder)

    assert outcome(body) == expected


def test_with_the_clean_run_leftovers_are_compared_maker_by_maker() -> None:
    def make() -> str:
        return tempfile.mkdtemp()

    def body() -> None:
        make()  # never removed
        folder = code_under_test.calls(make)
        fails()
        shutil.rmtree(folder)

    assert outcome(body) == "leaked"


@pytest.fixture
def left() -> Leftovers:
    """What is left of a file that the code under test made, and one of a test's own."""
    with Bundle(code=lambda: CodeScope.of([CODE])).watching() as watched:
        tempfile.mkdtemp()
        code_under_test.makes_a_file()
    return watched.left()


def test_the_report_says_what_is_the_tests_own(left: Leftovers) -> None:
    assert {name: is_marked(name) for name in left} == {
        name: name.startswith("temporary folder") for name in left
    }


@pytest.mark.parametrize(
    ("struck", "count"), [(CODE, 1), (__file__, 2)], ids=["the code", "the test itself"]
)
def test_where_the_test_itself_is_struck_it_is_what_is_tried(struck: str, count: int) -> None:
    with Bundle(code=lambda: CodeScope.of([CODE])).watching() as watched:
        tempfile.mkdtemp()
        code_under_test.makes_a_file()

    assert len(watched.left_by_the_code([CallSite(struck, 1, "f")])) == count


def test_where_an_extension_module_is_under_test_nobody_knows_the_maker(tmp_path: Path) -> None:
    shared = tmp_path / "fast.so"
    scope = CodeScope.of([CODE])
    compiled = CodeScope(scope.rules, (str(shared),))
    with Bundle(code=lambda: compiled).watching() as watched:
        tempfile.mkdtemp()

    assert not any(map(is_marked, watched.left()))


def test_the_pipes_of_a_child_are_of_whoever_started_it() -> None:
    command = [sys.executable, "-S", "-c", "input()"]
    with Bundle(code=lambda: CodeScope.of([CODE])).watching() as watched:
        own = subprocess.Popen(command, stdin=subprocess.PIPE)
        other = code_under_test.runs(command)

    left = watched.left()
    own.communicate(b"\n")
    other.communicate(b"\n")

    kinds = ("child process", "file descriptor: pipe")
    assert left == {name: 1 for kind in kinds for name in (kind, f"{kind} (the test's own)")}


def test_what_started_a_child_is_told_by_subprocess() -> None:
    module: Any = subprocess
    before = module._cleanup

    with Bundle().watching():
        during = module._cleanup

    assert module._cleanup is before is not during
    assert isinstance(module._active, list)
    assert module.Popen.__init__.__qualname__ == "Popen.__init__"
    assert "_cleanup" in module.Popen.__init__.__code__.co_names


def test_threads_are_where_threading_keeps_them() -> None:
    module: Any = threading
    before = module._limbo

    with Bundle().watching():
        during = module._limbo
        thread = threading.Thread(target=GO_ON.wait)
        thread.start()
    alive = threading.enumerate()
    GO_ON.set()
    thread.join()

    assert module._limbo is before is not during
    assert thread in alive
    assert thread not in threading.enumerate()
