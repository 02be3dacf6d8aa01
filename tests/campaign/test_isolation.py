"""Where a trial runs: its result or its end comes home, and nothing else does."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from faultinject.campaign.isolation import KEPT_BYTES, Ended, Fork, Here, Mark, Task, choose
from faultinject.errors import UsageError

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
pytestmark = needs_fork

SOON = 0.4  # seconds after which a test takes a task for hung
FOR_EVER = 3600.0


def run(*tasks: Task, timeout: float = 30.0, jobs: int = 1) -> list[Ended]:
    ended = list(Fork(jobs).run(tasks, timeout=timeout))
    return sorted(ended, key=lambda item: item.index)


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


class Lifeline:
    """A pipe that says when every process that inherited it is gone, without asking twice."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def __enter__(self) -> "Lifeline":
        return self

    def __exit__(self, *error: object) -> None:
        for descriptor in (self._read, self._write):
            if descriptor >= 0:
                os.close(descriptor)

    def wait(self) -> bool:
        """Wait until this process alone has the pipe."""
        os.close(self._write)
        self._write = -1
        return os.read(self._read, 1) == b""


def hang(mark: Mark) -> NoReturn:
    mark("body")
    while True:
        time.sleep(FOR_EVER)


def test_what_a_task_returns_comes_home() -> None:
    parent = os.getpid()

    def task(mark: Mark) -> dict[str, Any]:
        mark("body")
        return {"pid": os.getpid(), "list": [1, None, "ä\ud800"]}

    (ended,) = run(task)

    assert ended.payload is not None
    assert ended.payload["pid"] != parent
    assert ended.payload["list"] == [1, None, "ä\ud800"]
    assert (ended.phase, ended.hung, ended.status) == ("body", False, "")
    assert ended.seconds > 0


def test_a_payload_larger_than_a_pipe_comes_home() -> None:
    (ended,) = run(lambda mark: {"text": "x" * 1_000_000})

    assert ended.payload == {"text": "x" * 1_000_000}


def test_nothing_that_a_task_changes_reaches_the_parent() -> None:
    box = [1]

    run(lambda mark: {"none": box.append(2)})

    assert box == [1]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL, signal.SIGTERM])
def test_a_task_that_a_signal_ends_is_told_by_the_signals_name(number: signal.Signals) -> None:
    def task(mark: Mark) -> dict[str, Any]:
        mark("body")
        os.kill(os.getpid(), number)
        return {}

    (ended,) = run(task)

    assert ended.payload is None
    assert (ended.phase, ended.hung, ended.status) == ("body", False, f"killed by {number.name}")


def test_a_crash_leaves_the_stack_on_which_it_happened() -> None:
    def crashing_function(mark: Mark) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGSEGV)
        return {}

    (ended,) = run(crashing_function)

    assert "Segmentation fault" in ended.dump
    assert "crashing_function" in ended.dump


@pytest.mark.parametrize("status", [0, 1, 3])
def test_a_task_that_leaves_without_a_report_is_told_by_its_status(status: int) -> None:
    (ended,) = run(lambda mark: os._exit(status))

    assert ended.payload is None
    assert not ended.hung
    assert f"exited with status {status} without a report" in ended.status


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, RecursionError])
def test_an_error_of_a_task_itself_is_no_result_and_is_printed(error: type[BaseException]) -> None:
    def task(mark: Mark) -> dict[str, Any]:
        raise error("what went wrong")

    (ended,) = run(task)

    assert ended.payload is None
    assert "without a report" in ended.status
    assert "what went wrong" in ended.output


def test_a_result_that_cannot_be_told_is_no_result() -> None:
    (ended,) = run(lambda mark: {"object": object()})

    assert ended.payload is None
    assert "not JSON serializable" in ended.output


def test_a_hang_is_ended_and_leaves_the_stacks_on_which_it_hung() -> None:
    (ended,) = run(hang, timeout=SOON)

    assert ended.payload is None
    assert (ended.phase, ended.hung) == ("body", True)
    assert str(SOON) in ended.status
    assert f"in {hang.__name__}" in ended.dump
    assert SOON <= ended.seconds < 10


