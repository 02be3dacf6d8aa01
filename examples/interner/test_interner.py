"""Tests as anybody would write them for a C extension: they pass, and find no bug.

``pytest --fail-alloc --fail-alloc-spec=fail_pymem --fail-alloc-source=interner_right
--fail-alloc-source=interner_wrong examples/interner`` finds all three.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "names.txt"
    path.write_text("alpha\nbeta\nalpha\n", encoding="ascii")
    return str(path)


@pytest.fixture
def filled(interner: ModuleType) -> ModuleType:
    interner.intern("alpha")
    interner.intern("beta")
    return interner


def test_equal_texts_have_one_number(interner: ModuleType) -> None:
    assert interner.intern("alpha") == 0
    assert interner.intern("beta") == 1
    assert interner.intern("alpha") == 0
    assert interner.used() == len("alphabeta")


def test_texts_stand_at_their_numbers(filled: ModuleType) -> None:
    assert filled.texts() == ["alpha", "beta"]


def test_a_file_is_loaded_line_by_line(interner: ModuleType, file: str) -> None:
    assert interner.load(file) == 3
    assert interner.intern("beta") == 1
