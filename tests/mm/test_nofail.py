"""What a kernel says of __GFP_NOFAIL where it would rather not insist: which version, how often."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext

import pytest

from faultinject.engine.log import violations
from faultinject.errors import Deadlock
from faultinject.gfp import GFP_KERNEL, Gfp
from faultinject.mm import Memory, memalloc_noreclaim
from faultinject.mm.retry_rules import RETRY_RULES

TASKS = "a task that frees memory itself"
ORDERS = "no order above 3"


@pytest.fixture(autouse=True)
def _no_violations_are_left() -> object:
    """A deadlock counts as a fault of the code under test, here as one that was provoked."""
    mark = violations.mark()
    yield
    del violations.since(mark)[:]


def insist(memory: Memory, order: int, *, memalloc: bool = False, gfp: int = 0) -> None:
    scope: AbstractContextManager[object] = memalloc_noreclaim() if memalloc else nullcontext()
    with scope, pytest.raises(Deadlock):
        memory.alloc_pages(GFP_KERNEL | Gfp.NOFAIL | gfp, order)


def short(kernel: str) -> Memory:
    memory = Memory("64M", kernel=kernel)
    memory.consume(leave=0)
    return memory


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        reason
        for text in caplog.messages
        for reason in (TASKS, ORDERS)
        if text.startswith("faultinject: __GFP_NOFAIL") and reason in text.splitlines()[0]
    ]


@pytest.mark.parametrize("kernel", RETRY_RULES)
def test_a_task_that_frees_memory_is_warned_of_since_4_5(
    kernel: str, caplog: pytest.LogCaptureFixture
) -> None:
    insist(short(kernel), 0, memalloc=True)

    assert warned(caplog) == ([TASKS] if kernel in ("4.9", "4.19", "6.1", "6.6") else [])


@pytest.mark.parametrize("kernel", RETRY_RULES)
@pytest.mark.parametrize("order", [3, 4])
def test_a_costly_order_that_insists_is_warned_of_since_4_12(
    kernel: str, order: int, caplog: pytest.LogCaptureFixture
) -> None:
    memory = short(kernel)

    if kernel == "2.6.24" and order == 4:
        assert memory.alloc_pages(GFP_KERNEL | Gfp.NOFAIL | Gfp.NOWARN, order) is None
    else:
        insist(memory, order)

    costly = order > 3 and kernel in ("4.19", "6.1", "6.6")
    assert warned(caplog) == ([ORDERS] if costly else [])


def test_each_warning_comes_once_for_each_memory(caplog: pytest.LogCaptureFixture) -> None:
    first, second = short("6.6"), short("6.6")

    insist(first, 4, memalloc=True)
    insist(first, 5, memalloc=True)
    assert warned(caplog) == [TASKS, ORDERS]

    insist(second, 4)
    assert warned(caplog) == [TASKS, ORDERS, ORDERS]


@pytest.mark.parametrize(("kernel", "silent"), [("4.19", False), ("6.1", True), ("6.6", True)])
def test_nowarn_silences_it_since_5_19(
    kernel: str, silent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    memory = short(kernel)

    insist(memory, 4, gfp=Gfp.NOWARN)
    assert warned(caplog) == ([] if silent else [ORDERS])

    # What was not said is still to come.
    insist(memory, 4)
    assert warned(caplog) == [ORDERS]


def test_the_warning_is_the_kernels_with_the_stack_of_who_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    insist(short("6.6"), 4)

    (text,) = [text for text in caplog.messages if "WARNING" in text]
    lines = text.splitlines()
    assert lines[1] == "------------[ cut here ]------------"
    assert re.fullmatch(
        r"WARNING: CPU: 0 PID: [0-9]+ at mm/page_alloc.c __alloc_pages_slowpath", lines[2]
    )
    assert re.search(r"Comm: MainThread Not tainted 6\.6 #1", lines[4])
    assert "insist (test_nofail.py:" in lines[6]
    assert lines[-1] == "---[ end trace 0000000000000000 ]---"


def test_a_request_that_is_met_at_last_was_warned_of_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = Memory("64M", kernel="6.6")
    held = memory.consume(leave=0)
    calls = []

    def give_back(control: object) -> int:
        calls.append(control)
        if len(calls) == 600:
            held.release()
        return 0

    memory.register_shrinker(give_back)

    assert memory.alloc_pages(GFP_KERNEL | Gfp.NOFAIL, 4) is not None
    assert warned(caplog) == [ORDERS]
