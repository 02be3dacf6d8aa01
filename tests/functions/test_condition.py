"""States in which a call can have an error at all."""

from __future__ import annotations

import io
import os
import socket
import sys
from pathlib import Path

import pytest

from faultinject.functions.condition import CONDITIONS
from faultinject.functions.watch import Call


def holds(name: str, *arguments: object, **named: object) -> bool:
    return CONDITIONS[name](Call(sys._getframe(), arguments, named))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("a name", "w"), {}),
        (("a name", "ab"), {}),
        ((Path(), "r+"), {}),
        (("a name",), {"mode": "x"}),
        (("a name", os.O_WRONLY | os.O_CREAT), {}),
        (("a name",), {"flags": os.O_RDWR}),
    ],
)
def test_a_call_that_opens_for_writing_may_create(
    arguments: tuple[object, ...], named: dict[str, object]
) -> None:
    assert holds("creating", *arguments, **named)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("a name",), {}),
        (("a name", "rb"), {"encoding": "utf-8"}),
        (("a name",), {"mode": "rt"}),
        (("a name", os.O_RDONLY | os.O_CLOEXEC), {}),
        ((3, "w"), {}),
    ],
)
def test_a_call_that_opens_for_reading_or_a_descriptor_does_not_create(
    arguments: tuple[object, ...], named: dict[str, object]
) -> None:
    assert not holds("creating", *arguments, **named)


def test_a_file_that_is_opened_by_its_descriptor_is_there_already() -> None:
    assert holds("path", "a name")
    assert holds("path", Path())
    assert not holds("path", 3)


def test_a_file_is_written_to_only_if_it_is_open_for_writing(tmp_path: Path) -> None:
    place = tmp_path / "a"
    with open(place, "w") as written:
        assert holds("writing", written)
    with open(place) as read, open(place, "rb", buffering=0) as raw:
        assert not holds("writing", read)
        assert not holds("writing", raw)
    assert not holds("writing", written)
    assert holds("writing", io.BytesIO())
    assert holds("writing", 3)


def test_a_call_is_late_only_if_it_has_a_limit() -> None:
    with socket.socket() as one:
        assert not holds("timeout", one)
        one.settimeout(5)
        assert holds("timeout", one)
    assert holds("timeout", "a child", timeout=5)
    assert not holds("timeout", "a child", timeout=None)
    assert holds("timeout", "a child", 5)
    assert holds("timeout", "a child", b"its input", 0.5)
    assert not holds("timeout", "a child")
    assert not holds("timeout", "a child", None)
    assert not holds("timeout", "a child", b"its input")


def test_a_call_that_ignores_errors_raises_none() -> None:
    assert holds("raising", "a folder")
    assert holds("raising", "a folder", False)
    assert not holds("raising", "a folder", True)
    assert not holds("raising", "a folder", ignore_errors=True)


def test_a_query_changes_nothing() -> None:
    assert not holds("changing", "a cursor", " select 1")
    assert not holds("changing", "a cursor", sql="SELECT 1")
    assert holds("changing", "a cursor", "INSERT INTO t VALUES (1)")
    assert holds("changing", "a cursor", "")
    assert holds("changing", "a cursor")
