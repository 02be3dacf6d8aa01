"""Decorated functions of every kind. `armed()` asks whether a fault would strike now."""

import asyncio
import contextlib
import functools
import inspect
import types
import unittest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultinject.engine import task
from faultinject.engine.scope import fail_nth, make_it_fail
from faultinject.errors import UsageError


def armed() -> bool:
    return task.made_to_fail()


mark = make_it_fail()


@pytest.fixture(autouse=True)
def _leaves_nothing_armed():
    yield
    assert not armed()
    assert task.live == 0


def test_a_function_is_armed_for_the_length_of_its_call() -> None:
    @mark
    def function(a: int, *, b: int = 2) -> tuple[bool, int, int]:
        """Doc."""
        return armed(), a, b

    assert function(1, b=3) == (True, 1, 3)
    assert (function.__name__, function.__doc__) == ("function", "Doc.")
    assert str(inspect.signature(function)) == "(a: int, *, b: int = 2) -> tuple[bool, int, int]"
    assert not armed()


def test_each_call_counts_anew() -> None:
    countdowns = []

    @fail_nth(2)
    def function() -> None:
        countdowns.append(task.countdown())

    function()
    function()

    assert countdowns[0] is not countdowns[1]


def test_a_recursive_call_is_an_entry_of_its_own() -> None:
    @fail_nth(5)
    def function(depth: int) -> list[object]:
        mine = task.countdown()
        inner = function(depth - 1) if depth else []
        assert task.countdown() is mine
        return [mine, *inner]

    assert len({id(countdown) for countdown in function(3)}) == 4


def test_a_coroutine_function_stays_one_and_is_armed_across_its_awaits() -> None:
    @mark
    async def function() -> list[bool]:
        before = armed()
        await asyncio.sleep(0)
        child = await asyncio.create_task(child_task())
        return [before, child, armed()]

    async def child_task() -> bool:
        return armed()

    async def main() -> tuple[list[bool], bool]:
        sibling = asyncio.create_task(child_task())
        return await function(), await sibling

    assert inspect.iscoroutinefunction(function)
    assert asyncio.run(main()) == ([True, True, True], False)


def test_a_cancelled_coroutine_is_disarmed() -> None:
    seen = []

    @mark
    async def function() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(armed())

    async def main() -> bool:
        running = asyncio.create_task(function())
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return armed()

    assert asyncio.run(main()) is False
    assert seen == [True]


def test_a_generator_is_armed_only_while_its_own_frame_runs() -> None:
    seen = []

    @mark
    def function():
        seen.append(armed())
        got = yield 1
        seen.append((armed(), got))
        return 5

    generator = function()
    values = [next(generator)]
    between = armed()
    with pytest.raises(StopIteration) as stopped:
        generator.send("x")

    assert inspect.isgeneratorfunction(function)
    assert (values, between, stopped.value.value) == ([1], False, 5)
    assert seen == [True, (True, "x")]


def test_a_generators_countdown_goes_on_from_one_resumption_to_the_next() -> None:
    @fail_nth(9)
    def function():
        while True:
            yield task.countdown()

    generator = function()

    assert next(generator) is next(generator)
    assert next(function()) is not next(generator)


def test_an_exception_thrown_into_a_generator_reaches_it_armed() -> None:
    @mark
    def function():
        try:
            yield 1
        except ValueError as error:
            yield armed(), str(error)

    generator = function()
    next(generator)

    assert generator.throw(ValueError("boom")) == (True, "boom")


def test_closing_a_generator_runs_its_cleanup_armed() -> None:
    seen = []

    @mark
    def function():
        try:
            yield 1
        finally:
            seen.append(armed())

    generator = function()
    next(generator)
    generator.close()

    assert seen == [True]


def test_a_generator_that_ignores_its_close_is_complained_about() -> None:
    @mark
    def function():
        while True:
            with contextlib.suppress(GeneratorExit):
                yield 1

    generator = function()
    next(generator)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        generator.close()

    # Let it end, or it complains again when it is collected.
    with pytest.raises(KeyError):
        generator.throw(KeyError())


def test_a_generator_that_returns_on_close_does_so_through_the_wrapper() -> None:
    def plain():
        try:
            yield 1
        except GeneratorExit:
            return 7

    wrapped = mark(plain)
    results = []
    for function in (plain, wrapped):
        generator = function()
        next(generator)
        results.append(generator.close())

    assert results[0] == results[1]


def test_a_delegated_generator_gives_its_value() -> None:
    @mark
    def inner():
        got = yield "a"
        return got

    def outer():
        return (yield from inner())

    generator = outer()
    next(generator)
    with pytest.raises(StopIteration) as stopped:
        generator.send("b")

    assert stopped.value.value == "b"


