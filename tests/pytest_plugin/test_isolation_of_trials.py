"""Isolation: a process for each trial, or none, and what differs then."""

from __future__ import annotations

import pytest
from projects import run_apart

pytestmark = pytest.mark.usefixtures("alone")

SLAB = "--fail-alloc-spec=failslab"


STATE = """
import os
from pathlib import Path

import faultinject as fi

STATE = []


def test_it():
    with Path(__file__).with_name("pids").open("a") as file:
        print(os.getpid(), file=file)
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    if got is None:
        STATE.append("spoilt")
        return
    fi.kfree(got)


def test_next():
    assert STATE == []
"""


def test_without_isolation_trials_run_in_this_process_and_what_they_spoil_stays(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_it=STATE)
    pids = pytester.path / "pids"

    apart = run_apart(pytester, SLAB)
    processes = len(set(pids.read_text().split()))
    pids.unlink()
    here = run_apart(pytester, SLAB, "--fail-alloc-isolation=none")

    apart.result.assert_outcomes(passed=2)
    here.result.assert_outcomes(passed=1, failed=1)
    assert processes == 3  # the run that counts, the census, the trial
    assert len(set(pids.read_text().split())) == 1
    assert "faultinject: failslab; isolation none" in here.result.outlines


def test_without_isolation_outcomes_are_the_same_where_the_process_lives_on(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_it="""
        import os
        import threading

        import pytest

        import faultinject as fi


        def get():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                raise MemoryError
            return got


        def test_recovered():
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))


        def test_propagated(tmp_path, capsys, monkeypatch):
            print("seen")
            (tmp_path / "x").touch(exist_ok=False)
            fi.kfree(get())
            assert capsys.readouterr().out == "seen\\n"


        def test_failed():
            assert fi.kmalloc(64, fi.GFP_KERNEL)


        def test_leaked():
            number = os.open(os.devnull, os.O_RDONLY)
            fi.kfree(get())
            os.close(number)


        def test_unraisable():
            thread = threading.Thread(target=lambda: fi.kfree(get()))
            thread.start()
            thread.join()


        def test_corrupted(fail_alloc):
            balance = []
            fail_alloc.invariant(lambda: balance == [] or pytest.fail("unbalanced"))
            balance.append(1)
            fi.kfree(get())
            balance.clear()


        def test_exited():
            try:
                fi.kfree(get())
            except MemoryError:
                pytest.exit("at once")
        """
    )

    apart = run_apart(pytester, SLAB)
    here = run_apart(pytester, SLAB, "--fail-alloc-isolation=none")

    expected = ["recovered", "propagated", "failed", "leaked", "unraisable", "corrupted", "failed"]
    for campaign in (apart, here):
        outcomes = [test["trials"][0]["outcome"] for test in campaign.tests.values()]
        assert outcomes == expected
        campaign.result.assert_outcomes(passed=2, failed=5)


def test_without_isolation_ctrl_c_ends_the_run_and_not_just_a_trial(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_it="""
        import os
        import signal

        import faultinject as fi


        def test_it():
            if fi.kmalloc(64, fi.GFP_KERNEL) is None:
                os.kill(os.getpid(), signal.SIGINT)


        def test_next():
            pass
        """
    )

    campaign = run_apart(pytester, SLAB, "--fail-alloc-isolation=none")

    assert campaign.result.ret == pytest.ExitCode.INTERRUPTED
    assert "test_it.py::test_next" not in campaign.tests
