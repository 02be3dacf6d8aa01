"""Tests that answer a failure, well or badly, each with the outcome that it earns.

Lives here: what they all start with, and those whose process lives to tell the tale.
Not here: the others (`hostile_cases`), the run that tries them (`test_outcomes`).
"""

from __future__ import annotations

from dataclasses import dataclass

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


ANSWERS = {
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
}
