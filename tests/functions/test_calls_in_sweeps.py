"""Calls of functions in a sweep: what is tried, in what order, and how it is judged."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import calling
import pytest

import faultinject as fi
from faultinject.campaign.known import KnownProblems, write_known
from faultinject.campaign.order import Order
from faultinject.campaign.outcome import Outcome
from faultinject.campaign.replay import PlannedToken, parse_token, token_of
from faultinject.campaign.site import Site
from faultinject.campaign.strike import PlannedFault
from faultinject.functions import watch

DISK = "fail_function:target=os.listdir:EIO"


@pytest.fixture(autouse=True)
def nothing_is_watched_afterwards() -> Iterator[None]:
    yield
    assert watch._stack == []


def sweep(body: Callable[..., Any], spec: str, **settings: Any) -> fi.campaign.sweep.SweepReport:
    return fi.sweep(body, capabilities=spec, isolation="none", **settings)


def outcomes(report: fi.campaign.sweep.SweepReport) -> list[str]:
    return [trial.outcome.value for trial in report.trials]


def faults(report: fi.campaign.sweep.SweepReport) -> list[str]:
    return [trial.fault for trial in report.trials]


def lists() -> list[str]:
    return os.listdir("/")


def test_a_trial_is_a_call_site_with_an_error() -> None:
    def body() -> None:
        os.listdir("/")
        os.getpid(), os.listdir("/")

    report = sweep(body, "fail_function:target=os.listdir:EIO|os.listdir:EACCES|os.getpid:EPERM")

    assert faults(report) == [
        "os.listdir: OSError(EIO)",
        "os.listdir: OSError(EACCES)",
        "os.getpid: OSError(EPERM)",
        "os.listdir: OSError(EIO)",
        "os.listdir: OSError(EACCES)",
    ]
    assert report.sites == 3
    assert outcomes(report) == ["propagated"] * 5


def test_the_first_and_the_last_hit_of_a_site_fail() -> None:
    def body() -> None:
        for _ in range(5):
            lists()

    assert [trial.hit for trial in sweep(body, DISK).trials] == [1, 5]


def test_so_many_errors_of_each_site_are_tried() -> None:
    report = sweep(lists, f"{DISK}|os.listdir:EACCES|os.listdir:ENOTDIR", max_errors=2)

    assert faults(report) == ["os.listdir: OSError(EIO)", "os.listdir: OSError(EACCES)"]


def test_one_place_that_calls_two_things_is_two_sites() -> None:
    def body() -> None:
        for call in (os.getpid, os.getppid):
            call()

    report = sweep(body, "fail_function:target=os.getpid:EPERM|os.getppid:EPERM")

    assert report.sites == 2
    assert [trial.hit for trial in report.trials] == [1, 1]


def test_a_call_in_the_standard_library_belongs_to_who_called_that(tmp_path: Path) -> None:
    (tmp_path / "from").write_text("x")

    def body() -> None:
        shutil.copyfile(tmp_path / "from", tmp_path / "to")

    report = sweep(body, "fail_function:target=open:ENOSPC")

    assert {(trial.file, trial.function) for trial in report.trials} == {
        (report.trials[0].file, body.__qualname__)
    }
    assert report.trials[0].file.endswith("test_calls_in_sweeps.py")


def test_what_a_profile_lists_fails_as_a_whole(tmp_path: Path) -> None:
    def body() -> None:
        (tmp_path / "text").write_text("x")

    whole = sweep(body, "fail_function:target=disk", max_errors=1)
    inside = sweep(body, "fail_function:target=io.TextIOWrapper.write:EIO")

    assert faults(whole) == ["pathlib.Path.write_text: OSError(ENOSPC)"]
    assert faults(inside) == ["io.TextIOWrapper.write: OSError(EIO)"]


def test_a_source_narrows_what_fails() -> None:
    assert sweep(lists, DISK, source="shutil").sites == 0
    assert sweep(lists, DISK, omit=[__file__]).sites == 0
    assert sweep(lists, DISK, source=[__file__]).sites == 1


def test_the_kernels_filters_look_at_the_callers() -> None:
    def body() -> None:
        lists()
        os.listdir("/")

    inside = f"{__file__}:{lists.__code__.co_firstlineno}-{lists.__code__.co_firstlineno + 1}"
    assert sweep(body, f"{DISK},require={inside}").sites == 1
    assert sweep(body, f"{DISK},reject={inside}").sites == 1


def test_what_cannot_be_in_life_is_not_tried(tmp_path: Path) -> None:
    def body() -> None:
        path = tmp_path / "x"
        with open(path, "w") as file:
            file.write("x")
        with open(path) as file:
            file.read()

    report = sweep(body, "fail_function:target=disk")

    first = body.__code__.co_firstlineno
    full = [trial for trial in report.trials if "ENOSPC" in trial.fault]
    assert full
    assert {trial.line - first for trial in full} == {2, 3}


def handles_badly() -> None:
    try:
        lists()
    except OSError as error:
        error.nothing  # type: ignore[attr-defined]  # noqa: B018


def translates() -> None:
    try:
        lists()
    except OSError:
        raise LookupError("no names")  # noqa: B904


def translates_later() -> None:
    error = None
    try:
        lists()
    except OSError as met:
        error = met
    if error is not None:
        raise RuntimeError("no names") from error


def recovers() -> list[str]:
    try:
        return lists()
    except OSError:
        return []


def raises_its_own() -> None:
    if lists() is None:
        raise LookupError("no names")


def forgets_to_look() -> None:
    lists().sort()


def raises_another() -> None:
    try:
        lists()
    except OSError:
        pass
    else:
        return
    raise OSError(28, "not what was injected")


@pytest.mark.parametrize(
    ("body", "fault", "expected"),
    [
        (lists, "EIO", "propagated"),
        (lists, "mailbox.NoSuchMailboxError('box')", "propagated"),
        (translates, "EIO", "propagated"),
        (translates_later, "EIO", "propagated"),
        (recovers, "EIO", "recovered"),
        (handles_badly, "EIO", "failed"),
        (raises_another, "EIO", "failed"),
        (raises_its_own, "returns=None", "propagated"),
        (forgets_to_look, "returns=None", "failed"),
    ],
)
def test_a_trial_is_judged_by_what_comes_out(
    body: Callable[[], object], fault: str, expected: str
) -> None:
    assert outcomes(sweep(body, f"fail_function:target=os.listdir:{fault}")) == [expected]


def test_strict_and_persistent_mean_what_they_mean_for_allocations() -> None:
    def tries_again() -> None:
        for _ in range(2):
            try:
                lists()
            except OSError:
                continue
            return
        raise RuntimeError("gave up")

    assert outcomes(sweep(tries_again, DISK)) == ["recovered"]
    assert outcomes(sweep(tries_again, DISK, persistent=True)) == ["failed"]
    assert len(sweep(lists, DISK, strict=True).bad) == 1


def test_a_random_trial_asks_the_rule_and_is_replayed() -> None:
    def body() -> None:
        for _ in range(10):
            recovers()

    report = sweep(body, f"{DISK},probability=100,interval=3", trials=3, seed=7)
    again = sweep(body, DISK, replay=report.trials[1].replay)

    assert outcomes(report) == ["recovered"] * 3
    assert report.trials[1].line == again.trials[0].line


def cleans_up(path: str) -> None:
    """Write a file whole or not at all, and lose the temporary one if cleaning up fails."""
    try:
        os.mkdir(path)
        os.listdir(path)
    except OSError:
        os.rmdir(path)
        raise


@pytest.fixture
def cleaned(tmp_path: Path) -> Callable[[], None]:
    def body() -> None:
        cleans_up(str(tmp_path / "made"))
        shutil.rmtree(tmp_path / "made")

    return body


TWICE = "fail_function:target=os.listdir:EIO|os.rmdir:EBUSY"


def test_what_is_reached_inside_a_trial_alone_fails_in_a_second_order(
    cleaned: Callable[[], None], tmp_path: Path
) -> None:
    def prep() -> None:
        shutil.rmtree(tmp_path / "made", ignore_errors=True)

    first = sweep(cleaned, TWICE, prep=prep)
    second = sweep(cleaned, TWICE, prep=prep, order=2)

    added = [
        trial for trial in second.trials if trial.replay not in {t.replay for t in first.trials}
    ]
    (chain,) = (trial for trial in added if "after" in trial.fault)
    assert chain.fault.startswith("os.rmdir: OSError(EBUSY) after os.listdir: OSError(EIO) at ")
    assert chain.outcome is Outcome.PROPAGATED
    again = sweep(cleaned, TWICE, prep=prep, replay=chain.replay)
    assert [(trial.fault, trial.outcome) for trial in again.trials] == [
        (chain.fault, Outcome.PROPAGATED)
    ]


def test_a_second_fault_of_another_kind_follows_one_of_the_model_memory() -> None:
    def body() -> None:
        got = fi.kmalloc(8, fi.GFP_KERNEL)
        if got is None:
            lists()
            raise MemoryError
        fi.kfree(got)

    report = sweep(body, f"failslab;{DISK}", order=2)

    assert [(trial.capability, trial.outcome.value) for trial in report.trials] == [
        ("failslab", "propagated"),
        ("fail_function", "propagated"),
    ]
    assert "after failslab at " in report.trials[1].fault


def test_real_allocations_beside_calls_are_counted_in_a_run_of_their_own() -> None:
    def body() -> list[int]:
        os.getpid()
        return [number * 1000 for number in range(3)]

    spec = "fail_function:target=os.getpid:EPERM"
    alone = fi.sweep(body, capabilities="fail_pymem", identity="line")
    beside = fi.sweep(body, capabilities=["fail_pymem", spec], identity="line")

    counted = [trial.line for trial in beside.trials if trial.capability == "fail_pymem"]
    assert counted == [trial.line for trial in alone.trials]
    assert "not_reached" not in outcomes(beside)
    assert faults(beside).count("os.getpid: OSError(EPERM)") == 1


AT = Site("s.py", "save", 10, 12, 9, caller="open")
FIRST = PlannedFault("fail_function", AT, 1, False, frozenset({(5, 8)}), "OSError(ENOSPC)")
SECOND = PlannedFault(
    "fail_function",
    Site("a;b&c|d.py", "clean", 20, 21, 4, caller="os.unlink"),
    2,
    instructions=frozenset({(6, 2)}),
    error="mypkg:Full('a;b&c|%')",
    after=FIRST,
)


def test_a_token_names_what_was_called_and_the_chain() -> None:
    first = token_of(FIRST, file="s.py", test="t", options={})
    token = token_of(SECOND, file="a;b&c|d.py", test="t", options={"strict": "Y"}, after=first)

    read = parse_token(str(token))

    assert str(first) == "1|fail_function|s.py|save+2.9 (open) = OSError(ENOSPC)|1|transient|t"
    assert isinstance(read, PlannedToken)
    assert (read, read.after) == (token, first)
    assert read.specs == [
        "fail_function:target=open:OSError(ENOSPC)|os.unlink:mypkg:Full('a;b&c|%')"
    ]


def test_an_order_for_another_process_names_the_chain() -> None:
    order = Order("token", SECOND, {"passed": True})

    assert Order.from_plain(json.loads(json.dumps(order.as_plain()))) == order


def test_a_known_problem_is_one_of_its_error(tmp_path: Path) -> None:
    report = sweep(handles_badly, f"{DISK}|os.listdir:EACCES")
    one, other = report.trials
    write_known(tmp_path / "known", [one])
    known = KnownProblems.read(tmp_path / "known", option="known")

    known.mark_trial(one)
    known.mark_trial(other)

    assert (one.known, other.known) == (True, False)


def test_a_spawned_worker_tries_calls_and_chains() -> None:
    spec = f"{DISK}|os.getpid:EPERM"
    report = fi.sweep(calling.lists_or_asks, capabilities=spec, isolation="spawn", order=2)
    token = report.trials[1].replay
    again = fi.sweep(calling.lists_or_asks, capabilities=spec, isolation="spawn", replay=token)

    assert outcomes(report) == ["recovered", "propagated"]
    assert [trial.fault for trial in again.trials] == [report.trials[1].fault]


def test_a_mark_may_name_an_exception_that_is_local_to_a_function() -> None:
    class Local(Exception):
        pass

    @fi.error_injectable(Local)
    def reserve() -> None: ...

    def handles() -> None:
        with contextlib.suppress(Local):
            reserve()

    report = sweep(handles, "fail_function")
    again = sweep(handles, "fail_function", replay=report.trials[0].replay)

    assert outcomes(report) == outcomes(again) == ["recovered"]


def test_where_nothing_is_marked_nothing_is_tried() -> None:
    assert sweep(lists, "fail_function").sites == 0


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_fork_tries_calls() -> None:
    report = fi.sweep(recovers, capabilities=DISK, isolation="fork")

    assert outcomes(report) == ["recovered"]
