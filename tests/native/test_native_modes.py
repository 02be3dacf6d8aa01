"""Census, strike and rule on the real interpreter: what counts, what fails, what is told."""

from __future__ import annotations

import gc
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import native_bodies
import pytest
from native_children import in_a_child

from faultinject.engine.attr import FaultAttr
from faultinject.native import (
    Census,
    CodeScope,
    NativeSite,
    Requests,
    RuleArming,
    Strike,
    Target,
    core,
    paused,
    why_unavailable,
)

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))

BODIES = CodeScope.of([native_bodies.__file__])
HERE = CodeScope.of([__file__])


def census_of(name: str, **settings: object) -> list[NativeSite]:
    with Census(BODIES, **settings) as census:  # type: ignore[arg-type]
        native_bodies.BODIES[name]()
    return census.sites


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_to_prepare_a_function_for_a_tool_that_monitors_it_is_no_request_of_its_own() -> None:
    census_of("read_json")
    monitoring: Any = getattr(sys, "monitoring")  # noqa: B009 - mypy checks for 3.11
    monitoring.use_tool_id(5, "nobody")
    for events in (monitoring.events.CALL, 0):
        monitoring.set_events(5, events)
    monitoring.free_tool_id(5)

    # The first run since then.
    sites = census_of("read_json")

    source = Path(native_bodies.__file__).read_text("utf-8").splitlines()
    assert [site for site in sites if source[site.line - 1].startswith("def ")] == []


def grow(size: int) -> bytes:
    return bytes(size)


def test_a_census_names_lines_and_functions_of_the_code_under_test_only() -> None:
    sites = census_of("read_json")

    functions = {site.function for site in sites}
    source = Path(native_bodies.__file__).read_text("utf-8").splitlines()
    assert functions == {"read_json"}
    assert {site.file for site in sites} == {native_bodies.__file__}
    assert {source[site.line - 1].strip().split("(")[0] for site in sites} == {
        "text = json.dumps",
        "return json.loads",
    }
    assert all(site.hits >= 1 and site.min_size <= site.max_size for site in sites)


def test_a_census_fails_nothing() -> None:
    with Census(BODIES) as census:
        answer = native_bodies.use_a_cache()

    assert answer == native_bodies.use_a_cache()
    assert census.stats["injected"] == 0


def test_one_large_request_is_one_fault_point() -> None:
    with Census(HERE, Requests.of(min_size=600)) as census:
        grow(100_000)

    large = [site for site in census.sites if site.function == "grow"]
    assert [(site.domain, site.hits) for site in large] == [("obj", 1)]


def test_one_callee_of_many_callers_belongs_to_each_of_them_in_turn() -> None:
    library: dict[str, object] = {}
    user: dict[str, object] = {}
    exec(
        compile("def make(f=None):\n  return [0] * 900 if f is None else f()", "/l.py", "exec"),
        library,
    )
    user["make"] = library["make"]
    calls = "make()", "make(make)", "make(lambda: make(make))"
    for number, call in enumerate(calls):
        exec(compile(f"def user{number}():\n  return {call}", f"/user{number}.py", "exec"), user)

    with Census(CodeScope.of(["/user*.py"]), Requests.of(min_size=7000)) as census:
        for _ in range(5):
            for number in (0, 1, 2, 1, 0):
                user[f"user{number}"]()  # type: ignore[operator]

    hits: dict[str, int] = {}
    for site in census.sites:
        hits[site.function] = hits.get(site.function, 0) + site.hits
    assert hits == {"user0": 10, "user1": 10, "user2.<locals>.<lambda>": 5}


def test_a_census_by_caller_tells_the_c_functions_apart() -> None:
    plain = census_of("use_a_cache")

    by_caller = census_of("use_a_cache", by_caller=True)

    assert len(by_caller) > len(plain)
    assert all("+0x" in site.c_caller for site in by_caller)
    assert {site.c_caller for site in plain} == {""}


def test_a_full_table_counts_what_finds_no_room() -> None:
    with Census(BODIES, capacity=3) as census:
        native_bodies.use_a_cache()

    assert len(census.sites) <= 3
    assert census.stats["sites"] == 3
    assert census.overflow > 0


def test_sites_that_would_break_the_interpreter_are_vetoed_and_counted() -> None:
    with Census(BODIES) as vetoed:
        native_bodies.handle_errors()
    with Census(BODIES, veto=()) as all_of_them:
        native_bodies.handle_errors()

    assert vetoed.vetoed > 0
    assert all_of_them.vetoed == 0
    assert sum(site.hits for site in all_of_them.sites) > sum(site.hits for site in vetoed.sites)


