"""Every outcome, from a test that earns it: one run of pytest, a test for each case in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from campaigns import Campaign
from projects import run_in

from faultinject.campaign.outcome import Outcome, Verdict

PREAMBLE = '''
import contextlib
import ctypes
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import faultinject as fi


class PoolEmpty(Exception):
    pass


class Stop(BaseException):
    pass


def get():
    """The one call site of most tests here; it answers a failure as Python does."""
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    if got is None:
        raise MemoryError
    return got


def run_number(name):
    """Give 1 in the run that counts, 2 and 3 in the census, 4 in the trial, 5 in its re-run."""
    path = Path(__file__).with_name(name + ".count")
    with path.open("a", encoding="ascii") as file:
        file.write("x")
    return path.stat().st_size


@pytest.fixture
def slots():
    """What must be given back after the test, and is."""
    slots = []
    yield slots
    for slot in slots:
        fi.kfree(slot)


@pytest.fixture
def exactly_one():
    slots = []
    yield slots
    fi.kfree(slots.pop())
'''


@dataclass(frozen=True)
class Case:
    """A test, the outcomes of its trials in order, and what the last one is said to have done."""

    source: str
    outcomes: str
    said: str = ""


CASES = {
    # Good ends.
    "falls_back": Case(
        """
        def test_falls_back():
            with contextlib.suppress(MemoryError):
                fi.kfree(get())
        """,
        "recovered",
    ),
    "memory_error": Case(
        """
        def test_memory_error():
            fi.kfree(get())
        """,
        "propagated",
        "MemoryError",
    ),
    "enomem": Case(
        """
        def test_enomem():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                raise OSError(errno.ENOMEM, "no buffers")
            fi.kfree(got)
        """,
        "propagated",
        "no buffers",
    ),
    "declared_exception": Case(
        """
        @pytest.mark.fail_alloc(raises=PoolEmpty)
        def test_declared_exception():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                raise PoolEmpty
            fi.kfree(got)
        """,
        "propagated",
        "PoolEmpty",
    ),
    "raised_from_the_failure": Case(
        """
        def test_raised_from_the_failure():
            try:
                fi.kfree(get())
            except MemoryError as error:
                raise PoolEmpty from error
        """,
        "propagated",
        "PoolEmpty",
    ),
    "raised_while_handling_the_failure": Case(
        """
        def test_raised_while_handling_the_failure():
            try:
                fi.kfree(get())
            except MemoryError:
                raise PoolEmpty
        """,
        "propagated",
        "PoolEmpty",
    ),
    # Wrong answers.
    "undeclared_exception": Case(
        """
        def test_undeclared_exception():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                raise PoolEmpty
            fi.kfree(got)
        """,
        "failed",
        "PoolEmpty",
    ),
    "other_os_error": Case(
        """
        def test_other_os_error():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                raise OSError(errno.EIO, "no buffers")
            fi.kfree(got)
        """,
        "failed",
        "no buffers",
    ),
    "bug_in_the_handler": Case(
        """
        def test_bug_in_the_handler():
            try:
                fi.kfree(get())
            except MemoryError as error:
                {}[error]
        """,
        "failed",
        "KeyError",
    ),
    "assertion": Case(
        """
        def test_assertion():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            assert got is not None, "nothing came"
            fi.kfree(got)
        """,
        "failed",
        "nothing came",
    ),
    "unchecked_result": Case(
        """
        def test_unchecked_result():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            got[0:1] = b"x"
            fi.kfree(got)
        """,
        "failed",
        "TypeError",
    ),
    "base_exception": Case(
        """
        def test_base_exception():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                raise Stop("at once")
            fi.kfree(got)
        """,
        "failed",
        "Stop: at once",
    ),
    "sys_exit": Case(
        """
        def test_sys_exit():
            try:
                fi.kfree(get())
            except MemoryError:
                sys.exit(0)
        """,
        "failed",
        "SystemExit: 0",
    ),
    "skip_after_the_fault": Case(
        """
        def test_skip_after_the_fault():
            try:
                fi.kfree(get())
            except MemoryError:
                pytest.skip("no memory here")
        """,
        "failed",
        "skipped: no memory here",
    ),
    "xfail_after_the_fault": Case(
        """
        def test_xfail_after_the_fault():
            try:
                fi.kfree(get())
            except MemoryError:
                pytest.xfail("no memory here")
        """,
        "failed",
        "xfailed: no memory here",
    ),
    "pytest_exit": Case(
        """
        def test_pytest_exit(slots):
            try:
                slots.append(get())
            except MemoryError:
                pytest.exit("no memory here")
        """,
        "failed",
        "no memory here",
    ),
    "keyboard_interrupt": Case(
        """
        def test_keyboard_interrupt(slots):
            try:
                slots.append(get())
            except MemoryError:
                raise KeyboardInterrupt
        """,
        "failed",
        "KeyboardInterrupt",
    ),
    "interrupted_test_with_a_live_object": Case(
        """
        def test_interrupted_test_with_a_live_object(slots):
            slots.append(fi.kmalloc(8, fi.GFP_KERNEL))
            assert slots[0] is not None
            slots.append(get())
            try:
                get_more = get()
            except MemoryError:
                pytest.exit("the fixture frees what it has")
            fi.kfree(get_more)
        """,
        "failed propagated failed",
        "the fixture frees what it has",
    ),
    "tear_down": Case(
        """
        def test_tear_down(exactly_one):
            with contextlib.suppress(MemoryError):
                exactly_one.append(get())
        """,
        "failed",
        "IndexError",
    ),
    "memory_error_of_the_test_and_a_bug_in_tear_down": Case(
        """
        def test_memory_error_of_the_test_and_a_bug_in_tear_down(exactly_one):
            exactly_one.append(get())
        """,
        "failed",
        "IndexError",
    ),
    "swallowed_memory_fault": Case(
        """
        def test_swallowed_memory_fault():
            first = get()
            got = fi.kmalloc(8, fi.GFP_KERNEL)
            fi.kfree(first)
            if got is None:
                with contextlib.suppress(fi.MemoryFault):
                    fi.kfree(first)
            else:
                fi.kfree(got)
        """,
        "propagated failed",
        "freed a second time",
    ),
    # Leftovers.
    "leaked_object": Case(
        """
        def test_leaked_object():
            first = fi.kmalloc(128, fi.GFP_KERNEL)
            if first is None:
                return
            fi.kfree(get())
            fi.kfree(first)
        """,
        "recovered leaked",
        "kmalloc of 128 bytes, allocated at test_cases.py:",
    ),
    "leaked_descriptor": Case(
        """
        def test_leaked_descriptor():
            number = os.open(os.devnull, os.O_RDONLY)
            fi.kfree(get())
            os.close(number)
        """,
        "leaked",
        "file descriptor",
    ),
    "leaked_thread": Case(
        """
        def test_leaked_thread():
            stop = threading.Event()
            thread = threading.Thread(target=stop.wait, name="feeder", daemon=True)
            thread.start()
            fi.kfree(get())
            stop.set()
            thread.join()
        """,
        "leaked",
        "thread: feeder",
    ),
    "leaked_child": Case(
        """
        def test_leaked_child():
            child = subprocess.Popen(["sleep", "600"])
            with open(Path(__file__).with_name("children"), "a") as file:
                print(child.pid, file=file)
            fi.kfree(get())
            child.kill()
            child.wait()
        """,
        "leaked",
        "child process",
    ),
    "leaked_at_a_later_hit_alone": Case(
        """
        def test_leaked_at_a_later_hit_alone():
            ring = []
            try:
                for _ in range(3):
                    ring.append(get())
            except MemoryError:
                del ring[:1]
                raise
            finally:
                for slot in ring:
                    fi.kfree(slot)
        """,
        "propagated leaked",
        "kmalloc of 64 bytes",
    ),
    "kept_by_the_traceback_alone": Case(
        """
        class Closing:
            def __init__(self):
                self.number = os.open(os.devnull, os.O_RDONLY)

            def __del__(self):
                os.close(self.number)


        def test_kept_by_the_traceback_alone():
            closing = Closing()
            fi.kfree(get())
        """,
        "propagated",
    ),
    # Lost errors.
    "error_in_del": Case(
        """
        class Holder:
            slot = None

            def __init__(self):
                self.slot = get()

            def __del__(self):
                fi.kfree(self.slot)
                assert self.slot is not None


        def test_error_in_del():
            with contextlib.suppress(MemoryError):
                Holder()
        """,
        "unraisable",
        "lost error: AssertionError",
    ),
    "error_in_a_thread": Case(
        """
        def test_error_in_a_thread():
            def work():
                got = fi.kmalloc(64, fi.GFP_KERNEL)
                len(got)
                fi.kfree(got)

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        """,
        "unraisable",
        "(in a thread)",
    ),
    # Damage.
    "broken_invariant": Case(
        """
        def test_broken_invariant(fail_alloc):
            counted = [0]
            fail_alloc.invariant(lambda: counted == [0] or pytest.fail("one too many"))
            counted[0] += 1
            with contextlib.suppress(MemoryError):
                fi.kfree(get())
                counted[0] -= 1
        """,
        "corrupted",
        "invariant broken: Failed: one too many",
    ),
    "poisoned_global": Case(
        """
        BUSY = []


        def test_poisoned_global():
            assert not BUSY, "still busy"
            BUSY.append(1)
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is not None:
                fi.kfree(got)
                BUSY.clear()
        """,
        "corrupted",
        "a clean re-run afterwards fails: AssertionError: still busy",
    ),
    "hang_in_an_invariant": Case(
        """
        @pytest.mark.fail_alloc(timeout=0.5)
        def test_hang_in_an_invariant(fail_alloc):
            got = fi.kmalloc(64, fi.GFP_KERNEL)

            @fail_alloc.invariant
            def check():
                while got is None:
                    time.sleep(0.01)

            fi.kfree(got)
        """,
        "corrupted",
        "did not end in 0.5 seconds (in an invariant)",
    ),
    "hang_in_the_re_run": Case(
        """
        LOCKED = []


        @pytest.mark.fail_alloc(timeout=0.5)
        def test_hang_in_the_re_run():
            while LOCKED:
                time.sleep(0.01)
            LOCKED.append(1)
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is not None:
                fi.kfree(got)
                LOCKED.clear()
        """,
        "corrupted",
        "did not end in 0.5 seconds (in the clean re-run afterwards)",
    ),
    # Ends without a report.
    "segmentation_fault": Case(
        """
        def test_segmentation_fault():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                ctypes.string_at(0)
            fi.kfree(got)
        """,
        "crashed",
        "killed by SIGSEGV",
    ),
    "abort": Case(
        """
        def test_abort():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                os.abort()
            fi.kfree(got)
        """,
        "crashed",
        "killed by SIGABRT",
    ),
    "exit_past_all_cleaning_up": Case(
        """
        def test_exit_past_all_cleaning_up():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                os._exit(0)
            fi.kfree(got)
        """,
        "crashed",
        "exited with status 0 without a report",
    ),
    "signal_to_the_whole_group": Case(
        """
        def test_signal_to_the_whole_group():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                os.kill(0, signal.SIGTERM)
            fi.kfree(got)
        """,
        "crashed",
        "killed by SIGTERM",
    ),
    "hang": Case(
        """
        @pytest.mark.fail_alloc(timeout=0.5)
        def test_hang():
            while (got := fi.kmalloc(64, fi.GFP_KERNEL)) is None:
                while True:
                    time.sleep(0.01)
            fi.kfree(got)
        """,
        "hung",
        "did not end in 0.5 seconds (in its body)",
    ),
    "stopped_process": Case(
        """
        @pytest.mark.fail_alloc(timeout=0.5)
        def test_stopped_process():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                os.kill(os.getpid(), signal.SIGSTOP)
            fi.kfree(got)
        """,
        "hung",
        "did not end in 0.5 seconds (in its body)",
    ),
    # Tests that do not do the same twice.
    "failure_before_the_fault": Case(
        """
        def test_failure_before_the_fault():
            assert run_number("diverged") < 4, "no fourth time"
            fi.kfree(get())
        """,
        "diverged",
        "no fourth time",
    ),
    "fault_out_of_reach": Case(
        """
        def test_fault_out_of_reach():
            if run_number("not_reached") < 4:
                fi.kfree(get())
        """,
        "not_reached",
    ),
    # Tests that do what breaks a test runner.
    "fork_that_comes_back": Case(
        """
        def test_fork_that_comes_back():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                if os.fork() == 0:
                    return  # into the runner, as a second one
                os.wait()
                raise MemoryError
            fi.kfree(got)
        """,
        "propagated",
        "MemoryError",
    ),
    "fork_that_nobody_waits_for": Case(
        """
        def test_fork_that_nobody_waits_for():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                os.fork()
                return
            fi.kfree(got)
        """,
        "leaked",
        "child process",
    ),
    "grandchild_that_stays": Case(
        """
        def test_grandchild_that_stays():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is not None:
                fi.kfree(got)
                return
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.execvp("sleep", ["sleep", "3"])
                os._exit(0)
            os.wait()
        """,
        "recovered",
    ),
    "closed_standard_output": Case(
        """
        def test_closed_standard_output():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                sys.stdout.close()
                return
            fi.kfree(got)
        """,
        "corrupted",
        "I/O operation on closed file",
    ),
    "closed_descriptors_of_the_standard_streams": Case(
        """
        def test_closed_descriptors_of_the_standard_streams():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                for number in range(3):
                    os.close(number)
                return
            fi.kfree(got)
        """,
        "recovered",
    ),
    "closed_every_other_descriptor": Case(
        """
        def test_closed_every_other_descriptor():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                os.closerange(3, 256)
                return
            fi.kfree(got)
        """,
        "corrupted",
        "Bad file descriptor",
    ),
    "closed_all_descriptors_there_are": Case(
        """
        def test_closed_all_descriptors_there_are():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                os.closerange(0, 65_536)
                return
            fi.kfree(got)
        """,
        "crashed",
        "ended without a report",
    ),
    "megabytes_of_output": Case(
        """
        def test_megabytes_of_output():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                print("x" * 3_000_000)
                os.write(2, b"y" * 3_000_000)
                raise PoolEmpty
            fi.kfree(got)
        """,
        "failed",
        "PoolEmpty",
    ),
    "after_all_of_these": Case(
        """
        def test_after_all_of_these():
            fi.kfree(get())
        """,
        "propagated",
    ),
}

# Tests that cannot be tried at all, or not in full: their own tests are below.
SPECIAL = """
def test_that_never_runs_again():
    assert run_number("never_again") == 1, "it has run before"
    fi.kfree(get())


