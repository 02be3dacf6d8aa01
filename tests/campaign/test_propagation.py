"""Which exceptions are the injected failure, arrived at the caller, and which are bugs."""

import asyncio
import errno
import json
import sys
from collections.abc import Callable
from types import FrameType

import pytest

import faultinject as fi
from faultinject.campaign.propagation import describe, is_propagated
from faultinject.campaign.scope import Scope


class AppError(Exception):
    """What an application makes of a failure."""


class PoolEmpty(AppError):
    """What a test declares."""


def fail() -> None:
    raise MemoryError


def caught(function: Callable[[], object]) -> BaseException:
    """What `function` ends in."""
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("it ended well")


def as_it_is() -> None:
    fail()


def as_enomem() -> None:
    raise OSError(errno.ENOMEM, "no memory")


def as_a_subclass() -> None:
    class Starved(MemoryError):
        pass

    raise Starved


def raised_from_it() -> None:
    try:
        fail()
    except MemoryError as error:
        raise AppError("cannot open") from error


def raised_from_it_later() -> None:
    kept: BaseException | None = None
    try:
        fail()
    except MemoryError as error:
        kept = error
    raise AppError("cannot open") from kept


def raised_from_something_raised_from_it() -> None:
    try:
        raised_from_it()
    except AppError as error:
        raise KeyError("third") from error


def raised_while_handling() -> None:
    try:
        fail()
    except MemoryError:
        raise AppError("cannot open")  # noqa: B904


def raised_from_none_while_handling() -> None:
    try:
        fail()
    except MemoryError:
        raise AppError("cannot open") from None


def raised_by_a_function_that_the_handler_calls() -> None:
    def give_up() -> None:
        raise AppError("cannot open")

    try:
        fail()
    except MemoryError:
        give_up()


def raised_while_handling_what_the_handler_threw() -> None:
    try:
        thrown_by_a_look_up()
    except KeyError:
        raise AppError("cannot open")  # noqa: B904


def raised_in_finally() -> None:
    try:
        fail()
    finally:
        raise AppError("cannot close")


def raised_while_handling_enomem() -> None:
    try:
        as_enomem()
    except OSError:
        raise AppError("cannot open")  # noqa: B904


def raised_again() -> None:
    try:
        fail()
    except MemoryError:  # noqa: TRY203
        raise


def no_lock() -> None:
    raise RuntimeError("can't allocate lock")


def no_thread() -> None:
    raise RuntimeError("can't start new thread")


def a_group_of_failures() -> None:
    raise ExceptionGroup("two tasks", [MemoryError(), OSError(errno.ENOMEM, "no memory")])


def a_nested_group_of_failures() -> None:
    raise ExceptionGroup(
        "outer", [ExceptionGroup("inner", [MemoryError()]), caught(raised_from_it)]
    )


def a_group_raised_from_it() -> None:
    try:
        fail()
    except MemoryError as error:
        raise ExceptionGroup("cannot close", [ValueError()]) from error


def a_task_group() -> None:
    async def task() -> None:
        fail()

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(task())
            tasks.create_task(task())

    asyncio.run(main())


@pytest.mark.parametrize(
    "body",
    [
        as_it_is,
        as_enomem,
        as_a_subclass,
        raised_from_it,
        raised_from_it_later,
        raised_from_something_raised_from_it,
        raised_while_handling,
        raised_from_none_while_handling,
        raised_by_a_function_that_the_handler_calls,
        raised_while_handling_what_the_handler_threw,
        raised_in_finally,
        raised_while_handling_enomem,
        raised_again,
        no_lock,
        no_thread,
        a_group_of_failures,
        a_nested_group_of_failures,
        a_group_raised_from_it,
        a_task_group,
    ],
)
def test_a_failure_that_arrives_or_is_translated_is_propagated(body: Callable[[], object]) -> None:
    assert is_propagated(caught(body), under_test=Scope().covers)


def thrown_by_a_look_up() -> None:
    try:
        fail()
    except MemoryError:
        {}["missing"]


def thrown_in_a_clean_up() -> None:
    buffer = None
    try:
        fail()
    finally:
        buffer.close()  # type: ignore[attr-defined]


def thrown_and_raised_again() -> None:
    try:
        fail()
    except MemoryError:
        try:
            {}["missing"]
        except KeyError:  # noqa: TRY203
            raise


def thrown_in_a_generator_that_is_closed() -> None:
    def rows() -> object:
        try:
            yield fail()
        finally:
            int("x")

    list(rows())  # type: ignore[call-overload]


def another_error() -> None:
    raise AppError("nothing to do with it")


def another_os_error() -> None:
    raise OSError(errno.EIO, "input/output error")


def an_os_error_without_a_number() -> None:
    raise OSError("no number")


def another_runtime_error() -> None:
    raise RuntimeError("dictionary changed size during iteration")


def a_runtime_error_of_another_class() -> None:
    raise RecursionError("can't allocate lock")


