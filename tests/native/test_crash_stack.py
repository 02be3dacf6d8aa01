"""What a process leaves when it dies: the C stacks of its last fault and of the crash."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import platform
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from native_children import Ended, in_a_child

from faultinject.engine.attr import FaultAttr
from faultinject.native import CodeScope, RuleArming, core, why_unavailable

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))

FATAL = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)


def watch(descriptor: int) -> None:
    """What a trial's child does, in its order."""
    faulthandler.enable(descriptor)
    core.module().forget_fault()  # of tests before, in the process that this one is a copy of
    assert core.module().watch_crashes(descriptor)


def crash() -> None:
    ctypes.string_at(0)


def strike() -> None:
    with (
        contextlib.suppress(MemoryError),
        RuleArming(FaultAttr(), scope=CodeScope.of([__file__]), nth=1),
    ):
        bytes(100_000)


def death_of(piece: Callable[[], object], *, closed: bool = False) -> tuple[int, str]:
    """Give the signal that ended a child which ran `piece` watched, and what it wrote."""
    with tempfile.TemporaryFile() as file:

        def watched() -> None:
            watch(file.fileno())
            if closed:
                os.close(file.fileno())
            piece()

        with pytest.raises(Ended) as ended:
            in_a_child(watched)
        assert os.WIFSIGNALED(ended.value.status), ended.value.status
        file.seek(0)
        return os.WTERMSIG(ended.value.status), file.read().decode()


def stacks(text: str) -> dict[str, list[tuple[str, int]]]:
    """Read what the handler wrote: for each stack the object and the offset of each frame."""
    objects = {"?": ""}
    found = {}
    for line in text.splitlines():
        word, _, rest = line.removeprefix("faultinject: ").partition(" ")
        if word == "object":
            number, _, path = rest.partition(" ")
            objects[number] = path
        elif word in ("fault", "crash"):
            frames = (frame.split("+") for frame in rest.split())
            found[word] = [(objects[number], int(offset, 16)) for number, offset in frames]
    return found


@pytest.mark.parametrize("number", FATAL, ids=[number.name for number in FATAL])
def test_the_signal_that_kills_is_still_the_one_that_came(number: signal.Signals) -> None:
    died_of, text = death_of(lambda: signal.raise_signal(number))

    assert died_of == number
    assert "Fatal Python error" in text
    assert stacks(text)["crash"]


def test_the_c_stacks_come_first_and_the_python_stacks_after_them() -> None:
    _, text = death_of(crash)

    assert text.startswith("faultinject: object 0 /")
    assert text.index("faultinject: crash") < text.index("in crash")


def test_the_stack_of_a_crash_begins_where_it_happened() -> None:
    _, text = death_of(crash)

    path, offset = stacks(text)["crash"][0]
    # In strlen, by whatever name; a sanitizer has one of its own.
    assert Path(path).name.startswith(("libc", "libasan"))
    assert offset > 0
    assert any("_ctypes" in path for path, _ in stacks(text)["crash"])


def test_without_a_fault_there_is_no_stack_of_one() -> None:
    _, text = death_of(crash)

    assert stacks(text)["fault"] == []


def test_the_stack_of_the_last_fault_is_written_as_it_was_kept() -> None:
    def piece() -> list[tuple[str, int]]:
        strike()
        return core.module().fault_stack()

    def dying() -> None:
        strike()
        crash()

    kept = in_a_child(piece)

    _, text = death_of(dying)

    assert kept
    assert [at for _, at in stacks(text)["fault"]] == [at for _, at in kept]
    assert [Path(path).name for path, _ in stacks(text)["fault"]] == [
        Path(path).name for path, _ in kept
    ]


def test_the_stack_of_a_fault_leads_from_the_hook_by_the_caller_to_python() -> None:
    def piece() -> tuple[str, list[tuple[str, int]]]:
        with (
            contextlib.suppress(MemoryError),
            RuleArming(FaultAttr(), scope=CodeScope.of([__file__]), nth=1) as arming,
        ):
            bytes(100_000)
        return arming.events[0].c_caller, core.module().fault_stack()

    caller, stack = in_a_child(piece)

    assert Path(stack[0][0]).name.startswith("_hook.")
    others = [(path, at) for path, at in stack if not Path(path).name.startswith("_hook.")]
    # A return address; the stack has the call itself.
    path, at = others[0]
    assert caller.endswith(f"{Path(path).name}+{at + 1:#x}")
    evaluation = core.module().address(Path(others[-1][0]).name, others[-1][1])
    named = ctypes.cast(ctypes.pythonapi._PyEval_EvalFrameDefault, ctypes.c_void_p).value
    assert named is not None
    assert evaluation > named


def test_a_fault_can_be_forgotten() -> None:
    def piece() -> object:
        strike()
        core.module().forget_fault()
        return core.module().fault_stack()

    assert in_a_child(piece) == []


def test_a_stack_that_has_overflowed_leaves_room_to_say_so() -> None:
    died_of, text = death_of(faulthandler._stack_overflow)

    assert died_of == signal.SIGSEGV
    assert len(stacks(text)["crash"]) > 10


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="reads registers")
def test_a_call_into_nowhere_is_told_with_its_caller() -> None:
    died_of, text = death_of(ctypes.CFUNCTYPE(None)(0x123))

    (nowhere, address), (caller, _) = stacks(text)["crash"][:2]
    assert (died_of, nowhere, address) == (signal.SIGSEGV, "", 0x123)
    assert "libffi" in caller
    assert "Fatal Python error" in text


def test_a_fork_of_the_watched_process_writes_no_c_stack() -> None:
    def piece() -> None:
        child = os.fork()
        if child == 0:
            crash()
        os.waitpid(child, 0)
        os.kill(os.getpid(), signal.SIGKILL)

    _, text = death_of(piece)

    assert "in crash" in text
    assert stacks(text) == {}


def test_a_closed_descriptor_does_not_keep_the_process_from_dying() -> None:
    died_of, text = death_of(crash, closed=True)

    assert (died_of, text) == (signal.SIGSEGV, "")


def test_a_crash_on_another_thread_is_told_as_well() -> None:
    def piece() -> None:
        import threading

        threading.Thread(target=crash).start()
        signal.pause()

    died_of, text = death_of(piece)

    assert died_of == signal.SIGSEGV
    assert any("_ctypes" in path for path, _ in stacks(text)["crash"])


def test_a_handler_that_was_there_before_still_runs() -> None:
    def piece() -> None:
        signal.signal(signal.SIGFPE, lambda number, frame: os._exit(3))
        with tempfile.TemporaryFile() as file:
            watch(file.fileno())
            signal.raise_signal(signal.SIGFPE)

    with pytest.raises(Ended) as ended:
        in_a_child(piece)

    assert os.waitstatus_to_exitcode(ended.value.status) == 3
