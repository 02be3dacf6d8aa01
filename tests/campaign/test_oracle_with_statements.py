"""A fault that strikes a `with` statement itself finds no leftovers: no code can do better."""

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dis import get_instructions
from pathlib import Path
from typing import Any

import pytest

import faultinject as fi
from faultinject.callsite import CallSite
from faultinject.campaign.oracles.with_statements import any_in_with
from faultinject.campaign.outcome import Outcome
from faultinject.native import why_unavailable

needs_core = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))

LOCK = threading.Lock()


def holds(other: Any) -> None:
    with LOCK, open(other):
        other(LOCK)
    with (
        LOCK,
        other(name=open(other)),
    ):
        pass


async def waits(other: Any) -> None:
    async with other:
        await other()


def places(function: Callable[..., object], *kinds: str) -> list[CallSite]:
    """Give the places of a function's instructions of some kinds."""
    found = []
    for item in get_instructions(function):
        position = item.positions
        assert position is not None
        if item.opname in kinds and position.lineno and position.col_offset is not None:
            found.append(CallSite(__file__, position.lineno, "f", "", position.col_offset))
    return found


@pytest.mark.parametrize("function", [holds, waits])
def test_where_python_enters_and_leaves_a_block_is_in_the_statement(
    function: Callable[..., object],
) -> None:
    kinds = "BEFORE_WITH", "BEFORE_ASYNC_WITH", "WITH_EXCEPT_START", "LOAD_SPECIAL"

    sites = places(function, *kinds)

    assert len(sites) >= 2
    assert all(any_in_with([site]) for site in sites)


def test_what_runs_in_the_block_or_deep_in_its_head_is_not() -> None:
    line = holds.__code__.co_firstlineno

    body = CallSite(__file__, line + 2, "holds", "", 8)
    deep = CallSite(__file__, line + 5, "holds", "", 19)
    nowhere = CallSite(__file__, line + 1, "holds", "", -1)

    assert not any_in_with([body, deep, nowhere])


def test_a_file_that_cannot_be_read_has_no_statements(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("with :\n")

    for file in ("<string>", str(tmp_path / "absent.py"), str(tmp_path / "wrong.py")):
        assert not any_in_with([CallSite(file, 1, "f", "", 0)])


@contextmanager
def careless(keys: list[int]) -> Iterator[None]:
    LOCK.acquire()
    keys += [len(keys) + 1000] * 10
    yield
    LOCK.release()


@needs_core
def test_a_lock_in_a_with_statement_is_no_leak_wherever_memory_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def body() -> None:
        with LOCK:
            _ = [LOCK] * 100
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x" * 100)

    report = fi.sweep(body, capabilities="fail_pymem", source=[__file__])

    assert len(report.trials) > 5
    assert [trial for trial in report.bad if trial.leaks] == []


@needs_core
def test_a_lock_that_a_context_manager_under_test_forgets_is_a_leak() -> None:
    def body() -> None:
        with careless([]):
            _ = [LOCK] * 100

    report = fi.sweep(body, capabilities="fail_pymem", source=[__file__])

    assert {trial.outcome for trial in report.bad} == {Outcome.LEAKED}
    assert {trial.function for trial in report.bad} >= {careless.__wrapped__.__qualname__}  # type: ignore[attr-defined]