def test_an_async_generator_is_armed_only_while_its_own_frame_runs() -> None:
    seen = []

    @mark
    async def function():
        try:
            await asyncio.sleep(0)
            got = yield armed()
            seen.append(got)
            try:
                yield armed()
            except ValueError as error:
                yield armed(), str(error)
            yield "never asked for"
        finally:
            await asyncio.sleep(0)
            seen.append(armed())

    async def main() -> list[object]:
        generator = function()
        steps = [await anext(generator), armed(), await generator.asend("x"), armed()]
        steps += [await generator.athrow(ValueError("boom")), armed()]
        await generator.aclose()
        return [*steps, armed()]

    assert inspect.isasyncgenfunction(function)
    assert asyncio.run(main()) == [True, False, True, False, (True, "boom"), False, False]
    assert seen == ["x", True]


def test_an_async_generator_runs_out() -> None:
    @mark
    async def function():
        yield 1
        yield 2

    async def main() -> list[int]:
        return [value async for value in function()]

    assert asyncio.run(main()) == [1, 2]


def test_an_async_generator_left_by_break_is_closed_by_its_loop() -> None:
    seen = []

    @mark
    async def function():
        try:
            yield 1
            yield 2
        finally:
            seen.append(armed())

    async def main() -> None:
        async for _ in function():
            break

    asyncio.run(main())

    assert seen == [True]


def test_a_coroutine_of_the_old_kind_can_still_be_awaited() -> None:
    @mark
    @types.coroutine
    def function():
        inside = armed()
        yield from asyncio.sleep(0).__await__()
        return inside

    async def main() -> bool:
        return await function()

    assert asyncio.run(main())


def test_a_partial_of_a_coroutine_function_is_awaited_armed() -> None:
    async def function(value: int) -> tuple[int, bool]:
        return value, armed()

    wrapped = mark(functools.partial(function, 3))

    assert inspect.iscoroutinefunction(wrapped)
    assert asyncio.run(wrapped()) == (3, True)


class Methods:
    @mark
    def method(self) -> tuple[object, bool]:
        return self, armed()

    @mark
    @staticmethod
    def static_inside(value: int) -> tuple[int, bool]:
        return value, armed()

    @staticmethod
    @mark
    def static_outside(value: int) -> tuple[int, bool]:
        return value, armed()

    @mark
    @classmethod
    def of_class(cls) -> tuple[type, bool]:
        return cls, armed()


def test_methods_of_every_kind_are_armed() -> None:
    instance = Methods()

    assert instance.method() == (instance, True)
    assert Methods.static_inside(1) == (1, True)
    assert instance.static_outside(2) == (2, True)
    assert Methods.of_class() == (Methods, True)
    assert isinstance(vars(Methods)["of_class"], classmethod)


class Plain:
    seen: list[object]

    def setup_method(self) -> bool:
        return armed()

    def test_inherited(self) -> bool:
        return armed()

    test_data = (1, 2)


class Derived(Plain):
    def test_own(self) -> bool:
        return armed()

    async def test_async(self) -> bool:
        return armed()

    @staticmethod
    def test_static() -> bool:
        return armed()

    def helper(self) -> bool:
        return armed()


def test_a_class_arms_its_test_methods_own_and_inherited() -> None:
    decorated = mark(Derived)
    instance = decorated()

    assert decorated is Derived
    assert instance.test_own()
    assert instance.test_inherited()
    assert instance.test_static()
    assert asyncio.run(instance.test_async())
    assert not instance.helper()
    assert not instance.setup_method()
    assert not Plain().test_inherited()
    assert Plain.test_data == (1, 2)


def test_a_test_case_is_armed_in_its_tests_and_not_in_set_up() -> None:
    seen = {}

    @mark
    class Case(unittest.TestCase):
        def setUp(self) -> None:  # unittest's name
            seen["setUp"] = armed()

        def tearDown(self) -> None:  # unittest's name
            seen["tearDown"] = armed()

        def test_it(self) -> None:
            seen["test"] = armed()

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)

    assert result.wasSuccessful()
    assert seen == {"setUp": False, "test": True, "tearDown": False}


def test_an_async_test_case_is_armed_in_its_tests_and_not_in_set_up() -> None:
    seen = {}

    @mark
    class Case(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self) -> None:  # unittest's name
            seen["setUp"] = armed()

        async def test_it(self) -> None:
            await asyncio.sleep(0)
            seen["test"] = armed()

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)

    assert result.wasSuccessful()
    assert seen == {"setUp": False, "test": True}


def test_a_class_without_a_test_method_is_refused() -> None:
    class Nothing:
        def helper(self) -> None: ...

    with pytest.raises(UsageError, match="no test method to arm"):
        mark(Nothing)


@pytest.mark.parametrize("target", [5, "x", property(lambda self: 1)])
def test_what_cannot_be_called_cannot_be_decorated(target: object) -> None:
    with pytest.raises(UsageError, match="cannot be decorated"):
        mark(target)


def test_a_property_test_is_armed_anew_for_each_example() -> None:
    countdowns = set()

    @fail_nth(3)
    @settings(max_examples=5, database=None)
    @given(st.integers())
    def function(value: int) -> None:
        countdown = task.countdown()
        assert countdown is not None
        assert countdown.remaining == 3
        countdown.count_down()
        countdowns.add(countdown)

    function()

    assert len(countdowns) > 1
