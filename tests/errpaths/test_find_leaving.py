"""Ways out of a branch on a failed allocation, and branches that are what a success left behind."""

from __future__ import annotations

from textwrap import dedent

import pytest
from path_notation import HEAD, paths_of, shown

LEAVING = {
    "raise": (
        "p = fi.kmalloc(8)\nif p is None:\n    raise MemoryError('p')\n",
        ["3-4 none-branch @4 <2", "4-4 raise @4 <2"],
    ),
    "raise on one line": (
        "p = fi.kmalloc(8)\nif p is None: a(); raise MemoryError\n",
        ["3-3 none-branch @3~ <2", "3-3 raise @3~ <2"],
    ),
    "raise deeper inside": (
        """\
        p = fi.kmalloc(8)
        if p is None:
            for x in y:
                if x:
                    raise A
            with z:
                raise B
        """,
        [
            "3-8 none-branch @4 <2",
            "6-6 raise @6 <2",
            "7-7 with @7~ <",
            "8-8 raise @8 <2",
        ],
    ),
    "raise in a function that is only made there": (
        "p = fi.kmalloc(8)\nif p is None:\n    def f():\n        raise A\n",
        ["3-5 none-branch @4 <2"],
    ),
    "a raise elsewhere": ("p = fi.kmalloc(8)\nif q is None:\n    raise A\n", []),
    "returns of errors": (
        """\
        def f():
            p = fi.kmalloc(8)
            if p is None:
                if a: return
                if b: return None
                if c: return False
                if d: return -errno.ENOMEM
                if e: return errno.ENOMEM
                if g: return -1
                if h: return p
                if i: return None, 3
                if j: return ERR_PTR(3)
                return NULL
        """,
        ["4-14 none-branch @5 <3"]
        + [f"{line}-{line} error-return @{line}~ <3" for line in range(5, 14)]
        + ["14-14 error-return @14 <3"],
    ),
    "returns of something else": (
        """\
        def f():
            p = fi.kmalloc(8)
            if p is None:
                if a: return SPARE
                if b: return True
                if c: return 0
                return spare()
        """,
        ["4-8 none-branch @5 <3"],
    ),
    "the success returns, the rest is the failure": (
        """\
        def f():
            p = fi.kmalloc(8)
            if p is not None:
                return p
            log()
            raise MemoryError
        """,
        ["6-7 else @6 <3", "7-7 raise @7 <3"],
    ),
    "the success goes round": (
        """\
        for x in y:
            p = fi.kmalloc(8)
            if p:
                continue
            missing += 1
        done()
        """,
        ["6-6 else @6 <3"],
    ),
    "the success breaks a loop with an else": (
        """\
        for order in 3, 2, 1:
            if (p := fi.alloc_pages(0, order)) is not None:
                break
        else:
            raise MemoryError
        done()
        """,
        ["5-6 else @6 <3", "6-6 raise @6 <3"],
    ),
    "the success breaks a loop without": (
        "for o in r:\n    p = fi.kmalloc(o)\n    if p:\n        break\ndone()\n",
        [],
    ),
    "the success returns from a loop": (
        """\
        def f():
            for node in nodes:
                for order in 3, 2, 1:
                    p = fi.alloc_pages(0, order)
                    if p is not None:
                        return p
            return None
        """,
        ["8-8 else @8 <5", "8-8 error-return @8 <5"],
    ),
    "the success returns from an endless loop": (
        """\
        def f():
            while True:
                p = fi.kmalloc(8)
                if p:
                    return p
                wait()
            never()
        """,
        ["7-7 else @7 <4"],
    ),
    "the success returns from a with or a try": (
        """\
        def f():
            with lock:
                p = fi.kmalloc(8)
                if p:
                    return p
            try:
                if q := fi.kmalloc(8):
                    return q
            finally:
                a()
            return None
        """,
        [
            "3-3 with @3~ <",
            "7-12 else @7,8 <4",
            "10-11 finally @11~ <",
            "12-12 else @12 <8",
            "12-12 error-return @12 <4,8",
        ],
    ),
    "the success returns from a try with a handler": (
        """\
        def f():
            try:
                if p := fi.kmalloc(8):
                    return p
            except A:
                a()
            return None
        """,
        ["6-7 except @7 <"],
    ),
    "a loop that ends when memory does": (
        "while (p := fi.kmalloc(8)) is not None:\n    keep(p)\ndone()\n",
        [],
    ),
}


@pytest.mark.parametrize(("source", "expected"), LEAVING.values(), ids=LEAVING)
def test_ways_out_of_a_branch_are_paths_of_their_own(source: str, expected: list[str]) -> None:
    assert [shown(path) for path in paths_of(HEAD + dedent(source))] == expected


def test_what_a_branch_raises_is_named() -> None:
    paths = paths_of("""\
        from faultinject import kmalloc
        p = kmalloc(8)
        if p is None:
            if a: raise
            if b: raise OSError(12, "x") from None
            raise errors.NoMemory
        assert p
        """)

    types = [path.types for path in paths if path.kind.value == "raise"]
    assert types == [(), ("OSError",), ("errors.NoMemory",)]
