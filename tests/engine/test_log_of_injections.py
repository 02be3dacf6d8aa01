import threading

import pytest

from faultinject.callsite import UNKNOWN
from faultinject.engine import observe
from faultinject.engine.log import BoundedLog, InjectionLog
from faultinject.errors import UsageError


def record(log: InjectionLog, size: int = 8) -> None:
    log.record("failslab", size, "bytes", UNKNOWN, "MainThread", cause="rule", retry=False)


def test_a_log_keeps_the_last_records_and_counts_all() -> None:
    log: BoundedLog[int] = BoundedLog(kept=3)

    for number in range(5):
        log.append(number)

    assert list(log) == [2, 3, 4]
    assert (len(log), log.total, log[0], log[-1], log[1:]) == (3, 5, 2, 4, [3, 4])


def test_a_mark_divides_what_was_before_from_what_comes_after() -> None:
    log: BoundedLog[int] = BoundedLog(kept=3)
    log.append(0)
    mark = log.mark()

    nothing = log.since(mark)
    for number in range(1, 3):
        log.append(number)

    assert nothing == []
    assert log.since(mark) == [1, 2]
    assert log.since(0) == [0, 1, 2]


def test_clearing_forgets_records_and_keeps_the_count_and_the_marks() -> None:
    log = InjectionLog()
    record(log)
    log.clear()
    mark = log.mark()

    record(log, 16)

    assert (log.total, len(log)) == (2, 1)
    assert [injection.number for injection in log.since(mark)] == [2]


def test_injections_of_many_threads_are_numbered_without_a_gap() -> None:
    log = InjectionLog()
    start = threading.Barrier(4)

    def run() -> None:
        start.wait()
        for _ in range(200):
            record(log)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert log.total == 800
    assert [injection.number for injection in log] == list(range(1, 801))


def test_an_injection_reads_as_a_sentence_part_and_does_not_change() -> None:
    log = InjectionLog()
    record(log)

    injection = log[0]

    assert str(injection) == "failslab of 8 bytes at <unknown>:0 in <unknown>"
    with pytest.raises(AttributeError):
        injection.size = 9  # type: ignore[misc]


class Silent:
    def eligible_call(self, *_: object) -> bool:
        return False


def test_only_one_observer_sits_at_a_time() -> None:
    first = Silent()
    observe.install(first)
    try:
        with pytest.raises(UsageError, match="already running"):
            observe.install(Silent())
        assert observe.current is first
    finally:
        observe.remove()
        observe.remove()

    assert observe.current is None