def test_frames_of_a_tracer_do_not_count() -> None:
    def tracer(frame: object, event: str, argument: object) -> object:
        _ = [event] * 100
        return tracer

    def run() -> tuple[int, set[str]]:
        with Census(HERE) as census:
            sys.settrace(tracer)
            grow(5000)
            sys.settrace(None)
        return census.stats["tracing"], {site.function for site in census.sites}

    tracing, functions = in_a_child(run)

    assert tracing > 0
    assert "grow" in functions
    assert not any(function.endswith(".tracer") for function in functions)


def strike_at(site: NativeSite, name: str, **settings: object) -> tuple[str, list[int], int]:
    """Strike in this process; give the error's type, its lines, and the faults."""
    strike = Strike(Target(site), scope=BODIES, **settings)  # type: ignore[arg-type]
    lines: list[int] = []
    error = ""
    try:
        with strike:
            native_bodies.BODIES[name]()
    except Exception as caught:
        error = type(caught).__name__
        lines = [
            at.lineno or 0
            for at in traceback.extract_tb(caught.__traceback__)
            if at.filename == site.file
        ]
    return error, lines, strike.stats["injected"]


def test_a_strike_raises_memory_error_at_its_line() -> None:
    site = in_a_child(lambda: census_of("parse_numbers"))[-1]

    error, lines, injected = in_a_child(lambda: strike_at(site, "parse_numbers"))

    assert error == "MemoryError"
    assert site.line in lines
    assert injected == 1


def test_a_strike_fails_the_hit_that_was_asked_for() -> None:
    source = (
        "def fill():\n    made = []\n    for n in range(9):\n        made.append(str(n) * 50)\n"
    )

    def fill_until(hit: int) -> int:
        names: dict[str, object] = {}
        exec(compile(source, "/fill.py", "exec"), names)
        kept: list[object] = []
        scope = CodeScope.of(["/fill.py"])
        with Census(scope) as census:
            names["fill"]()  # type: ignore[operator]
        (site,) = (s for s in census.sites if s.line == 4 and s.hits == 9)
        try:
            with Strike(Target(site, hit), scope=scope):
                names["fill"]()  # type: ignore[operator]
        except MemoryError as error:
            kept.append(error.__traceback__.tb_next.tb_frame.f_locals["n"])  # type: ignore[union-attr]
        return kept[0] if kept else -1  # type: ignore[return-value]

    assert [in_a_child(lambda hit=hit: fill_until(hit)) for hit in (1, 2, 9, 10)] == [0, 1, 8, -1]


def test_a_persistent_strike_fails_everything_after_it() -> None:
    def run() -> tuple[int, int]:
        failed = 0
        first = census_of("parse_numbers")[0]
        with Strike(Target(first, persistent=True), scope=BODIES) as strike:
            for _ in range(3):
                try:
                    native_bodies.parse_numbers()
                except MemoryError:
                    failed += 1
        return failed, strike.stats["injected"]

    failed, injected = in_a_child(run)

    assert failed == 3
    assert injected >= 3


def test_code_made_by_exec_is_found_again_by_content() -> None:
    def make() -> object:
        names: dict[str, object] = {}
        exec(compile("def body():\n    return [0] * 3000\n", "/made.py", "exec"), names)
        return names["body"]

    scope = CodeScope.of(["/made.py"])
    with Census(scope) as census:
        make()()  # type: ignore[operator]
    site = census.sites[-1]

    def run() -> bool:
        strike = Strike(Target(site), scope=scope)
        body = make()
        with pytest.raises(MemoryError), strike:
            body()  # type: ignore[operator]
        return strike.struck

    assert in_a_child(run)


def test_an_event_tells_place_size_domain_and_thread() -> None:
    def run() -> tuple[object, ...]:
        with pytest.raises(MemoryError), RuleArming(FaultAttr(100), scope=HERE) as armed:
            grow(4000)
        (event,) = armed.events
        assert event.site is not None
        mine = event.thread == threading.get_ident()
        return event.number, event.site.function, event.domain, event.size >= 4000, mine

    assert in_a_child(run) == (1, "grow", "obj", True, True)


def test_the_rule_is_driven_by_its_knobs_and_its_counts_come_back() -> None:
    def run() -> tuple[object, ...]:
        attr = FaultAttr(100, interval=3, times=2, verbose=0)
        wanted = Requests.of(["obj"], min_size=4000)
        pattern = ""
        with RuleArming(attr, requests=wanted):
            for _ in range(9):
                try:
                    grow(5000)
                    pattern += "."
                except MemoryError:
                    pattern += "F"
        return pattern, attr.times, attr.count

    assert in_a_child(run) == ("..F..F...", 0, 6)


