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
            # What a shell runs in the background was told to ignore it.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if fi.kmalloc(64, fi.GFP_KERNEL) is None:
                os.kill(os.getpid(), signal.SIGINT)


        def test_next():
            pass
        """
    )

    campaign = run_apart(pytester, SLAB, "--fail-alloc-isolation=none")

    assert campaign.result.ret == pytest.ExitCode.INTERRUPTED
    assert "test_it.py::test_next" not in campaign.tests


@pytest.mark.parametrize("how", ["os._exit(0)", "os.kill(os.getpid(), 11)", "time.sleep(3600)"])
@pytest.mark.parametrize("isolation", ["fork", "spawn"])
def test_what_a_trial_that_dies_has_printed_logged_and_warned_of_comes_home(
    pytester: pytest.Pytester, how: str, isolation: str
) -> None:
    pytester.makepyfile(
        test_it=f"""
        import logging
        import os
        import time
        import warnings

        import pytest

        import faultinject as fi


        def test_it():
            logging.warning("always logged")
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                print("out of memory", flush=True)
                logging.error("no memory: %d bytes", 64)
                warnings.warn("just now", RuntimeWarning)
                {how}
            fi.kfree(got)
        """
    )

    where = f"--fail-alloc-isolation={isolation}"
    campaign = run_apart(pytester, SLAB, "--fail-alloc-timeout=0.5", where)

    (trial,) = campaign.tests["test_it.py::test_it"]["trials"]
    assert trial["outcome"] == ("hung" if "sleep" in how else "crashed")
    warned = [line for line in trial["details"] if line.startswith("warning: ")]
    assert [line.partition(" (")[0] for line in warned] == ["warning: RuntimeWarning: just now"]
    assert "out of memory" in campaign.text
    assert "no memory: 64 bytes" in campaign.text


@pytest.mark.parametrize("isolation", ["fork", "spawn"])
def test_a_memory_limit_is_met_by_the_test_as_a_real_memory_error(
    pytester: pytest.Pytester, isolation: str
) -> None:
    pytester.makepyfile(
        test_it="""
        import faultinject as fi


        def test_fills():
            if (got := fi.kmalloc(64, fi.GFP_KERNEL)) is None:
                held = []
                while True:
                    held.append(bytearray(1 << 20))
            fi.kfree(got)


        def test_copes():
            if (got := fi.kmalloc(64, fi.GFP_KERNEL)) is None:
                held = []
                try:
                    while len(held) < 1024:
                        held.append(bytearray(1 << 20))
                except MemoryError:
                    assert 16 < len(held) < 65
                    return
                raise LookupError("no limit")
            fi.kfree(got)
        """
    )

    where = f"--fail-alloc-isolation={isolation}"
    campaign = run_apart(pytester, SLAB, "--fail-alloc-memory=64M", where)

    assert campaign.outcomes("test_it.py::test_fills") == ["propagated"]
    assert campaign.outcomes("test_it.py::test_copes") == ["recovered"]
