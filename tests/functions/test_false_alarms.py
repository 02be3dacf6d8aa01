"""What a campaign must not blame on the code under test, although it looks like a mistake."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import faultinject as fi


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def outcomes(body: Callable[[], None], target: str) -> list[str]:
    spec = f"fail_function:target={target}"
    report = fi.sweep(body, capabilities=spec, isolation="none")
    return [trial.outcome.value for trial in report.trials]


def makes_and_removes() -> None:
    handle, name = tempfile.mkstemp()
    os.close(handle)
    os.chmod(name, 0o600)
    os.remove(name)


def asks_in_a_thread(*, tells: bool) -> None:
    found: list[OSError] = []

    def ask() -> None:
        try:
            os.listdir("/")
        except OSError as error:
            found.append(error)
            raise

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    if tells and found:
        raise found[0]


def test_a_file_whose_removal_fails_is_left_by_the_fault(folder: Path) -> None:
    assert outcomes(makes_and_removes, "os.remove:EIO") == ["propagated"]
    assert list(folder.iterdir())


@pytest.mark.parametrize("target", ["os.chmod:EIO", "os.close:EIO after"])
def test_a_file_that_nobody_removes_after_another_failure_is_a_leak(target: str) -> None:
    assert outcomes(makes_and_removes, target) == ["leaked"]


def test_an_error_that_ends_a_thread_and_then_the_test_is_not_lost() -> None:
    told = outcomes(lambda: asks_in_a_thread(tells=True), "os.listdir:EACCES")
    lost = outcomes(lambda: asks_in_a_thread(tells=False), "os.listdir:EACCES")

    assert (told, lost) == (["propagated"], ["unraisable"])


def test_a_log_that_cannot_be_written_is_nobodys_failure(folder: Path) -> None:
    log = logging.Logger("aside")
    stream = folder / "log"

    def logs() -> None:
        with stream.open("w") as file:
            log.addHandler(logging.StreamHandler(file))
            log.error("something")
            log.handlers.clear()

    report = fi.sweep(logs, capabilities="fail_function:target=disk", isolation="none")

    met = {trial.fault.partition(":")[0] for trial in report.trials}
    assert met == {"pathlib.Path.open", "io.TextIOWrapper.__exit__"}


def test_an_import_that_replaces_a_missing_one_may_be_missing_as_well() -> None:
    def imports() -> None:
        try:
            import wave  # noqa: F401
        except ImportError:
            import nowhere_to_be_found  # type: ignore[import-not-found]  # noqa: F401

    def asks() -> None:
        try:
            import wave  # noqa: F401
        except ImportError:
            os.nowhere_to_be_found  # type: ignore[attr-defined]  # noqa: B018

    assert outcomes(imports, "imports") == ["propagated"]
    assert outcomes(asks, "imports") == ["failed"]
