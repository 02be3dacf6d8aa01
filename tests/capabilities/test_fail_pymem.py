"""fail_pymem as a capability: every form of arming, on real Python code."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

import faultinject as fi
from faultinject.native import core

pytestmark = pytest.mark.skipif(
    core.why_unavailable() is not None, reason=f"no hook: {core.why_unavailable()}"
)


def build(count: int) -> list[list[int]]:
    """Allocate two blocks for each entry, and a few for the list itself."""
    return [list(range(20)) for _ in range(count)]


def test_armed_by_default_the_next_allocation_raises_memory_error_once() -> None:
    with pytest.raises(MemoryError), fi.fail_pymem:
        build(4)

    assert len(build(4)) == 4


def test_nth_fails_that_allocation_and_no_other() -> None:
    with pytest.raises(MemoryError), fi.fail_pymem(nth=7) as armed:
        build(50)

    (injection,) = armed.injections
    assert injection.capability == "fail_pymem"
    assert injection.cause == "fail_nth"
    assert injection.size > 0


def test_an_injection_names_the_line_that_allocated() -> None:
    with pytest.raises(MemoryError), fi.fail_pymem(nth=10, domains="obj") as armed:
        build(50)

    (injection,) = armed.injections
    assert injection.site is not None
    assert injection.site.file == __file__
    assert "build" in injection.site.function


def test_the_memory_error_that_leaves_the_block_says_what_was_refused() -> None:
    with pytest.raises(MemoryError) as caught, fi.fail_pymem(nth=10, domains="obj"):
        build(50)

    (note,) = caught.value.__notes__
    assert note.startswith("faultinject: fail_pymem refused ")
    assert " bytes (obj domain" in note
    assert f" at {__file__}:" in note
    assert " in build" in note


def test_a_decorated_function_s_memory_error_has_the_note_as_well() -> None:
    with pytest.raises(MemoryError) as caught:
        fi.fail_pymem(build)(4)

    assert "fail_pymem refused" in caught.value.__notes__[0]


def test_a_memory_error_of_others_has_no_note() -> None:
    with pytest.raises(MemoryError) as inside, fi.fail_pymem(probability=0):
        raise MemoryError
    around = MemoryError()
    try:
        raise around
    except MemoryError:
        with fi.fail_pymem(min_size=100_000) as armed, contextlib.suppress(MemoryError):
            bytes(200_000)

    assert len(armed.injections) == 1
    assert not hasattr(inside.value, "__notes__")
    assert not hasattr(around, "__notes__")


def test_a_countdown_that_is_longer_than_the_block_comes_back_shortened() -> None:
    with fi.fail_nth(1_000_000) as countdown, fi.fail_pymem(probability=0):
        build(10)

    assert 0 < countdown.remaining < 1_000_000
    assert not countdown.fired


def test_fail_nth_counts_the_interpreter_only_where_it_is_armed() -> None:
    with fi.fail_nth(5) as countdown:
        build(10)

    assert countdown.remaining == 5


def test_times_and_interval_are_charged_in_the_hook_and_read_back() -> None:
    failed = 0
    with fi.fail_pymem(interval=40, times=3) as armed:
        for _ in range(50):
            try:
                build(5)
            except MemoryError:
                failed += 1

    assert failed == 3
    assert armed.attr.times == 0
    assert len(armed.injections) == 3


def test_sizes_outside_the_limits_are_exempt() -> None:
    with fi.fail_pymem(min_size=100_000, times=-1):
        build(10)
        with pytest.raises(MemoryError):
            bytes(200_000)


def test_the_profile_small_leaves_large_blocks_alone() -> None:
    with fi.fail_pymem(profile="small", min_size=300, times=-1):
        assert len(bytes(200_000)) == 200_000
        with pytest.raises(MemoryError):
            bytes(400)


@pytest.mark.parametrize(
    "knobs",
    [
        {"domains": "heap"},
        {"domains": ""},
        {"min_size": -1},
        {"min_size": 10, "max_size": 5},
        {"profile": "small", "min_size": 513},
        {"profile": "tiny"},
        {"nth": 0},
    ],
    ids=["no domain", "empty", "negative", "crossed", "above the profile", "no profile", "no call"],
)
def test_a_wrong_knob_is_refused_and_leaves_nothing_armed(knobs: dict[str, object]) -> None:
    with pytest.raises(fi.SpecError), fi.fail_pymem(**knobs):  # type: ignore[arg-type]
        pass

    assert len(build(10)) == 10


def test_nothing_fails_inside_no_faults_in_either_order() -> None:
    with fi.fail_pymem(min_size=100_000, times=-1), fi.no_faults():
        inner = bytes(200_000)
    with fi.no_faults(), fi.fail_pymem(times=-1):
        outer = bytes(200_000)

    assert len(inner) == len(outer) == 200_000


def test_a_fault_that_never_ends_does_not_strike_the_call_that_ends_it() -> None:
    with pytest.raises(MemoryError), fi.fail_pymem(times=-1):
        build(4)

    assert len(build(4)) == 4


def test_an_inner_arming_suspends_the_outer_one_and_restores_it() -> None:
    with fi.fail_pymem(min_size=100_000, times=-1):
        with fi.fail_pymem(probability=0):
            assert len(bytes(200_000)) == 200_000
        with pytest.raises(MemoryError):
            bytes(200_000)


@fi.fail_pymem(min_size=100_000)
def decorated() -> int:
    """Fail at its only large block."""
    return len(bytes(200_000))


def test_a_decorated_function_fails_on_every_call() -> None:
    for _ in range(2):
        with pytest.raises(MemoryError):
            decorated()


def test_a_decorated_generator_is_armed_only_while_its_own_frame_runs() -> None:
    @fi.fail_pymem(min_size=100_000, times=-1)
    def blocks() -> Iterator[int]:
        yield 1
        yield len(bytes(200_000))

    running = blocks()

    assert next(running) == 1
    assert len(bytes(200_000)) == 200_000
    with pytest.raises(MemoryError):
        next(running)


def test_a_decorated_coroutine_fails() -> None:
    @fi.fail_pymem(min_size=100_000)
    async def block() -> bytes:
        await asyncio.sleep(0)
        return bytes(200_000)

    with pytest.raises(MemoryError):
        asyncio.run(block())


def test_other_threads_are_left_alone_unless_all_tasks_is_given() -> None:
    program = """
import sys, threading
import faultinject as fi
def work(seen):
    try:
        seen.append(len(bytes(200_000)))
    except MemoryError:
        seen.append("refused")
def run(**knobs):
    seen = []
    go, thread = threading.Event(), None
    def body():
        go.wait()
        work(seen)
    thread = threading.Thread(target=body)
    thread.start()
    with fi.fail_pymem(min_size=100_000, times=-1, **knobs):
        go.set()
        thread.join()
    return seen
print(run(), run(all_tasks=True))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert ran.stdout == "[200000] ['refused']\n"