def test_a_hang_that_takes_no_signals_is_ended_too() -> None:
    def task(mark: Mark) -> dict[str, Any]:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        hang(mark)

    (ended,) = run(task, timeout=SOON)

    assert ended.hung


def test_the_time_limit_is_that_of_each_phase() -> None:
    def task(mark: Mark) -> dict[str, Any]:
        for phase in ("setup", "body", "teardown"):
            mark(phase)
            time.sleep(SOON)
        return {}

    (ended,) = run(task, timeout=2.5 * SOON)

    assert not ended.hung
    assert ended.payload == {}


def test_what_a_task_has_started_ends_with_it() -> None:
    with Lifeline() as lifeline:

        def task(mark: Mark) -> dict[str, Any]:
            if os.fork() == 0:
                time.sleep(FOR_EVER)
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
            return {}

        started = time.monotonic()
        (ended,) = run(task)

        assert lifeline.wait()
        assert ended.payload == {}
        assert time.monotonic() - started < 10


def test_what_a_hung_or_crashed_task_has_started_ends_with_it() -> None:
    def forks_and(then: Task) -> Task:
        def task(mark: Mark) -> dict[str, Any]:
            if os.fork() == 0:
                time.sleep(FOR_EVER)
            return then(mark)

        return task

    with Lifeline() as lifeline:
        ended = run(forks_and(hang), forks_and(lambda mark: os._exit(0)), timeout=SOON)

        assert lifeline.wait()
        assert [item.hung for item in ended] == [True, False]


@pytest.mark.parametrize("above", [128, 65_536])
def test_a_task_that_closes_its_descriptors_still_reports(above: int) -> None:
    def task(mark: Mark) -> dict[str, Any]:
        os.closerange(0, above)
        mark("body")
        return {"next": os.open("/", os.O_RDONLY)}

    (ended,) = run(task)

    assert ended.payload == {"next": 0}
    assert ended.phase == "body"


def test_a_fork_of_a_task_that_returns_into_it_reports_nothing() -> None:
    def task(mark: Mark) -> dict[str, Any]:
        mark("body")
        pid = os.fork()
        if pid == 0:
            mark("rerun")
            return {"who": "the fork"}
        os.waitpid(pid, 0)
        return {"who": "the task"}

    (ended,) = run(task)

    assert ended.payload == {"who": "the task"}
    assert ended.phase == "body"


def test_what_a_fork_of_a_task_returns_is_not_taken_for_the_tasks_own() -> None:
    def task(mark: Mark) -> dict[str, Any]:
        pid = os.fork()
        if pid == 0:
            return {"who": "the fork"}
        os.waitpid(pid, 0)
        os._exit(3)

    (ended,) = run(task)

    assert ended.payload is None
    assert "status 3" in ended.status


def test_what_a_task_writes_comes_home_and_nowhere_else(capfd: pytest.CaptureFixture[str]) -> None:
    def task(mark: Mark) -> dict[str, Any]:
        os.write(1, b"by descriptor\n")
        subprocess.run([sys.executable, "-c", "print('by a program')"], check=True)
        os.write(2, b"an error \xff\n")
        return {}

    (ended,) = run(task)

    assert ended.output == "by descriptor\nby a program\nan error \ufffd\n"
    assert capfd.readouterr() == ("", "")


def test_of_a_long_output_the_end_is_kept() -> None:
    (ended,) = run(lambda mark: {"n": os.write(1, b"x" * KEPT_BYTES + b"the end")})

    assert len(ended.output) == KEPT_BYTES
    assert ended.output.endswith("xthe end")


def test_text_that_waits_to_be_written_is_written_once_and_where_it_belongs() -> None:
    code = """
from faultinject.campaign.isolation import Fork
print("the parent's", end="")
def task(mark):
    print("the task's", end="")
    return {}
for ended in Fork().run([task, task], timeout=30):
    print(f" [{ended.output}]", end="")
"""

    environment = {**os.environ, "PYTHONUNBUFFERED": ""}  # so that text does wait
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    assert (done.stdout, done.stderr) == ("the parent's [the task's] [the task's]", "")