def asserted_while_handling() -> None:
    try:
        fail()
    except MemoryError:
        assert not sys.modules, "must not fail"


def asserted_from_it() -> None:
    try:
        fail()
    except MemoryError as error:
        raise AssertionError("must not fail") from error


def failed_by_pytest_while_handling() -> None:
    try:
        fail()
    except MemoryError:
        pytest.fail("must not fail")


def skipped_while_handling() -> None:
    try:
        fail()
    except MemoryError:
        pytest.skip("no memory")


def exited_while_handling() -> None:
    try:
        fail()
    except MemoryError:
        sys.exit(1)


def exit_raised_from_it() -> None:
    try:
        fail()
    except MemoryError as error:
        raise SystemExit("out of memory") from error


def interrupted_while_handling() -> None:
    try:
        fail()
    except MemoryError:
        raise KeyboardInterrupt  # noqa: B904


def refused_by_faultinject_while_handling() -> None:
    try:
        fail()
    except MemoryError:
        fi.kmalloc(-1)


def a_group_with_a_bug() -> None:
    raise ExceptionGroup("two tasks", [MemoryError(), KeyError("bug")])


def a_group_with_an_exit() -> None:
    raise BaseExceptionGroup("two tasks", [MemoryError(), SystemExit(1)])


def a_group_with_a_bug_raised_while_handling() -> None:
    try:
        fail()
    except MemoryError as error:
        raise ExceptionGroup("two", [error, KeyError("bug")])  # noqa: B904


def a_task_group_with_a_bug() -> None:
    async def task() -> None:
        {}["missing"]

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(task())
            await asyncio.sleep(0)
            fail()

    asyncio.run(main())


@pytest.mark.parametrize(
    "body",
    [
        thrown_by_a_look_up,
        thrown_in_a_clean_up,
        thrown_and_raised_again,
        thrown_in_a_generator_that_is_closed,
        another_error,
        another_os_error,
        an_os_error_without_a_number,
        another_runtime_error,
        a_runtime_error_of_another_class,
        asserted_while_handling,
        asserted_from_it,
        failed_by_pytest_while_handling,
        skipped_while_handling,
        exited_while_handling,
        exit_raised_from_it,
        interrupted_while_handling,
        refused_by_faultinject_while_handling,
        a_group_with_a_bug,
        a_group_with_an_exit,
        a_group_with_a_bug_raised_while_handling,
        a_task_group_with_a_bug,
    ],
)
def test_an_answer_that_is_no_translation_is_not_propagated(body: Callable[[], object]) -> None:
    assert not is_propagated(caught(body), under_test=Scope().covers)


def test_a_declared_type_is_propagated_and_so_is_what_it_became() -> None:
    def empty() -> None:
        raise PoolEmpty

    def translated() -> None:
        try:
            empty()
        except PoolEmpty:
            raise AppError  # noqa: B904

    def grouped() -> None:
        raise ExceptionGroup("all", [PoolEmpty()])

    for body in (empty, translated, grouped):
        assert is_propagated(caught(body), raises=(PoolEmpty,))
        assert not is_propagated(caught(body), raises=(LookupError,))


def test_a_declaration_goes_before_every_refusal() -> None:
    group = ExceptionGroup("all", [KeyError()])

    assert is_propagated(SystemExit(1), raises=(SystemExit,))
    assert is_propagated(AssertionError(), raises=(AssertionError,))
    assert is_propagated(group, raises=(ExceptionGroup,))


def test_a_raise_outside_the_code_under_test_is_no_translation() -> None:
    def not_here(frame: FrameType) -> bool:
        return frame.f_code.co_filename != __file__

    def parsed_in_the_handler() -> None:
        try:
            fail()
        except MemoryError:
            json.loads("{")

    assert not is_propagated(caught(raised_while_handling), under_test=not_here)
    assert not is_propagated(
        caught(parsed_in_the_handler), under_test=Scope.parse([__file__]).covers
    )
    assert is_propagated(caught(raised_from_it), under_test=not_here)


def test_an_error_that_lost_its_traceback_or_loops_is_no_translation() -> None:
    bare = caught(raised_while_handling).with_traceback(None)
    loop, other = AppError(), AppError()
    loop.__cause__, other.__cause__ = other, loop
    loop.__context__, other.__context__ = other, loop

    assert not is_propagated(bare)
    assert not is_propagated(loop)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise KeyError("no text")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "MemoryError"),
        (KeyError("a\nb"), r"KeyError: 'a\nb'"),
        (ValueError("first\nsecond"), "ValueError: first"),
        (AppError("cannot open"), f"{__name__}.AppError: cannot open"),
        (Unprintable(), f"{__name__}.Unprintable: <its str() raised KeyError>"),
    ],
)
def test_an_error_is_described_in_one_line(error: BaseException, line: str) -> None:
    assert describe(error) == line
