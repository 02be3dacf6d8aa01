import logging

import pytest

from faultinject.engine.attr import FaultAttr
from faultinject.engine.message import RateLimit
from faultinject.engine.scope import fail_nth
from faultinject.engine.task import exempt


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_message_is_the_kernels_with_times_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    attr = FaultAttr(100, 1, times=3, space=0, name="failslab")

    attr.should_fail()

    assert caplog.messages == [
        "FAULT_INJECTION: forcing a failure.\n"
        "name failslab, interval 1, probability 100, space 0, times 3"
    ]
    assert attr.times == 2


def test_an_attribute_without_a_name_prints_null(caplog: pytest.LogCaptureFixture) -> None:
    with fail_nth(1):
        FaultAttr(times=0).should_fail()

    assert caplog.messages[0].endswith("\nname (null), interval 1, probability 0, space 0, times 0")


def open_ring(attr: FaultAttr) -> bool:
    return attr.should_fail()


def test_the_stack_ends_at_the_line_that_asked(caplog: pytest.LogCaptureFixture) -> None:
    open_ring(FaultAttr(100))

    (record,) = caplog.records
    assert record.stack_info is not None
    lines = record.stack_info.splitlines()
    assert lines[0] == "Stack (most recent call last):"
    assert lines[-1].strip() == "return attr.should_fail()"
    assert "in open_ring" in lines[-2]
    assert "/faultinject/" not in record.stack_info
    assert (record.pathname, record.funcName) == (__file__, "open_ring")


def test_verbose_1_prints_no_stack(caplog: pytest.LogCaptureFixture) -> None:
    FaultAttr(100, verbose=1).should_fail()

    assert caplog.records[0].stack_info is None


def test_verbose_above_2_is_as_2(caplog: pytest.LogCaptureFixture) -> None:
    FaultAttr(100, verbose=9).should_fail()

    assert caplog.records[0].stack_info


def test_a_logger_that_is_turned_off_costs_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "faultinject"):
        failed = FaultAttr(100).should_fail()

    assert failed
    assert caplog.records == []


def test_a_handler_that_asks_again_is_not_made_to_fail() -> None:
    attr = FaultAttr(100, times=-1)
    seen: list[object] = []

    class Asking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((exempt(), attr.should_fail()))

    handler = Asking()
    logging.getLogger("faultinject").addHandler(handler)
    try:
        failed = attr.should_fail()
    finally:
        logging.getLogger("faultinject").removeHandler(handler)

    assert failed
    assert seen == [(True, False)]
    assert not exempt()


def test_an_interval_of_0_is_no_limit() -> None:
    limit = RateLimit(Clock())

    assert [limit.allow(0, 0) for _ in range(3)] == [(True, 0)] * 3


def test_a_burst_is_allowed_in_each_window_and_the_rest_is_owned_up_to() -> None:
    clock = Clock()
    limit = RateLimit(clock)

    first = [limit.allow(1000, 2) for _ in range(5)]
    clock.now += 1.0
    at_the_border = limit.allow(1000, 2)
    clock.now += 0.001
    after = [limit.allow(1000, 2) for _ in range(3)]

    assert first == [(True, 0), (True, 0), (False, 0), (False, 0), (False, 0)]
    assert at_the_border == (False, 0)  # strictly later begins a new window
    assert after == [(True, 4), (True, 0), (False, 0)]


def test_a_burst_of_0_refuses_everything() -> None:
    assert not RateLimit(Clock()).allow(1000, 0)[0]


def test_the_limit_is_on_messages_and_not_on_failures(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    attr = FaultAttr(
        100, times=-1, verbose_ratelimit_interval_ms=1000, verbose_ratelimit_burst=1, name="x"
    )
    attr.ratelimit = RateLimit(clock)

    failed = [attr.should_fail() for _ in range(3)]
    clock.now += 1.5
    failed.append(attr.should_fail())

    assert failed == [True] * 4
    assert [message.splitlines()[0] for message in caplog.messages] == [
        "FAULT_INJECTION: forcing a failure.",
        "fail_dump: 2 callbacks suppressed",
        "FAULT_INJECTION: forcing a failure.",
    ]
