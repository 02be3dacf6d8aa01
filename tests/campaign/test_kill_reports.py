"""What a trial that died still tells: everything up to its last moment comes home."""

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from typing import NoReturn

import pytest

import faultinject as fi
from faultinject.campaign import limits, processes
from faultinject.campaign.isolation import Fork, Mark
from faultinject.campaign.record import TrialRecord

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")


def segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leave() -> NoReturn:
    os._exit(0)


def hang() -> None:
    time.sleep(3600)


WAYS = pytest.mark.parametrize(
    ("die", "outcome"), [(segfault, "CRASHED"), (leave, "CRASHED"), (hang, "HUNG")]
)


def tried(die: Callable[[], object], **arguments: str) -> TrialRecord:
    def body() -> None:
        warnings.warn("always", UserWarning, stacklevel=1)
        got = fi.kmalloc(64, fi.GFP_KERNEL)
        if got is None:
            print("out of", "memory")
            os.write(2, b"really\n")
            warnings.warn("just now", ResourceWarning, stacklevel=1)
            die()
        else:
            fi.kfree(got)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        report = fi.sweep(body, timeout=0.5, **{"capabilities": "failslab", **arguments})
    return report.trials[0]


@WAYS
def test_what_it_printed_comes_home(
    die: Callable[[], object], outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(1, "w", closefd=False) as stdout:  # as it is where nobody captures it
        monkeypatch.setattr(sys, "stdout", stdout)
        trial = tried(die)

    assert trial.outcome.name == outcome
    assert "out of memory\n" in trial.output
    assert "really\n" in trial.output


@WAYS
def test_its_warnings_come_home_but_those_of_a_clean_run(
    die: Callable[[], object], outcome: str
) -> None:
    trial = tried(die)

    told = [line for line in trial.details if line.startswith("warning: ")]
    assert [line.partition(" (")[0] for line in told] == ["warning: ResourceWarning: just now"]
    assert __file__ in told[0]


@WAYS
def test_the_fault_that_struck_comes_home(die: Callable[[], object], outcome: str) -> None:
    trial = tried(die, capabilities="failslab:probability=100")

    # A random trial's place is known by what struck alone.
    assert (trial.capability, trial.function.rpartition(".")[2]) == ("failslab", "body")
    assert trial.size == 64


@pytest.mark.parametrize("die", [segfault, hang])
def test_the_stack_on_which_it_died_comes_home(die: Callable[[], object]) -> None:
    trial = tried(die)

    assert f"in {die.__name__}" in trial.text
    assert "in body" in trial.text


@pytest.mark.parametrize("phase", ["setup", "invariants", "teardown", "leftovers", "rerun"])
def test_the_phase_in_which_it_died_comes_home(phase: str) -> None:
    def task(mark: Mark) -> NoReturn:
        mark(phase)
        os._exit(3)

    (ended,) = Fork().run([task], timeout=30.0)

    assert ended.phase == phase
    assert processes.PHASES[phase] in ended.status


def test_warnings_of_a_trial_that_lives_on_are_told_as_well() -> None:
    trial = tried(lambda: None)

    assert [line.partition(" (")[0] for line in trial.details] == [
        "warning: ResourceWarning: just now"
    ]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="told by /proc")
def test_a_child_that_the_kernel_ended_for_lack_of_memory_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kills = iter([7, 7, 8])
    campaign = processes.Campaign.current()
    monkeypatch.setattr(campaign, "_kernel_kills", 7)
    monkeypatch.setattr(processes, "kernel_kills", lambda: next(kills))

    def task(mark: Mark) -> NoReturn:
        mark("body")
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("dead")

    ended = list(Fork().run([task] * 3, timeout=30.0))

    told = [item.status for item in sorted(ended, key=lambda item: item.index)]
    assert told[:2] == ["killed by SIGKILL"] * 2
    assert told[2].startswith("killed by SIGKILL (the kernel ran out of memory")


def test_the_kernel_counts_what_it_ends() -> None:
    assert limits.kernel_kills() >= 0


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (None, None),
        ("none", None),
        ("512M", 512 << 20),
        ("2g", 2 << 30),
        ("4096", 4096),
        (4096, 4096),
        (" 1K ", 1024),
    ],
)
def test_a_limit_is_read_as_people_write_it(value: str | int | None, size: int | None) -> None:
    assert limits.parse_memory(value) == size


@pytest.mark.parametrize("value", ["", "0", 0, -1, "-1", "1.5G", "lots", "1E", True, 1.5, "512MB"])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(fi.errors.UsageError, match="not a size of memory"):
        limits.parse_memory(value)  # type: ignore[arg-type]


def test_what_a_clean_run_allocates_is_no_part_of_the_limit() -> None:
    def body() -> None:
        block = bytearray(96 << 20)
        fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
        del block

    report = fi.sweep(body, capabilities="failslab", memory="32M", isolation="fork")

    assert [trial.outcome.name for trial in report.trials] == ["RECOVERED"]
