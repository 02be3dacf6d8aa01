"""Faults of which each is met only because of the one before it, in sweeps."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import faultinject as fi
from faultinject.campaign.outcome import Outcome
from faultinject.campaign.sweep import SweepReport
from faultinject.native import call_sites_unavailable

pytestmark = pytest.mark.skipif(
    call_sites_unavailable() is not None, reason=f"no call sites: {call_sites_unavailable()}"
)

CALLS = "fail_function:target=os.truncate:EIO|os.stat:EACCES"
BIG = "fail_pymem:min_size=2000"


def write_out(path: Path) -> int:
    """Ask for memory; tell a file where there is none."""
    os.stat(path)
    try:
        return len(bytes(4000))
    except MemoryError:
        os.truncate(path, 0)
        note = bytes(6000)
        raise OverflowError(len(note)) from None


@pytest.fixture
def written(tmp_path: Path) -> Callable[[], int]:
    (tmp_path / "log").write_text("log")
    return lambda: write_out(tmp_path / "log")


def sweep(body: Callable[[], object], spec: str, **settings: Any) -> SweepReport:
    return fi.sweep(
        body,
        capabilities=spec,
        source=__file__,
        isolation="fork",
        raises=(OverflowError, OSError, MemoryError),
        **settings,
    )


def told(report: SweepReport) -> list[str]:
    """Give capability, line of the function, and first fault of each trial."""
    first = write_out.__code__.co_firstlineno
    return [
        f"{trial.capability}+{trial.line - first} {trial.fault.partition(' at ')[0]}".rstrip()
        for trial in report.trials
    ]


def test_what_an_allocation_fault_leads_to_fails_as_well(written: Callable[[], int]) -> None:
    report = sweep(written, f"{BIG};{CALLS}", order=2)

    assert told(report) == [
        "fail_function+2 os.stat: OSError(EACCES)",
        "fail_pymem+4",
        "fail_function+6 os.truncate: OSError(EIO) after fail_pymem",
        "fail_pymem+7 after fail_pymem",
    ]
    assert {trial.outcome for trial in report.trials} == {Outcome.PROPAGATED}


def test_without_an_order_of_two_it_does_not(written: Callable[[], int]) -> None:
    report = sweep(written, f"{BIG};{CALLS}")

    assert sorted(told(report)) == ["fail_function+2 os.stat: OSError(EACCES)", "fail_pymem+4"]


def test_allocations_alone_have_chains(written: Callable[[], int]) -> None:
    report = sweep(written, BIG, order=2)

    assert told(report) == ["fail_pymem+4", "fail_pymem+7 after fail_pymem"]


def test_what_a_failed_call_leads_to_fails_for_want_of_memory(tmp_path: Path) -> None:
    def body() -> int:
        try:
            return os.stat(tmp_path).st_size
        except OSError:
            return len(bytes(4000))

    report = sweep(body, f"{BIG};{CALLS}", order=2)

    assert [(trial.capability, trial.outcome) for trial in report.trials] == [
        ("fail_function", Outcome.RECOVERED),
        ("fail_pymem", Outcome.PROPAGATED),
    ]
    assert report.trials[1].fault.startswith("after os.stat: OSError(EACCES) at ")


@pytest.mark.parametrize("spec", [BIG, f"{BIG};{CALLS}"])
def test_each_chain_is_replayed_by_its_token(written: Callable[[], int], spec: str) -> None:
    report = sweep(written, spec, order=2)
    chains = [trial for trial in report.trials if "after" in trial.fault]

    replayed = [sweep(written, spec, replay=trial.replay).trials for trial in chains]

    assert chains
    assert [[(again.fault, again.outcome)] for (again,) in replayed] == [
        [(trial.fault, trial.outcome)] for trial in chains
    ]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_what_sees_calls_is_failed_by_nobody(tmp_path: Path) -> None:
    """The interpreter makes an int of a call's place, where the call itself asks for nothing."""
    names: dict[str, Any] = {}
    source = "def far_in(call):\n" + 100 * "    kept = call\n" + "    call()\n"
    exec(compile(source, "/far_in.py", "exec"), names)

    def body() -> None:
        names["far_in"](os.getpid)
        os.close(descriptor)

    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        first = sweep(body, "fail_pymem", hits="all")
        second = sweep(body, "fail_pymem;fail_function:target=os.close:EIO", hits="all", order=2)
    finally:
        os.close(descriptor)

    assert [
        (trial.line, trial.hit, trial.outcome)
        for trial in second.trials
        if trial.capability == "fail_pymem" and not trial.fault
    ] == [(trial.line, trial.hit, trial.outcome) for trial in first.trials]