def test_a_task_that_replaces_the_way_out_ends_all_the_same() -> None:
    parent = os.getpid()
    escaped, told = os.pipe()

    def task(mark: Mark) -> dict[str, Any]:
        os._exit = lambda status: None  # type: ignore[assignment]
        return {}

    try:
        (ended,) = run(task)
    finally:
        if os.getpid() != parent:  # the child came back into this very test
            os.write(told, b"!")
            os.kill(os.getpid(), signal.SIGKILL)

    os.close(told)
    assert os.read(escaped, 1) == b""
    os.close(escaped)
    assert ended.payload == {}


def test_a_task_reads_nothing_that_is_meant_for_the_parent() -> None:
    read, write = os.pipe()
    kept = os.dup(0)
    os.dup2(read, 0)
    os.write(write, b"for the parent")
    try:
        (ended,) = run(lambda mark: {"read": os.read(0, 9).decode()})
        left = os.read(0, 99)
    finally:
        os.dup2(kept, 0)
        for descriptor in (read, write, kept):
            os.close(descriptor)

    assert ended.payload == {"read": ""}
    assert left == b"for the parent"


def test_several_jobs_run_at_once_and_keep_their_numbers() -> None:
    (read, write), (back, answer) = os.pipe(), os.pipe()

    def waits(mark: Mark) -> dict[str, Any]:
        return {"got": os.read(read, 1).decode(), "n": os.write(answer, b"2")}

    def sends(mark: Mark) -> dict[str, Any]:
        os.write(write, b"1")
        return {"got": os.read(back, 1).decode()}

    try:
        ended = run(waits, sends, *[lambda mark: {}] * 3, jobs=2)
    finally:
        for descriptor in (read, write, back, answer):
            os.close(descriptor)

    # With one job the first would wait for ever for the second.
    assert [item.index for item in ended] == [0, 1, 2, 3, 4]
    assert [(item.payload or {}).get("got") for item in ended[:2]] == ["1", "2"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_more_than_the_given_number_of_tasks_are_alive(tmp_path: Path, jobs: int) -> None:
    def task(mark: Mark) -> dict[str, Any]:
        here = tmp_path / str(os.getpid())
        here.touch()
        alive = len(list(tmp_path.iterdir()))
        here.unlink()
        return {"alive": alive}

    ended = run(*[task] * 12, jobs=jobs)

    assert max((item.payload or {})["alive"] for item in ended) <= jobs


def test_tasks_are_taken_one_by_one_and_one_is_made_ready_meanwhile() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[Task]:
        for number in range(5):
            taken.append(number)
            yield lambda mark: {}

    running = Fork().run(tasks(), timeout=30.0)
    next(running)

    assert taken == [0, 1]
    running.close()  # type: ignore[attr-defined]


def test_a_campaign_that_is_given_up_kills_what_is_still_running() -> None:
    before = descriptors()
    with Lifeline() as lifeline:
        running = Fork(2).run([lambda mark: {}, hang, hang], timeout=FOR_EVER)
        next(running)

        running.close()  # type: ignore[attr-defined]

        assert lifeline.wait()
    assert descriptors() == before


def test_an_error_in_the_list_of_tasks_kills_what_is_still_running() -> None:
    def tasks() -> Iterator[Task]:
        yield hang
        raise LookupError("no more tasks")

    with Lifeline() as lifeline:
        with pytest.raises(LookupError):
            list(Fork(2).run(tasks(), timeout=FOR_EVER))

        assert lifeline.wait()


def many(count: int) -> Iterable[Task]:
    return ((lambda mark, number=number: {"text": str(number) * 100}) for number in range(count))


def test_the_parent_does_not_grow_with_the_number_of_trials() -> None:
    fork = Fork()
    before, frozen = descriptors(), gc.get_freeze_count()

    def held() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        sizes = []
        for number, _ in enumerate(fork.run(many(300), timeout=30.0)):
            if number in (100, 299):
                sizes.append(held())
    finally:
        tracemalloc.stop()

    assert sizes[1] - sizes[0] < 20_000
    assert descriptors() == before
    assert gc.get_freeze_count() == frozen


def test_collections_in_a_task_leave_alone_what_the_parent_made() -> None:
    (ended,) = run(lambda mark: {"frozen": gc.get_freeze_count()})

    assert ended.payload is not None
    assert ended.payload["frozen"] > 1000


def test_crashes_and_hangs_leave_nothing_behind_in_the_parent() -> None:
    run(lambda mark: {})
    pids, told = os.pipe()
    before = descriptors()

    def tells(then: Task) -> Task:
        def task(mark: Mark) -> dict[str, Any]:
            os.write(told, os.getpid().to_bytes(4, "big"))
            return then(mark)

        return task

    tasks = [hang, lambda mark: os._exit(1), lambda mark: {"bad": object()}]
    run(*[tells(task) for task in tasks], timeout=SOON)

    assert descriptors() == before
    for _ in tasks:
        with pytest.raises(ChildProcessError):
            os.waitpid(int.from_bytes(os.read(pids, 4), "big"), os.WNOHANG)
    os.close(pids)
    os.close(told)


@pytest.fixture
def without_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    monkeypatch.delattr(os, "memfd_create", raising=False)


@pytest.mark.usefixtures("without_pidfd")
def test_an_older_system_gives_the_same_results() -> None:
    ended = run(
        lambda mark: {"ok": os.write(1, b"out")},
        lambda mark: os.kill(os.getpid(), signal.SIGKILL),  # type: ignore[arg-type, return-value]
        hang,
        timeout=SOON,
    )

    assert [item.payload for item in ended] == [{"ok": 3}, None, None]
    assert [item.hung for item in ended] == [False, False, True]
    assert ended[0].output == "out"
    assert ended[1].status == "killed by SIGKILL (before it began)"


def test_without_isolation_tasks_run_here_in_order_one_by_one() -> None:
    box: list[int] = []

    def task(mark: Mark, number: int = 0) -> dict[str, Any]:
        mark("body")
        box.append(number)
        return {"pid": os.getpid()}

    running = Here().run([task, lambda mark: task(mark, 1)], timeout=0.001)
    first = next(running)

    assert box == [0]
    assert (first.index, first.phase, first.payload) == (0, "body", {"pid": os.getpid()})
    assert [item.index for item in running] == [1]
    assert box == [0, 1]


def test_without_isolation_an_error_of_a_task_itself_is_the_callers() -> None:
    def task(mark: Mark) -> dict[str, Any]:
        raise LookupError("what went wrong")

    with pytest.raises(LookupError):
        list(Here().run([task], timeout=1.0))


@pytest.mark.parametrize(
    ("kind", "jobs", "chosen"),
    [
        ("auto", 1, "fork"),
        ("auto", 4, "fork"),
        ("fork", 4, "fork"),
        ("spawn", 4, "spawn"),
        ("none", 1, "none"),
    ],
)
def test_auto_is_what_the_machine_can_do(kind: str, jobs: int, chosen: str) -> None:
    assert choose(kind, jobs=jobs) == chosen


def test_auto_is_a_worker_where_a_fork_is_not_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    assert choose("auto") == "spawn"


def test_auto_is_none_where_there_is_neither_fork_nor_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "fork")

    assert choose("auto") == "none"
    with pytest.raises(UsageError, match="not built for this platform"):
        choose("spawn")


def test_fork_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")

    with pytest.raises(UsageError, match="this platform cannot fork: 'fork'"):
        choose("fork")


@pytest.mark.parametrize("kind", ["", "thread", "Fork", "process", None, 1])
def test_another_kind_of_isolation_is_refused(kind: object) -> None:
    with pytest.raises(UsageError, match=r"not a kind of isolation.*\(isolation\).*auto, fork"):
        choose(kind)  # type: ignore[arg-type]


def test_several_jobs_without_a_process_each_are_refused() -> None:
    with pytest.raises(UsageError, match="several jobs need a process each"):
        choose("none", jobs=2)


def test_json_is_all_that_travels() -> None:
    payload = {"a": [1, 2.5, None, True], "b": {"c": "d"}}

    (ended,) = run(lambda mark: payload)

    assert ended.payload == json.loads(json.dumps(payload)) == payload
