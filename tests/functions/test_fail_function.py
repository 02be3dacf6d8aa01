"""`fi.fail_function`: the calls that fail, how they fail, and where."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import calling
import pytest

import faultinject as fi
from faultinject.cli import main
from faultinject.functions import watch

CASES: dict[str, tuple[str, Callable[[], object]]] = {
    "function": ("calling:plain", lambda: calling.plain(1, named=2)),
    "function, unpacked": ("calling:plain", lambda: calling.plain(*(1,), named=2)),
    "class": ("calling:Thing", lambda: calling.Thing(1)),
    "method": ("calling:Thing.method", lambda: calling.Thing(1).method(2)),
    "bound method": (
        "calling:Thing.method",
        lambda: (lambda call: call(2))(calling.Thing().method),
    ),
    "class method": ("calling:Thing.made", lambda: calling.Thing.made()),
    "static method": ("calling:Thing.free", lambda: calling.Thing.free()),
    "coroutine": ("calling:coroutine", lambda: asyncio.run(_awaited())),
    "generator": ("calling:generator", lambda: list(calling.generator())),
    "async generator": ("calling:async_generator", lambda: asyncio.run(_iterated())),
    "C function": ("os.getpid", lambda: os.getpid()),
    "C function, unpacked": ("os.stat", lambda: os.stat(*("/",))),
    "C method": ("str.upper", lambda: "text".upper()),
    "bound C method": ("str.upper", lambda: _called("text".upper)),
    "C class": ("threading.local", lambda: threading.local()),
    "alias": ("io.open", lambda: open(os.devnull).close()),
}


def _called(call: Callable[[], object]) -> object:
    return call()


async def _awaited() -> int:
    return await calling.coroutine()


async def _iterated() -> list[int]:
    return [item async for item in calling.async_generator()]


@pytest.fixture(autouse=True)
def nothing_is_watched_afterwards() -> Iterator[None]:
    yield
    assert watch._stack == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", CASES)
def test_a_call_fails_once_and_works_again(kind: str, when: str) -> None:
    target, call = CASES[kind]

    with fi.fail_function(target=target, error="TimeoutError('late')", when=when) as armed:
        with pytest.raises(TimeoutError, match="late"):
            call()
        call()
    call()

    assert len(armed.injections) == 1


def test_a_failure_has_no_frame_of_ours_in_its_traceback() -> None:
    with (
        fi.fail_function(target="os.getpid", error="PermissionError(EPERM)"),
        pytest.raises(PermissionError) as failed,
    ):
        os.getpid()

    (entry,) = traceback.extract_tb(failed.value.__traceback__)
    assert (entry.filename, entry.line) == (__file__, "os.getpid()")


def test_what_runs_later_fails_where_it_runs() -> None:
    with fi.fail_function(target="calling:coroutine", error="TimeoutError"):
        begun = calling.coroutine()
        with pytest.raises(TimeoutError) as failed:
            begun.send(None)
    with fi.fail_function(target="calling:generator", error="TimeoutError"):
        going = calling.generator()
        with pytest.raises(TimeoutError):
            next(going)

    *_, entry = traceback.extract_tb(failed.value.__traceback__)
    assert (entry.filename, entry.name) == (calling.__file__, "coroutine")


def test_a_call_after_which_it_fails_has_happened(tmp_path: Path) -> None:
    path = str(tmp_path / "made")

    with fi.fail_function(target="os.mkdir", error="OSError(EIO)", when="after"):
        with pytest.raises(OSError, match="Input/output"):
            os.mkdir(path)
        assert os.path.isdir(path)


@pytest.mark.parametrize(
    ("returns", "expected"), [(None, None), (-1, -1), ("'x'", "x"), ("[]", [])]
)
def test_a_call_returns_what_it_should_not(returns: object, expected: object) -> None:
    with fi.fail_function(target="calling:plain|str.upper", returns=returns, times=2):
        assert [calling.plain(), "a".upper(), "a".upper()] == [expected, expected, "A"]


def test_a_coroutine_returns_what_it_should_not_when_it_is_awaited() -> None:
    with fi.fail_function(target="calling:coroutine", returns=-1):
        assert asyncio.run(_awaited()) == -1


def test_less_is_transferred_than_was_asked_for() -> None:
    with fi.fail_function(target="os.write", error="short-write=2"):
        assert calling.sends(b"hello") == 2
    with fi.fail_function(target="os.read", error="short-read=3"):
        assert calling.sends(b"hello") == 3
    assert calling.sends(b"hello") == 5


def test_a_short_read_of_a_method_leaves_the_rest_in_the_stream(tmp_path: Path) -> None:
    path = tmp_path / "read"
    path.write_bytes(b"hello")

    with (
        fi.fail_function(target="io.FileIO.read", error="short-read=2"),
        open(path, "rb", buffering=0) as file,
    ):
        assert (file.read(), file.read()) == (b"he", b"llo")


def test_a_python_function_gets_fewer_bytes_too() -> None:
    def take(file: object, size: int) -> int:
        return size

    calling.take = take  # type: ignore[attr-defined]
    try:
        with fi.fail_function(target="calling:take", error="short-read=4"):
            assert [take(None, 9), take(None, 9)] == [4, 9]
    finally:
        del calling.take  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("mode", "target"),
    [("r", "io.TextIOWrapper.__next__"), ("rb", "io.BufferedReader.__next__")],
)
def test_a_loop_over_a_file_fails_at_any_of_its_lines(
    tmp_path: Path, mode: str, target: str
) -> None:
    path = tmp_path / "lines"
    path.write_text("1\n2\n3\n")
    read = []

    def loop() -> None:
        with open(path, mode) as file:
            for line in file:
                read.append(int(line))

    with fi.fail_function(target=target, error="OSError(EIO)", nth=3) as armed:
        with pytest.raises(OSError, match="Input"):
            loop()
        loop()

    assert read == [1, 2, 1, 2, 3]
    assert armed.injections[0].site.line == loop.__code__.co_firstlineno + 2


def test_several_errors_come_in_turn() -> None:
    met = []

    with fi.fail_function(target="os.getpid", error=["OSError(EIO)", "TimeoutError"], times=-1):
        for _ in range(3):
            try:
                os.getpid()
            except OSError as error:
                met.append(type(error))

    assert met == [OSError, TimeoutError, OSError]


def test_a_profile_has_its_own_errors_or_one_that_is_given(tmp_path: Path) -> None:
    def met(**knobs: object) -> str:
        with (
            fi.fail_function(**knobs),  # type: ignore[call-overload]
            pytest.raises(OSError) as failed,  # noqa: PT011
        ):
            os.mkdir(tmp_path / "made")
        return str(failed.value.strerror)

    assert met(profile="disk") == met(target="disk") == "No space left on device"
    assert met(target="disk:EIO") == met(target="disk", error="EIO") == "Input/output error"


def test_a_method_that_is_inherited_fails_for_the_named_class_alone() -> None:
    with fi.fail_function(target="calling:Heir.method", error="KeyError"):
        assert calling.Thing(1).method() == 1
        with pytest.raises(KeyError):
            calling.Heir(1).method()


def test_the_rule_decides_as_for_every_capability() -> None:
    outcomes = []

    with fi.fail_function(target="calling:plain", returns=0, interval=3, times=-1) as armed:
        outcomes = [calling.plain() for _ in range(7)]

    assert outcomes == [1, 1, 0, 1, 1, 0, 1]
    assert [str(item.site.function) for item in armed.injections] == [
        test_the_rule_decides_as_for_every_capability.__name__ + ".<locals>.<listcomp>"
        if sys.version_info < (3, 12)
        else test_the_rule_decides_as_for_every_capability.__name__
    ] * 2
    assert str(armed.injections[0]).startswith("fail_function of calling.plain: returns=0 at ")


def test_nth_counts_calls() -> None:
    with fi.fail_function(target="calling:plain", returns=0, nth=2):
        assert [calling.plain(), calling.plain(), calling.plain()] == [1, 0, 1]


def test_another_thread_fails_only_if_all_do() -> None:
    met: list[int] = []

    def run() -> None:
        thread = threading.Thread(target=lambda: met.append(calling.plain()))
        thread.start()
        thread.join()

    with fi.fail_function(target="calling:plain", returns=0, times=-1):
        run()
    with fi.fail_function(target="calling:plain", returns=0, times=-1, all_tasks=True):
        run()

    assert met == [1, 0]


def test_a_thread_that_began_before_fails_too() -> None:
    go, gone = threading.Event(), threading.Event()
    met: list[int] = []

    def run() -> None:
        go.wait()
        met.append(calling.plain())
        met.append(len("text".upper()))
        gone.set()

    thread = threading.Thread(target=run)
    thread.start()
    with fi.fail_function(
        target="calling:plain|str.upper", returns="'X'", times=-1, all_tasks=True
    ):
        go.set()
        gone.wait()
    thread.join()

    assert met == ["X", 1]


def test_a_target_and_an_error_need_no_names_in_a_with_and_in_a_decorator() -> None:
    @fi.fail_function("os.getpid", "OSError(EACCES)", times=1)
    def asks() -> int:
        return os.getpid()

    with pytest.raises(PermissionError):
        asks()
    with pytest.raises(NameError), fi.fail_function("os.getpid", error="NameError"):
        os.getpid()


@pytest.mark.parametrize(
    ("texts", "knobs", "said"),
    [
        (("os.getpid",), {"target": "os.stat"}, "target is given twice: 'os.getpid'"),
        (("os.getpid", "EIO"), {"error": "EPERM"}, "error is given twice: 'EIO'"),
        (("os.getpid", "EIO", "after"), {}, "more than a target and an error: 'after'"),
    ],
)
def test_texts_without_names_that_cannot_be_meant_are_refused(
    texts: tuple[str, ...], knobs: dict[str, str], said: str
) -> None:
    with pytest.raises(fi.SpecError, match=said):
        fi.fail_function(*texts, **knobs)


def test_nothing_fails_inside_no_faults() -> None:
    with fi.fail_function(target="calling:plain", returns=0, times=-1), fi.no_faults():
        assert calling.plain() == 1


def test_an_inner_arming_outranks_an_outer_one_and_ends() -> None:
    with fi.fail_function(target="calling:plain", returns=-1, times=-1):
        with fi.fail_function(target="calling:plain", returns=-2, times=-1):
            assert calling.plain() == -2
        assert calling.plain() == -1
    assert calling.plain() == 1


def call_it(function: Callable[[], object]) -> object:
    return function()


def test_a_place_that_calls_now_this_and_now_that_stays_watched() -> None:
    with fi.fail_function(target="os.getpid", returns=0):
        for _ in range(100):
            call_it(dict)
            call_it(list)
        assert call_it(os.getpid) == 0


def test_a_place_that_was_switched_off_is_heard_by_the_next_arming() -> None:
    with fi.fail_function(target="os.getppid", returns=0):
        for _ in range(100):
            call_it(os.getpid)

    with fi.fail_function(target="os.getpid", returns=0):
        assert call_it(os.getpid) == 0


def test_a_duck_is_told_from_another_at_one_place(tmp_path: Path) -> None:
    from io import StringIO

    def write(to: object) -> None:
        to.write("x")  # type: ignore[attr-defined]

    with (
        fi.fail_function(target="io.TextIOWrapper.write", error="OSError(ENOSPC)"),
        open(tmp_path / "full", "w") as file,
    ):
        write(StringIO())
        with pytest.raises(OSError, match="No space"):
            write(file)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="every call is seen in another way")
def test_a_callable_that_nothing_can_stand_in_for_fails_all_the_same() -> None:
    class Called:
        def __call__(self) -> int:
            return 1

    calling.called = Called()  # type: ignore[attr-defined]
    try:
        with fi.fail_function(target="calling:called", error="KeyError('k')"):
            with pytest.raises(KeyError):
                calling.called()  # type: ignore[attr-defined]
            assert calling.called() == 1  # type: ignore[attr-defined]
    finally:
        del calling.called  # type: ignore[attr-defined]


def test_a_partial_fails_by_itself() -> None:
    calling.part = functools.partial(calling.plain, 4)  # type: ignore[attr-defined]
    try:
        with fi.fail_function(target="calling:part", returns=0):
            assert [calling.part(), calling.part()] == [0, 5]  # type: ignore[attr-defined]
    finally:
        del calling.part  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"target": "os.fsyncc", "error": "EIO"}, "fsync"),
        ({"target": "dsk"}, "Perhaps disk is meant"),
        ({"target": "os.getpid"}, "os.getpid:OSError(EIO)"),
        ({"target": "os.getpid", "error": "OSErrer"}, "OSError"),
        ({"target": "os.getpid", "error": "EIO", "returns": 1}, "Leave one out"),
        ({"target": "os.getpid", "error": "EIO", "when": "during"}, "before nor after"),
        ({"target": 3}, "Give a str"),
    ],
)
def test_what_does_not_exist_is_refused_before_anything_is_armed(
    knobs: dict[str, object], said: str
) -> None:
    with pytest.raises(fi.SpecError, match=r"fail_function|character") as refused:
        fi.fail_function(**knobs)  # type: ignore[call-overload]

    assert said in str(refused.value)


def test_a_marked_function_fails_as_its_mark_says(monkeypatch: pytest.MonkeyPatch) -> None:
    @fi.error_injectable("errno")
    def marked() -> int:
        return 0

    monkeypatch.setattr(calling, "marked", marked, raising=False)

    with fi.fail_function(target="calling:marked", times=-1):
        assert marked() == -22
    with fi.fail_function(target="injectable", times=-1):
        assert marked() == -22


def test_fail_alloc_without_a_spec_fails_no_function() -> None:
    with fi.fail_alloc(times=-1) as armed:
        assert "fail_function" not in armed
    with fi.fail_alloc("fail_function:target=calling:plain,returns=0") as armed:
        assert calling.plain() == 0


def test_the_command_line_fails_a_call_of_a_script(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    script = tmp_path / "script.py"
    script.write_text("import os\ntry:\n    os.listdir('/')\nexcept OSError as e:\n    print(e)\n")

    status = main(["run", "--fail-function", "target=os.listdir,error=OSError(EIO)", str(script)])

    said = capfd.readouterr()
    assert (status, said.out) == (0, "[Errno 5] Input/output error\n")
    assert "fail_function of os.listdir: OSError(EIO) at " in said.err


def test_references_do_not_leak_over_ten_thousand_failures() -> None:
    given = object()
    failing = {
        "calling:plain": lambda: calling.plain(given),  # type: ignore[arg-type]
        "os.fspath": lambda: os.fspath(given),  # type: ignore[call-overload]
        "os.fsdecode": lambda: os.fsdecode(*(given,)),  # type: ignore[arg-type]
        "calling:Thing": lambda: calling.Thing(given),  # type: ignore[arg-type]
        "os.sched_yield": lambda: os.sched_yield(*()),
    }
    with fi.fail_function(target=list(failing), error="OSError(EIO)", times=-1, verbose=0):
        before = sys.getrefcount(given)
        for call in failing.values():
            for _ in range(2_000):
                with pytest.raises(OSError, match="Input"):
                    call()

        assert sys.getrefcount(given) == before
