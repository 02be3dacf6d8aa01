"""`fi.sweep`: census, plan and trials of a function, without pytest."""

import asyncio
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import faultinject as fi
from faultinject.campaign import settings
from faultinject.campaign.outcome import Outcome
from faultinject.campaign.sweep import SweepReport
from faultinject.engine import observe
from faultinject.engine.log import injections, violations


def open_ring(entries: int = 4) -> None:
    """Fill a ring, one call site that is hit for each entry, and one for the ring itself."""
    ring = fi.kmalloc(128)
    if ring is None:
        raise MemoryError
    buffers = []
    for _ in range(entries):
        buffer = fi.kmalloc(64)
        if buffer is None:
            break
        buffers.append(buffer)
    for pointer in (*buffers, ring):
        fi.kfree(pointer)
    if len(buffers) < entries:
        raise MemoryError


def fragile() -> None:
    """Has an error path that is wrong."""
    pointer = fi.kmalloc(64)
    pointer[0] = 1  # type: ignore[index]
    fi.kfree(pointer)


def sweep(body: Callable[..., object] = open_ring, **arguments: Any) -> SweepReport:
    return fi.sweep(body, **{"capabilities": "failslab", **arguments})


def faults(report: SweepReport) -> list[tuple[int, int]]:
    """For each trial the line below the body's first one, and the hit."""
    first = open_ring.__code__.co_firstlineno
    return [(trial.line - first, trial.hit) for trial in report.trials]


def test_each_call_site_fails_at_its_first_and_at_its_last_hit() -> None:
    report = sweep()

    assert (report.sites, faults(report)) == (2, [(2, 1), (7, 1), (7, 4)])
    assert {trial.outcome for trial in report.trials} == {Outcome.PROPAGATED}
    assert {trial.function for trial in report.trials} == {"open_ring"}
    assert {trial.capability for trial in report.trials} == {"failslab"}
    assert report.bad == []


@pytest.mark.parametrize(
    ("hits", "chosen"),
    [("first", [1]), ("ends", [1, 4]), ("all", [1, 2, 3, 4]), (2, [1, 2]), ("3", [1, 2, 3])],
)
def test_hits_says_which_hits_fail(hits: str | int, chosen: list[int]) -> None:
    report = sweep(hits=hits)

    assert faults(report) == [(2, 1), *((7, hit) for hit in chosen)]


def test_every_capability_is_swept_unless_some_are_named() -> None:
    everything = fi.sweep(open_ring, hits="first")
    pages = fi.sweep(open_ring, capabilities="fail_page_alloc")
    both = fi.sweep(open_ring, capabilities=["failslab", "fail_page_alloc"], hits="first")

    assert {"failslab", "fail_page_alloc"} <= {trial.capability for trial in everything.trials}
    assert {trial.capability for trial in pages.trials} == {"fail_page_alloc"}
    assert len(both.trials) == 4


def test_a_gate_in_the_spec_narrows_what_fails() -> None:
    def body() -> None:
        fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
        fi.kfree(fi.kmalloc(64, fi.GFP_ATOMIC))

    report = sweep(body, capabilities="failslab:ignore_gfp_reclaim=1")

    assert len(report.trials) == 1


def test_a_stack_filter_in_the_spec_narrows_what_fails() -> None:
    report = sweep(capabilities=f"failslab:reject={__name__}:open_ring")

    assert (report.sites, report.trials) == (0, [])
    assert str(report) == "sweep of open_ring: 0 call sites, 0 trials"


def test_a_persistent_fault_goes_on_until_the_body_ends() -> None:
    got: list[bool] = []

    def body() -> None:
        got.clear()
        for _ in range(3):
            pointer = fi.kmalloc(64)
            got.append(pointer is not None)
            fi.kfree(pointer)
        if got == [False, False, False]:
            raise KeyError("three times")

    once, always = sweep(body, hits="first"), sweep(body, hits="first", persistent=True)

    assert [trial.outcome for trial in once.trials] == [Outcome.RECOVERED]
    assert [trial.outcome for trial in always.trials] == [Outcome.FAILED]
    assert always.trials[0].persistent
    assert "|persistent|" in always.trials[0].replay


def test_what_prep_returns_is_passed_on() -> None:
    def prep() -> list[str]:
        return ["prepared"]

    def body(given: list[str]) -> None:
        given.append("used")
        pointer = fi.kmalloc(64)
        if pointer is None:
            raise MemoryError
        fi.kfree(pointer)

    def check(given: list[str]) -> None:
        assert given == ["prepared", "used"]

    report = sweep(body, prep=prep, check=check)

    assert [trial.outcome for trial in report.trials] == [Outcome.PROPAGATED]


