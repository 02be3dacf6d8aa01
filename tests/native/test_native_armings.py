"""Arming and disarming: what is put back, nesting, neighbours, and doing without the C module."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import native_bodies
import pytest
from native_children import in_a_child

from faultinject.engine.attr import FaultAttr
from faultinject.errors import UsageError
from faultinject.native import Census, CodeScope, Requests, RuleArming, core, why_unavailable

ROOT = Path(__file__).parents[2]
needs_hook = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))
HERE = CodeScope.of([__file__])
LARGE = Requests.of(["obj"], min_size=60_000)


def allocators() -> object:
    return core.module().allocators()  # type: ignore[attr-defined]


def fails(size: int = 70_000) -> bool:
    try:
        bytes(size)
    except MemoryError:
        return True
    return False


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=os.sep,  # or the checkout itself would be found first
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@needs_hook
def test_disarming_puts_the_interpreters_own_allocators_back() -> None:
    before = allocators()

    for _ in range(3):
        with Census(HERE, Requests.of(["raw", "mem", "obj", "arena"])):
            during = allocators()
        assert during != before
        assert allocators() == before


@needs_hook
def test_free_is_never_replaced() -> None:
    before = core.module().allocators()[0]  # type: ignore[attr-defined]

    with Census(HERE):
        during = core.module().allocators()[0]  # type: ignore[attr-defined]

    assert [at[4] for at in during] == [at[4] for at in before]
    assert [at[0] for at in during] == [at[0] for at in before]


@needs_hook
def test_it_is_disarmed_when_the_body_raises() -> None:
    before = allocators()

    with pytest.raises(KeyError), Census(HERE):
        raise KeyError

    assert allocators() == before


@needs_hook
def test_an_inner_arming_suspends_the_outer_one() -> None:
    def nested() -> list[bool]:
        always = FaultAttr(100, times=-1, verbose=0)
        seen = []
        with RuleArming(always, requests=LARGE):
            seen.append(fails())
            with RuleArming(FaultAttr(), requests=LARGE):
                seen.append(fails())
            seen.append(fails())
        seen.append(fails())
        return seen

    assert in_a_child(nested) == [True, False, True, False]


@needs_hook
def test_the_same_arming_again_is_refused_and_can_be_used_once_it_was_left() -> None:
    census = Census(HERE)
    before = allocators()

    with census, pytest.raises(UsageError, match="armed already"):
        census.__enter__()
    with census:
        bytes(5000)

    assert census.sites
    assert allocators() == before


@needs_hook
def test_another_thread_is_refused_while_one_has_it_armed() -> None:
    errors: list[str] = []

    def other() -> None:
        try:
            with Census(HERE):
                pass
        except UsageError as error:
            errors.append(str(error))

    with Census(HERE):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    assert len(errors) == 1
    assert "another thread" in errors[0]


@needs_hook
def test_cycles_with_busy_threads_leave_everything_as_it_was() -> None:
    stop = threading.Event()
    wrong: list[object] = []
    expected = native_bodies.use_a_cache()

    def busy() -> None:
        while not stop.is_set():
            answer = native_bodies.use_a_cache()
            if answer != expected:
                wrong.append(answer)

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    before = allocators()
    try:
        for number in range(60):
            with Census(HERE, all_tasks=bool(number % 2), collect=False):
                bytes(5000)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert wrong == []
    assert allocators() == before


CYCLES = """
    from faultinject.native import Census, RuleArming, Requests, why_unavailable
    from faultinject.engine.attr import FaultAttr
    def cycle():
        failed = 0
        for _ in range(5):
            with RuleArming(FaultAttr(100), requests=Requests.of(["obj"], min_size=60_000)):
                try: bytes(70_000)
                except MemoryError: failed += 1
            with Census() as census:
                [object() for _ in range(100)]
            assert census.stats["sites"]
        return failed
