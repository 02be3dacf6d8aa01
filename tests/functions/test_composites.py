"""A function that calls others which can fail as well: each call of it is one call site."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

import faultinject as fi

TABLES = "disk|permission|descriptors|network|process|threads"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that temporary files are made in; `prepare` fills it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def prepare(folder: Path) -> None:
    for entry in list(folder.iterdir()):
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    (folder / "from" / "below").mkdir(parents=True)
    (folder / "from" / "one").write_text("x")
    (folder / "from" / "below" / "other").write_text("x")
    (folder / "empty").mkdir()


def called(body: Callable[[], object], target: str, folder: Path) -> list[tuple[str, str]]:
    """What the call sites of `body` call, and what became of its trials."""
    report = fi.sweep(
        body,
        prep=lambda: prepare(folder),
        capabilities=f"fail_function:target={target}",
        isolation="fork",
        source=[__file__],
        oracles="none",
        hits="first",
        max_errors=2,
    )
    found = [(trial.fault.partition(":")[0], trial.outcome.value) for trial in report.trials]
    assert report.sites == len({name for name, _ in found})
    return sorted(set(found))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda at: shutil.copy(at / "from" / "one", at / "to"), "shutil.copy"),
        (lambda at: shutil.copy2(at / "from" / "one", at / "to"), "shutil.copy2"),
        (lambda at: shutil.copytree(at / "from", at / "to"), "shutil.copytree"),
        (lambda at: shutil.move(at / "from", at / "to"), "shutil.move"),
        (lambda at: shutil.rmtree(at / "from"), "shutil.rmtree"),
        (lambda at: tempfile.mkdtemp(), "tempfile.mkdtemp"),
        (lambda at: os.makedirs(at / "to" / "it"), "os.makedirs"),
        (lambda at: os.renames(at / "from" / "one", at / "to" / "it"), "os.renames"),
        (lambda at: (at / "to").touch(), "pathlib.Path.touch"),
        (lambda at: (at / "to").write_text("x"), "pathlib.Path.write_text"),
        (lambda at: (at / "from" / "one").read_bytes(), "pathlib.Path.read_bytes"),
        (lambda at: (at / "to" / "it").mkdir(parents=True), "pathlib.Path.mkdir"),
        (lambda at: list((at / "from").iterdir()), "pathlib.Path.iterdir"),
        (lambda at: socket.create_server(("127.0.0.1", 0)).close(), "socket.create_server"),
        (lambda at: subprocess.check_output(["true"]), "subprocess.check_output"),
    ],
)
def test_a_call_of_a_composite_is_one_call_site(
    call: Callable[[Path], object], name: str, folder: Path
) -> None:
    assert called(lambda: call(folder), TABLES, folder) == [(name, "propagated")]


def test_without_a_profile_composites_are_what_is_named(folder: Path) -> None:
    def body() -> None:
        shutil.copy(folder / "from" / "one", folder / "to")

    inner = "open:ENOSPC|os.chmod:EROFS|shutil.copyfile"

    assert called(body, f"shutil.copy|{inner}", folder) == [("shutil.copy", "propagated")]
    assert called(body, inner, folder) == [
        ("os.chmod", "propagated"),
        ("shutil.copyfile", "propagated"),
    ]


def test_removing_a_folder_whatever_happens_cannot_fail(folder: Path) -> None:
    assert called(lambda: shutil.rmtree(folder / "from", ignore_errors=True), TABLES, folder) == []


def test_only_what_waits_with_a_limit_is_late(folder: Path) -> None:
    def body(*limit: float) -> None:
        with subprocess.Popen(["true"]) as child:
            child.wait(*limit)

    starts = ("subprocess.Popen", "propagated")

    assert called(body, "process", folder) == [starts]
    assert called(lambda: body(10), "process", folder) == [
        starts,
        ("subprocess.Popen.wait", "propagated"),
    ]


async def talk() -> None:
    here, there = socket.socketpair()
    with there:
        reader, writer = await asyncio.open_connection(sock=here)
        writer.write(b"x")
        there.recv(1)
        there.send(b"x")
        await reader.read(1)
        writer.close()
        await writer.wait_closed()


def test_what_an_event_loop_does_for_itself_is_no_call_of_whoever_runs_it(folder: Path) -> None:
    found = called(lambda: asyncio.run(talk()), TABLES, folder)

    names = {name.rpartition(".")[2] for name, _ in found}
    assert names == {"new_event_loop", "open_connection", "read", "recv", "send", "socketpair"}
