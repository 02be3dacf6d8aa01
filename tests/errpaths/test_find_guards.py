"""Handlers, finally, with and suppress: source in, paths out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from textwrap import dedent
from types import CodeType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultinject.errpaths.find import find_paths
from faultinject.errpaths.path import ErrorPath, PathKind, Span


def paths_of(source: str) -> tuple[ErrorPath, ...]:
    found = find_paths(dedent(source), "m.py")
    assert found.unreadable is None
    return found.paths


def shown(path: ErrorPath) -> str:
    """One path in short: lines, kind, entry, `~` where lines do not decide, function."""
    entry = ",".join(map(str, path.entry)) + ("" if path.by_line else "~")
    return f"{path.line}-{path.end_line} {path.kind.value} @{entry} {path.function}"


CASES = {
    "a handler": (
        """\
        def f():
            try:
                a()
            except OSError:
                b()
                c()
        """,
        ["4-6 except @5 f"],
    ),
    "a handler on one line": (
        "try: a()\nexcept OSError: b()\n",
        ["2-2 except @2~ <module>"],
    ),
    "a handler on one line that goes on": (
        "try: a()\nexcept OSError: b(\n    1)\n",
        ["2-3 except @3 <module>"],
    ),
    "several handlers, one bare": (
        "try:\n    a()\nexcept (OSError, x.Error) as e:\n    b()\nexcept:\n    pass\n",
        ["3-4 except @4 <module>", "5-6 except @6 <module>"],
    ),
    "except*": (
        "try:\n    a()\nexcept* OSError:\n    b()\nexcept* ValueError:\n    c()\n",
        ["3-4 except-star @4 <module>", "5-6 except-star @6 <module>"],
    ),
    "finally": (
        "try:\n    a()\n\nfinally:  # always\n\n    # really\n    b()\n    c()\n",
        ["4-8 finally @7~ <module>"],
    ),
    "everything at once": (
        "try:\n    a()\nexcept A:\n    b()\nelse:\n    c()\nfinally: d()\n",
        ["3-4 except @4 <module>", "7-7 finally @7~ <module>"],
    ),
    "with": (
        "with a() as x:\n    b()\n",
        ["1-1 with @1~ <module>"],
    ),
    "with over several lines": (
        "with (\n    a() as x,\n    b(\n      1),\n):\n    c()\n",
        ["1-4 with @1,2,3,4~ <module>"],
    ),
    "suppress": (
        "import contextlib\nwith contextlib.suppress(A, B):\n    b()\n",
        ["2-2 suppress @2~ <module>"],
    ),
    "suppress under another name": (
        "from contextlib import suppress as quiet\nwith quiet(A):\n    b()\n",
        ["2-2 suppress @2~ <module>"],
    ),
    "suppress that is somebody else's": (
        "from mine import suppress\nwith suppress(A):\n    b()\n",
        ["2-2 with @2~ <module>"],
    ),
    "suppress beside another manager": (
        "import contextlib\nwith (\n  a(),\n  contextlib.suppress(A),\n):\n    b()\n",
        ["2-4 with @2,3,4~ <module>", "4-4 suppress @2,4~ <module>"],
    ),
    "handlers inside handlers": (
        """\
        def f():
            try:
                a()
            except A:
                try:
                    b()
                except B:
                    c()
                finally:
                    d()
        """,
        ["4-10 except @5,6 f", "7-8 except @8 f", "9-10 finally @10~ f"],
    ),
    "async": (
        """\
        async def f():
            async with a():
                async for x in b():
                    try:
                        await x
                    except A:
                        await c()
        """,
        ["2-2 with @2~ f", "6-7 except @7 f"],
    ),
    "functions, classes and methods": (
        """\
        class C:
            try:
                a()
            except A:
                b()

            class D:
                def m(self):
                    def inner():
                        try: a()
                        except A:
                            b()
        """,
        ["4-5 except @5 C", "11-12 except @12 C.D.m.<locals>.inner"],
    ),
    "a class in a function": (
        """\
        def f():
            class C:
                def m(self):
                    with a():
                        b()
        """,
        ["4-4 with @4~ f.<locals>.C.m"],
    ),
    "in every kind of block": (
        """\
        if a:
            with b: pass
        elif c:
            with d: pass
        else:
            with e: pass
        for x in y:
            with f: pass
        else:
            with g: pass
        while h:
            with i: pass
        else:
            with j: pass
        match k:
            case 1:
                with l: pass
        """,
        [f"{line}-{line} with @{line}~ <module>" for line in (2, 4, 6, 8, 10, 12, 14, 17)],
    ),
    "a body that begins with a declaration": (
        """\
        def f():
            try:
                a()
            except A:
                global g
                x: int
                g = 1
        """,
        ["4-7 except @7 f"],
    ),
    "a body that is only a declaration": (
        "def f():\n    try:\n        a()\n    except A:\n        global g\n",
        ["4-5 except @5~ f"],
    ),
    "a body that begins with a decorated function": (
        "try:\n    a()\nexcept A:\n    @b\n    @c\n    def d(): pass\n",
        ["3-6 except @4,5,6 <module>"],
    ),
    "bodies that begin with a block": (
        """\
        try:
            a()
        except A:
            while True:
                b()
        except B:
            for x in y(
                1): pass
        except C:
            match z:
                case 1: pass
        except D:
            if 0: pass
            else: c()
        except E:
            if w(): pass
            else: c()
        """,
        [
            "3-5 except @4,5 <module>",
            "6-8 except @7,8 <module>",
            "9-11 except @10 <module>",
            "12-14 except @13 <module>",
            "15-17 except @16 <module>",
        ],
    ),
    "a form feed, tabs and a continued line": (
        "try:\n\ta()\n\x0c\nexcept \\\n A:\n\tb()\nfinally: \\\n  c()\n",
        ["4-6 except @6 <module>", "7-8 finally @8~ <module>"],
    ),
    "keywords in strings and comments": (
        's = """\ntry:\n    a()\nexcept A:\n    b()\n"""\n# finally: c()\n',
        [],
    ),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("source", "expected"), CASES.values(), ids=CASES)
def test_guards_are_found_with_their_lines(source: str, expected: list[str]) -> None:
    assert [shown(path) for path in paths_of(source)] == expected


def test_the_types_are_named_as_they_are_written() -> None:
    paths = paths_of("""\
        from contextlib import suppress
        try:
            a()
        except (OSError, socket.timeout, *MORE):
            b()
        except errors[0]:
            b()
        except:
            b()
        with suppress(OSError, (KeyError, IndexError)):
            c()
        """)

    assert [path.types for path in paths] == [
        ("OSError", "socket.timeout", "*MORE"),
        ("errors[0]",),
        (),
        ("OSError", "KeyError", "IndexError"),
    ]


def test_what_is_guarded_is_the_body_and_for_finally_the_handlers_too() -> None:
    paths = paths_of("""\
        try:
            a()
            b()
        except A:
            c()
        else:
            d()
        finally:
            e()
        with f:
            g()
            h()
        """)

    assert [(path.kind.value, path.guarded) for path in paths] == [
        ("except", (2, 3)),
        ("finally", (2, 7)),
        ("with", (11, 12)),
    ]


def test_the_place_of_an_exit_is_the_head_of_the_with_or_the_manager() -> None:
    paths = paths_of("""\
        from contextlib import suppress
        with a(), suppress(A), b() as c:
            d()
        with suppress(A):
            d()
        """)

    assert [(path.kind.value, path.code) for path in paths] == [
        ("with", Span(2, 0, 2, 26)),
        ("suppress", Span(2, 10, 2, 21)),
        ("suppress", Span(4, 0, 4, 16)),
    ]


def test_places_are_in_columns_of_bytes_as_the_interpreter_counts_them() -> None:
    source = "def f():\n  try: é = 'ü'\n  except Ä: é = 'ü'; g()\n"
    compiled = compile(source, "m.py", "exec").co_consts[0]

    path = paths_of(source)[0]

    assert path.code == Span(3, 13, 3, 27)
    assert (3, 3, 24, 27) in compiled.co_positions()  # g()
    assert path.code.covers(Span(3, 24, 3, 27))


def qualified_names(code: CodeType) -> Iterator[str]:
    yield code.co_qualname
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from qualified_names(constant)


@given(st.lists(st.sampled_from(["if", "for", "def", "class", "try", "with", "match"]), max_size=8))
def test_every_handler_is_found_however_deep_it_stands(blocks: list[str]) -> None:
    heads = {
        "if": ["if a:"],
        "for": ["for a in b:"],
        "def": ["def f():"],
        "class": ["class C:"],
        "try": ["try:", "  a", "except A:", "  a", "finally:"],
        "with": ["with a:"],
        "match": ["match a:", "  case 1:"],
    }
    lines, depth = [], 0
    for block in [*blocks, "try"]:
        lines += ["  " * depth + line for line in heads[block]]
        depth += 2 if block == "match" else 1
    source = "\n".join([*lines, "  " * depth + "a", ""])

    paths = find_paths(source, "m.py").paths

    compiled = compile(source, "m.py", "exec")
    assert {path.function for path in paths} <= set(qualified_names(compiled))
    expected = sum(isinstance(node, ast.ExceptHandler) for node in ast.walk(ast.parse(source)))
    assert [path.kind for path in paths].count(PathKind.EXCEPT) == expected
    assert [path.kind for path in paths].count(PathKind.WITH) == blocks.count("with")
    assert [path.kind for path in paths].count(PathKind.FINALLY) == expected
