"""Branches on a failed allocation: source in, paths out."""

from __future__ import annotations

from textwrap import dedent

import pytest
from path_notation import HEAD, paths_of, shown

TESTS = {
    "is None": (
        "p = fi.kmalloc(8)\nif p is None:\n    a()\n",
        ["3-4 none-branch @4 <2"],
    ),
    "not": ("p = fi.kmalloc(8)\nif not p:\n    a()\n", ["3-4 none-branch @4 <2"]),
    "== None": ("p = fi.kmalloc(8)\nif p == None:\n    a()\n", ["3-4 none-branch @4 <2"]),
    "None is": ("p = fi.kmalloc(8)\nif None is p:\n    a()\n", ["3-4 none-branch @4 <2"]),
    "NULL": ("p = fi.kmalloc(8)\nif p == ffi.NULL:\n    a()\n", ["3-4 none-branch @4 <2"]),
    "bool()": ("p = fi.kmalloc(8)\nif not bool(p):\n    a()\n", ["3-4 none-branch @4 <2"]),
    "on one line": ("p = fi.kmalloc(8)\nif p is None: a()\n", ["3-3 none-branch @3~ <2"]),
    "another test": ("p = fi.kmalloc(8)\nif p == 3 or p in q or p is q:\n    a()\n", []),
    "a chained test": ("p = fi.kmalloc(8)\nif None is p is None:\n    a()\n", []),
    "walrus": (
        "if (p := fi.kmalloc(8)) is None:\n    a()\nif not (q := fi.kmalloc(8)):\n    a()\n",
        ["2-3 none-branch @3 <2", "4-5 none-branch @5 <4"],
    ),
    "no name at all": ("if fi.kmalloc(8) is None:\n    a()\n", ["2-3 none-branch @3 <2"]),
    "else": (
        "p = fi.kmalloc(8)\nif p is not None:\n    a()\nelse:\n    b()\n",
        ["5-6 else @6 <2"],
    ),
    "else on one line, which runs only then": (
        "p = fi.kmalloc(8)\nif p: a()\nelse: b()\n",
        ["4-4 else @4 <2"],
    ),
    "elif": (
        "p = fi.kmalloc(8)\nif p:\n    a()\nelif q:\n    b()\nelse:\n    c()\n",
        ["5-8 else @5 <2"],
    ),
    "elif is None": (
        "p = fi.kmalloc(8)\nif q:\n    a()\nelif p is None:\n    b()\n",
        ["5-6 none-branch @6 <2"],
    ),
    "no else, and nothing behind": ("p = fi.kmalloc(8)\nif p:\n    a()\n", []),
    "and": (
        "p = fi.kmalloc(8)\nif p is None and flag:\n    a()\n",
        ["3-4 none-branch @4 <2"],
    ),
    "and that does something": (
        "p = fi.kmalloc(8)\nif p is None and reclaim():\n    a()\n",
        ["3-3 none-branch @3~ <2", "3-4 none-branch @4 <2"],
    ),
    "or of two": (
        "p = fi.kmalloc(8)\nq = fi.kzalloc(8)\nif p is None or not q:\n    a()\n",
        ["4-5 none-branch @5 <2,3"],
    ),
    "and of two successes": (
        "p = fi.kmalloc(8)\nq = fi.kzalloc(8)\nif p and q is not None:\n    a()\nelse:\n    b()\n",
        ["6-7 else @7 <2,3"],
    ),
    "not over and": (
        "p = fi.kmalloc(8)\nq = fi.kzalloc(8)\nif not (p and q):\n    a()\n",
        ["4-5 none-branch @5 <2,3"],
    ),
    "checked twice": (
        """\
        def f():
            p = fi.kmalloc(8)
            if p is None:
                return None
            if p is None:
                a()
        """,
        ["4-5 none-branch @5 <3", "5-5 error-return @5 <3"],
    ),
    "checked twice, the first time to no effect": (
        "p = fi.kmalloc(8)\nif p is None:\n    a()\nif p is None:\n    b()\n",
        ["3-4 none-branch @4 <2", "5-6 none-branch @6 <2"],
    ),
    "mended": (
        "p = fi.kmalloc(8)\nif p is None:\n    p = spare\nif p is None:\n    b()\n",
        ["3-4 none-branch @4 <2"],
    ),
    "another try in the branch": (
        """\
        def f():
            p = fi.alloc_pages(0, 3)
            if p is None:
                p = fi.alloc_pages(0, 0)
                if p is None:
                    return -errno.ENOMEM
            return p
        """,
        ["4-7 none-branch @5 <3", "6-7 none-branch @7 <5", "7-7 error-return @7 <3,5"],
    ),
    "while": (
        "while (p := fi.kmalloc(8)) is None:\n    wait()\n",
        ["2-3 none-branch @3 <2"],
    ),
    "while, until it is there": (
        "p = fi.kmalloc(8)\nwhile p is None:\n    p = fi.kmalloc(8)\nif p is None:\n    a()\n",
        ["3-4 none-branch @4 <2"],
    ),
    "while, given up": (
        "while not (p := fi.kmalloc(8)):\n    break\nif p is None:\n    a()\n",
        ["2-3 none-branch @3 <2", "4-5 none-branch @5 <2"],
    ),
    "while, given up in the else of a loop": (
        """\
        while (p := fi.kmalloc(8)) is None:
            for x in y:
                pass
            else:
                break
        if p is None:
            a()
        """,
        ["2-6 none-branch @3 <2", "7-8 none-branch @8 <2"],
    ),
    "while not, else": (
        "p = fi.kmalloc(8)\nwhile p:\n    p = fi.kmalloc(8)\nelse:\n    a()\n",
        ["5-6 else @6 <2"],
    ),
    "assert": (
        "p = fi.kmalloc(8)\nassert p is not None, 'none'\nassert p\n",
        ["3-3 raise @3~ <2"],
    ),
    "two names": (
        "p, q = fi.kmalloc(8), fi.kzalloc(8)\nif p is None:\n    a()\nif q is None:\n    a()\n",
        ["3-4 none-branch @4 <2", "5-6 none-branch @6 <2"],
    ),
    "an alias": (
        "p = fi.kmalloc(8)\nq = r = p\nif r is None:\n    a()\n",
        ["4-5 none-branch @5 <2"],
    ),
    "another value": ("p = fi.kmalloc(8)\np = other()\nif p is None:\n    a()\n", []),
    "deleted": ("p = fi.kmalloc(8)\ndel p\nif p is None:\n    a()\n", []),
    "an attribute": (
        "self.p = fi.kmalloc(8)\nif self.p is None:\n    a()\n",
        ["3-4 none-branch @4 <2"],
    ),
    "an attribute of what is another object by now": (
        "o.p = fi.kmalloc(8)\no = other()\nif o.p is None:\n    a()\n",
        [],
    ),
    "an element": (
        "s[i] = fi.kmalloc(8)\nif s[i] is None:\n    a()\n",
        ["3-4 none-branch @4 <2"],
    ),
    "an element by another index": (
        "s[i] = fi.kmalloc(8)\nassert s[i]\ni = 2\nif s[i] is None:\n    a()\n",
        ["3-3 raise @3~ <2", "5-6 none-branch @6 <2"],
    ),
    "elements of a list": (
        "s = []\ns.append(fi.kmalloc(8))\nif None in s:\n    a()\n",
        ["4-5 none-branch @5 <3"],
    ),
    "None not in": (
        "s = [fi.kmalloc(8)]\nif None not in s:\n    a()\nelse:\n    b()\n",
        ["5-6 else @6 <2"],
    ),
    "elements in a loop": (
        "s = [fi.kmalloc(8) for _ in r]\nfor i, p in enumerate(s):\n"
        "    if p is None:\n        a()\n",
        ["4-5 none-branch @5 <2"],
    ),
    "all and any": (
        """\
        s = [fi.kmalloc(8) for _ in r]
        if not all(s):
            a()
        if any(p is None for p in s):
            b()
        if all(p is not None for p in s):
            c()
        else:
            d()
        """,
        ["3-4 none-branch @4 <2", "5-6 none-branch @6 <2", "9-10 else @10 <2"],
    ),
    "either of two ways": (
        "if a:\n    p = fi.kmalloc(8)\nelse:\n    p = fi.kzalloc(8)\nif p is None:\n    b()\n",
        ["6-7 none-branch @7 <3,5"],
    ),
    "allocated in a try": (
        "try:\n    p = fi.kmalloc(8)\nexcept A:\n    b()\nif p is None:\n    c()\n",
        ["4-5 except @5 <", "6-7 none-branch @7 <3"],
    ),
    "allocated in a with": (
        "with a:\n    p = fi.kmalloc(8)\nif p is None:\n    c()\n",
        ["2-2 with @2~ <", "4-5 none-branch @5 <3"],
    ),
    "a variable of another function": (
        "def f():\n    p = fi.kmalloc(8)\ndef g(p):\n    if p is None:\n        a()\n",
        [],
    ),
    "an attribute of another function's variable by the same name": (
        """\
        def f():
            o.p = fi.kmalloc(8)
            def g(o):
                if o.p is None:
                    a()
        """,
        [],
    ),
    "a variable of the enclosing function": (
        """\
        def f():
            p = fi.kmalloc(8)
            def g():
                if p is None:
                    a()
        """,
        ["5-6 none-branch @6 <3"],
    ),
}

