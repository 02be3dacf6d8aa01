"""Arming: by with and by decorator, nested, across threads and tasks, and the log."""

import asyncio
import contextvars
import inspect
import threading
from typing import ClassVar

import pytest

from faultinject.capabilities.arming import Gate
from faultinject.capabilities.capability import Capability
from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.capabilities.failslab import failslab
from faultinject.engine import observe, task
from faultinject.engine.attr import FaultAttr
from faultinject.engine.log import injections
from faultinject.engine.scope import fail_nth, make_it_fail, no_faults
from faultinject.errors import CapabilityError, SpecError


class Probe(Capability):
    """A capability of these tests."""

    name = "fail_probe"
    unit = "probes"
    doc = "A probe."
    gates: ClassVar[dict[str, Gate]] = {
        "ignore_all": Gate(bool, False, True, "Exempt everything."),
        "min_size": Gate(int, 0, 1, "Exempt what is smaller."),
    }

    def fails(self, count: int = 1) -> str:
        return "".join("F" if self.consult(1) else "." for _ in range(count))


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture(autouse=True)
def _leaves_nothing_armed():
    assert task.live == 0
    yield
    assert task.live == 0
    assert task._everywhere == ()


def test_unarmed_it_injects_nothing(probe: Probe) -> None:
    assert probe.fails(3) == "..."
    assert probe.attr == FaultAttr()


def test_armed_it_fails_the_next_call_once(probe: Probe) -> None:
    with probe as armed:
        pattern = probe.fails(3)

    assert pattern == "F.."
    assert (armed.attr.probability, armed.attr.times) == (100, 0)
    assert probe.fails() == "."


def test_arming_again_after_disarming_begins_anew(probe: Probe) -> None:
    arming = probe(times=2)
    patterns = []

    for _ in range(2):
        with arming:
            patterns.append(probe.fails(3))

    assert patterns == ["FF.", "FF."]


def test_nested_arming_restores_the_outer_state_exactly(probe: Probe) -> None:
    with probe(interval=2, times=-1) as outer:
        first = probe.fails(1)
        with probe(times=-1, min_size=5) as inner:
            nested = probe.fails(2)
            assert probe.attr is inner.attr
            assert probe.min_size == 5
        assert probe.attr is outer.attr
        assert probe.min_size == 0
        second = probe.fails(2)

    assert (first, nested, second) == (".", "FF", "F.")


def test_the_same_arming_can_be_nested_in_itself(probe: Probe) -> None:
    arming = probe(times=1)

    with arming as outer, arming as inner:
        pattern = probe.fails(2)

    assert pattern == "F."
    assert (outer.attr.times, inner.attr.times) == (1, 0)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_every_exception_disarms(probe: Probe, error: type[BaseException]) -> None:
    with pytest.raises(error), probe(times=-1):
        raise error

    assert probe.fails() == "."


def test_nth_fails_that_call_and_nothing_after_it(probe: Probe) -> None:
    with probe(nth=3) as armed:
        pattern = probe.fails(6)

    assert pattern == "..F..."
    assert armed.countdown is not None
    assert armed.countdown.fired


def test_nth_counts_this_capability_alone(probe: Probe) -> None:
    other = type("Other", (Probe,), {"name": "fail_other"})()

    with probe(nth=2):
        patterns = [probe.fails(), other.fails(), probe.fails()]

    assert patterns == [".", ".", "F"]


def test_the_shared_countdown_comes_before_the_capabilitys_own(probe: Probe) -> None:
    with probe(nth=2) as armed, fail_nth(2):
        pattern = probe.fails(5)

    assert pattern == ".F.F."
    assert armed.countdown is not None