def test_prep_and_check_are_not_made_to_fail() -> None:
    def allocate() -> None:
        pointer = fi.kmalloc(64)
        assert pointer is not None
        fi.kfree(pointer)

    report = sweep(lambda: None, prep=allocate, check=allocate)

    assert report.sites == 0


@pytest.mark.parametrize(
    ("declared", "outcome"),
    [
        ((), Outcome.FAILED),
        (LookupError, Outcome.PROPAGATED),
        ((OSError, KeyError), Outcome.PROPAGATED),
        (OSError, Outcome.FAILED),
    ],
)
def test_raises_declares_what_may_answer_a_failure(declared: Any, outcome: Outcome) -> None:
    def body() -> None:
        pointer = fi.kmalloc(64)
        if pointer is None:
            raise KeyError("full")
        fi.kfree(pointer)

    assert [trial.outcome for trial in sweep(body, raises=declared).trials] == [outcome]


def test_strict_makes_a_failure_that_reaches_the_caller_bad() -> None:
    report = sweep(strict=True)

    assert len(report.bad) == len(report.trials) == 3
    assert {trial.outcome for trial in report.trials} == {Outcome.PROPAGATED}
    assert all("MemoryError" in trial.text for trial in report.trials)


def test_max_limits_the_trials_and_says_what_it_left_out() -> None:
    report = sweep(max=2)

    assert faults(report) == [(2, 1), (7, 1)]
    assert report.record.not_run == 1
    assert "1 trial not run" in str(report)


def test_source_and_omit_say_whose_code_is_under_test() -> None:
    def other() -> None:
        fi.kfree(fi.kmalloc(64))

    def body() -> None:
        open_ring()
        other()

    named = sweep(body, source=f"{__name__}:open_ring")
    omitted = sweep(body, omit=[f"{__name__}:open_ring"])

    assert {trial.function for trial in named.trials} == {"open_ring"}
    assert {trial.function.rpartition(".")[2] for trial in omitted.trials} == {"other"}


@pytest.mark.parametrize(
    ("identity", "sites", "trials"),
    [("line", 2, 2), ("instruction", 3, 3), ("site", 5, 5), ("all", 3, 6)],
)
def test_identity_says_what_one_call_site_is(identity: str, sites: int, trials: int) -> None:
    def pair() -> None:
        for pointer in (fi.kmalloc(64), fi.kmalloc(64)):
            fi.kfree(pointer)

    def body() -> None:
        pair()
        pair()
        for _ in range(2):
            fi.kfree(fi.kmalloc(32))

    report = sweep(body, identity=identity, hits="first")

    assert (report.sites, len(report.trials)) == (sites, trials)


@pytest.mark.parametrize("identity", ["line", "instruction", "site"])
def test_a_replay_token_repeats_its_trial_from_anywhere(identity: str) -> None:
    def pair() -> None:
        fragile()
        fragile()

    report = sweep(pair, identity=identity)

    def elsewhere() -> SweepReport:
        return sweep(pair, identity=identity, replay=report.bad[-1].replay)

    (trial,) = elsewhere().trials
    expected = report.bad[-1]
    assert (trial.outcome, trial.line, trial.hit, trial.error, trial.replay) == (
        expected.outcome,
        expected.line,
        expected.hit,
        expected.error,
        expected.replay,
    )


def test_a_token_brings_its_capability_with_it() -> None:
    token = fi.sweep(open_ring, capabilities="fail_page_alloc").trials[0].replay

    (trial,) = fi.sweep(open_ring, capabilities="failslab", replay=token).trials

    assert trial.capability == "fail_page_alloc"


def test_a_token_whose_site_is_gone_says_so() -> None:
    token = sweep(fragile).trials[0].replay

    report = sweep(open_ring, replay=token)

    assert report.trials == []
    assert "is not reached by a clean run any more" in str(report)


def test_a_token_whose_hit_is_gone_is_not_run() -> None:
    token = sweep(lambda: open_ring(4)).trials[-1].replay

    report = sweep(lambda: open_ring(2), replay=token)

    assert report.trials == []
    assert "hit 4" in str(report)


RANDOM = "failslab:probability=40,times=-1"


def test_random_trials_are_the_same_for_the_same_seed() -> None:
    first = sweep(capabilities=RANDOM, trials=12, seed=7)
    again = sweep(capabilities=RANDOM, trials=12, seed=7)
    other = sweep(capabilities=RANDOM, trials=12, seed=8)

    def told(report: SweepReport) -> list[tuple[str, int]]:
        return [(trial.outcome.value, trial.line) for trial in report.trials]

    assert len(first.trials) == 12
    assert told(first) == told(again)
    assert told(first) != told(other)
    assert len(set(told(first))) > 1


