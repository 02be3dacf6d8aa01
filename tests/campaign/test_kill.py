"""Whatever a trial does, it ends, with all that it started, and is judged.

Also where the parent is killed in the middle of a campaign.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import faultinject as fi
from faultinject.campaign import child, processes, reaper
from faultinject.campaign.isolation import Ended, Fork, Mark, Task

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux can find what has run away"
)

SOON = 0.4  # seconds after which a test takes a task for hung
FOR_EVER = 3600.0
LIMIT = 60


def run(*tasks: Task, timeout: float = 30.0, jobs: int = 1) -> list[Ended]:
    ended = list(Fork(jobs).run(tasks, timeout=timeout))
    return sorted(ended, key=lambda item: item.index)


@contextmanager
def told_pids() -> Iterator[tuple[int, Callable[[], list[int]]]]:
    """A pipe for the numbers of processes; then what gives all that were written so far."""
    read, write = os.pipe()
    os.set_blocking(read, False)

    def told() -> list[int]:
        data = os.read(read, 65_536)
        return [int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4)]

    try:
        yield write, told
    finally:
        os.close(read)
        os.close(write)


def tell(write: int) -> None:
    os.write(write, os.getpid().to_bytes(4, "big"))


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def fork_away(then: Callable[[], object]) -> None:
    """Start a process that nothing ties to this one: no group, no session, no parent."""
    told, tells = os.pipe()
    between = os.fork()
    if between == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            then()
            os.write(tells, b"!")
            time.sleep(FOR_EVER)
        os._exit(0)
    os.waitpid(between, 0)
    os.read(told, 1)


def leave_twenty(write: int) -> None:
    """Leave 20 processes behind: half of them forked, half of them gone their own way."""
    read, ready = os.pipe()
    for _ in range(10):
        if os.fork() == 0:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            tell(write)
            os.write(ready, b"!")
            time.sleep(FOR_EVER)
        os.read(read, 1)
        fork_away(lambda: tell(write))


def returns(mark: Mark) -> dict[str, Any]:
    return {}


def hangs(mark: Mark) -> dict[str, Any]:
    time.sleep(FOR_EVER)
    return {}


def crashes(mark: Mark) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}


def exits(mark: Mark) -> dict[str, Any]:
    os._exit(0)


@pytest.mark.parametrize("then", [returns, hangs, crashes, exits])
def test_twenty_processes_that_a_task_leaves_behind_end_with_it(then: Task) -> None:
    with told_pids() as (write, told):

        def task(mark: Mark) -> dict[str, Any]:
            mark("body")
            leave_twenty(write)
            return then(mark)

        (ended,) = run(task, timeout=2.0)

        pids = told()
        assert len(pids) == 20
        assert [pid for pid in pids if is_alive(pid)] == []
        assert ended.hung is (then is hangs)
        assert (ended.payload is None) is (then is not returns)


def test_a_program_that_has_gone_its_own_way_ends_with_the_task() -> None:
    program = "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(3600)"

    def task(mark: Mark) -> dict[str, Any]:
        started = subprocess.Popen(
            ["sh", "-c", '"$0" -c "$1" & wait', sys.executable, program],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert started.stdout is not None
        return {"pid": int(started.stdout.readline())}

    (ended,) = run(task)

    assert ended.payload is not None
    assert not is_alive(ended.payload["pid"])


def test_what_another_trial_has_started_goes_on() -> None:
    (read, write), (back, answer) = os.pipe(), os.pipe()

    def starts(mark: Mark) -> dict[str, Any]:
        fork_away(lambda: None)
        (own,) = descendants()
        os.write(write, b"!")
        os.read(back, 1)  # the other one is over
        return {"alive": is_alive(own)}

    def crashes_meanwhile(mark: Mark) -> dict[str, Any]:
        fork_away(lambda: None)
        os.read(read, 1)
        os._exit(3)

    ended: list[Ended] = []
    for item in Fork(2).run([starts, crashes_meanwhile], timeout=30.0):
        ended.append(item)
        os.write(answer, b"!")

    assert [item.index for item in ended] == [1, 0]
    assert ended[1].payload == {"alive": True}
    for descriptor in (read, write, back, answer):
        os.close(descriptor)


def descendants() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="utf-8") as file:
        return [int(pid) for pid in file.read().split()]


def test_what_the_parent_itself_has_started_goes_on() -> None:
    with subprocess.Popen(["sleep", "3600"], start_new_session=True) as own:
        run(crashes, returns, exits)
        still_runs = own.poll() is None
        own.kill()

    assert still_runs


def test_a_fork_that_keeps_everything_open_keeps_nobody_waiting() -> None:
    with told_pids() as (write, told):

        def task(mark: Mark) -> dict[str, Any]:
            fork_away(lambda: tell(write))
            return {"a": 1}

        started = time.monotonic()
        (ended,) = run(task)

        assert ended.payload == {"a": 1}
        assert time.monotonic() - started < 10
        assert not any(is_alive(pid) for pid in told())


def test_a_task_that_blocks_and_ignores_every_signal_is_ended() -> None:
    def task(mark: Mark) -> dict[str, Any]:
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if number < 32:
                signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        return hangs(mark)

    (ended,) = run(task, timeout=SOON)

    assert ended.hung


def test_a_task_that_stops_itself_is_hung_and_says_where() -> None:
    def stopping_function(mark: Mark) -> dict[str, Any]:
        mark("body")
        os.kill(os.getpid(), signal.SIGSTOP)
        return hangs(mark)

    (ended,) = run(stopping_function, timeout=SOON)

    assert ended.hung
    assert ended.status == f"did not end in {SOON} seconds (in its body)"
    assert "stopping_function" in ended.dump


def test_a_task_that_fills_its_memory_meets_the_limit_and_reports() -> None:
    def task(mark: Mark) -> dict[str, Any]:
        mark("body")
        held = []
        try:
            while True:
                held.append(bytearray(8 << 20))
        except MemoryError:
            taken = sum(map(len, held))
        mark("leftovers")
        return {"taken": taken, "more": len(bytearray(256 << 20))}

    (ended,) = Fork().run([task], timeout=30.0, memory=128 << 20)

    assert ended.payload is not None, ended
    # What earlier tests of this process have left free can be had besides.
    assert 64 << 20 <= ended.payload["taken"] < 1 << 30
    assert ended.payload["more"] == 256 << 20  # what is looked at afterwards is not limited


def test_a_task_that_keeps_all_memory_and_breaks_is_told_apart() -> None:
    held: list[bytearray] = []

    def task(mark: Mark) -> dict[str, Any]:
        mark("body")
        while True:
            held.append(bytearray(1 << 20))

    (ended,) = Fork().run([task], timeout=30.0, memory=64 << 20)

    assert ended.payload is None
    assert "MemoryError" in ended.output
    assert "without a report" in ended.status


def test_memory_that_is_only_reserved_is_not_limited() -> None:
    import mmap

    def task(mark: Mark) -> dict[str, Any]:
        return {"reserved": len(mmap.mmap(-1, 1 << 30, prot=mmap.PROT_READ))}

    (ended,) = Fork().run([task], timeout=30.0, memory=64 << 20)

    assert ended.payload == {"reserved": 1 << 30}


@pytest.fixture
def without_label(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoLabels(reaper.Labels):
        def next(self) -> int:
            return 0

    monkeypatch.setattr(processes.Campaign.current(), "labels", NoLabels())


@pytest.mark.usefixtures("without_label")
def test_without_labels_the_group_of_a_task_still_ends_with_it() -> None:
    with told_pids() as (write, told):

        def task(mark: Mark) -> dict[str, Any]:
            if os.fork() == 0:
                tell(write)
                os.write(ready, b"!")
                time.sleep(FOR_EVER)
            os.read(began, 1)
            return {}

        began, ready = os.pipe()
        (ended,) = run(task)
        os.close(began)
        os.close(ready)

        (pid,) = told()
        with suppress(ProcessLookupError):
            assert select.select([os.pidfd_open(pid)], [], [], 10.0)[0]
        assert ended.payload == {}


def test_without_prctl_what_runs_away_is_found_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child, "_prctl", None)
    with told_pids() as (write, told):

        def task(mark: Mark) -> dict[str, Any]:
            fork_away(lambda: tell(write))
            return {}

        (ended,) = run(task)

        assert ended.payload == {}
        assert not is_alive(told()[0])


ORPHANS = """
import os, signal, subprocess, sys, time
from faultinject.campaign.isolation import Fork

