"""When the child of a trial may begin: it is made, and looks around, while another one runs."""

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from faultinject.campaign.isolation import Fork, Mark, Task
from faultinject.campaign.order import Errand, Order

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")


def payloads(*tasks: Task) -> list[dict[str, Any]]:
    ended = sorted(Fork(1).run(tasks, timeout=30.0), key=lambda item: item.index)
    return [item.payload or {"status": item.status} for item in ended]


def first_look_then(body: Callable[[], object], *, look: Callable[[], object]) -> Errand:
    def task(mark: Mark) -> dict[str, Any]:
        looked = time.monotonic()
        look()
        mark("setup")
        begun = time.monotonic()
        body()
        return {"looked": looked, "begun": begun, "over": time.monotonic()}

    return Errand(task, Order())


def test_an_errand_looks_around_while_another_one_runs_and_begins_after_it() -> None:
    read, write = os.pipe()

    try:
        first, second = payloads(
            # With the look put off until its turn, this would wait for ever.
            first_look_then(lambda: os.read(read, 1), look=int),
            first_look_then(int, look=lambda: os.write(write, b"!")),
        )
    finally:
        os.close(read)
        os.close(write)

    assert second["looked"] < first["over"] <= second["begun"]


def test_a_task_without_phases_waits_for_its_turn() -> None:
    def task(mark: Mark) -> dict[str, Any]:
        return {"from": time.monotonic(), "to": time.monotonic()}

    first, second, third = payloads(task, task, task)

    assert first["to"] <= second["from"] <= second["to"] <= third["from"]


def test_what_a_task_has_put_in_place_of_the_bell_is_not_written_to() -> None:
    read, write = os.pipe()

    def takes_every_number(mark: Mark) -> dict[str, Any]:
        for number in range(3, 1100):
            if number != write:
                os.dup2(write, number)
        return {"done": True}

    os.set_blocking(read, False)
    try:
        assert payloads(takes_every_number) == [{"done": True}]
        with pytest.raises(BlockingIOError):
            os.read(read, 1)
    finally:
        os.close(read)
        os.close(write)


def test_the_caller_hears_of_a_task_before_the_next_one_begins() -> None:
    read, write = os.pipe()
    begins = first_look_then(lambda: os.write(write, b"!"), look=int)
    running = Fork(1).run([begins, begins], timeout=30.0)

    try:
        next(running)
        assert os.read(read, 1) == b"!"
        os.set_blocking(read, False)
        with pytest.raises(BlockingIOError):  # it is made, and waits
            os.read(read, 1)
        next(running)
        assert os.read(read, 1) == b"!"
    finally:
        running.close()  # type: ignore[attr-defined]
        os.close(read)
        os.close(write)
