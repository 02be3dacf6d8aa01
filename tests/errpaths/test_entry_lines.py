"""Entry lines against the interpreter: each source is run, well and badly, and its lines noted."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from textwrap import dedent, indent
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from faultinject.errpaths.find import find_paths

# Each is the body of run(); fi.kmalloc() gives None and fail() raises, or neither does.
# Every path of a body runs when they do.
BODIES = {
    "handlers": """\
        try:
            fail()
        except KeyError:
            "a constant first"
            x = 1
        try:
            fail()
        except KeyError as e:
            pass
        try: fail()
        except KeyError: x = [
            1, g()]
        try:
            fail()
        except* KeyError:
            ...
        """,
    "what can stand first in a handler": "\n".join(
        f"try:\n    fail()\nexcept KeyError:\n{indent(dedent(first), '    ')}"
        for first in [
            "x: int\nglobal y\ny = 1\n",
            "@d\n@d\ndef f(\n    a=1,\n): pass\n",
            "while True:\n    break\n",
            "while 0: pass\nelse: x = 1\n",
            "if 1: x = 1\n",
            "if 0: x = 1\nelse: x = 2\n",
            "for x in (\n    1,): pass\n",
            "with (\n    n,\n): pass\n",
            "try:\n    x = 1\nfinally:\n    pass\n",
            "match g(\n    ):\n    case _: pass\n",
            "(\n    g()\n)\n",
            "x = (\n    g())\n",
        ]
    ),
    "leaving a loop from a handler": """\
        for x in 1, 2:
            try:
                fail()
            except KeyError:
                continue
        while True:
            try:
                fail()
            except KeyError:
                break
            break
        """,
    "branches": """\
        p = fi.kmalloc(8)
        if p is None:
            pass
        if p is not None:
            pass
        else:
            x = 1
        if p: pass
        else: x = 2
        if p: pass
        elif (
            g()
        ): pass
        for i in 1, 2:
            if (p := fi.kmalloc(8)) is not None:
                break
        else:
            x = 3
        while (p := fi.kmalloc(8)) is None:
            break
        match fi.kmalloc(8):
            case None:
                x = 4
            case q:
                pass
        """,
    "continue": """\
        for x in 1, 2:
            if fi.kmalloc(8) is None:
                continue
            g()
        for x in 1, 2:
            if (p := fi.kmalloc(8)):
                continue
            g()
        """,
    "expressions": """\
        x = (
            fi.kmalloc(8)
            or g()
        )
        x = (
            None
            if not fi.kmalloc(8) else
            2
        )
        x = [
            p
            if (p := fi.kmalloc(8))
            else [g(
            )]
            for _ in (1, 2)
        ]
        f(
            x is None,
            fi.kmalloc(8) or
            (g() + 1),
        )
        """,
    "raising": """\
        def a():
            if fi.kmalloc(8) is None:
                raise (
                    KeyError
                )
        def b():
            if fi.kmalloc(8) is None:
                return None
            return 1
        def c():
            p = fi.kmalloc(8)
            if p:
                return p
            return (
                False)
        b()
        c()
        a()
        """,
}

# Here nothing fails, and the entry lines run all the same.
UNDECIDED = """\
    try:
        fail()
    finally:
        x = 1
    with n: x = 2
    if not fi.kmalloc(8): x = 3
    x = fi.kmalloc(8) or g()
    x = fi.kmalloc(8) if fi.kmalloc(8) else g()
    assert fi.kmalloc(8) is not None
    """


class Nothing:
    """A context manager that swallows everything."""

    def __enter__(self) -> None: ...

    def __exit__(self, *raised: object) -> bool:
        return True


def lines_of_run(source: str, *, failing: bool) -> set[int]:
    """The lines that run() executes, functions inside it included."""

    def fail() -> None:
        if failing:
            raise KeyError

    names: dict[str, Any] = {
        "fi": SimpleNamespace(kmalloc=lambda size: None if failing else object()),
        "fail": fail,
        "d": lambda function: function,
        "f": lambda *values: None,
        "g": lambda: 7,
        "n": Nothing(),
    }
    exec(compile(source, "m.py", "exec"), names)
    lines = set()

    def trace(frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename != "m.py":
            return None
        if event == "line":
            lines.add(frame.f_lineno)
        return trace

    def run() -> None:
        sys.settrace(trace)
        with suppress(KeyError, AssertionError):
            names["run"]()

    # In a thread of its own: this one's trace function may be a debugger's or coverage's.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return lines


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_entry_lines_run_with_their_path_and_not_without_it(body: str) -> None:
    source = "def run():\n" + indent(dedent(body), "    ")
    paths = find_paths(source, "m.py").paths
    assert paths

    well = lines_of_run(source, failing=False)
    badly = lines_of_run(source, failing=True)

    for path in paths:
        assert badly & set(path.entry), path
        if path.by_line:
            assert not well & set(path.entry), path


def test_lines_that_run_otherwise_too_are_said_not_to_decide() -> None:
    source = "def run():\n" + indent(dedent(UNDECIDED), "    ")
    paths = find_paths(source, "m.py").paths

    well = lines_of_run(source, failing=False)

    assert [path.by_line for path in paths] == [False] * 6
    for path in paths:
        assert well & set(path.entry), path