def test_random_trials_differ_from_run_to_run_without_a_seed() -> None:
    tokens = {sweep(capabilities=RANDOM, trials=1).trials[0].replay for _ in range(2)}

    assert len(tokens) == 2


def test_a_random_trial_is_repeated_by_its_token() -> None:
    spec = "failslab:probability=50,times=1"
    report = sweep(fragile, capabilities=spec, trials=10, seed=3)
    bad = report.bad[-1]

    (trial,) = sweep(fragile, replay=bad.replay).trials

    assert bad.replay.startswith(f"1|random|{spec}|3|")
    assert (trial.outcome, trial.line, trial.replay) == (bad.outcome, bad.line, bad.replay)


def test_a_random_trial_in_which_nothing_struck_is_told_as_that() -> None:
    report = sweep(capabilities="failslab:probability=0", trials=2, seed=1)

    assert [trial.outcome for trial in report.trials] == [Outcome.NOT_REACHED] * 2
    assert str(report).splitlines()[-1] == "  NOT_REACHED random faults, none of which struck"


def test_swept_and_random_capabilities_go_together() -> None:
    report = sweep(capabilities=["fail_page_alloc", RANDOM], trials=2, seed=1, hits="first")

    kinds = ["random" if "|random|" in trial.replay else "swept" for trial in report.trials]
    assert kinds == ["swept", "swept", "random", "random"]


def test_several_jobs_give_the_same_report() -> None:
    def told(report: SweepReport) -> list[tuple[int, int, Outcome, str]]:
        return [(trial.line, trial.hit, trial.outcome, trial.replay) for trial in report.trials]

    assert told(sweep(hits="all", jobs=3)) == told(sweep(hits="all"))


def test_without_isolation_the_trials_run_in_this_process() -> None:
    pids: set[int] = set()

    def body() -> None:
        pids.add(os.getpid())
        open_ring()

    report = sweep(body, isolation="none")

    assert pids == {os.getpid()}
    assert [trial.outcome for trial in report.trials] == [Outcome.PROPAGATED] * 3


def test_without_isolation_leaks_and_bugs_are_found_as_well() -> None:
    def body() -> None:
        first, second = fi.kmalloc(64), fi.kmalloc(64)
        if first is None or second is None:
            raise MemoryError
        fi.kfree(second)
        fi.kfree(first)

    leaky, buggy = sweep(body, isolation="none"), sweep(fragile, isolation="none")

    assert [trial.outcome for trial in leaky.trials] == [Outcome.LEAKED] * 2
    assert [trial.outcome for trial in buggy.trials] == [Outcome.FAILED]


@pytest.mark.parametrize("isolation", ["fork", "none"])
def test_a_sweep_leaves_this_process_as_it_was(isolation: str) -> None:
    memory, mine = fi.current_memory(), fi.kmalloc(64)
    seen = injections.total, violations.total
    state, hooks = random.getstate(), (sys.unraisablehook, threading.excepthook)

    sweep(fragile, isolation=isolation)

    assert fi.current_memory() is memory
    assert random.getstate() == state
    assert (sys.unraisablehook, threading.excepthook) == hooks
    assert observe.current is None
    if isolation == "fork":
        assert (injections.total, violations.total) == seen
    fi.kfree(mine)


@pytest.mark.parametrize("isolation", ["fork", "none"])
def test_each_trial_begins_with_a_memory_that_nobody_has_used(isolation: str) -> None:
    mine = fi.kmalloc(64)  # so that the slab for this size is there already

    def body() -> None:
        if fi.current_memory().leaks():
            raise KeyError("used before")
        pointer = fi.kmalloc(64)
        if pointer is None:
            raise MemoryError
        fi.kfree(pointer)

    report = sweep(body, capabilities="fail_page_alloc;failslab", isolation=isolation)

    assert report.sites == 2
    assert [trial.outcome for trial in report.trials] == [Outcome.PROPAGATED] * 2
    fi.kfree(mine)


def test_each_run_of_a_body_draws_the_same_random_numbers() -> None:
    drawn: list[float] = []

    def body() -> None:
        pointer = fi.kmalloc(64)
        drawn.append(random.random())
        fi.kfree(pointer)

    sweep(body, isolation="none")

    # Twice for the census, twice for the trial and its re-run.
    assert len(drawn) == 4
    assert len(set(drawn)) == 1


def test_a_body_may_run_an_event_loop_and_threads() -> None:
    async def fetch() -> None:
        open_ring(1)

    def body() -> None:
        async def main() -> None:
            await asyncio.gather(fetch(), asyncio.to_thread(open_ring, 1))

        asyncio.run(main())

    report = sweep(body, hits="all")

    assert {(trial.hit, trial.outcome) for trial in report.trials} == {
        (1, Outcome.PROPAGATED),
        (2, Outcome.PROPAGATED),
    }


