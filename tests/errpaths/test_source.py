"""Sources of every sort, good and bad: what cannot be read is reported and never raised."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultinject.errpaths.find import find_in_file, find_paths
from faultinject.errpaths.source import Source, parse, span_of

HANDLER = "try:\n    a()\nexcept Ä:\n    b()\n"

READABLE = {
    "utf-8": HANDLER.encode(),
    "utf-8 with a mark": b"\xef\xbb\xbf" + HANDLER.encode(),
    "latin-1 with a cookie": b"# coding: latin-1\n" + HANDLER.encode("latin-1"),
    "a cookie on the second line": b"#!x\n# vim: fileencoding=cp1252\n" + HANDLER.encode("cp1252"),
    "cr lf": HANDLER.replace("\n", "\r\n").encode(),
    "cr": HANDLER.replace("\n", "\r").encode(),
    "no newline at the end": HANDLER.rstrip().encode(),
    "tabs": HANDLER.replace("    ", "\t").encode(),
    "form feeds": b"\x0c\n" + HANDLER.replace("except", "\x0cexcept").encode(),
    "separators in a string": b"s = '\x1c \xe2\x80\xa8'\n" + HANDLER.encode(),
    "text": HANDLER,
    "text with a mark": "\ufeff" + HANDLER,
    "text with a cookie that does not count": "# coding: ascii\n" + HANDLER,
}


@pytest.mark.parametrize("content", READABLE.values(), ids=READABLE)
def test_a_source_is_decoded_as_python_does_it(content: bytes | str) -> None:
    found = find_paths(content, "m.py")

    assert found.unreadable is None
    (path,) = found.paths
    assert path.types == ("Ä",)
    assert path.entry == (path.line + 1,)
    # The same text has the same key, however it was written down.
    assert path.key == find_paths(HANDLER, "m.py").paths[0].key


UNREADABLE = {
    "no python": (b"a = 1\ndef f(:\n", 2, "does not parse"),
    "not even tokens": (b"s = '\n", 1, "does not parse"),
    "wrong indentation": (b"if a:\n        b\n    c\n", 3, "does not parse"),
    "tabs and spaces mixed": (b"if a:\n        b\n\tc\n", 3, "does not parse"),
    "python 2": (b"try:\n    a\nexcept A, e:\n    b\n", 3, "does not parse"),
    "no utf-8": (b"a = 1\nb = '\xff'\n", 2, "cannot be decoded"),
    "no utf-8 behind the first lines": (b"a\n" * 9 + b"'\xff'\n", 10, "cannot be decoded"),
    "an unknown encoding": (b"# coding: klingon\n", 0, "cannot be decoded"),
    "a mark that contradicts the cookie": (b"\xef\xbb\xbf# coding: latin-1\n", 0, "cannot be"),
    "null bytes": (b"a = 1\0\n", None, "does not parse"),
    "nested too deeply": (b"(" * 5000 + b")" * 5000, None, "does not parse"),
}


@pytest.mark.parametrize(("content", "line", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_reported_with_its_line(
    content: bytes, line: int | None, reason: str
) -> None:
    found = find_paths(content, "dir/m.py")

    assert found.paths == ()
    assert found.unreadable is not None
    assert found.digest
    assert reason in found.unreadable.reason
    assert line is None or found.unreadable.line == line
    assert str(found.unreadable).startswith(f"dir/m.py:{line}: " if line else "dir/m.py")


def test_a_deep_expression_in_a_source_that_parses_is_read_or_reported() -> None:
    chain = "import faultinject as fi\np = " + "fi.kmalloc(1) or (" * 90 + "a" + ")" * 90 + "\n"
    deep = "x = " + "-" * 800 + "1\nfi.kmalloc(8)\n"

    assert len(find_paths(chain, "m.py").paths) == 90
    assert find_paths(deep, "m.py").paths == ()


def test_a_long_sum_and_a_long_elif_are_not_too_deep() -> None:
    total = "import faultinject as fi\nx = " + " + ".join(["a"] * 900) + "\n"
    ladder = "if a:\n    pass\n" + "elif a:\n    pass\n" * 900
    handler = "else:\n    try: a\n    except A:\n        b\n"

    # A compiler may refuse so much; what it takes must be read.
    for source, expected in [(total + HANDLER, 1), (total + ladder + handler, 1)]:
        found = find_paths(source, "m.py")
        assert found.unreadable is None
        assert len(found.paths) == expected


def test_a_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    for file in (tmp_path / "missing.py", tmp_path):
        found = find_in_file(str(file))

        assert found.unreadable is not None
        assert found.unreadable.reason.startswith("cannot be read: ")
        assert (found.file, found.digest, found.paths) == (str(file), "", ())


def test_the_digest_tells_a_changed_file(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_bytes(HANDLER.encode())
    before = find_in_file(str(file))
    file.write_bytes(HANDLER.encode() + b"\n")

    assert find_in_file(str(file)).digest != before.digest
    assert before.digest == find_paths(HANDLER, "m.py").digest


def test_nothing_that_a_source_warns_about_is_warned_about_here() -> None:
    # Warnings are errors in this suite.
    found = find_paths("try:\n    a = '\\d'\nfinally:\n    1 is 1\n", "m.py")

    assert len(found.paths) == 1


def test_a_file_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("raise SystemExit('imported')\ntry: a\nexcept A: b\n")
    code = (
        "import sys; from faultinject.errpaths.find import find_in_file; "
        "print(len(find_in_file('m.py').paths), 'm' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout == "1 False\n"


@given(st.text("aé'()[]{}:=\n\t\x0c \\#\"ß0", max_size=40) | st.text(max_size=40))
def test_no_text_makes_the_finder_raise(text: str) -> None:
    prefix = "import faultinject as fi\np = fi.kmalloc(8)\nif p is None:\n    pass\n"

    assert find_paths(prefix + text, "m.py").file == "m.py"


@given(st.binary(max_size=60))
def test_no_bytes_make_the_finder_raise(content: bytes) -> None:
    assert find_paths(content, "m.py").file == "m.py"


def test_a_span_is_cut_out_of_the_text_by_bytes() -> None:
    source = parse("é = ('ü',\n 'ö', [\n  ä])  # ß\n", "m.py")
    assert isinstance(source, Source)
    span = span_of(source.tree.body[0].value)  # type: ignore[attr-defined]

    assert source.before(span) == "é = "
    assert source.cut(span) == "('ü',\n 'ö', [\n  ä])"
    assert source.after(span) == "  # ß"
