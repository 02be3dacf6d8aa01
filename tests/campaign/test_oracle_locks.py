"""Locks that a run leaves held, each named by what holds it."""

import asyncio
import gc
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from oracle_looks import Look, look

from faultinject.campaign.oracles import locks

__all__ = ["look"]  # a fixture

LOCK = threading.Lock()
PERMITS = threading.Semaphore(3)
BY_KEY: dict[str, Any] = {}
STRIPES = [threading.Lock(), threading.Lock()]
HERE = __name__


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    yield
    for lock in (LOCK, *STRIPES):
        if lock.locked():
            lock.release()
    BY_KEY.clear()
    Box.kept = None


class Box:
    kept: Any = None

    def __init__(self, lock: Any) -> None:
        self.lock = lock


class Slotted:
    __slots__ = ("empty", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()


@pytest.fixture
def hold() -> Iterator[Callable[[Any], Any]]:
    """Take a lock for the rest of the test."""
    with ExitStack() as stack:
        yield stack.enter_context


def test_a_lock_that_is_given_back_is_no_leftover(look: Look) -> None:
    before = look("locks")
    box = Box(threading.RLock())

    with LOCK, box.lock:
        pass

    assert before.suspects() == before.left() == Counter()


def test_a_lock_of_a_module_is_named_by_its_variable(look: Look, hold: Callable[..., Any]) -> None:
    before = look("locks")

    hold(LOCK)

    assert before.suspects() == {"a lock": 1}
    assert before.left() == {f"lock still held: {HERE}.LOCK": 1}


def test_a_lock_that_was_held_before_is_no_leftover(look: Look, hold: Callable[..., Any]) -> None:
    hold(LOCK)
    before = look("locks")

    LOCK.release()
    LOCK.acquire()

    assert before.left() == Counter()


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock, asyncio.Lock])
def test_a_lock_of_an_object_is_named_by_its_class_and_attribute(
    look: Look, make: Callable[[], Any]
) -> None:
    kept = [Box(make())]
    before = look("locks")
    made = [Box(make())]

    for box in (*kept, *made):
        if isinstance(box.lock, asyncio.Lock):
            asyncio.run(box.lock.acquire())
        else:
            box.lock.acquire()

    assert before.left() == {f"lock still held: {HERE}.Box.lock": 2}


def test_a_lock_in_a_slot_or_a_class_is_named_as_well(look: Look, hold: Callable[..., Any]) -> None:
    before = look("locks")
    slotted, Box.kept = Slotted(), threading.Lock()

    hold(slotted.lock)
    hold(Box.kept)

    assert before.left() == {
        f"lock still held: {HERE}.Slotted.lock": 1,
        f"lock still held: {HERE}.Box.kept": 1,
    }


def test_a_lock_in_a_container_or_a_closure_is_named_by_its_variable(
    look: Look, hold: Callable[..., Any]
) -> None:
    before = look("locks")
    inner = threading.Lock()

    def guarded() -> bool:
        return inner.locked()

    BY_KEY["a"] = threading.Lock()
    for lock in (BY_KEY["a"], STRIPES[1], inner):
        hold(lock)

    assert before.left() == {
        f"lock still held: {HERE}.BY_KEY[…]": 1,
        f"lock still held: {HERE}.STRIPES[…]": 1,
        f"lock still held: inner in {HERE}.{guarded.__qualname__}": 1,
    }


def test_the_lock_of_a_condition_or_a_queue_is_named_by_what_holds_that(
    look: Look, hold: Callable[..., Any]
) -> None:
    before = look("locks")
    boxes = [Box(threading.Condition()), Box(queue.Queue())]

    hold(boxes[0].lock)
    hold(boxes[1].lock.mutex)

    assert before.left() == {f"lock still held: {HERE}.Box.lock": 2}


def test_a_permit_that_is_not_given_back_is_counted(look: Look) -> None:
    before = look("locks")
    box = Box(threading.BoundedSemaphore(2))

    for semaphore in (PERMITS, box.lock):
        semaphore.acquire()
        semaphore.acquire()

    assert before.left() == {
        f"semaphore not released: {HERE}.PERMITS": 2,
        f"semaphore not released: {HERE}.Box.lock": 2,
    }
    PERMITS.release(2)
    box.lock.release(2)
    assert before.left() == Counter()


def test_a_semaphore_that_only_tells_of_something_is_no_leftover(look: Look) -> None:
    before = look("locks")
    box = Box(threading.Semaphore(0))

    box.lock.release()
    box.lock.acquire()

    assert before.left() == Counter()


def test_a_lock_that_nothing_but_a_frame_holds_is_nobodys(look: Look) -> None:
    before = look("locks")

    lock = threading.Lock()
    lock.acquire()

    assert before.suspects() == {"a lock": 1}
    assert before.left() == Counter()


def test_a_lock_on_which_a_thread_waits_and_that_of_a_thread_are_no_leftovers(look: Look) -> None:
    before = look("locks")
    condition, box = threading.Condition(), Box(queue.Queue())
    waits = threading.Event()

    def work() -> None:
        with condition:
            waits.set()
            condition.wait()

    threads = [threading.Thread(target=work), threading.Thread(target=box.lock.get)]
    for thread in threads:
        thread.start()
    waits.wait()
    with condition:  # free only when the thread waits
        suspects = None
    while not box.lock.not_empty._waiters:
        pass
    suspects = before.suspects()
    with condition:
        condition.notify()
    box.lock.put(None)
    for thread in threads:
        thread.join()

    assert suspects == Counter()


def test_a_lock_that_another_thread_is_about_to_release_is_no_leftover(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = look("locks")
    box, taken, go_on = Box(threading.Lock()), threading.Event(), threading.Event()

    def work() -> None:
        with box.lock:
            taken.set()
            go_on.wait()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    taken.wait()
    assert before.suspects() == {"a lock": 1}

    def pause(seconds: float) -> None:
        go_on.set()
        thread.join()

    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=pause, monotonic=lambda: 0.0))

    assert before.left() == Counter()


def test_a_lock_that_was_taken_by_a_thread_that_has_ended_is_a_leftover(look: Look) -> None:
    before = look("locks")
    box = Box(threading.RLock())

    thread = threading.Thread(target=box.lock.acquire)
    thread.start()
    thread.join()

    assert before.left() == {f"lock still held: {HERE}.Box.lock": 1}


def test_the_harness_own_locks_never_count(look: Look) -> None:
    from faultinject.engine import task

    before = look("locks")

    with task.lock:
        assert before.left() == Counter()


def test_a_search_for_a_name_freezes_nothing_in_this_process(
    look: Look, hold: Callable[..., Any]
) -> None:
    frozen = gc.get_freeze_count()
    before = look("locks")

    hold(LOCK)

    assert before.left() == {f"lock still held: {HERE}.LOCK": 1}
    assert gc.get_freeze_count() <= frozen
