"""fail_nth, no_faults and make_it_fail: nested, across threads, tasks and contexts."""

import asyncio
import contextvars
import os
import threading

import pytest

from faultinject.engine import task
from faultinject.engine.attr import FaultAttr
from faultinject.engine.scope import fail_nth, make_it_fail, no_faults
from faultinject.errors import SpecError, UsageError


def fails(count: int = 1) -> list[bool]:
    attr = FaultAttr(verbose=0)
    return [attr.should_fail() for _ in range(count)]


@pytest.fixture(autouse=True)
def _leaves_nothing_armed():
    before = task.live
    yield
    assert task.live == before
    assert (task.countdowns, task.exemptions) == (0, 0)


@pytest.mark.parametrize("n", [0, -1, True, False, "3", 1.0, None])
def test_fail_nth_takes_a_whole_number_from_1(n: object) -> None:
    with pytest.raises(SpecError, match=r"fail_nth is not a whole number from 1.*Give 1"):
        fail_nth(n)  # type: ignore[arg-type]


def test_a_countdown_shows_how_far_it_is() -> None:
    with fail_nth(2) as countdown:
        before = (countdown.n, countdown.remaining, countdown.fired)
        fails(3)

    assert before == (2, 2, False)
    assert (countdown.n, countdown.remaining, countdown.fired) == (2, 0, True)


def test_inside_another_fail_nth_the_outer_countdown_rests() -> None:
    with fail_nth(3) as outer:
        first = fails(1)
        with fail_nth(1) as inner:
            second = fails(3)
        third = fails(3)

    assert (first, second, third) == ([False], [True, False, False], [False, True, False])
    assert inner.fired
    assert outer.fired


def test_one_scope_can_be_entered_again_and_in_itself() -> None:
    scope = fail_nth(2)

    with scope as outer:
        fails(1)
        with scope as inner:
            nested = fails(2)
        assert outer.remaining == 1
    with scope as again:
        fails(1)

    assert nested == [False, True]
    assert (inner.remaining, outer.remaining, again.remaining) == (0, 1, 1)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_scope_ends_on_every_exception(error: type[BaseException]) -> None:
    with pytest.raises(error), fail_nth(1), make_it_fail(), no_faults():
        raise error

    assert fails() == [False]
    assert not task.exempt()
    assert not task.made_to_fail()


def test_leaving_a_scope_that_was_not_entered_is_an_error() -> None:
    with pytest.raises(UsageError, match="was not entered"):
        no_faults().__exit__(None, None, None)


def test_scopes_can_be_left_in_another_order() -> None:
    outer, inner = fail_nth(1), fail_nth(1)
    outer.__enter__()
    inner.__enter__()

    outer.__exit__(None, None, None)
    with_inner = fails(2)
    inner.__exit__(None, None, None)

    assert with_inner == [True, False]
    assert fails() == [False]


def test_a_scope_that_is_left_in_another_context_ends_everywhere() -> None:
    scope = fail_nth(1)
    scope.__enter__()

    contextvars.Context().run(scope.__exit__, None, None, None)

    assert fails() == [False]


def in_thread(function, context: contextvars.Context | None = None) -> object:
    found: list[object] = []
    run = function if context is None else lambda: context.run(function)
    thread = threading.Thread(target=lambda: found.append(run()))
    thread.start()
    thread.join()
    return found[0]


def test_another_thread_is_not_counted() -> None:
    with fail_nth(1) as countdown:
        elsewhere = in_thread(fails)

    assert elsewhere == [False]
    assert countdown.remaining == 1


def test_another_thread_is_not_counted_even_in_a_copied_context() -> None:
    with fail_nth(1), make_it_fail():
        context = contextvars.copy_context()
        elsewhere = in_thread(lambda: (fails(), task.made_to_fail()), context)

    assert elsewhere == ([False], False)


def test_no_faults_in_one_thread_does_not_shelter_another() -> None:
    def arm() -> list[bool]:
        with fail_nth(1):
            return fails()

    with no_faults():
        elsewhere = in_thread(arm)

    assert elsewhere == [True]


def test_an_asyncio_task_inherits_the_countdown_and_loses_it_with_the_block() -> None:
    async def main() -> tuple[list[bool], list[bool]]:
        release = asyncio.Event()

        async def late() -> list[bool]:
            await release.wait()
            return fails()

        async def soon() -> list[bool]:
            return fails()

        with fail_nth(2):
            waiting = asyncio.create_task(late())
            first = await asyncio.create_task(soon())
        release.set()
        return first, await waiting

    assert asyncio.run(main()) == ([False], [False])


def test_a_sibling_task_is_not_counted() -> None:
    async def main() -> tuple[list[bool], list[bool]]:
        armed, done = asyncio.Event(), asyncio.Event()

        async def one() -> list[bool]:
            with fail_nth(1):
                armed.set()
                await done.wait()
                return fails()

        async def other() -> list[bool]:
            await armed.wait()
            result = fails()
            done.set()
            return result

        return tuple(await asyncio.gather(one(), other()))

    assert asyncio.run(main()) == ([True], [False])


def test_interleaved_tasks_can_share_one_scope() -> None:
    scope = fail_nth(1)

    async def main() -> list[list[bool]]:
        first_left = asyncio.Event()
        both_in = asyncio.Barrier(2)

        async def first() -> list[bool]:
            with scope:
                await both_in.wait()
            first_left.set()
            return fails()

        async def second() -> list[bool]:
            with scope:
                await both_in.wait()
                await first_left.wait()
                return fails()

        return await asyncio.gather(first(), second())

    assert asyncio.run(main()) == [[False], [True]]


def test_eight_threads_can_share_one_scope() -> None:
    scope = fail_nth(3)
    start = threading.Barrier(8)
    found: list[list[bool]] = []

    def run() -> None:
        for _ in range(50):
            start.wait()
            with scope:
                found.append(fails(4))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [[False, False, True, False]] * 400


def test_marks_nest() -> None:
    with make_it_fail():
        with make_it_fail():
            pass
        inside = task.made_to_fail()

    assert inside
    assert not task.made_to_fail()


def test_decorators_need_no_parentheses_where_nothing_is_to_be_said() -> None:
    @no_faults
    def sheltered() -> bool:
        return task.exempt()

    @make_it_fail
    def marked() -> bool:
        return task.made_to_fail()

    assert sheltered()
    assert marked()


def test_a_forked_child_inherits_the_mark_and_no_countdown() -> None:
    with fail_nth(1) as countdown, make_it_fail():
        child = os.fork()
        if child == 0:
            os._exit(10 * task.made_to_fail() + sum(fails()))
        _, status = os.waitpid(child, 0)
        here = countdown.remaining

    assert os.waitstatus_to_exitcode(status) == 10
    assert here == 1
