"""asyncio tasks that a run leaves pending, and the errors that asyncio loses."""

import asyncio
import contextlib
import gc
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from oracle_looks import Look, look

__all__ = ["look"]  # a fixture


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


async def waits() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise KeyError("in a task")


async def spawn(make: Callable[[], Coroutine[Any, Any, None]]) -> "asyncio.Task[None]":
    task = asyncio.ensure_future(make())
    await asyncio.sleep(0)
    return task


def test_a_task_that_is_waited_for_is_no_leftover(
    look: Look, loop: asyncio.AbstractEventLoop
) -> None:
    before = look("tasks")

    loop.run_until_complete(asyncio.sleep(0))

    assert (before.left(), before.lost) == (Counter(), [])


def test_a_task_that_is_still_pending_is_named_by_its_coroutine(
    look: Look, loop: asyncio.AbstractEventLoop
) -> None:
    early = loop.run_until_complete(spawn(waits))
    before = look("tasks")

    tasks = [loop.run_until_complete(spawn(waits)) for _ in range(2)]

    assert before.left() == {"asyncio task left pending: waits": 2}
    assert not any(task.done() for task in (early, *tasks))


def test_a_task_that_went_while_it_was_pending_is_named_as_well(look: Look) -> None:
    before = look("tasks")

    loop = asyncio.new_event_loop()
    loop.run_until_complete(spawn(waits))
    loop.close()
    del loop

    assert before.left() == {"asyncio task left pending: waits": 1}
    assert before.left() == {"asyncio task left pending: waits": 1}
    assert before.lost == []


def test_an_exception_that_was_never_retrieved_is_lost(
    look: Look, loop: asyncio.AbstractEventLoop
) -> None:
    before = look("tasks")

    loop.run_until_complete(spawn(fails))
    gc.collect()

    (line,) = before.lost
    assert line.startswith(f"KeyError: 'in a task' at {__file__}:")
    assert line.endswith("in fails (Task exception was never retrieved)")


def test_an_error_in_a_callback_is_lost_and_told_without_addresses(
    look: Look, loop: asyncio.AbstractEventLoop
) -> None:
    before = look("tasks")

    loop.call_soon(lambda: {}["missing"])
    loop.run_until_complete(asyncio.sleep(0))

    (line,) = before.lost
    assert line.startswith(f"KeyError: 'missing' at {__file__}:")
    assert line.endswith("<lambda>)")
    assert "handle" not in line


def test_an_error_of_the_event_loop_alone_is_nobodys(
    look: Look, loop: asyncio.AbstractEventLoop
) -> None:
    before = look("tasks")

    loop.call_soon(asyncio.AbstractEventLoop.stop, loop)  # not implemented: raises
    loop.run_until_complete(asyncio.sleep(0))

    assert before.lost == []


def test_a_loop_with_a_handler_of_its_own_has_lost_nothing(
    look: Look, loop: asyncio.AbstractEventLoop
) -> None:
    before = look("tasks")
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(context["message"]))

    loop.run_until_complete(spawn(fails))
    gc.collect()

    assert seen == ["Task exception was never retrieved"]
    assert before.lost == []


async def close() -> None: ...


@pytest.mark.parametrize("action", ["ignore", "error"])
def test_a_coroutine_that_a_statement_throws_away_is_told(look: Look, action: Any) -> None:
    before = look("tasks", "unraisable")

    with warnings.catch_warnings():
        warnings.simplefilter(action, RuntimeWarning)
        try:
            {}["missing"]
        except KeyError:
            close()  # type: ignore[unused-coroutine]

    (line,) = before.lost
    assert line.startswith(f"close() was called without await at {__file__}:")


@pytest.mark.parametrize("action", ["ignore", "error"])
def test_a_coroutine_that_a_failure_overtakes_is_nobodys(look: Look, action: Any) -> None:
    def run(coroutine: object) -> None:
        raise MemoryError

    def answered() -> bool:
        try:
            run(close())
        except MemoryError:
            return True
        return False

    before = look("tasks", "unraisable")

    with warnings.catch_warnings():
        warnings.simplefilter(action, RuntimeWarning)
        with contextlib.suppress(MemoryError):
            run(close())
        with contextlib.suppress(MemoryError):
            run([close()])
        assert answered()
    gc.collect()

    assert before.lost == []


def test_what_stood_there_before_stands_there_again(look: Look) -> None:
    from faultinject.campaign.oracles.bundle import Bundle

    module: Any = warnings
    stood = (
        module._warn_unawaited_coroutine,
        asyncio.BaseEventLoop.default_exception_handler,
    )

    with pytest.raises(LookupError), Bundle().watching():
        raise LookupError

    assert stood == (
        module._warn_unawaited_coroutine,
        asyncio.BaseEventLoop.default_exception_handler,
    )


def test_a_cancellation_that_nobody_asks_for_is_no_error(
    look: Look, loop: asyncio.AbstractEventLoop
) -> None:
    before = look("tasks")

    for error in (asyncio.CancelledError(), KeyError("lost")):
        loop.call_exception_handler({"message": "never retrieved", "exception": error})

    assert before.lost == ["KeyError: 'lost' (never retrieved)"]