def test_that_dies_when_run_again():
    if run_number("dies") > 1:
        os._exit(3)
    fi.kfree(get())


def test_that_runs_once_in_a_process():
    assert not os.environ.get("SECOND_" + str(os.getpid())), "second time in one process"
    os.environ["SECOND_" + str(os.getpid())] = "1"
    with contextlib.suppress(MemoryError):
        fi.kfree(get())


def test_that_fails_anyhow():
    fi.kfree(get())
    assert False, "on its own"


def test_that_is_skipped():
    fi.kfree(get())
    pytest.skip("on its own")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outcomes")


@pytest.fixture(scope="module")
def campaign(folder: Path) -> Campaign:
    """One run over all cases; only the slab is failed, so that each call is one site."""
    sources = [PREAMBLE, *(dedent(case.source) for case in CASES.values())]
    return run_in(
        folder,
        {"test_cases.py": "\n\n".join(sources), "test_special.py": PREAMBLE + SPECIAL},
        "--fail-alloc-spec=failslab",
        "-v",
    )


def trials_of(campaign: Campaign, name: str) -> list[dict[str, Any]]:
    trials: list[dict[str, Any]] = campaign.tests[f"test_cases.py::test_{name}"]["trials"]
    return trials


def what_it_did(trial: dict[str, Any]) -> str:
    return "\n".join([str(trial["error"]), *trial["leaks"], *trial["details"]])


