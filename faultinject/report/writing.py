"""Writing: a file or a folder, whole or not at all.

Lives here: what is written beside its name first and then takes it, and the refusal of a
place where nothing can be written. Not here: what is written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from faultinject.errors import UsageError

# Every folder of ours has this file, and nobody else's does: what it lies in may be replaced.
MARK = ".faultinject-report"


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file; an old one stays as it is until the new one is complete.

    Raises:
        UsageError: it cannot be written.
    """
    # A name of a file may hold what is no character; an escape is still readable.
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with refused_writing(path), aside(path) as partial:
        partial.write_bytes(data)
        partial.replace(path)


def write_folder(path: Path, files: Mapping[str, str | bytes]) -> None:
    """Write a folder with `files` by name in place of an older one of ours.

    Raises:
        UsageError: it cannot be written, or what is there is not ours to replace.
    """
    require_folder_of_ours(path)
    with refused_writing(path), aside(path) as partial:
        partial.mkdir()
        (partial / MARK).touch()
        for name, content in files.items():
            data = (
                content.encode(errors="backslashreplace") if isinstance(content, str) else content
            )
            (partial / name).write_bytes(data)
        _put_in_place(partial, path)


def require_folder_of_ours(path: Path) -> None:
    """Refuse a folder that holds something else: it would be gone.

    Raises:
        UsageError: naming it.
    """
    if path.is_dir() and not (path / MARK).exists() and any(path.iterdir()):
        raise UsageError(
            "a folder with something else in it", value=str(path), cure="Name a new or empty one"
        )
    if path.exists() and not path.is_dir():
        raise UsageError("a file, not a folder", value=str(path), cure="Name a folder")


def _put_in_place(partial: Path, path: Path) -> None:
    """Let a folder take the name of another one, which comes back if that fails."""
    old = _beside(path, "old")
    if path.exists():
        path.replace(old)
    try:
        partial.replace(path)
    except OSError:
        if old.exists():
            old.replace(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}.{suffix}-{os.getpid()}")


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Give a name beside `path` for what is not complete; nothing of that name stays."""
    beside = _beside(path, "partial")
    try:
        yield beside
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)


@contextmanager
def refused_writing(path: Path) -> Iterator[None]:
    """Turn what the system says into a sentence with the place and a way out."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            "a report cannot be written",
            value=str(path),
            where=error.strerror or str(error),
            cure="Name a place that exists and can be written to",
        ) from None
