"""The oracle: what a run leaves behind, and the errors that it loses."""

import contextlib
import os
import subprocess
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from oracle_looks import Look, look

import faultinject as fi
from faultinject.campaign.oracles import threads
from faultinject.campaign.oracles.leftovers import more_than
from faultinject.campaign.oracles.lost import LostErrors

__all__ = ["look"]  # a fixture


@pytest.fixture(autouse=True)
def memory() -> Iterator[fi.Memory]:
    with fi.use_memory(fi.Memory("1M")) as made:
        yield made


def test_a_run_that_leaves_nothing_leaves_nothing(tmp_path: Path, look: Look) -> None:
    before = look()

    fi.kfree(fi.kmalloc(64))
    (tmp_path / "log").write_text("line")
    thread = threading.Thread(target=len, args=((),))
    thread.start()
    thread.join()
    subprocess.run([sys.executable, "-c", ""], check=True)

    assert before.left() == Counter()


def test_each_object_of_the_model_is_named_by_kind_size_and_place(
    memory: fi.Memory, look: Look
) -> None:
    cache = memory.kmem_cache_create("inode", 600)
    kept = fi.kmalloc(64)
    before = look()

    slab, page, object_, again = fi.kmalloc(100), fi.alloc_pages(order=1), cache.alloc(), None
    for _ in range(2):
        again = fi.kmalloc(8)

    here = f"{__file__}:%d in {sys._getframe().f_code.co_qualname}"
    line = sys._getframe().f_lineno - 5
    assert before.left() == {
        f"kmalloc of 100 bytes, allocated at {here % line}": 1,
        f"pages of 8192 bytes, allocated at {here % line}": 1,
        f"kmem_cache:inode of 600 bytes, allocated at {here % line}": 1,
        f"kmalloc of 8 bytes, allocated at {here % (line + 2)}": 2,
    }
    assert None not in (kept, slab, page, object_, again)


def test_objects_of_every_memory_count_and_files_are_shown_as_reports_do(look: Look) -> None:
    before = look(shown=lambda file: "shown.py")
    other = fi.Memory("64K")

    other.kmalloc(64)

    (name,) = before.left()
    assert "allocated at shown.py:" in name


def test_an_object_that_was_there_before_and_is_freed_is_no_leftover(look: Look) -> None:
    kept = fi.kmalloc(64)
    before = look()

    fi.kfree(kept)

    assert before.left() == Counter()


def test_descriptors_are_named_without_what_differs_from_run_to_run(
    tmp_path: Path, look: Look
) -> None:
    before = look()

    opened = [os.open(tmp_path / "part-17.log", os.O_CREAT), *os.pipe()]

    assert before.left() == {
        "file descriptor: part-N.log": 1,
        "file descriptor: pipe": 2,
    }
    for descriptor in opened:
        os.close(descriptor)
    assert before.left() == Counter()


def test_a_descriptor_that_was_closed_and_opened_anew_is_no_leftover(
    tmp_path: Path, look: Look
) -> None:
    paths = [tmp_path / "one-1.log", tmp_path / "one-2.log"]
    first = os.open(paths[0], os.O_CREAT)
    other = os.open(paths[0], os.O_RDONLY)
    before = look()

    os.close(first)
    again = [os.open(paths[1], os.O_CREAT)]

    assert before.left() == Counter()
    again.append(os.open(os.devnull, os.O_RDONLY))
    assert before.left() == {"file descriptor: null": 1}
    for descriptor in (other, *again):
        os.close(descriptor)


class Holder:
    """Closes a descriptor when it goes, and waits in a cycle for its going."""

    def __init__(self) -> None:
        self.descriptor = os.dup(0)
        self.itself = self

    def __del__(self) -> None:
        os.close(self.descriptor)


def test_what_only_a_collection_of_cycles_frees_is_given_the_chance(look: Look) -> None:
    before = look()

    Holder()

    assert before.left() == Counter()


def test_a_thread_that_still_runs_is_named_without_its_number(look: Look) -> None:
    before = look()
    go_on = threading.Event()
    workers = [threading.Thread(target=go_on.wait, name=f"worker-{n}") for n in range(2)]

    for thread in workers:
        thread.start()
    left = before.left()
    go_on.set()
    for thread in workers:
        thread.join()

    assert left == {"thread: worker-N": 2}
    assert before.left() == Counter()


