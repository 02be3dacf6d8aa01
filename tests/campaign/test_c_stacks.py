"""C stacks on their way from a dying child to a report, and the names of their functions."""

from __future__ import annotations

import ctypes
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from faultinject.campaign.c_stacks import Frame, in_a_line, part_dump, read_stack
from faultinject.campaign.c_symbols import symbols_of

SOURCE = """
#include <stdlib.h>
static __attribute__((noinline)) int hidden(int n) { return abs(n) + 2; }
int shown(int n) { return hidden(n) * 3; }
int after(int n) { return n; }
"""


def build(folder: Path, *options: str) -> Path:
    """Make a shared object with one static and two exported functions."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler that makes ELF files")
    (folder / "made.c").write_text(SOURCE)
    made = folder / f"made{''.join(options)}.so"
    command = [compiler, "-O1", "-shared", "-fPIC", *options, "made.c", "-o", str(made)]
    subprocess.run(command, cwd=folder, check=True)
    return made


def offsets_of(made: Path) -> tuple[int, int]:
    """Give where `shown` and `after` begin."""
    loaded = ctypes.CDLL(str(made))
    base = next(
        int(line.split("-")[0], 16)
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(made))
    )
    shown, after = (
        ctypes.cast(getattr(loaded, name), ctypes.c_void_p).value for name in ("shown", "after")
    )
    assert shown is not None
    assert after is not None
    return shown - base, after - base


def test_static_functions_have_names_as_well(tmp_path: Path) -> None:
    made = build(tmp_path)
    shown, after = offsets_of(made)
    symbols = symbols_of(str(made))

    names = {symbols.name(at) for at in range(shown - 64, after + 2)}

    assert {"hidden", "shown", "after"} <= names
    assert symbols.name(shown) == "shown"
    assert symbols.name(after - 1) in ("shown", "")  # there may be a gap, but no overlap
    assert symbols.name(after + 100_000) == ""


def test_a_stripped_file_still_names_what_it_exports(tmp_path: Path) -> None:
    made = build(tmp_path, "-s")
    shown, after = offsets_of(made)
    symbols = symbols_of(str(made))

    assert (symbols.name(shown), symbols.name(after)) == ("shown", "after")
    assert "hidden" not in {symbols.name(at) for at in range(shown - 64, after)}


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x7fELF\2\1" + b"\xff" * 60, b"#!/bin/sh"])
def test_a_file_that_is_none_of_ours_names_nothing(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "odd.so"
    file.write_bytes(content)

    assert symbols_of(str(file)).name(16) == ""


def test_a_file_that_is_gone_names_nothing() -> None:
    assert symbols_of("/nowhere/gone.so (deleted)").name(16) == ""


def test_the_stacks_are_taken_out_of_what_a_dying_child_wrote() -> None:
    dump = (
        "faultinject: object 0 /lib/a b.so\n"
        "faultinject: object 1 /lib/c.so\n"
        "faultinject: fault 0+12 1+ff\n"
        "faultinject: crash ?+7f00 1+10\n"
        "Fatal Python error: Segmentation fault\n"
    )

    rest, fault, crash = part_dump(dump)

    assert rest == "Fatal Python error: Segmentation fault\n"
    assert fault == ["/lib/a b.so+0x12", "/lib/c.so+0xff"]
    assert crash == ["+0x7f00", "/lib/c.so+0x10"]
    assert read_stack(crash) == (Frame("", 0x7F00), Frame("/lib/c.so", 0x10))


@pytest.mark.parametrize(
    "dump", ["", "text\n", "faultinject: fault\n", "faultinject: crash 0+", "faultinject: obj"]
)
def test_a_dump_that_was_cut_off_is_read_as_far_as_it_goes(dump: str) -> None:
    _, fault, crash = part_dump(dump)

    assert (read_stack(fault), read_stack(crash)) == ((), ())


def test_the_hook_itself_is_left_out_of_a_stack() -> None:
    lines = ["/x/_hook.cpython-311-x86_64-linux-gnu.so+0x10", "/x/mine.so+0x20"]

    assert read_stack(lines) == (Frame("/x/mine.so", 0x20),)


def test_a_stack_ends_with_the_evaluation_of_python_code() -> None:
    named = ctypes.cast(ctypes.pythonapi._PyEval_EvalFrameDefault, ctypes.c_void_p).value
    maps = Path("/proc/self/maps")
    if named is None or not maps.exists():
        pytest.skip("needs /proc")
    base, path = 0, ""
    for line in maps.read_text().splitlines():
        fields = line.split(maxsplit=5)
        start, end = (int(text, 16) for text in fields[0].split("-"))
        if len(fields) == 6 and int(fields[2], 16) == 0:
            base = start
        if start <= named < end:
            path = fields[5]
            break

    stack = read_stack([f"{path}+{named - base + 9:#x}", "/x/pytest.so+0x20"])

    assert [frame.name for frame in stack] == ["_PyEval_EvalFrameDefault"]


def test_a_long_stack_is_said_in_a_short_line() -> None:
    names = [Frame(math.__file__ or os.sep, at, f"f{at}") for at in range(20)]

    assert in_a_line(tuple(names[:2])) == "f0 < f1"
    assert in_a_line(tuple(names)) == "f0 < f1 < f2 < f3 < f4 < f5 < f6 < f7 < ..."
    assert in_a_line((Frame("/lib/c.so", 16), Frame("", 32))) == "c.so+0x10 < ?+0x20"