@pytest.mark.parametrize("name", CASES)
def test_each_way_to_end_has_its_outcome(campaign: Campaign, name: str) -> None:
    case = CASES[name]

    trials = trials_of(campaign, name)

    assert [trial["outcome"] for trial in trials] == case.outcomes.split()
    assert case.said in what_it_did(trials[-1])


def test_every_outcome_that_there_is_has_a_case() -> None:
    earned = {outcome for case in CASES.values() for outcome in case.outcomes.split()}

    assert earned == {outcome.value for outcome in Outcome}


@pytest.mark.parametrize("name", CASES)
def test_a_test_fails_if_one_of_its_trials_is_bad_and_passes_otherwise(
    campaign: Campaign, name: str
) -> None:
    verdicts = {Outcome(word).verdict() for word in CASES[name].outcomes.split()}

    expected = "FAILED" if Verdict.BAD in verdicts else "PASSED"

    campaign.result.stdout.fnmatch_lines([f"test_cases.py::test_{name} {expected} (*trial*)*"])


def test_the_run_goes_on_after_every_one_of_them_and_ends_with_status_1(
    campaign: Campaign,
) -> None:
    counts = campaign.result.parseoutcomes()

    assert campaign.result.ret == 1
    assert counts["passed"] + counts["failed"] + counts["skipped"] == len(CASES) + 5
    assert campaign.result.errlines == []