def test_an_attribute_can_be_given_whole_and_is_not_used_up(probe: Probe) -> None:
    attr = FaultAttr(100, times=2, verbose=0)

    with probe(attr=attr) as armed:
        pattern = probe.fails(3)

    assert pattern == "FF."
    assert (attr.times, attr.name) == (2, None)
    assert armed.attr.name == "fail_probe"


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"tims": 2}, "fail_probe has no such knob: 'tims'. Perhaps times"),
        ({"min_sizes": 2}, "Perhaps min_size"),
        ({"times": "2"}, "times is not a whole number: '2'"),
        ({"min_size": True}, "min_size is not a whole number from 0: True"),
        ({"min_size": -1}, "min_size is not a whole number from 0: -1"),
        ({"ignore_all": 1}, "ignore_all is not true or false: 1"),
        ({"nth": 0}, "faultinject: nth is not a whole number from 1: 0 (fail_probe). Give 1"),
        ({"nth": None}, "nth is not a whole number from 1"),
        ({"all_tasks": "Y"}, "all_tasks is not true or false: 'Y'"),
        ({"profile": "linux"}, "no such profile: 'linux'"),
        ({"profile": 5}, "profile is not a word: 5"),
        ({"attr": "times=2"}, "attr is not a FaultAttr: 'times=2'"),
        ({"attr": FaultAttr(), "times": 2}, "attr and a knob of its own are both given: 'times'"),
        ({"nth": 2, "times": 2}, "nth and times are both given"),
        ({"nth": 2, "attr": FaultAttr()}, "nth and attr are both given"),
        ({"require": "a b"}, "not a pattern: 'a b'"),
    ],
)
def test_a_wrong_knob_is_refused_before_anything_is_armed(
    probe: Probe, knobs: dict, message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        probe(**knobs)

    assert message in str(caught.value)
    assert task.live == 0


@pytest.mark.parametrize("texts", [("nth=2",), ("nth=2", "times=1"), (5, 6)])
def test_knobs_without_a_name_are_refused_with_the_form(probe: Probe, texts: tuple) -> None:
    with pytest.raises(
        SpecError, match=r"a knob has no name: .* \(fail_probe\).*fail_probe\(nth=2"
    ):
        probe(*texts)


def test_gates_are_attributes_of_what_is_in_force(probe: Probe) -> None:
    before = probe.min_size
    with probe(min_size=3) as armed:
        inside = probe.min_size
        probe.min_size = 4
    probe.ignore_all = True

    assert (before, inside, armed.gates["min_size"], probe.min_size) == (0, 3, 4, 0)
    assert probe.ignore_all
    with pytest.raises(SpecError):
        probe.min_size = "4"
    with pytest.raises(AttributeError):
        _ = probe.max_size
    with pytest.raises(AttributeError, match=r"set fail_probe\.attr\.times"):
        probe.times = 3


def test_the_process_wide_attribute_can_be_set_as_in_debugfs(probe: Probe) -> None:
    probe.attr.probability = 100
    probe.attr.times = 2
    elsewhere: list[str] = []
    thread = threading.Thread(target=lambda: elsewhere.append(probe.fails()))

    here = probe.fails()
    thread.start()
    thread.join()
    probe.min_size = 2
    probe.reset()

    assert (here, elsewhere) == ("F", ["F"])
    assert (probe.attr, probe.min_size) == (FaultAttr(), 0)
    assert probe.fails() == "."


def test_inside_no_faults_nothing_fails_and_nothing_is_counted(probe: Probe) -> None:
    with probe(nth=1) as armed:
        with no_faults():
            sheltered = probe.fails(2)
            with probe(times=-1):
                armed_inside = probe.fails(2)
        pattern = probe.fails()

    assert (sheltered, armed_inside, pattern) == ("..", "..", "F")
    assert len(armed.injections) == 1


def in_thread(function, context: contextvars.Context | None = None) -> object:
    found: list[object] = []
    run = function if context is None else lambda: context.run(function)
    thread = threading.Thread(target=lambda: found.append(run()), name="worker")
    thread.start()
    thread.join()
    return found[0]


def test_arming_in_one_thread_never_makes_another_one_fail(probe: Probe) -> None:
    with probe(times=-1):
        elsewhere = in_thread(probe.fails)
        with_my_context = in_thread(probe.fails, contextvars.copy_context())

    assert (elsewhere, with_my_context) == (".", ".")


def test_all_tasks_makes_every_thread_fail_and_ends_with_its_block(probe: Probe) -> None:
    with probe(times=-1, all_tasks=True) as armed:
        elsewhere = in_thread(probe.fails)

    assert elsewhere == "F"
    assert in_thread(probe.fails) == "."
    assert armed.injections[0].thread == "worker"


def test_of_all_tasks_and_an_arming_here_the_innermost_is_in_force(probe: Probe) -> None:
    with probe(times=-1, all_tasks=True):
        with probe(times=0):
            inner_here = probe.fails()
        outer_again = probe.fails()
    with probe(times=0), probe(times=-1, all_tasks=True):
        inner_everywhere = probe.fails()

    assert (inner_here, outer_again, inner_everywhere) == (".", "F", "F")


def test_task_filter_narrows_all_tasks_to_marked_tasks(probe: Probe) -> None:
    def marked() -> str:
        with make_it_fail():
            return probe.fails()

    with probe(times=-1, all_tasks=True, task_filter=True):
        patterns = [probe.fails(), in_thread(probe.fails), in_thread(marked)]

    assert patterns == [".", ".", "F"]


def test_100_times_in_8_threads_are_exactly_100_failures(probe: Probe) -> None:
    start = threading.Barrier(8)
    patterns: list[str] = []

    def run() -> None:
        start.wait()
        patterns.append(probe.fails(50))

    with probe(times=100, all_tasks=True, verbose=0) as armed:
        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert "".join(patterns).count("F") == 100
    assert len(armed.injections) == len({injection.number for injection in armed.injections}) == 100


def test_a_child_task_inherits_the_arming_and_is_disarmed_with_it(probe: Probe) -> None:
    other = type("Other", (Probe,), {"name": "fail_other"})()

    async def main() -> list[str]:
        release = asyncio.Event()

        async def now() -> str:
            return probe.fails()

        async def late() -> str:
            await release.wait()
            return probe.fails()

        with probe(times=-1):
            waiting = asyncio.create_task(late())
            inside = await asyncio.create_task(now())
            in_a_thread = await asyncio.to_thread(probe.fails)
        release.set()
        return [inside, in_a_thread, await waiting]

    with other(all_tasks=True):  # something is armed all the time, or nobody would look
        assert asyncio.run(main()) == ["F", ".", "."]


def test_a_decorated_function_has_its_times_anew_in_each_call(probe: Probe) -> None:
    @probe(times=1)
    def function(a: int) -> str:
        return probe.fails(2)

    assert [function(1), function(2)] == ["F.", "F."]
    assert str(inspect.signature(function)) == "(a: int) -> str"


def test_a_capability_decorates_without_parentheses(probe: Probe) -> None:
    @probe
    def function() -> str:
        return probe.fails(2)

    @probe
    async def coroutine() -> str:
        return probe.fails(2)

    assert function() == asyncio.run(coroutine()) == "F."
    assert inspect.iscoroutinefunction(coroutine)


def test_a_decorated_generator_leaves_its_consumer_alone(probe: Probe) -> None:
    @probe(times=2)
    def function():
        while True:
            yield probe.fails()

    seen = []
    for inside in function():
        seen.append(inside + probe.fails())
        if len(seen) == 3:
            break

    assert seen == ["F.", "F.", ".."]


def open_it(probe: Probe) -> bool:
    return probe.consult(8)


def test_an_injection_is_recorded_with_the_place_outside_faultinject(probe: Probe) -> None:
    mark = injections.mark()

    with probe as armed:
        open_it(probe)

    (injection,) = injections.since(mark)
    assert armed.injections == [injection]
    assert injection.number == injections.total
    assert (injection.capability, injection.size, injection.unit) == ("fail_probe", 8, "probes")
    assert (injection.site.file, injection.site.function) == (__file__, "open_it")
    assert (injection.thread, injection.cause, injection.retry) == ("MainThread", "rule", False)


def test_an_injection_says_that_a_countdown_caused_it(probe: Probe) -> None:
    with probe(nth=1) as armed:
        probe.fails()

    assert armed.injections[0].cause == "fail_nth"


class Recorder:
    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.seen: list[tuple[str, int, str, bool]] = []

    def eligible_call(self, capability: str, size: int, frame, retry: bool) -> bool:
        self.seen.append((capability, size, frame.f_code.co_name, retry))
        return self.answers.pop(0) if self.answers else False


def test_an_observer_sees_eligible_calls_and_makes_them_fail(
    probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    observer = Recorder(False, True)
    mark = injections.mark()
    observe.install(observer)
    try:
        with no_faults():
            probe.consult(1)
        failed = [open_it(probe), open_it(probe), probe.consult(4, retry=True)]
    finally:
        observe.remove()

    me = "test_an_observer_sees_eligible_calls_and_makes_them_fail"
    assert failed == [False, True, False]
    assert observer.seen == [
        ("fail_probe", 8, "open_it", False),
        ("fail_probe", 8, "open_it", False),
        ("fail_probe", 4, me, True),
    ]
    assert [injection.cause for injection in injections.since(mark)] == ["campaign"]
    assert caplog.records == []


def test_what_the_observer_spares_is_left_to_the_rule(probe: Probe) -> None:
    observe.install(Recorder())
    try:
        with probe:
            pattern = probe.fails(2)
    finally:
        observe.remove()

    assert pattern == "F."


def test_an_observer_sees_threads_that_nobody_armed() -> None:
    class Cache:
        object_size, flags, is_bootstrap = 64, 0, False

    observer = Recorder()
    observe.install(observer)
    try:
        in_thread(lambda: failslab.should_fail(Cache(), 0xCC0))
        in_thread(lambda: fail_page_alloc.should_fail(1, 0xCC0, retry=True))
    finally:
        observe.remove()

    assert [(name, size, retry) for name, size, _, retry in observer.seen] == [
        ("failslab", 64, False),
        ("fail_page_alloc", 2, True),
    ]


def test_the_stack_filter_looks_at_the_callers_of_the_capability(probe: Probe) -> None:
    with probe(times=-1, require=f"{__name__}:open_it"):
        assert open_it(probe)
        assert not probe.consult(8)
    with probe(times=-1, reject=f"{__name__}:open_it"):
        assert not open_it(probe)
        assert probe.consult(8)


def test_the_message_names_the_capability(probe: Probe, caplog: pytest.LogCaptureFixture) -> None:
    with probe:
        open_it(probe)

    (record,) = caplog.records
    assert record.getMessage().endswith(
        "\nname fail_probe, interval 1, probability 100, space 0, times 1"
    )
    assert record.funcName == "open_it"
    assert record.stack_info is not None
    assert record.stack_info.splitlines()[-1].strip() == "return probe.consult(8)"


@pytest.mark.parametrize("name", ["", "Upper", "with-dash", 5])
def test_a_capability_needs_a_name_that_can_be_written_in_a_spec(name: object) -> None:
    with pytest.raises(CapabilityError, match="not a name for a capability"):
        type("Wrong", (Probe,), {"name": name})()


@pytest.mark.parametrize("gate", ["times", "nth", "attr", "consult", "reset"])
def test_a_gate_cannot_take_the_name_of_something_else(gate: str) -> None:
    gates = {gate: Gate(bool, False, True, "")}

    with pytest.raises(CapabilityError, match=f"a gate has a name that is taken: '{gate}'"):
        type("Wrong", (Probe,), {"gates": gates})()
