"""Each oracle in a sweep: its finding names the trial, and it can be switched off alone."""

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import faultinject as fi
from faultinject.campaign.oracles.selection import ALL
from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import TrialRecord

KEPT: list[Any] = []
LOCK = threading.Lock()


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    KEPT.clear()


def only(body: Callable[[], object], **arguments: Any) -> TrialRecord:
    (trial,) = fi.sweep(body, capabilities="failslab", **arguments).trials
    return trial


def get() -> Any:
    got = fi.kmalloc(64)
    if got is None:
        raise MemoryError
    return got


class Dying:
    def __del__(self) -> None:
        fi.kfree(get())


def poisons() -> None:
    KEPT.append(1)
    fi.kfree(get())
    assert KEPT == [1]
    KEPT.clear()


def keeps_a_descriptor() -> None:
    descriptor = os.dup(0)
    fi.kfree(get())
    os.close(descriptor)


def keeps_a_thread() -> None:
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait, daemon=True)
    thread.start()
    fi.kfree(get())
    go_on.set()
    thread.join()


def keeps_a_child() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    KEPT.append(child)
    try:
        fi.kfree(get())
    finally:
        assert child.stdin is not None
        child.stdin.close()
    child.wait()
    KEPT.clear()


def keeps_a_file() -> None:
    descriptor, path = tempfile.mkstemp()
    os.close(descriptor)
    fi.kfree(get())
    os.unlink(path)


def keeps_a_lock() -> None:
    LOCK.acquire()
    if (got := fi.kmalloc(64)) is None:
        return
    fi.kfree(got)
    LOCK.release()


def keeps_a_task() -> None:
    async def work() -> None:
        task = asyncio.ensure_future(asyncio.Event().wait())
        await asyncio.sleep(0)
        fi.kfree(get())
        task.cancel()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work())
    finally:
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def loses_an_error_in_del() -> None:
    Dying()


def loses_an_error_in_a_thread() -> None:
    thread = threading.Thread(target=lambda: fi.kfree(get()))
    thread.start()
    thread.join()


def loses_an_error_in_a_task() -> None:
    async def work() -> None:
        await asyncio.gather(asyncio.sleep(0), return_exceptions=True)
        asyncio.ensure_future(spend())  # noqa: RUF006 - nobody asks for its result
        await asyncio.sleep(0)

    async def spend() -> None:
        fi.kfree(get())

    asyncio.run(work())


CASES: dict[str, tuple[str, Callable[[], None], Outcome, str]] = {
    "poisoned state": ("rerun", poisons, Outcome.CORRUPTED, "a clean re-run afterwards fails"),
    "a descriptor": ("descriptors", keeps_a_descriptor, Outcome.LEAKED, "file descriptor: "),
    "a thread": ("threads", keeps_a_thread, Outcome.LEAKED, "thread: Thread-N (wait)"),
    "a child": ("processes", keeps_a_child, Outcome.LEAKED, "child process"),
    "a file": ("files", keeps_a_file, Outcome.LEAKED, "temporary file: tmp*, made at "),
    "a lock": ("locks", keeps_a_lock, Outcome.LEAKED, f"lock still held: {__name__}.LOCK"),
    "a task": ("tasks", keeps_a_task, Outcome.LEAKED, "asyncio task left pending: Event.wait"),
    "an error in __del__": (
        "unraisable",
        loses_an_error_in_del,
        Outcome.UNRAISABLE,
        "lost error: MemoryError",
    ),
    "an error in a thread": (
        "excepthook",
        loses_an_error_in_a_thread,
        Outcome.UNRAISABLE,
        "(in a thread)",
    ),
    "an error in a task": (
        "tasks",
        loses_an_error_in_a_task,
        Outcome.UNRAISABLE,
        "(Task exception was never retrieved)",
    ),
}
cases = pytest.mark.parametrize(("name", "body", "outcome", "said"), CASES.values(), ids=CASES)


@cases
def test_a_finding_names_the_trial(
    name: str, body: Callable[[], None], outcome: Outcome, said: str
) -> None:
    trial = only(body)

    assert trial.outcome is outcome
    assert any(said in line for line in (*trial.leaks, *trial.details))


@cases
def test_an_oracle_finds_it_alone_and_the_others_do_not(
    name: str, body: Callable[[], None], outcome: Outcome, said: str
) -> None:
    # A lock that stays held, or a child that nobody waits for, would spoil the re-run as well.
    others = ALL - {name, "rerun"}

    assert only(body, oracles=name).outcome is outcome
    assert not only(body, oracles=sorted(others)).bad


def test_objects_of_the_model_are_found_unless_they_are_not_looked_for() -> None:
    def body() -> None:
        first = fi.kmalloc(64)
        if first is not None and (second := fi.kmalloc(8)) is not None:
            fi.kfree(first)
            fi.kfree(second)

    found = fi.sweep(body, capabilities="failslab").trials
    unsought = fi.sweep(body, capabilities="failslab", oracles="no-objects").trials

    assert [trial.outcome for trial in found] == [Outcome.RECOVERED, Outcome.LEAKED]
    assert [trial.outcome for trial in unsought] == [Outcome.RECOVERED] * 2


@pytest.mark.parametrize("isolation", ["fork", "none"])
def test_what_a_clean_run_leaves_as_well_is_no_leak(isolation: str) -> None:
    def body() -> None:
        pool = ThreadPoolExecutor(1)
        pool.submit(int).result()
        box = [threading.Lock(), tempfile.mkdtemp(), os.dup(0), pool]
        box[0].acquire()  # type: ignore[union-attr]
        KEPT.append(box)
        fi.kfree(get())

    trial = only(body, isolation=isolation)

    for box in KEPT:
        os.close(box[2])
        box[3].shutdown()
    assert trial.outcome is Outcome.PROPAGATED


def test_what_only_the_traceback_keeps_is_no_leak() -> None:
    class Guard:
        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.lock.acquire()
            self.folder = tempfile.TemporaryDirectory()
            self.file = open(os.devnull)  # noqa: SIM115

    def body() -> None:
        guard = Guard()
        fi.kfree(get())
        guard.lock.release()
        guard.folder.cleanup()
        guard.file.close()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        trial = only(body)

    assert trial.outcome is Outcome.PROPAGATED


def test_a_lock_that_is_held_is_told_and_not_waited_for_in_a_re_run() -> None:
    trial = only(keeps_a_lock, timeout=60)

    assert trial.outcome is Outcome.LEAKED
    assert trial.details == []


def test_with_no_oracle_at_all_the_bodys_own_end_decides() -> None:
    runs = []

    def body() -> None:
        runs.append(1)
        os.dup(0)
        fi.kfree(get())

    trial = only(body, oracles="none", isolation="none")

    assert trial.outcome is Outcome.PROPAGATED
    assert len(runs) == 2  # the census once, the trial once
