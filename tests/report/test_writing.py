"""A file or a folder is written whole or not at all, and nothing of others' is replaced."""

import errno
import os
from pathlib import Path

import pytest

from faultinject.errors import UsageError
from faultinject.report.writing import MARK, write_file, write_folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_takes_the_place_of_an_older_report(tmp_path: Path) -> None:
    folder = tmp_path / "html"
    write_folder(folder, {"index.html": "old", "gone.html": "old"})

    write_folder(folder, {"index.html": "new"})

    assert names(folder) == {"index.html", MARK}
    assert (folder / "index.html").read_text() == "new"
    assert names(tmp_path) == {"html"}


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    write_folder(tmp_path, {"index.html": "new"})

    assert names(tmp_path) == {"index.html", MARK}


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("somebody's page")

    with pytest.raises(UsageError, match="something else in it"):
        write_folder(tmp_path, {"index.html": "new"})

    assert (tmp_path / "index.html").read_text() == "somebody's page"
    assert names(tmp_path) == {"index.html"}


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "html").write_text("text")

    with pytest.raises(UsageError, match="a file, not a folder"):
        write_folder(tmp_path / "html", {"index.html": "new"})

    assert (tmp_path / "html").read_text() == "text"


def test_a_report_that_cannot_be_written_leaves_the_old_one_and_nothing_else(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "html"
    write_folder(folder, {"index.html": "old"})

    # The name of a folder that is not there: the second file cannot be written.
    with pytest.raises(UsageError, match=r"cannot be written: .*html.*No such file"):
        write_folder(folder, {"index.html": "new", "absent/page.html": "new"})

    assert (folder / "index.html").read_text() == "old"
    assert names(tmp_path) == {"html"}


def test_an_old_report_comes_back_if_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "html"
    write_folder(folder, {"index.html": "old"})
    replace = Path.replace

    def full(path: Path, target: Path) -> Path:
        if ".partial-" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match="No space left"):
        write_folder(folder, {"index.html": "new"})

    assert (folder / "index.html").read_text() == "old"
    assert names(tmp_path) == {"html"}


def test_a_place_that_does_not_exist_is_refused_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent/out.lcov.*No such file.*\[usage\]"):
        write_file(tmp_path / "absent" / "out.lcov", "text")

    assert names(tmp_path) == set()


def test_what_is_no_character_is_written_as_an_escape(tmp_path: Path) -> None:
    write_file(tmp_path / "out", "ä \udc80")

    assert (tmp_path / "out").read_bytes() == "ä \\udc80".encode()
