"""Functions that no symbol table names."""

from __future__ import annotations

import _csv
import platform
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from faultinject import cli
from faultinject.campaign import c_unnamed
from faultinject.campaign.c_stacks import last_fault
from faultinject.campaign.c_symbols import symbols_of
from faultinject.campaign.c_unnamed import cannot_be_told, parts_of, starts_of
from faultinject.native import core

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="C stacks are written on Linux"
)


def test_functions_of_a_stripped_interpreter_are_named_by_what_points_to_them(
    stripped: None,
) -> None:
    given = {c_unnamed.name_of(path, start) for path, start in c_unnamed._pointed_to()}

    assert {"dictitems_iter", "ga_getitem", "os_stat"} <= given
    assert all(symbols_of(path).name(start) == "" for path, start in c_unnamed._pointed_to())
    assert cannot_be_told() is None or platform.machine() != "x86_64"


def test_a_module_that_is_imported_later_has_its_functions_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "_csv", raising=False)
    before = set(c_unnamed._pointed_to().values())
    monkeypatch.setitem(sys.modules, "_csv", _csv)

    assert set(c_unnamed._pointed_to().values()) - before == {"dialect_new"}


def test_what_stands_in_a_modules_place_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    c_unnamed._pointed_to_with.cache_clear()
    for name in c_unnamed._OPTIONAL:
        monkeypatch.setitem(sys.modules, name, Mock())

    named = set(c_unnamed._pointed_to().values())
    c_unnamed._pointed_to_with.cache_clear()

    assert "ga_getitem" in named
    assert named.isdisjoint({"dialect_new", "elementiter_dealloc", "tokenizeriter_new"})


def test_what_is_named_by_a_pointer_has_that_name_in_the_symbol_table() -> None:
    for (path, start), name in c_unnamed._pointed_to().items():
        assert symbols_of(path).name(start) in ("", name)


def test_an_interpreter_in_which_functions_cannot_be_named_says_so(
    stripped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c_unnamed, "_pointed_to", dict)

    said = cannot_be_told()

    assert said is not None
    assert "has no symbol table" in said


def test_parts_of_a_function_are_those_that_it_alone_jumps_into() -> None:
    part, other, function, last = 0x08, 0x10, 0x20, 0x40
    code = bytearray(b"\x90" * 0x60)

    def put(at: int, opcode: bytes, target: int) -> None:
        after = at + len(opcode) + 4
        code[at:after] = opcode + (target - after).to_bytes(4, "little", signed=True)

    put(function, b"\x0f\x84", part)  # a jump with a condition
    put(part, b"\xe9", function + 16)  # and that back
    starts = [0, part, other, function, last]

    assert c_unnamed._parts(bytes(code), 0, starts) == {part: function}
    put(last, b"\x0f\x84", part)  # two that jump there
    assert c_unnamed._parts(bytes(code), 0, starts) == {}
    put(last, b"\xe8", part)  # a function that is called
    assert c_unnamed._parts(bytes(code), 0, starts) == {}


def test_the_program_is_known_by_the_name_it_was_started_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a shared libpython a virtual environment's link is what the linker names."""

    class Hook:
        def fault_stack(self) -> list[tuple[str, int]]:
            return [("v/bin/python", 64), ("/lib/libc.so.6", 65)]

    monkeypatch.setattr(sys, "orig_argv", ["v/bin/python", "-c", ""])
    monkeypatch.setattr(core, "loaded", Hook)

    first, second = last_fault()

    assert first == f"{c_unnamed.program()}+0x40"
    assert second == "/lib/libc.so.6+0x41"


@pytest.mark.parametrize(
    "content",
    [b"", b"\x7fELF\2\1", b"\x7fELF\2\1" + b"\xff" * 60, b"#!sh"],
    ids=["empty", "short", "garbled", "script"],
)
def test_a_file_that_is_none_of_ours_has_no_functions(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "odd.so"
    file.write_bytes(content)

    assert starts_of(str(file)) == []
    assert parts_of(str(file)) == {}
    assert c_unnamed.name_of(str(file), 64) == ""


def test_the_list_says_that_defects_cannot_all_be_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "cannot_be_told", lambda: "not all of them")

    cli.main(["list"])

    assert "  not all of them.\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "says"), [("--fail-alloc", True), ("--fail-function=disk", False)]
)
def test_the_header_says_that_defects_cannot_all_be_told(
    option: str, says: bool, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest(
        "from pytest_faultinject import results\n"
        "results.cannot_be_told = lambda: 'not all of them'\n"
    )
    pytester.makepyfile("def test_it(): pass")

    run = pytester.runpytest_subprocess(option, "--collect-only", timeout=60)

    header = next(line for line in run.outlines if line.startswith("faultinject: "))
    assert ("not all of them" in header) == says
