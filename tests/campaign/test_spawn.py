"""Sweeps in a worker: a trial comes to what it would in a fork, and a worker ends with its use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import spawned_bodies as bodies

import faultinject as fi
from faultinject.campaign.record import TrialRecord
from faultinject.campaign.sweep import SweepReport
from faultinject.errors import UsageError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="compared with a fork")

SOON = 0.5
LIMIT = 60


def swept(body: Callable[..., Any], isolation: str, **more: Any) -> SweepReport:
    return fi.sweep(body, capabilities="failslab", isolation=isolation, **more)


def plain(trial: TrialRecord) -> dict[str, Any]:
    """Give what must be the same wherever a trial ran."""
    found = trial.as_plain() | {"duration": 0.0}
    if trial.outcome.value in ("crashed", "hung"):
        # Below the body stands what runs it, which is another program. And what a fork
        # prints goes to pytest, which has put its own streams in the place of the real ones.
        found["text"] = "spawned_bodies.py" in found["text"]
        found["output"] = ""
    return found


@pytest.mark.parametrize(
    "body",
    [
        bodies.two_calls,
        bodies.remembers_quietly,
        bodies.fills_a_cache,
        bodies.spoils,
        bodies.leaves_a_file_open,
        bodies.aborts,
        bodies.closes_everything,
        bodies.leaves,
    ],
    ids=lambda body: body.__name__,
)
def test_a_trial_comes_to_the_same_as_in_a_fork(body: Callable[..., Any]) -> None:
    forked = swept(body, "fork")
    spawned = swept(body, "spawn")

    assert [plain(trial) for trial in spawned.trials] == [plain(trial) for trial in forked.trials]
    assert (spawned.sites, spawned.record.notes) == (forked.sites, forked.record.notes)
    assert spawned.trials


def test_what_prep_gives_reaches_body_and_check() -> None:
    report = fi.sweep(
        bodies.uses, bodies.prepared, bodies.holds, capabilities="failslab", isolation="spawn"
    )

    assert [trial.outcome.value for trial in report.trials] == ["propagated"]


def test_random_trials_draw_the_same_in_a_worker() -> None:
    spec = "failslab:probability=50,times=-1"
    forked, spawned = (
        fi.sweep(bodies.two_calls, capabilities=spec, isolation=kind, seed=7, trials=6)
        for kind in ("fork", "spawn")
    )

    assert [plain(trial) for trial in spawned.trials] == [plain(trial) for trial in forked.trials]
    assert len({trial.outcome for trial in spawned.trials}) > 1


def test_real_allocations_have_the_same_sites_in_a_worker() -> None:
    forked, spawned = (
        fi.sweep(
            bodies.allocates, capabilities="fail_pymem", isolation=kind, source=bodies.__name__
        )
        for kind in ("fork", "spawn")
    )

    def trials(report: SweepReport) -> list[tuple[str, str]]:
        return [(trial.replay, trial.outcome.value) for trial in report.trials]

    assert trials(spawned) == trials(forked)
    assert spawned.sites


def test_good_trials_share_a_worker_that_is_none_of_the_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    monkeypatch.setenv("TOLD", str(told))

    report = swept(bodies.tells_its_process, "spawn", hits="all")

    processes = set(told.read_text(encoding="utf-8").split())
    assert len(report.trials) == 2
    assert len(processes) == 1
    assert str(os.getpid()) not in processes
    assert not any(is_alive(pid) for pid in processes)


def test_jobs_are_workers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    monkeypatch.setenv("TOLD", str(told))

    report = swept(bodies.tells_its_process, "spawn", jobs=2)

    assert [trial.outcome.value for trial in report.trials] == ["propagated", "recovered"]
    assert len(set(told.read_text(encoding="utf-8").split())) == 2


def test_every_worker_iterates_over_a_set_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    monkeypatch.setenv("TOLD", str(told))
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)

    report = swept(bodies.tells_the_order_of_a_set, "spawn", jobs=2)

    lines = told.read_text(encoding="utf-8").splitlines()
    assert len({line.partition(" ")[0] for line in lines}) == 2
    assert len({line.partition(" ")[2] for line in lines}) == 1
    assert report.bad == []


def test_a_hang_is_ended_with_what_it_has_started_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    monkeypatch.setenv("TOLD", str(told))

    (trial,) = swept(bodies.sleeps, "spawn", timeout=SOON).trials

    assert trial.outcome.value == "hung"
    assert trial.error == f"did not end in {SOON:g} seconds (in its body)"
    assert "falls asleep" in trial.output
    assert "in sleeps" in trial.text
    pids = told.read_text(encoding="utf-8").split()
    assert len(pids) == 2
    assert not any(is_alive(pid) for pid in pids)


def is_alive(pid: str) -> bool:
    """Say whether a process runs; one that is dead may wait to be buried by another one."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(") ")[2][0] not in "ZX"


def test_what_a_trial_that_dies_has_printed_and_logged_comes_home() -> None:
    (trial,) = swept(bodies.aborts, "spawn").trials

    assert trial.output == "about to die\nlogged before\n"
    assert "in aborts" in trial.text