def test_a_sweep_may_be_called_from_a_thread() -> None:
    reports: list[SweepReport] = []

    thread = threading.Thread(target=lambda: reports.append(sweep()))
    thread.start()
    thread.join()

    assert faults(reports[0]) == faults(sweep())
    assert reports[0].bad == []


def test_a_sweep_may_be_called_while_other_threads_use_the_memory() -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            fi.kfree(fi.kmalloc(64))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        report = sweep(hits="all", timeout=30)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert {trial.outcome for trial in report.trials} == {Outcome.PROPAGATED}


def test_a_sweep_may_be_called_inside_a_running_event_loop() -> None:
    async def main() -> SweepReport:
        report = sweep(hits="first")
        await asyncio.sleep(0)
        return report

    report = asyncio.run(main())

    assert {trial.outcome for trial in report.trials} == {Outcome.PROPAGATED}


def fails_clean() -> None:
    fi.kfree(fi.kmalloc(64))
    raise LookupError("always")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"body": fails_clean}, r"the body failed without a fault: LookupError: always \(sweep of"),
        ({"body": fails_clean, "isolation": "none"}, "the body failed without a fault: Look"),
        ({"body": fails_clean, "replay": "1|failslab|x.py|x+1.2|1|transient|x"}, "LookupError"),
        ({"check": fails_clean}, "LookupError: always"),
        ({"body": lambda: os._exit(3)}, "the clean census run exited with status 3"),
        ({"body": lambda: time.sleep(3600), "timeout": 0.4}, "did not end in 0.4 seconds"),
    ],
    ids=["raises", "raises here", "replayed", "check", "dies", "hangs"],
)
def test_a_body_that_fails_clean_is_refused_with_what_it_did(
    arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(fi.UsageError, match=f"no trial was run: .*{said}") as caught:
        sweep(**arguments)

    assert "again" not in str(caught.value)
    assert caught.value.name == "clean-run"


def pair() -> None:
    both = fi.kmalloc(8), fi.kmalloc(8)
    for each in both:
        fi.kfree(each)
    if None in both:
        raise MemoryError


def test_trials_of_one_line_are_told_apart_in_the_text() -> None:
    _, *lines = str(sweep(pair)).splitlines()

    assert [line.partition(", ")[2] for line in lines] == [
        "hit 1, column 12: MemoryError",
        "hit 1, column 27: MemoryError",
    ]


def test_random_trials_that_inject_nothing_say_so_and_why() -> None:
    spec = "fail_page_alloc:probability=1000,min_order=9"

    report = sweep(capabilities=[spec, "failslab"], trials=3)

    assert [trial.outcome for trial in report.trials[-3:]] == [Outcome.NOT_REACHED] * 3
    (note,) = report.record.notes
    assert note.startswith("nothing was injected in any of the 3 random trials: ")
    assert sweep(capabilities="failslab:probability=1000", trials=3).record.notes == []


def test_only_a_given_time_limit_bounds_the_first_clean_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "LEAST_TIMEOUT", 0.05)

    def body() -> None:
        time.sleep(0.1)
        fi.kfree(fi.kmalloc(64))

    assert [trial.outcome for trial in sweep(body).trials] == [Outcome.RECOVERED]


def test_the_time_limit_is_ten_times_the_clean_body_and_at_least_five_seconds() -> None:
    default = settings.Settings()

    assert default.time_limit(0.01) == 5.0
    assert default.time_limit(2.0) == 20.0
    assert settings.Settings(timeout=0.5).time_limit(2.0) == 0.5


def test_a_report_is_printed_with_each_trial_and_how_to_repeat_the_bad_ones() -> None:
    def both() -> None:
        open_ring(1)
        fragile()

    report = sweep(both)
    bad = report.bad[0]

    first, *lines = str(report).splitlines()
    assert first.endswith("both: 3 call sites, 3 trials: 1 failed, 2 propagated")
    assert lines[-2].startswith(
        f"  FAILED      failslab at {bad.file}:{bad.line} in fragile, hit 1:"
    )
    assert lines[-1] == f"              replay={bad.replay!r}"
    assert sum("replay=" in line for line in lines) == 1


def test_files_are_shown_relative_to_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    folder, name = os.path.split(__file__)
    monkeypatch.chdir(os.path.dirname(folder))

    inside = sweep().trials[0].file
    monkeypatch.chdir("/")

    assert inside == f"{os.path.basename(folder)}/{name}"
    assert sweep().trials[0].file == __file__.lstrip("/")