def test_nth_fails_that_request_whatever_the_rule_says() -> None:
    def run() -> tuple[str, int]:
        pattern = ""
        wanted = Requests.of(["obj"], min_size=4000)
        with RuleArming(FaultAttr(), requests=wanted, nth=3) as armed:
            for _ in range(5):
                try:
                    grow(5000)
                    pattern += "."
                except MemoryError:
                    pattern += "F"
        return pattern, armed.nth

    assert in_a_child(run) == ("..F..", 0)


@pytest.mark.parametrize(
    ("knobs", "fails"),
    [
        ({"require": "test_native_modes:grow"}, True),
        ({"require": "no.such.module"}, False),
        ({"reject": "test_native_modes:grow"}, False),
        ({"reject": "no.such.module"}, True),
        ({"require": "native/test_native_modes.py"}, True),
        ({"require": "test_native_modes.py:1-2"}, False),
        ({"require": "test_native_modes:grow", "stacktrace_depth": 0}, False),
    ],
    ids=str,
)
def test_require_and_reject_are_the_kernels(knobs: dict, fails: bool) -> None:
    def run() -> bool:
        attr = FaultAttr(100, times=-1, verbose=0, **knobs)
        try:
            with RuleArming(attr, requests=Requests.of(["obj"], min_size=4000)):
                grow(5000)
        except MemoryError:
            return True
        return False

    assert in_a_child(run) is fails


def test_another_thread_does_not_fail_unless_all_tasks() -> None:
    def run(all_tasks: bool) -> list[str]:
        seen: list[str] = []
        go, done = threading.Event(), threading.Event()

        def other() -> None:
            go.wait()
            try:
                grow(70_000)
                seen.append("passed")
            except MemoryError:
                seen.append("failed")
            done.set()

        thread = threading.Thread(target=other)
        thread.start()
        wanted = Requests.of(["obj"], min_size=60_000)
        with RuleArming(FaultAttr(100, times=-1), requests=wanted, all_tasks=all_tasks):
            go.set()
            done.wait()
        thread.join()
        return seen

    assert in_a_child(lambda: run(False)) == ["passed"]
    assert in_a_child(lambda: run(True)) == ["failed"]


def test_a_raw_request_without_the_gil_reads_no_frames() -> None:
    hook = core.module()

    def run() -> tuple[int, int, int]:
        wanted = Requests.of(["raw"])
        with Census(HERE, wanted) as census:
            hook.raw_without_gil(10, 64)  # type: ignore[attr-defined]
        with RuleArming(FaultAttr(100, times=4), requests=wanted) as rule:
            failed = hook.raw_without_gil(10, 64)  # type: ignore[attr-defined]
        return census.stats["nogil"], failed, rule.stats["nogil"]

    assert in_a_child(run) == (10, 4, 4)


def test_nothing_counts_while_paused() -> None:
    with Census(HERE) as census, paused():
        grow(5000)

    assert not any(site.function == "grow" for site in census.sites)


@pytest.mark.parametrize(
    ("name", "size", "domain", "fails"),
    [
        ("small", 512, 2, True),
        ("small", 513, 2, False),
        ("small", 64, 0, False),
        ("pages", 512, 2, False),
        ("pages", 513, 2, True),
        ("pages", 64, 0, True),
    ],
)
def test_a_profile_says_which_requests_count(
    name: str, size: int, domain: int, fails: bool
) -> None:
    hook = core.module()

    def run() -> int:
        with RuleArming(FaultAttr(100, times=-1), requests=Requests.profile(name)):
            return hook.ask(domain, size)  # type: ignore[attr-defined, no-any-return]

    assert in_a_child(run) & 7 == (7 if fails else 0)


@pytest.mark.skipif(
    os.environ.get("PYTHONMALLOC", "").startswith("malloc"), reason="malloc has no arenas"
)
def test_an_arena_that_fails_is_one_memory_error() -> None:
    def run() -> tuple[int, int, bool]:
        gc.collect()
        # More than a process that has run other tests before has room for.
        kept: list[object] = []
        failed = 0
        arenas = Requests((None, None, None, (0, sys.maxsize)))
        with RuleArming(FaultAttr(100, times=-1), requests=arenas) as armed:
            try:
                for number in range(3_000_000):
                    kept.append((number, number + 1))
            except MemoryError:
                failed += 1
        return failed, armed.stats["injected"], len(kept) < 3_000_000

    failed, injected, early = in_a_child(run)

    assert (failed, early) == (1, True)
    assert injected == 1