def test_a_memory_limit_holds_in_a_worker() -> None:
    (trial,) = swept(bodies.fills_its_memory, "spawn", memory="32M").trials

    assert trial.outcome.value == "propagated"


@pytest.mark.parametrize("what", ["body", "check"])
def test_a_function_without_a_name_is_refused_with_the_cure(what: str) -> None:
    def inner() -> None:
        bodies.two_calls()

    given: dict[str, Any] = {"body": bodies.two_calls, what: inner}

    with pytest.raises(UsageError, match=r"cannot find it by its name .*inner.* top level"):
        fi.sweep(**given, isolation="spawn")


@pytest.fixture
def thread() -> Iterator[threading.Thread]:
    """A thread that the tests' code has started, and that waits."""
    over = threading.Event()
    running = threading.Thread(target=over.wait, name="waits for orders")
    running.start()
    yield running
    over.set()
    running.join()


@pytest.mark.usefixtures("thread")
def test_beside_a_thread_auto_spawns_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    monkeypatch.setenv("TOLD", str(told))

    report = swept(bodies.tells_its_process, "auto")

    assert len(set(told.read_text(encoding="utf-8").split())) == 1
    assert "other threads run (waits for orders)" in str(report)
    assert len(report.record.notes) == 1


@pytest.mark.usefixtures("thread")
def test_beside_a_thread_auto_forks_what_has_no_name_and_says_so() -> None:
    def inner() -> None:
        bodies.two_calls()

    report = swept(inner, "auto")

    assert [trial.outcome.value for trial in report.trials] == ["propagated", "recovered"]
    assert "cannot find it by its name" in str(report)


@pytest.mark.usefixtures("thread")
def test_who_asks_for_a_fork_gets_one_beside_a_thread() -> None:
    assert swept(bodies.two_calls, "fork").record.notes == []


SCRIPT = """
import sys

import faultinject as fi


def body():
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    if got is None:
        raise MemoryError
    fi.kfree(got)


class Refused(Exception):
    pass


def translates():
    try:
        body()
    except MemoryError:
        raise Refused


def sweep():
    for function in (body, translates):
        print(fi.sweep(function, capabilities="failslab", isolation="spawn", raises=Refused))


{call}
"""


def run_script(folder: Path, call: str, *flags: str) -> subprocess.CompletedProcess[str]:
    path = folder / "script.py"
    path.write_text(SCRIPT.format(call=call), encoding="utf-8")
    return subprocess.run(
        [sys.executable, *flags, str(path)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def test_functions_of_a_script_are_found_by_its_path(tmp_path: Path) -> None:
    ended = run_script(tmp_path, 'if __name__ == "__main__":\n    sweep()')

    assert ended.stderr == ""
    assert ended.stdout.count("1 call site, 1 trial: 1 propagated") == 2
    assert "script.py:8 in body" in ended.stdout


def test_a_script_that_sweeps_when_it_is_imported_is_told_how_not_to(tmp_path: Path) -> None:
    ended = run_script(tmp_path, "sweep()")

    assert ended.returncode == 1
    assert "no trial was run" in ended.stderr
    assert "Put the call under if __name__ == '__main__'" in ended.stderr


def test_functions_typed_at_a_prompt_are_refused(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(call="sweep()")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )

    assert "UsageError" in ended.stderr
    assert "cannot find it by its name" in ended.stderr


def test_without_a_fork_auto_spawns_and_nothing_needs_one(tmp_path: Path) -> None:
    call = """
if __name__ == "__main__":
    import os
    del os.fork
    print(fi.sweep(body, capabilities="failslab"))
    print(fi.sweep(lambda: body(), capabilities="failslab"))
"""

    ended = run_script(tmp_path, call, "-W", "error")

    assert ended.stderr == ""
    assert ended.stdout.count("1 call site, 1 trial: 1 propagated") == 2
    assert ended.stdout.count("cannot find it by its name") == 1


def test_a_parent_that_is_killed_leaves_no_worker_behind(tmp_path: Path) -> None:
    told = tmp_path / "told"
    program = (
        "import faultinject as fi, spawned_bodies as bodies\n"
        "fi.sweep(bodies.sleeps, capabilities='failslab', isolation='spawn', timeout=60)\n"
    )
    environment = os.environ | {"TOLD": str(told), "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as parent:
        wait_until(told.exists)
        wait_until(lambda: len(told.read_text(encoding="utf-8").split()) == 2)
        parent.send_signal(signal.SIGKILL)

    pids = told.read_text(encoding="utf-8").split()
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait for something that another process does; there is no event to wait for."""
    import time

    until = time.monotonic() + LIMIT
    while not happened():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.01)


def test_an_order_is_the_same_on_the_other_side() -> None:
    from faultinject.campaign.order import Order
    from faultinject.campaign.site import Site
    from faultinject.campaign.strike import PlannedFault

    site = Site("a.py", "f", 1, 3, 4, at=6, domain="obj", caller="PyList_New")
    fault = PlannedFault("fail_pymem", site, 2, persistent=True, instructions=frozenset({(1, 6)}))
    order = Order("a token", fault, {"runs_twice": True})

    assert Order.from_plain(json.loads(json.dumps(order.as_plain()))) == order
