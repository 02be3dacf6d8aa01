"""The text of faults: what a call fails with."""

from __future__ import annotations

import errno
import os
import pickle
import socket
import sqlite3
import subprocess
import sys
import types
from collections.abc import Iterator

import pytest

from faultinject.errors import SpecError
from faultinject.functions.fault import Kind, parse

READ_BACK = [
    ("ENOSPC", "OSError(ENOSPC)"),
    (" OSError( 28 ) ", "OSError(ENOSPC)"),
    ("OSError(ENOSPC)  after", "OSError(ENOSPC) after"),
    ("ENOSPC before", "OSError(ENOSPC)"),
    ("PermissionError(EACCES)", "PermissionError(EACCES)"),
    ("PermissionError", "PermissionError(EACCES)"),
    ("socket.error(ENOENT)", "OSError(ENOENT)"),
    ("OSError(ENOSPC, 'full')", "OSError(ENOSPC, 'full')"),
    ("TimeoutError", "TimeoutError"),
    ("TimeoutError()", "TimeoutError"),
    ("socket.timeout('timed out')", "TimeoutError('timed out')"),
    ("socket.error(ECONNRESET)", "OSError(ECONNRESET)"),
    ("socket.gaierror(EAI_AGAIN, 'again')", "socket.gaierror(EAI_AGAIN, 'again')"),
    ('sqlite3.OperationalError("x")', "sqlite3.OperationalError('x')"),
    ("json:JSONDecodeError('m', 'd', 0)", "json.decoder.JSONDecodeError('m', 'd', 0)"),
    ("ImportError('x', name = 'y')", "ImportError('x', name='y')"),
    ("corner_shop:Closed", "corner_shop.Closed"),
    ("returns=None", "returns=None"),
    ("returns= [1,{'a': b'2'}] after", "returns=[1, {'a': b'2'}] after"),
    ("returns=-ENOSPC", "returns=-ENOSPC"),
    ("returns='a after'", "returns='a after'"),
    ("short-read", "short-read=1"),
    ("short-write=512", "short-write=512"),
]


@pytest.fixture(autouse=True)
def shop() -> Iterator[types.ModuleType]:
    module = types.ModuleType("corner_shop")
    sys.modules["corner_shop"] = module
    exec(
        "class Closed(Exception): ...\n"
        "class Robbed(Exception):\n    def __init__(self, loot): super().__init__(loot)\n"
        "class Fickle(Exception):\n    def __new__(cls): return 3\n",
        vars(module),
    )
    yield module
    del sys.modules["corner_shop"]


@pytest.mark.parametrize(("text", "canonical"), READ_BACK)
def test_a_fault_has_one_text_that_reads_back(text: str, canonical: str) -> None:
    fault = parse(text)

    assert fault.text == canonical == str(fault)
    assert parse(fault.text) == fault
    assert pickle.loads(pickle.dumps(fault)) == fault


@pytest.mark.parametrize(
    ("text", "cls"),
    [
        ("EACCES", PermissionError),
        ("OSError(ECONNRESET)", ConnectionResetError),
        ("ETIMEDOUT", TimeoutError),
        ("ENOSPC", OSError),
    ],
)
def test_an_error_number_comes_as_python_raises_it(text: str, cls: type[OSError]) -> None:
    error = parse(text).make()

    assert type(error) is cls
    assert isinstance(error, OSError)
    assert error.errno in errno.errorcode
    assert error.strerror == os.strerror(error.errno)


def test_each_exception_and_value_is_a_fresh_one() -> None:
    fault, listed = parse("ENOSPC"), parse("returns=[1]")

    assert fault.make() is not fault.make()
    assert listed.value == [1]
    assert listed.value is not listed.value


def test_arguments_are_literals_or_numbers_by_name() -> None:
    unknown = parse("socket.gaierror(EAI_NONAME, 'unknown')").make()
    late = parse("subprocess.TimeoutExpired(['cc', '-c'], 2.5)").make()
    missing = parse("ImportError('no', name='y')").make()

    assert unknown.args == (socket.EAI_NONAME, "unknown")
    assert isinstance(late, subprocess.TimeoutExpired)
    assert (late.cmd, late.timeout) == (["cc", "-c"], 2.5)
    assert isinstance(missing, ImportError)
    assert missing.name == "y"


def test_an_error_of_sqlite_has_the_number_that_sqlite3_gives_it() -> None:
    error = parse("sqlite3.OperationalError('database is locked')").make()

    assert isinstance(error, sqlite3.OperationalError)
    assert error.sqlite_errorcode == sqlite3.SQLITE_BUSY
    assert error.sqlite_errorname == "SQLITE_BUSY"


