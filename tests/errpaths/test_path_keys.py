"""Keys: they tell paths of a file apart, and survive what happens elsewhere in it."""

from __future__ import annotations

from textwrap import dedent

from faultinject.errpaths.find import find_paths

SOURCE = dedent("""\
    import faultinject as fi


    def f():
        try:
            a()
        except OSError:
            b()


    class C:
        def m(self):
            p = fi.kmalloc(8)
            if p is None:
                raise MemoryError
            with lock, fi.paused():
                return p or q
            if fi.kmalloc(8) is None:
                raise MemoryError
    """)


def keys(source: str) -> list[str]:
    return [path.key for path in find_paths(source, "m.py").paths]


def test_keys_are_unique_and_speak() -> None:
    found = keys(SOURCE)

    assert len(set(found)) == len(found) == 6
    assert [key.rsplit(":", 2)[0] for key in found] == [
        "f:except",
        "C.m:none-branch",
        "C.m:raise",
        "C.m:with",
        "C.m:none-branch",
        "C.m:raise",
    ]
    assert [key.rpartition(":")[2] for key in found] == ["1", "1", "1", "1", "1", "2"]


def test_keys_survive_lines_above_comments_and_indentation() -> None:
    edited = SOURCE.replace("def f", "import os\n\n\ndef g():\n    with x: pass\n\n\ndef f")
    edited = edited.replace("        b()", "        # why not\n\n        b()")
    deeper = SOURCE.replace("def f():\n", "def f():\n    while a:\n").replace(
        "    try:\n        a()\n    except OSError:\n        b()\n",
        "        try:\n            a()\n        except OSError:\n            b()\n",
    )

    assert [key for key in keys(edited) if not key.startswith("g:")] == keys(SOURCE)
    assert keys(deeper) == keys(SOURCE)


def test_another_path_in_the_function_leaves_the_others_keys_alone() -> None:
    edited = SOURCE.replace("    try:\n", "    try:\n        c()\n    except ValueError:\n"
                            "        d()\n    try:\n")  # fmt: skip

    assert set(keys(SOURCE)) <= set(keys(edited))
    assert len(keys(edited)) == 7


def test_a_path_that_was_edited_has_another_key() -> None:
    for old, new in [("b()", "c()"), ("except OSError", "except KeyError"), ("def f", "def g")]:
        before, after = keys(SOURCE), keys(SOURCE.replace(old, new))

        assert before[0] != after[0]
        assert before[1:] == after[1:]


def test_a_key_does_not_depend_on_the_interpreter() -> None:
    # Written down by Python 3.11; reports are merged from machines with another.
    assert keys("try: a\nexcept (A, B) as e:\n    b('x'); c[1:2, ...]\n") == [
        "<module>:except:0c0fe31c:1"
    ]
