"""Temporary files that a run leaves: those whose names came from `tempfile`."""

import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from oracle_looks import Look, look

from faultinject.campaign.oracles.bundle import Bundle

__all__ = ["look"]  # a fixture


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def here(offset: int = 0) -> str:
    frame = sys._getframe(1)
    return f"{__file__}:{frame.f_lineno + offset} in {frame.f_code.co_qualname}"


def make_file(**arguments: Any) -> str:
    descriptor, path = tempfile.mkstemp(**arguments)
    os.close(descriptor)
    return str(os.fsdecode(path))


def test_what_is_removed_again_is_no_leftover(look: Look, tmp_path: Path) -> None:
    before = look("files")

    os.unlink(make_file())
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile(dir=folder):
        pass
    with tempfile.TemporaryFile():
        pass
    os.replace(make_file(dir=tmp_path), tmp_path / "target")

    assert before.left() == Counter()


def test_a_file_is_named_by_its_shape_and_where_it_was_made(look: Look) -> None:
    before = look("files")

    for number in range(2):
        descriptor, _ = tempfile.mkstemp(suffix=".log", prefix=f"part-{number}-")
        os.close(descriptor)

    place = here(-3)
    assert before.left() == {f"temporary file: part-N-*.log, made at {place}": 2}


def test_a_file_that_is_open_and_one_named_by_bytes_count_too(look: Look, tmp_path: Path) -> None:
    before = look("files")

    with tempfile.NamedTemporaryFile(delete=False):
        pass
    descriptor, _ = tempfile.mkstemp(dir=os.fsencode(tmp_path), suffix=b".b")
    os.close(descriptor)

    assert before.left() == {
        f"temporary file: tmp*, made at {here(-6)}": 1,
        f"temporary file: tmp*.b, made at {here(-5)}": 1,
    }


def test_a_file_beside_its_target_counts_in_whatever_folder(
    look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    before = look("files")

    make_file(dir="")
    mkdtemp(dir="")
    monkeypatch.chdir(tmp_path)

    assert sum(before.left().values()) == 2


def test_a_folder_counts_once_with_all_that_it_holds(look: Look) -> None:
    before = look("files")

    folder = mkdtemp(prefix="scratch")
    make_file(dir=folder)
    Path(folder, "file").touch()

    (name,) = before.left()
    assert name == f"temporary folder: scratch*, made at {here(-5)}"


def test_a_folder_whose_object_only_waits_for_the_collector_is_no_leftover(look: Look) -> None:
    before = look("files")

    folder: Any = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    folder._finalizer.atexit = False
    folder.itself = folder
    path = folder.name
    del folder
    with pytest.warns(ResourceWarning):
        left = before.left()

    assert left == Counter()
    assert not os.path.exists(path)


def test_what_tmp_path_holds_otherwise_is_nobodys(look: Look, tmp_path: Path) -> None:
    before = look("files")

    (tmp_path / "out.txt").write_text("x")
    (tmp_path / "folder").mkdir()

    assert before.left() == Counter()


def test_the_sequence_of_names_is_the_old_one_again() -> None:
    module: Any = tempfile
    names = module._name_sequence

    with Bundle().watching():
        during = module._name_sequence

    assert module._name_sequence is names is not during


def test_the_private_names_that_this_rests_on_exist() -> None:
    module: Any = tempfile

    assert iter(module._get_candidate_names())
    for function, names in (
        (module._mkstemp_inner, ("dir", "pre", "suf")),
        (module.mkdtemp, ("dir", "prefix", "suffix")),
    ):
        assert set(names) <= set(function.__code__.co_varnames)


def test_a_descriptor_of_a_temporary_file_is_named_without_its_random_part(look: Look) -> None:
    before = look("descriptors")

    descriptor, path = tempfile.mkstemp(prefix="part-7-", suffix=".log")
    named = before.left()
    os.unlink(path)
    unnamed = before.left()
    os.close(descriptor)

    assert named == unnamed == {"file descriptor: part-N-*.log": 1}
