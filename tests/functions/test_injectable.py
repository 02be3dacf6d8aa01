"""Functions that are marked as safe to fail."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import faultinject as fi
from faultinject.errors import SpecError
from faultinject.functions.injectable import TYPES, Injectable, injectables


class Busy(Exception):
    pass


def mark_of(function: object) -> Injectable:
    (found,) = [each for each in injectables() if each.target.callable is function]
    return found


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("null", ["returns=None"]),
        ("errno", ["returns=-EINVAL"]),
        ("errno-or-null", ["returns=None", "returns=-EINVAL"]),
        ("true", ["returns=True"]),
        ("OSError(ENOSPC)", ["OSError(ENOSPC)"]),
        (TimeoutError, ["TimeoutError"]),
    ],
)
def test_a_mark_says_how_a_function_can_fail(
    given: str | type[BaseException], texts: list[str]
) -> None:
    @fi.error_injectable(given)
    def send() -> None: ...

    assert [fault.text for fault in mark_of(send).faults] == texts


def test_the_types_are_those_of_the_kernel() -> None:
    assert list(TYPES) == ["null", "errno", "errno-or-null", "true"]


def test_a_mark_may_name_several_faults_each_once() -> None:
    @fi.error_injectable("errno", "returns=-EBUSY", Busy, "errno")
    def send() -> None: ...

    texts = [fault.text for fault in mark_of(send).faults]
    assert texts == ["returns=-EINVAL", "returns=-EBUSY", f"{__name__}.Busy"]
    assert isinstance(mark_of(send).faults[2].make(), Busy)


def test_a_mark_may_name_an_exception_that_nobody_else_can() -> None:
    class Local(Exception):
        pass

    @fi.error_injectable(Local)
    def send() -> None: ...

    (fault,) = mark_of(send).faults
    assert type(fault.make()) is Local
    assert fault.text.endswith("<locals>.Local")


def test_a_marked_function_is_the_function_itself() -> None:
    def send() -> int:
        return 7

    assert fi.error_injectable("errno")(send) is send
    assert send.__dict__ == {}
    assert send() == 7


def test_methods_are_marked_above_or_below_what_makes_them_static() -> None:
    class Port:
        @fi.error_injectable("null")
        def send(self) -> None: ...

        @fi.error_injectable("null")
        @staticmethod
        def above() -> None: ...

        @classmethod
        @fi.error_injectable("null")
        def below(cls) -> None: ...

        @fi.error_injectable("null")
        @classmethod
        def above_too(cls) -> None: ...

    marked = {each.target.callable for each in injectables()}
    held = {getattr(vars(Port)[name], "__func__", vars(Port)[name]) for name in vars(Port)}
    methods = {each for each in held if callable(each)}

    assert len(methods) == 4
    assert methods <= marked


def test_a_mark_goes_with_its_function() -> None:
    def make() -> Callable[[], None]:
        @fi.error_injectable("null")
        def here_today() -> None: ...

        return here_today

    make()
    gc.collect()

    assert not [each for each in injectables() if "here_today" in each.target.name]


def test_a_mark_knows_its_place() -> None:
    @fi.error_injectable("null")
    def send() -> None: ...

    found = mark_of(send)

    assert found.file == __file__
    assert found.line == send.__code__.co_firstlineno
    assert found.target.name.endswith("send")


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ((), r"a mark says no fault .*Give null, errno, errno-or-null, true, an exception"),
        (("nul",), r"no such exception: 'nul'"),
        ((3,), r"not a fault: 3 \(error_injectable\)"),
        ((print,), r"not a fault: <built-in function print>"),
    ],
)
def test_a_mark_that_says_nothing_useful_is_refused(faults: tuple[str, ...], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        fi.error_injectable(*faults)


def test_only_functions_can_be_marked() -> None:
    with pytest.raises(SpecError, match="only functions can be marked"):
        fi.error_injectable("null")(Busy)


def listed(folder: Path, *modules: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "faultinject", "list", "--injectable", *modules],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_line_lists_what_modules_mark(tmp_path: Path) -> None:
    (tmp_path / "port.py").write_text(
        "import faultinject as fi\n\n"
        "class Port:\n"
        "    @fi.error_injectable('errno', 'OSError(EIO)')\n"
        "    def send(self): ...\n"
    )

    ended = listed(tmp_path, "port")

    assert ended.stdout == "port.Port.send: returns=-EINVAL, OSError(EIO)\n  port.py:4\n"
    assert ended.returncode == 0


def test_a_list_of_nothing_says_so_and_a_module_that_is_none_is_refused(tmp_path: Path) -> None:
    nothing, unknown = listed(tmp_path), listed(tmp_path, "harbour")

    assert nothing.stdout == ""
    assert "no module that is imported marks a function" in nothing.stderr
    assert unknown.returncode == 2
    assert "the module cannot be imported: ModuleNotFoundError" in unknown.stderr
