"""Observing error paths: which of them a run enters, noticed where it happens."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from faultinject.errors import UnavailableError
from faultinject.errpaths.find import find_in_file
from faultinject.errpaths.hits import MOST, Hit
from faultinject.errpaths.observe import Observer, Sources, choose_observer

BY_EVENTS = sys.version_info >= (3, 12)
needs_events = pytest.mark.skipif(not BY_EVENTS, reason="lines alone cannot tell")

HEADER = """
import contextlib

import faultinject as fi


def fail(error):
    if error is not None:
        raise error


@contextlib.contextmanager
def manager():
    yield


def allocate(given):
    return fi.kmalloc(8, fi.GFP_KERNEL) if given else None
"""


class Watched:
    """A module under observation."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._modules = 0
        self.observer: Observer = choose_observer(Sources(self._covers, find_in_file, self._shown))

    def _covers(self, file: str) -> bool:
        return Path(file).parent == self._folder

    def _shown(self, file: str) -> str:
        return Path(file).name

    def load(self, text: str) -> ModuleType:
        """Import a module of this text behind HEADER."""
        self._modules += 1
        name = f"observed{self._modules}"
        path = self._folder / f"{name}.py"
        path.write_text(HEADER + text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def told(self, run: Callable[[], object]) -> list[tuple[str, bool]]:
        """Give the kinds of the paths that a run enters, and whether each is sure."""
        texts: list[str] = []
        with self.observer.watching(texts.append), contextlib.suppress(Exception):
            run()
        return [(hit.key.split(":")[-3], hit.sure) for hit in map(Hit.parse, texts)]

    def kinds(self, run: Callable[[], object]) -> list[str]:
        """Give the kinds alone, of the sure ones."""
        return [kind for kind, sure in self.told(run) if sure]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    found = Watched(tmp_path)
    found.observer.start()
    try:
        yield found
    finally:
        found.observer.stop()


# What stands in a function f(error), by what it is; f(None) runs the normal way.
WAYS = {
    "except": """
    try:
        fail(error)
    except OSError:
        return 1
    """,
    "except of a tuple, one line": """
    try:
        fail(error)
    except (KeyError, OSError): pass
    """,
    "except of everything": """
    try:
        fail(error)
    except:
        x = 1
    """,
    "except-star": """
    try:
        fail(error)
    except* OSError:
        x = 1
    """,
    "finally": """
    try:
        fail(error)
    finally:
        x = 1
    """,
    "finally, with a return in the body": """
    try:
        return fail(error)
    finally:
        x = 1
    """,
    "finally, empty": """
    try:
        fail(error)
    finally:
        pass
    """,
    "with": """
    with manager():
        fail(error)
    """,
    "with, several managers": """
    with manager() as first, manager() as second:
        fail(error)
    """,
    "suppress": """
    with contextlib.suppress(OSError):
        fail(error)
    """,
    "suppress, of several managers": """
    with contextlib.suppress(OSError), contextlib.nullcontext():
        fail(error)
    """,
    "none-branch": """
    p = allocate(error is None)
    if p is None:
        x = 1
    """,
    "none-branch, one line": """
    p = allocate(error is None)
    if not p: x = 1
    """,
    "none-branch, an expression": """
    p = allocate(error is None)
    return p or 5
    """,
    "none-branch, empty": """
    p = allocate(error is None)
    if p is None:
        pass
    """,
    "raise": """
    p = allocate(error is None)
    if p is None:
        raise MemoryError
    """,
    "raise, of an assert": """
    p = allocate(error is None)
    assert p is not None
    """,
    "error-return": """
    p = allocate(error is None)
    if p is None:
        return -12
    """,
    "else": """
    p = allocate(error is None)
    if p is not None:
        x = 1
    else:
        x = 2
    """,
}


@pytest.mark.parametrize(("way", "text"), WAYS.items(), ids=WAYS)
def test_a_path_is_told_when_it_is_entered_and_at_no_other_time(
    watched: Watched, way: str, text: str
) -> None:
    kind = way.partition(",")[0].partition(" ")[0]
    module = watched.load(f"\n\ndef f(error):{text}\n")

    def clean() -> object:
        return module.f(None)

    def broken() -> object:
        try:
            return module.f(OSError())
        except AssertionError:
            return None

    before, entered = watched.told(clean), watched.told(broken)

    assert (kind, True) not in before
    if BY_EVENTS:
        assert before == []
        assert (kind, True) in entered
    else:
        # Where the line runs otherwise too, it is known that nobody knows.
        assert (kind, True) in entered or (kind, False) in entered


@needs_events
@pytest.mark.parametrize("runs", [True, False], ids=["running", "stopped"])
@pytest.mark.parametrize(("way", "text"), WAYS.items(), ids=WAYS)
def test_another_tool_that_asks_for_lines_takes_none_away(
    watched: Watched, way: str, text: str, runs: bool
) -> None:
    kind = way.partition(",")[0].partition(" ")[0]
    monitoring = sys.monitoring  # type: ignore[attr-defined]
    events, tool = monitoring.events, monitoring.PROFILER_ID
    module = watched.load(f"\n\ndef f(error):{text}\n")
    monitoring.use_tool_id(tool, "lines")
    try:
        monitoring.register_callback(tool, events.LINE, lambda code, line: monitoring.DISABLE)
        monitoring.set_local_events(tool, module.f.__code__, events.LINE)
        module.f(None)
        if not runs:
            # As coverage.py leaves it: the events stay, and nobody is there to take them.
            monitoring.register_callback(tool, events.LINE, None)

        assert kind in watched.kinds(lambda: module.f(OSError()))
    finally:
        monitoring.set_local_events(tool, module.f.__code__, 0)
        monitoring.register_callback(tool, events.LINE, None)
        monitoring.free_tool_id(tool)


@needs_events
def test_a_suppress_that_lets_an_error_through_has_not_run(watched: Watched) -> None:
    module = watched.load(
        """
def f(error):
    with contextlib.suppress(KeyError):
        fail(error)
"""
    )

    assert watched.kinds(lambda: module.f(OSError())) == []
    assert watched.kinds(lambda: module.f(KeyError())) == ["suppress"]


@needs_events
def test_of_several_handlers_the_one_that_matches_is_told(watched: Watched) -> None:
    module = watched.load(
        """
def f(error):
    try:
        fail(error)
    except KeyError: x = 1
    except OSError: x = 2
    except Exception: x = 3
"""
    )
    texts: list[list[str]] = []
    for error in (KeyError(), OSError(), ValueError()):
        texts.append([])
        with watched.observer.watching(texts[-1].append):
            module.f(error)

    assert [len(told) for told in texts] == [1, 1, 1]
    assert len({told[0] for told in texts}) == 3


@needs_events
def test_paths_are_told_in_the_order_in_which_an_error_meets_them(watched: Watched) -> None:
    module = watched.load(
        """
def inner(error):
    try:
        with manager():
            fail(error)
    finally:
        x = 1


def f(error):
    try:
        inner(error)
    except OSError:
        raise ValueError from None


def g(error):
    with contextlib.suppress(ValueError):
        f(error)
"""
    )

    assert watched.kinds(lambda: module.g(OSError())) == ["with", "finally", "except", "suppress"]


PLACES = {
    "module": ("try:\n    fail(OSError())\nexcept OSError:\n    x = 1\n", None),
    "class body": (
        "class C:\n    try:\n        fail(OSError())\n    except OSError:\n        x = 1\n",
        None,
    ),
    "method": (
        "class C:\n    def f(self):\n        try:\n            fail(OSError())\n"
        "        except OSError:\n            x = 1\n",
        lambda module: module.C().f(),
    ),
    "nested function": (
        "def f():\n    def g():\n        try:\n            fail(OSError())\n"
        "        except OSError:\n            x = 1\n    g()\n",
        lambda module: module.f(),
    ),
    "generator": (
        "def f():\n    try:\n        yield 1\n        fail(OSError())\n"
        "    except OSError:\n        yield 2\n",
        lambda module: list(module.f()),
    ),
    "coroutine": (
        "import asyncio\n\n\nasync def f():\n    try:\n        await asyncio.sleep(0)\n"
        "        fail(OSError())\n    except OSError:\n        x = 1\n",
        lambda module: asyncio.run(module.f()),
    ),
}


@pytest.mark.parametrize(("text", "run"), PLACES.values(), ids=PLACES)
def test_a_path_is_noticed_wherever_it_stands(
    watched: Watched, text: str, run: Callable[[ModuleType], Any] | None
) -> None:
    def load_and_run() -> None:
        module = watched.load(text)
        if run is not None:
            run(module)

    assert watched.kinds(load_and_run) == ["except"]


SIMPLE = WAYS["except"]


def test_what_runs_outside_of_a_watch_is_this_process_own(watched: Watched) -> None:
    module = watched.load(f"\n\ndef f(error):{SIMPLE}\n\n\ndef g(error):{SIMPLE}\n")
    module.f(OSError())

    assert watched.kinds(lambda: module.g(OSError())) == ["except"]
    watched.observer.stop()
    # An own measurement of lines does not exist where the suite itself is measured.
    assert {hit.key.partition(":")[0] for hit in watched.observer.entered()} <= {"f"}
    if BY_EVENTS:
        assert len(watched.observer.entered()) == 1


@needs_events
def test_a_path_is_told_again_in_each_watch_and_not_too_often(watched: Watched) -> None:
    module = watched.load(f"\n\ndef f(error):{SIMPLE}\n")

    def many() -> None:
        for _ in range(MOST + 50):
            module.f(OSError())

    assert [len(watched.kinds(many)) for _ in range(2)] == [MOST, MOST]


def test_nothing_is_told_when_it_is_over(watched: Watched) -> None:
    module = watched.load(f"\n\ndef f(error):{SIMPLE}\n")
    watched.observer.stop()
    watched.observer.stop()
    before = watched.observer.entered()

    module.f(OSError())

    assert watched.observer.entered() == before


def test_files_that_are_not_under_test_are_not_even_read(tmp_path: Path) -> None:
    read: list[str] = []
    path = tmp_path / "other.py"
    path.write_text("")
    sources = Sources(lambda file: False, lambda file: read.append(file) or find_in_file(file))

    assert sources.of(str(path)) is None
    assert sources.of("<string>") is None
    assert (read, sources.seen()) == ([], {})


def test_the_files_that_were_seen_are_named_with_their_digests(watched: Watched) -> None:
    watched.observer.sources.of(str(watched._folder / "nothing.py"))
    module = watched.load(f"\n\ndef f(error):{SIMPLE}\n")
    watched.kinds(lambda: module.f(OSError()))

    seen = watched.observer.sources.seen()

    assert list(seen) == ["observed1.py"]
    assert seen["observed1.py"] == find_in_file(module.__file__ or "").digest


@needs_events
class TestToolIds:
    """The monitor among other tools of sys.monitoring, by tools that the test makes up."""

    @pytest.fixture
    def taken(self) -> Iterator[list[int]]:
        monitoring = sys.monitoring  # type: ignore[attr-defined]
        mine: list[int] = []
        yield mine
        for tool in mine:
            monitoring.free_tool_id(tool)

    def take(self, taken: list[int], count: int) -> None:
        monitoring = sys.monitoring  # type: ignore[attr-defined]
        for tool in (4, 3, 5, 2)[:count]:
            if monitoring.get_tool(tool) is None:
                monitoring.use_tool_id(tool, f"another tool {tool}")
                taken.append(tool)

    def test_another_id_is_used_where_one_is_taken(self, taken: list[int], tmp_path: Path) -> None:
        self.take(taken, 2)
        found = Watched(tmp_path)
        found.observer.start()
        try:
            module = found.load(f"\n\ndef f(error):{SIMPLE}\n")
            assert found.kinds(lambda: module.f(OSError())) == ["except"]
        finally:
            found.observer.stop()

    def test_it_refuses_where_all_are_taken_and_names_them(
        self, taken: list[int], tmp_path: Path
    ) -> None:
        self.take(taken, 4)

        with pytest.raises(UnavailableError, match=r"another tool 5.*\[no-monitoring-tool\]"):
            Watched(tmp_path).observer.start()

    def test_ids_are_given_back(self, tmp_path: Path) -> None:
        monitoring = sys.monitoring  # type: ignore[attr-defined]
        before = [monitoring.get_tool(tool) for tool in range(6)]
        for _ in range(20):
            observer = Watched(tmp_path).observer
            observer.start()
            observer.stop()

        assert [monitoring.get_tool(tool) for tool in range(6)] == before