def test_a_thread_that_is_about_to_end_is_no_leftover(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = look("threads")
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait, daemon=True)
    thread.start()

    def pause(seconds: float) -> None:
        go_on.set()
        thread.join()

    monkeypatch.setattr(threads, "time", SimpleNamespace(sleep=pause, monotonic=lambda: 0.0))

    assert sum(before.suspects().values()) == 1
    assert before.left() == Counter()


def test_a_thread_that_ran_before_is_no_leftover(look: Look) -> None:
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait)
    thread.start()

    left = look().left()

    go_on.set()
    thread.join()
    assert left == Counter()


@contextlib.contextmanager
def started_child() -> Iterator[None]:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        child.communicate(b"\n")


def test_a_child_process_is_left_until_it_is_waited_for(look: Look) -> None:
    before = look()

    with started_child():
        left = before.left()
        same = look().left()

    assert left["child process"] == 1
    assert same == Counter()
    assert before.left() == Counter()


def test_a_child_of_another_thread_is_a_leftover_too(look: Look) -> None:
    before = look()
    started, go_on = threading.Event(), threading.Event()

    def work() -> None:
        with started_child():
            started.set()
            go_on.wait()

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    left = before.left()
    go_on.set()
    thread.join()

    assert left["child process"] == 1


def test_only_what_a_clean_run_does_not_leave_is_told() -> None:
    left = {"thread: worker": 3, "file descriptor: pipe": 2, "child process": 1, "a": 1}
    clean = {"thread: worker": 1, "file descriptor: pipe": 2, "a": 5, "b": 1}

    assert more_than(left, clean) == ["thread: worker (x2)", "child process"]
    assert more_than({}, clean) == []


class Dying:
    def __del__(self) -> None:
        raise KeyError("in __del__")


def test_an_error_in_del_is_written_down_with_its_place() -> None:
    lost = LostErrors()

    with lost.watching():
        dying = Dying()
        del dying

    (line,) = lost.lines
    assert line.startswith(f"KeyError: 'in __del__' at {__file__}:")
    assert "in Dying.__del__" in line


def test_an_error_that_ends_a_thread_is_written_down() -> None:
    lost = LostErrors()

    with lost.watching():
        thread = threading.Thread(target=lambda: {}["missing"])
        thread.start()
        thread.join()

    (line,) = lost.lines
    assert line.startswith(f"KeyError: 'missing' at {__file__}:")
    assert line.endswith("(in a thread)")


def test_a_thread_that_ends_itself_has_lost_nothing() -> None:
    lost = LostErrors()

    with lost.watching():
        thread = threading.Thread(target=sys.exit)
        thread.start()
        thread.join()

    assert lost.lines == []


def test_an_error_in_a_callback_of_a_weak_reference_is_written_down() -> None:
    lost = LostErrors()

    with lost.watching():
        held = {1, 2}
        weakref.finalize(held, int, "x")
        watched = weakref.ref(held, lambda reference: {}["missing"])
        del held

    assert watched() is None
    assert any("KeyError: 'missing'" in line for line in lost.lines)


def test_what_was_hooked_before_is_hooked_again_also_after_an_error() -> None:
    hooks = sys.unraisablehook, threading.excepthook

    with pytest.raises(LookupError), LostErrors().watching():
        raise LookupError

    assert (sys.unraisablehook, threading.excepthook) == hooks


def test_a_lost_error_keeps_nothing_alive() -> None:
    class Thing:
        pass

    gone = []

    def fails() -> None:
        thing = Thing()
        weakref.finalize(thing, gone.append, 1)
        raise KeyError

    with LostErrors().watching():
        thread = threading.Thread(target=fails)
        thread.start()
        thread.join()
        del thread

    assert gone == [1]


def test_an_error_of_the_interpreters_own_clean_up_is_nobodys() -> None:
    lost = LostErrors()

    with lost.watching():
        for thing in (None, [].append):
            sys.unraisablehook(
                SimpleNamespace(
                    exc_type=MemoryError,
                    exc_value=MemoryError(),
                    exc_traceback=None,
                    err_msg=None,
                    object=thing,
                )
            )

    assert lost.lines == ["MemoryError (in builtin_function_or_method)"]
