"""Tests that die, hang, or break what runs them, each with the outcome that it earns."""

from __future__ import annotations

from outcome_cases import Case

ENDINGS = {
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
        "leaked",
        "child process",
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
        "corrupted",
        "Bad file descriptor",
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