def test_a_child_that_a_trial_left_is_ended_with_it(campaign: Campaign, folder: Path) -> None:
    assert campaign.outcomes("test_cases.py::test_leaked_child") == ["leaked"]
    pids = [int(line) for line in (folder / "children").read_text().split()]

    alive = [pid for pid in pids if os.path.exists(f"/proc/{pid}")]

    assert len(pids) == 5  # the run that counts, the census' two, the trial and its re-run
    assert alive == []


def test_a_dead_trials_stack_begins_where_it_died_and_ends_at_the_test(
    campaign: Campaign,
) -> None:
    lines = campaign.result.outlines
    line = trials_of(campaign, "abort")[0]["site"]["line"]
    start = lines.index(f"CRASHED with a failslab fault at test_cases.py:{line} in test_abort")

    stack = lines[start : next(at for at in range(start, len(lines)) if "replay:" in lines[at])]

    assert stack[1] == "  killed by SIGABRT"
    assert [line.rpartition(" in ")[2] for line in stack if 'File "' in line] == ["test_abort"]


def test_of_much_output_the_last_part_is_shown(campaign: Campaign) -> None:
    assert "x" * 1000 in campaign.text
    assert len(campaign.text) < 1_000_000


@pytest.mark.parametrize(
    ("name", "baseline", "note"),
    [
        (
            "never_runs_again",
            "failed when run again without a fault: AssertionError: it has run before",
            "no trial was run: the test failed when run again without a fault",
        ),
        (
            "dies_when_run_again",
            "the clean census run exited with status 3 without a report",
            "no trial was run: the clean census run exited with status 3",
        ),
    ],
)
def test_a_test_that_cannot_be_run_again_gets_no_trial_and_the_summary_says_why(
    campaign: Campaign, name: str, baseline: str, note: str
) -> None:
    nodeid = f"test_special.py::test_that_{name}"

    record = campaign.tests[nodeid]

    assert record["baseline"].startswith(baseline)
    assert record["trials"] == []
    campaign.result.stdout.fnmatch_lines([f"{nodeid} PASSED*", f"{nodeid}: {note}*"])