EXPRESSIONS = {
    "x if p is not None else y": (
        "p = fi.kmalloc(8)\nx = p if p is not None else y\n",
        ["3-3 else @3~ <2"],
    ),
    "y if p is None else x, over lines": (
        "p = fi.kmalloc(8)\nx = (\n    y\n    if p is None\n    else p\n)\n",
        ["4-4 none-branch @4~ <2"],
    ),
    "what was chosen is good": (
        "p = fi.kmalloc(8)\nx = p if p is not None else y\nif x is None:\n    a()\n",
        ["3-3 else @3~ <2"],
    ),
    "is None and": ("p = fi.kmalloc(8)\np is None and a()\n", ["3-3 none-branch @3~ <2"]),
    "is not None or": ("p = fi.kmalloc(8)\np is not None or a()\n", ["3-3 none-branch @3~ <2"]),
    "or": ("p = fi.kmalloc(8) or a()\n", ["2-2 none-branch @2~ <2"]),
    "or over lines": (
        "p = (\n    fi.kmalloc(8)\n    or fi.kzalloc(8)\n    or a()  # the last\n)\n",
        ["4-5 none-branch @4,5 <3", "5-5 none-branch @5 <4"],
    ),
    "or inside or": (
        "x = (fi.kmalloc(8) or a) or (fi.kzalloc(8) or b)\n",
        ["2-2 none-branch @2~ <2"] * 3,
    ),
    "and that goes on only with a success": ("p = fi.kmalloc(8)\np and a(p)\n", []),
    "in a lambda": (
        "f = lambda: fi.kmalloc(8) or a()\nif f() is None:\n    b()\n",
        ["2-2 none-branch @2~ <2"],
    ),
    "in a comprehension": (
        "x = [p if p else y for _ in r if (p := fi.kmalloc(8)) or a()]\n",
        ["2-2 else @2~ <2", "2-2 none-branch @2~ <2"],
    ),
    "in a comprehension that leaves the failures out": (
        "x = [p or y for _ in r if (p := fi.kmalloc(8)) is not None]\n",
        [],
    ),
    "in an argument, a default and a decorator": (
        "g(fi.kmalloc(1) or a())\n@d(fi.kmalloc(2) or a())\ndef f(x=fi.kmalloc(3) or a()): pass\n",
        [f"{line}-{line} none-branch @{line}~ <{line}" for line in (2, 3, 4)],
    ),
    "awaited": (
        "async def f():\n    p = await g()\n    if p is None:\n        a()\n"
        "async def g():\n    return fi.kmalloc(8)\n",
        ["4-5 none-branch @5 <3,7"],
    ),
}

