"""Every outcome, reached by a body of a few lines that is swept without pytest."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

import faultinject as fi
from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import TrialRecord
from faultinject.errors import DoubleFree

SOON = 0.5  # seconds after which a trial that hangs is ended


def trials(body: Callable[..., object], **arguments: Any) -> list[TrialRecord]:
    return list(fi.sweep(body, capabilities="failslab", **arguments).trials)


def only(body: Callable[..., object], **arguments: Any) -> TrialRecord:
    """The trial of a body with one call site."""
    (trial,) = trials(body, **arguments)
    return trial


def last(body: Callable[..., object], **arguments: Any) -> TrialRecord:
    """The trial of the last call site that a body reaches."""
    return trials(body, **arguments)[-1]


def answering(answer: Callable[[], object]) -> Callable[[], None]:
    """A body that asks for memory, and does `answer` when it gets none."""

    def body() -> None:
        pointer = fi.kmalloc(64)
        if pointer is None:
            answer()
        fi.kfree(pointer)

    return body


def raise_memory_error() -> NoReturn:
    raise MemoryError


def hang() -> NoReturn:
    while True:
        time.sleep(3600)


def test_a_body_that_does_without_has_recovered() -> None:
    trial = only(answering(lambda: None))

    assert trial.outcome is Outcome.RECOVERED
    assert (trial.error, trial.bad) == (None, False)


def test_a_body_that_lets_the_failure_through_has_propagated_it() -> None:
    trial = only(answering(raise_memory_error))

    assert trial.outcome is Outcome.PROPAGATED
    assert (trial.error, trial.bad, trial.text) == ("MemoryError", False, "")


def test_a_body_that_uses_what_it_did_not_get_has_failed() -> None:
    def body() -> None:
        pointer = fi.kmalloc(64)
        pointer[0] = 1  # type: ignore[index]
        fi.kfree(pointer)

    trial = only(body)

    assert trial.outcome is Outcome.FAILED
    assert trial.bad
    assert "TypeError" in (trial.error or "")
    assert "pointer[0] = 1" in trial.text


@pytest.mark.parametrize(
    "answer",
    [
        lambda: os.environ["NO SUCH VARIABLE"],
        lambda: pytest.fail("it must not fail"),
        lambda: exec("raise SystemExit(1)"),
        lambda: exec("raise KeyboardInterrupt"),
        lambda: exec("raise BaseException('of its own')"),
    ],
    ids=["look-up", "assertion", "exit", "interrupt", "BaseException"],
)
def test_a_body_that_answers_with_anything_else_has_failed(answer: Callable[[], object]) -> None:
    assert only(answering(answer)).outcome is Outcome.FAILED


def test_a_wrong_use_of_the_memory_fails_a_trial_even_if_it_is_swallowed() -> None:
    def free_twice() -> None:
        pointer = fi.kmalloc(32)
        fi.kfree(pointer)
        try:
            fi.kfree(pointer)
        except DoubleFree:
            return

    trial = only(answering(free_twice))

    assert trial.outcome is Outcome.FAILED
    assert trial.error is None
    assert any("freed" in line for line in trial.details)


def test_what_an_error_path_forgets_is_leaked() -> None:
    def body() -> None:
        first = fi.kmalloc(64)
        if first is None:
            raise MemoryError
        second = fi.kmalloc(128)
        if second is None:
            raise MemoryError
        fi.kfree(second)
        fi.kfree(first)

    trial = last(body)

    line = body.__code__.co_firstlineno + 1
    assert trial.outcome is Outcome.LEAKED
    assert trial.error == "MemoryError"
    assert len(trial.leaks) == 1
    assert trial.leaks[0].startswith("kmalloc of 64 bytes, allocated at ")
    assert f"test_sweep_outcomes.py:{line} in " in trial.leaks[0]


def leave_a_descriptor() -> None:
    os.dup(0)


def leave_a_thread() -> None:
    threading.Thread(target=hang, name="worker-7", daemon=True).start()


def leave_a_child() -> None:
    if os.fork() == 0:
        hang()


@pytest.mark.parametrize(
    ("leave", "named"),
    [
        (leave_a_descriptor, "file descriptor: null"),
        (leave_a_thread, "thread: worker-N"),
        (leave_a_child, "child process"),
    ],
)
def test_descriptors_threads_and_processes_are_leaked_too(
    leave: Callable[[], None], named: str
) -> None:
    trial = only(answering(leave))

    assert (trial.outcome, trial.leaks) == (Outcome.LEAKED, [named])


def test_what_a_clean_run_leaves_as_well_is_no_leak() -> None:
    cache: list[object] = []

    def body() -> None:
        cache.append(fi.kmalloc(32))
        if fi.kmalloc(64) is None:
            return
        cache.append(os.dup(0))

    assert [trial.outcome for trial in trials(body)] == [Outcome.RECOVERED] * 2


def test_an_exception_that_keeps_an_object_alive_by_its_frames_is_no_leak() -> None:
    class Handle:
        def __init__(self) -> None:
            self.descriptor = os.dup(0)

        def __del__(self) -> None:
            os.close(self.descriptor)

    def body() -> None:
        handle = Handle()
        pointer = fi.kmalloc(64)
        if pointer is None:
            raise MemoryError(handle.descriptor)
        fi.kfree(pointer)

    assert only(body).outcome is Outcome.PROPAGATED


registry: list[object] = []


def test_an_invariant_that_no_longer_holds_is_corrupted() -> None:
    def body() -> None:
        registry.append("entry")
        pointer = fi.kmalloc(64)
        if pointer is None:
            raise MemoryError
        fi.kfree(pointer)
        registry.remove("entry")

    def check() -> None:
        if registry:
            raise LookupError(f"{len(registry)} entries left")

    trial = only(body, check=check)

    assert trial.outcome is Outcome.CORRUPTED
    assert trial.error == "MemoryError"
    assert "invariant broken: LookupError: 1 entries left" in trial.details


def test_a_state_in_which_a_clean_run_fails_is_corrupted() -> None:
    is_open = [False]

    def body() -> None:
        if is_open[0]:
            raise RuntimeError("it is open already")
        is_open[0] = True
        pointer = fi.kmalloc(64)
        if pointer is None:
            return
        fi.kfree(pointer)
        is_open[0] = False

    trial = only(body)

    assert trial.outcome is Outcome.CORRUPTED
    assert trial.error is None
    assert trial.details == [
        "a clean re-run afterwards fails: RuntimeError: it is open already",
    ]


def test_an_invariant_that_hangs_is_corrupted() -> None:
    broken = []

    def check() -> None:
        if broken:
            hang()

    trial = only(answering(lambda: broken.append(1)), check=check, timeout=SOON)

    assert trial.outcome is Outcome.CORRUPTED
    assert "invariant" in (trial.error or "")


def test_a_clean_re_run_that_hangs_is_corrupted() -> None:
    locked = []

    def body() -> None:
        if locked:
            hang()
        pointer = fi.kmalloc(64)
        if pointer is None:
            locked.append(1)
        fi.kfree(pointer)

    trial = only(body, timeout=SOON)

    assert trial.outcome is Outcome.CORRUPTED
    assert "re-run" in (trial.error or "")


@pytest.mark.parametrize(
    ("crash", "told"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "killed by SIGSEGV"),
        (os.abort, "killed by SIGABRT"),
        (lambda: os._exit(0), "exited with status 0 without a report"),
    ],
)
def test_a_trial_that_ends_its_process_has_crashed(crash: Callable[[], object], told: str) -> None:
    trial = only(answering(crash))

    assert trial.outcome is Outcome.CRASHED
    assert told in (trial.error or "")


def test_a_crash_is_told_with_the_stack_and_the_output_before_it() -> None:
    def dereference() -> None:
        os.write(1, b"about to crash\n")
        os.kill(os.getpid(), signal.SIGSEGV)

    trial = only(answering(dereference))

    assert "in dereference" in trial.text
    assert trial.output == "about to crash\n"


def test_a_crash_in_the_clean_re_run_is_a_crash() -> None:
    broken = []

    def body() -> None:
        if broken:
            os._exit(1)
        pointer = fi.kmalloc(64)
        if pointer is None:
            broken.append(1)
        fi.kfree(pointer)

    assert only(body).outcome is Outcome.CRASHED


def test_a_body_that_never_ends_has_hung() -> None:
    trial = only(answering(hang), timeout=SOON)

    assert trial.outcome is Outcome.HUNG
    assert "in hang" in trial.text
    assert trial.bad


class Buffer:
    """Has a destructor that counts on what the constructor did not get."""

    def __init__(self) -> None:
        self.pointer = fi.kmalloc(64)

    def __del__(self) -> None:
        self.pointer[0] = 0  # type: ignore[index]
        fi.kfree(self.pointer)


def test_an_error_lost_in_a_destructor_is_unraisable() -> None:
    trial = only(lambda: bool(Buffer()))

    assert trial.outcome is Outcome.UNRAISABLE
    assert len(trial.details) == 1
    assert "lost error: TypeError" in trial.details[0]
    assert "in Buffer.__del__" in trial.details[0]


def test_an_error_lost_in_a_thread_is_unraisable() -> None:
    def work() -> None:
        pointer = fi.kmalloc(64)
        pointer[0] = 0  # type: ignore[index]
        fi.kfree(pointer)

    def body() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    trial = only(body)

    assert trial.outcome is Outcome.UNRAISABLE
    assert "(in a thread)" in trial.details[0]


def test_an_error_that_a_clean_run_loses_as_well_is_not_told() -> None:
    class Noisy:
        def __del__(self) -> None:
            raise KeyError("always")

    def body() -> None:
        Noisy()
        fi.kfree(fi.kmalloc(64))

    assert only(body).outcome is Outcome.RECOVERED


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Callable[[], int]]:
    """Counts runs over all processes: gives the number of this one, from 1."""
    path = tmp_path / "runs"
    path.touch()

    def count() -> int:
        with path.open("ab") as file:
            file.write(b".")
        return path.stat().st_size

    return count  # type: ignore[return-value]


def test_a_trial_whose_site_is_not_reached_any_more_is_a_warning(
    runs: Callable[[], int],
) -> None:
    def body() -> None:
        if runs() == 1:
            fi.kfree(fi.kmalloc(64))

    trial = only(body)

    assert trial.outcome is Outcome.NOT_REACHED
    assert not trial.bad


def test_a_trial_that_fails_before_its_fault_strikes_is_a_warning(
    runs: Callable[[], int],
) -> None:
    def body() -> None:
        if runs() > 2:
            raise LookupError("no third time")
        fi.kfree(fi.kmalloc(64))

    trial = only(body)

    assert trial.outcome is Outcome.DIVERGED
    assert trial.error == "LookupError: no third time"
    assert not trial.bad


def test_a_preparation_that_fails_in_a_trial_is_a_warning(runs: Callable[[], int]) -> None:
    def prep() -> None:
        if runs() > 2:
            raise LookupError("no third time")

    trial = only(lambda: fi.kfree(fi.kmalloc(64)), prep=prep)

    assert trial.outcome is Outcome.DIVERGED


def test_a_body_that_cannot_be_run_twice_is_tried_without_the_re_run(
    tmp_path: Path,
) -> None:
    used: list[int] = []

    def body() -> None:
        if used:
            raise LookupError("it is used up")
        used.append(1)
        fi.kfree(fi.kmalloc(64))

    report = fi.sweep(body, capabilities="failslab")

    assert [(trial.outcome, trial.details) for trial in report.trials] == [(Outcome.RECOVERED, [])]
    assert not report.record.runs_twice
    assert "cannot be run twice" in str(report)