def tell():
    os.write(1, os.getpid().to_bytes(4, "big"))

def task(mark):
    os.dup2(int(sys.argv[1]), 1)
    tell()
    for number in range(20):
        if os.fork() == 0:
            if number % 2:
                os.setsid()
                if os.fork():
                    os._exit(0)
            tell()
            time.sleep(3600)
    time.sleep(3600)

list(Fork(2).run([task, task], timeout=3600))
"""


def test_a_parent_that_is_killed_leaves_no_process_behind() -> None:
    read, write = os.pipe()
    with subprocess.Popen([sys.executable, "-c", ORPHANS, str(write)], pass_fds=[write]) as parent:
        os.close(write)
        data = b""
        while len(data) < 42 * 4:  # two trials, each with its twenty
            data += os.read(read, 4096)
        os.close(read)
        pids = [int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4)]
        watched = [os.pidfd_open(pid) for pid in pids]

        parent.kill()

        until = time.monotonic() + 5.0
        left = set(watched)
        while left and time.monotonic() < until:
            left -= set(select.select(left, [], [], until - time.monotonic())[0])
        assert not left, f"{len(left)} of {len(pids)} are left after 5 seconds"
    for descriptor in watched:
        os.close(descriptor)


WATCHED = """
import os, sys
from faultinject.campaign.isolation import Fork