"""


@needs_hook
@pytest.mark.parametrize("allocator", ["pymalloc", "pymalloc_debug", "malloc", "malloc_debug"])
def test_it_works_over_every_allocator_of_python(allocator: str) -> None:
    ended = run(CYCLES + "\n    print(cycle())", PYTHONMALLOC=allocator)

    assert (ended.stdout, ended.returncode) == ("5\n", 0), ended.stderr


@needs_hook
def test_tracemalloc_below_goes_on_working() -> None:
    ended = run(
        CYCLES
        + """
    import tracemalloc
    tracemalloc.start()
    print(cycle())
    kept = bytes(50_000)
    print(tracemalloc.get_object_traceback(kept) is not None)
    tracemalloc.stop()
    print(cycle(), why_unavailable())
    """
    )

    assert ended.stdout.split("\n")[:3] == ["5", "True", "5 None"], ended.stderr


@needs_hook
def test_tracemalloc_on_top_goes_on_working_and_is_said() -> None:
    ended = run(
        CYCLES
        + """
    import tracemalloc
    from faultinject.native import core
    before = core.module().allocators()
    census = Census()
    with census:
        tracemalloc.start()
    print(sorted(census.left_installed))
    kept = bytes(50_000)
    print(tracemalloc.get_object_traceback(kept) is not None)
    print(why_unavailable())
    try:
        cycle()
    except ValueError as error:
        print(type(error).__name__)
    tracemalloc.stop()
    print(why_unavailable(), cycle(), core.module().allocators() == before)
    """
    )

    lines = ended.stdout.split("\n")
    assert lines[:2] == ["['mem', 'obj', 'raw']", "True"], ended.stderr
    assert "[native-other-hook]" in lines[2]
    assert lines[3:5] == ["UsageError", "None 5 True"], ended.stderr


@needs_hook
def test_tracemalloc_that_stops_while_armed_is_not_brought_back() -> None:
    ended = run(
        CYCLES
        + """
    import tracemalloc
    from faultinject.native import core
    before = core.module().allocators()
    tracemalloc.start()
    with Census():
        tracemalloc.stop()
    print(core.module().allocators() == before, why_unavailable(), cycle())
    """
    )

    assert ended.stdout == "True None 5\n", ended.stderr


def test_everything_but_arming_works_without_the_c_module(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "faultinject", tmp_path / "faultinject", ignore=shutil.ignore_patterns("*.so")
    )

    ended = run(
        """
        import faultinject.native as native
        print(native.why_unavailable())
        print(native.call_sites_unavailable() == native.why_unavailable())
        native.CodeScope.of(["json"]), native.Requests.profile("small")
        try:
            with native.Census():
                pass
        except ValueError as error:
            print(error)
        """,
        PYTHONPATH=str(tmp_path),
    )

    lines = ended.stdout.split("\n")
    assert lines[0].endswith("[native-missing]"), ended.stderr
    assert lines[1] == "True"
    assert lines[2].endswith("[native-missing]")


@needs_hook
def test_a_hook_that_cannot_read_frames_turns_call_sites_off() -> None:
    ended = run(
        f"""
        import importlib.util, sys
        name = "faultinject.native._hook"
        spec = importlib.util.spec_from_file_location(name, {_hook_file()!r})
        hook = sys.modules[name] = importlib.util.module_from_spec(spec)
        hook.frames = lambda: []
        import faultinject.native as native
        from faultinject.engine.attr import FaultAttr
        print(native.why_unavailable())
        print(native.call_sites_unavailable())
        with native.RuleArming(FaultAttr(100), requests=native.Requests.of(["obj"], min_size=9000)):
            try:
                bytes(9000)
            except MemoryError:
                print("failed")
        try:
            with native.Census():
                pass
        except ValueError as error:
            print(error.name)
        """
    )

    lines = ended.stdout.split("\n")
    assert lines[0] == "None", ended.stderr
    assert lines[1].endswith("[native-frames]")
    assert lines[2:4] == ["failed", "native-frames"]


def _hook_file() -> str:
    from faultinject.native import _hook

    return str(_hook.__file__)