def test_the_words_of_sqlite_are_those_of_the_library(tmp_path: object) -> None:
    database = sqlite3.connect(f"{tmp_path}/a.db")
    database.execute("create table t (x)")
    database.commit()
    database.execute("begin exclusive")
    other = sqlite3.connect(f"{tmp_path}/a.db", timeout=0)
    with pytest.raises(sqlite3.OperationalError) as real:
        other.execute("select * from t").fetchall()
    database.close()
    other.close()

    made = parse(f"sqlite3.OperationalError('{real.value}')").make()

    assert made.args == real.value.args
    assert vars(made) == vars(real.value)


def test_when_is_said_by_the_text_or_else_by_the_caller() -> None:
    assert parse("ENOSPC").when == "before"
    assert parse("ENOSPC", when="after").when == "after"
    assert parse("ENOSPC before", when="after").when == "before"
    assert parse("returns=1 after").when == "after"
    assert parse("ENOSPC after") != parse("ENOSPC")


def test_a_short_transfer_has_a_size() -> None:
    whole = [parse(text) for text in ("short-read", "short-read=0", "short-write=512")]

    assert [(fault.kind, fault.size) for fault in whole] == [
        (Kind.SHORT_READ, 1),
        (Kind.SHORT_READ, 0),
        (Kind.SHORT_WRITE, 512),
    ]


def test_only_a_fault_that_raises_makes_an_error() -> None:
    with pytest.raises(TypeError):
        parse("returns=None").make()
    with pytest.raises(TypeError):
        _ = parse("ENOSPC").value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ENOSPCC", r"no such error number: 'ENOSPCC' \(character 1 of 'ENOSPCC'\).*ENOSPC "),
        ("OSErorr(ENOSPC)", r"no such exception: 'OSErorr' \(character 1 .*Perhaps OSError"),
        ("OSError", r"no number is given.*Write OSError\(EIO\)"),
        ("OSError(ENOSPCC)", r"no such number: 'ENOSPCC' \(character 9 .*Perhaps ENOSPC"),
        (" OSError(1, -ENOSPCC)", r"no such number: 'ENOSPCC' \(character 13 "),
        ("OSError(open('x'))", r"not a literal: \"open\('x'\)\" \(character 9 "),
        ("OSError(1 + 1)", r"not a literal: '1 \+ 1' \(character 9 "),
        ("OSError(*[1])", r"not a literal: '\*\[1\]'"),
        ("OSError(**{'a': 1})", r"not a literal"),
        ("OSError(ENOSPC", r"this cannot be read: \"'\(' was never closed\" \(character 8 "),
        ("OSError(1)(2)", r"not a fault: '\(1\)\(2\)' \(character 8 "),
        ("OSError(1) + 1", r"not a fault"),
        ("OSError ENOSPC", r"not a fault: ' ENOSPC' \(character 8 "),
        ("PermissionError(ENOSPC)", r"never comes as a PermissionError: 'ENOSPC'.*OSError\(ENOSPC"),
        ("int", r"this is no exception: 'int'"),
        ("os.replace", r"this is no exception: 'os.replace'"),
        ("sqlite3.OperationalErr", r"sqlite3 has no such exception: .*Perhaps OperationalError"),
        ("corner_shopp:Closed", r"the module corner_shopp cannot be imported: ModuleNotFound"),
        ("corner_shop:Robbed", r"the exception cannot be built: TypeError.*corner_shop.Robbed\('"),
        ("corner_shop:Fickle", r"calling this gives no exception: 'corner_shop.Fickle'"),
        ("returns=", r"a value is missing \(character 9 of 'returns='\)"),
        ("returns=open('x')", r"not a literal: \"open\('x'\)\" \(character 9 "),
        ("returns=1+", r"this cannot be read: 'invalid syntax'"),
        (
            "short-write=0",
            r"not a number of bytes: '0' \(character 13 .*from 1, as short-write=512",
        ),
        ("short-read=-1", r"not a number of bytes: '-1'.*from 0"),
        ("short-read=1 after", r"neither before nor after: 'after' \(character 14 "),
        ("", r"not a fault \(character 1 of ''\)"),
        ("\0", r"not a fault"),
        ("returns=\0", r"this cannot be read|a value is missing|not a literal"),
    ],
)
def test_what_is_no_fault_is_refused_with_its_place_and_a_cure(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        parse(text)