print(len(os.listdir("/proc/self/fd")))
for number in range(3):
    list(Fork().run([lambda mark: {}] * 2, timeout=30))
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child")
print(len(os.listdir("/proc/self/fd")))
"""


def test_the_watchdog_is_no_child_of_the_parent_and_holds_none_of_its_files() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED], capture_output=True, text=True, check=True, timeout=LIMIT
    )

    before, child_, after = done.stdout.split("\n")[:3]  # it ended: nobody holds its output
    assert child_ == "no child"
    assert before == after


def body(then: Callable[[], object]) -> Callable[[], None]:
    def allocates() -> None:
        got = fi.kmalloc(64, fi.GFP_KERNEL)
        if got is None:
            then()
        else:
            fi.kfree(got)

    return allocates


def fill_memory() -> None:
    held = []
    while True:
        held.append(bytearray(1 << 20))


def fill_memory_and_say_nothing() -> None:
    held = []
    try:
        while True:
            held.append(bytearray(1 << 20))
    except MemoryError:
        held.clear()


@pytest.mark.parametrize(
    ("then", "outcome"),
    [
        (lambda: fork_away(lambda: None), "LEAKED"),
        (lambda: os.closerange(0, 65_536), "RECOVERED"),
        (lambda: os.kill(os.getpid(), signal.SIGSTOP), "HUNG"),
        (lambda: hangs(lambda phase: None), "HUNG"),
        (lambda: os.kill(os.getpid(), signal.SIGABRT), "CRASHED"),
        (lambda: os._exit(0), "CRASHED"),
        (fill_memory, "PROPAGATED"),
        (fill_memory_and_say_nothing, "RECOVERED"),
    ],
    ids=["leaves a process", "closes all", "stops", "hangs", "aborts", "exits", "fills", "copes"],
)
def test_each_gets_the_outcome_that_is_its_own(then: Callable[[], object], outcome: str) -> None:
    report = fi.sweep(body(then), capabilities="failslab", timeout=1.0, memory="64M", hits="first")

    assert [trial.outcome.name for trial in report.trials] == [outcome]