MATCHES = {
    "case None": (
        "match fi.kmalloc(8):\n    case None:\n        a()\n    case p:\n        b(p)\n",
        ["3-4 none-branch @4 <2"],
    ),
    "on one line": (
        "match fi.kmalloc(8):\n    case None: a()\n",
        ["3-3 none-branch @3~ <2"],
    ),
    "case None or": (
        "p = fi.kmalloc(8)\nmatch p:\n    case 1 | None as q:\n        a()\n",
        ["4-5 none-branch @5 <2"],
    ),
    "what a class does not take": (
        "match fi.kmalloc(8):\n    case fi.Pointer():\n        a()\n    case _:\n        b()\n",
        ["5-6 else @6 <2"],
    ),
    "nothing is left": (
        "match fi.kmalloc(8):\n    case None:\n        a()\n    case fi.Pointer():\n"
        "        b()\n    case _:\n        c()\n",
        ["3-4 none-branch @4 <2"],
    ),
    "a guard": (
        "match fi.kmalloc(8):\n    case p if p is None:\n        a()\n",
        ["3-4 none-branch @4 <2"],
    ),
    "a case that takes everything under a condition": (
        "p = fi.kmalloc(8)\nmatch p:\n    case _ if a:\n        if p is None:\n            b()\n",
        ["5-6 none-branch @6 <2"],
    ),
    "two at once": (
        "match fi.kmalloc(8), fi.kzalloc(8):\n    case (None, _) | (_, None):\n        a()\n",
        ["3-4 none-branch @4 <2"],
    ),
    "more than there are": (
        "match fi.kmalloc(8), x:\n    case (None, _, _):\n        a()\n",
        [],
    ),
    "checked by it": (
        "def f():\n    p = fi.kmalloc(8)\n    match p:\n        case None:\n"
        "            return None\n    if p is None:\n        a()\n",
        ["5-6 none-branch @6 <3", "6-6 error-return @6 <3"],
    ),
}


@pytest.mark.parametrize(("source", "expected"), TESTS.values(), ids=TESTS)
def test_branches_are_found_by_their_tests(source: str, expected: list[str]) -> None:
    assert [shown(path) for path in paths_of(HEAD + dedent(source))] == expected


@pytest.mark.parametrize(("source", "expected"), EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_expressions_can_be_branches(source: str, expected: list[str]) -> None:
    assert [shown(path) for path in paths_of(HEAD + dedent(source))] == expected


@pytest.mark.parametrize(("source", "expected"), MATCHES.values(), ids=MATCHES)
def test_cases_can_be_branches(source: str, expected: list[str]) -> None:
    assert [shown(path) for path in paths_of(HEAD + dedent(source))] == expected


def test_a_lambda_is_a_function_with_a_name() -> None:
    paths = paths_of("""\
        from faultinject import kmalloc
        def f():
            return [lambda: kmalloc(8) or a() for _ in b]
        """)

    assert [path.function for path in paths] == ["f.<locals>.<lambda>"]