def test_where_a_test_runs_only_once_in_a_process_the_re_run_is_off_and_the_summary_says_so(
    campaign: Campaign,
) -> None:
    nodeid = "test_special.py::test_that_runs_once_in_a_process"

    record = campaign.tests[nodeid]

    assert record["runs_twice"] is False
    assert campaign.outcomes(nodeid) == ["recovered"]
    campaign.result.stdout.fnmatch_lines(
        [f"{nodeid}: the test cannot be run twice in one process, so no trial was run again"]
    )


def test_a_test_that_does_not_pass_by_itself_is_not_tried(campaign: Campaign) -> None:
    tried = {nodeid.partition("::")[2] for nodeid in campaign.tests}

    assert "test_that_fails_anyhow" not in tried
    assert "test_that_is_skipped" not in tried
    campaign.result.stdout.fnmatch_lines(
        ["test_special.py::test_that_fails_anyhow FAILED*", "*AssertionError: on its own*"]
    )


def test_the_summary_names_tests_that_do_not_do_the_same_twice(campaign: Campaign) -> None:
    shown = "the test does not do the same twice (first: test_cases.py:*"

    campaign.result.stdout.fnmatch_lines_random(
        [
            f"*::test_failure_before_the_fault: 1 trial failed before the fault struck: {shown}",
            f"*::test_fault_out_of_reach: 1 trial never reached the call site: {shown}",
        ]
    )
