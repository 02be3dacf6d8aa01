"""How calls are seen: beside other tools, without C, and not at all where that cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import calling
import pytest

import faultinject as fi
from faultinject.functions import acts, chosen, events, hook, watch

MONITORS = sys.version_info >= (3, 12)
monitors = pytest.mark.skipif(not MONITORS, reason="sys.monitoring is new in 3.12")
profiles = pytest.mark.skipif(MONITORS, reason="on 3.12 and later calls are monitored")


def fail() -> None:
    with fi.fail_function(target="calling:plain", returns=0):
        assert calling.plain() == 0


@monitors
def test_the_tool_id_is_free_again_afterwards() -> None:
    monitoring = hook.monitoring()
    before = [monitoring.get_tool(tool) for tool in range(6)]

    with fi.fail_function(target="calling:plain", returns=0):
        assert events.NAME in [monitoring.get_tool(tool) for tool in range(6)]

    assert [monitoring.get_tool(tool) for tool in range(6)] == before


@monitors
def test_where_no_tool_id_is_free_it_is_refused_and_nothing_stays_armed() -> None:
    monitoring = hook.monitoring()
    mine = [tool for tool in range(6) if monitoring.get_tool(tool) is None]
    for tool in mine:
        monitoring.use_tool_id(tool, "a test")
    try:
        with pytest.raises(fi.UnavailableError, match="no-monitoring-tool"):
            fail()
    finally:
        for tool in mine:
            monitoring.free_tool_id(tool)

    assert watch._stack == []
    fail()


@profiles
def test_beside_a_profiler_it_is_refused_and_the_profiler_stays() -> None:
    def profiler(*event: object) -> None:
        pass

    sys.setprofile(profiler)
    try:
        with pytest.raises(fi.UnavailableError, match="profiler-running"):
            fail()
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)


def test_a_trace_function_stays_and_sees_what_it_saw() -> None:
    def traced() -> list[str]:
        seen = []

        def trace(frame: Any, event: str, argument: object) -> Any:
            if frame.f_code is calling.plain.__code__:
                seen.append(event)
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            calling.plain()
        finally:
            assert sys.gettrace() is trace
            sys.settrace(before)
        return seen

    clean = traced()
    with fi.fail_function(target="calling:plain|os.getpid", returns=0, probability=0):
        assert traced() == clean


MEASURED = """
import sys

def chosen(number):
    if number > 2:
        return "large"
    return len("small")

def run():
    return [chosen(number) for number in range(5)]
"""

MEASURE = """
import json, sys
from coverage import Coverage

measurement = Coverage(data_file=None, config_file=False, branch=False)
measurement.start()
import measured
import faultinject as fi
if sys.argv[1] == "armed":
    with fi.fail_function(target="str.upper|measured:run", returns=0, probability=0):
        measured.run()
    with fi.fail_function(target="os.getpid", returns=0):
        measured.run()
else:
    measured.run()
measurement.stop()
data = measurement.get_data()
print(json.dumps(sorted(data.lines(measured.__file__))))
"""


@pytest.mark.parametrize("core", ["ctrace", "pytrace", "sysmon"] if MONITORS else ["ctrace"])
def test_coverage_measures_the_same_beside_it(tmp_path: Path, core: str) -> None:
    (tmp_path / "measured.py").write_text(MEASURED)

    def lines(how: str) -> object:
        ran = subprocess.run(
            [sys.executable, "-c", MEASURE, how],
            cwd=tmp_path,
            env={"COVERAGE_CORE": core, "PATH": "", "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(ran.stdout)

    assert lines("armed") == lines("clean")


@pytest.fixture
def without_c(monkeypatch: pytest.MonkeyPatch) -> None:
    python = hook.PythonHook()
    for module in (watch, events):
        monkeypatch.setattr(module, "hook", python)
    for module in (acts, hook):
        monkeypatch.setattr(module, "HAS_C", False)


@monitors
@pytest.mark.usefixtures("without_c")
def test_without_c_a_call_fails_with_one_more_entry_in_the_traceback(tmp_path: Path) -> None:
    met = []

    with fi.fail_function(
        target="calling:plain|str.upper|open|io.TextIOWrapper.write", error="TimeoutError", times=-1
    ):
        opens = lambda: open(tmp_path / "x")  # noqa: E731, SIM115
        for call in (calling.plain, lambda: "a".upper(), "a".upper, opens):
            with pytest.raises(TimeoutError) as failed:
                call()
            met.append(traceback.extract_tb(failed.value.__traceback__)[-1].name)

    assert met == ["on_call"] * 4
    assert calling.plain() == 1


@monitors
@pytest.mark.usefixtures("without_c")
def test_without_c_what_it_takes_c_for_is_refused_or_left_out() -> None:
    for fault in ("OSError(EIO) after", "short-read", "returns=1"):
        with pytest.raises(fi.UnavailableError, match="C compiler"):
            fi.fail_function(target="os.read", error=fault)

    (known,) = chosen.choose("os.fsync")
    assert {fault.when for fault in known.faults} == {"before"}


@profiles
@pytest.mark.usefixtures("without_c")
def test_without_c_it_is_unavailable_on_the_oldest_version() -> None:
    assert "C compiler" in str(fi.fail_function.unavailable())
