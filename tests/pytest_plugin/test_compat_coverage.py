"""Coverage measured beside a campaign: of the clean run, exactly as without one."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from campaigns import FIXED_ORDER, MODEL
from coverage import CoverageData

PROJECT = {
    "driver": """
        import faultinject as fi


        def take(number):
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            if item is None:
                number += 1
                return number
            fi.kfree(item)
            return 0


        def in_a_thread():
            return 1
        """,
    "test_driver": """
        import threading

        import pytest

        import driver


        @pytest.fixture(scope="module")
        def work():
            # A thread that lives through the campaigns is measured to its end.
            stop = threading.Event()

            def run():
                stop.wait()
                driver.in_a_thread()

            thread = threading.Thread(target=run)
            thread.start()
            yield
            stop.set()
            thread.join()


        def test_first(work):
            assert driver.take(1) in (0, 2)


        class TestSecond:
            def test_method(self, work):
                assert driver.take(2) in (0, 3)
        """,
}

CONFIG = """
    [run]
    branch = true
    source = .
    omit = test_*
    {more}
"""


@pytest.fixture(autouse=True)
def project(
    pytester: pytest.Pytester, alone: None, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    pytester.makepyfile(**PROJECT)
    plugins = "pytest_faultinject.plugin,pytest_cov.plugin,xdist.plugin"
    monkeypatch.setenv("PYTEST_PLUGINS", plugins)
    # A suite that is itself measured must not measure these runs.
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE"):
        monkeypatch.delenv(name, raising=False)
    return pytester


def measured(pytester: pytest.Pytester, *command: str, fresh: bool = True) -> dict[str, Any]:
    """Run a command, and give all that its ``.coverage`` holds, and the folder's leftovers."""
    path = pytester.path / ".coverage"
    if fresh:
        path.unlink(missing_ok=True)
    result = pytester.run(sys.executable, *command)
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    if MODEL in command:
        result.stdout.fnmatch_lines(["2 tests, 4 call sites, 4 trials: 4 recovered"])
    data = CoverageData(str(path))
    data.read()
    return {
        "totals": [line for line in result.outlines if line.startswith(("TOTAL", "driver.py"))],
        "lines": {file: sorted(data.lines(file) or ()) for file in data.measured_files()},
        "arcs": {file: sorted(data.arcs(file) or ()) for file in data.measured_files()},
        "contexts": {
            file: {line: sorted(names) for line, names in data.contexts_by_lineno(file).items()}
            for file in data.measured_files()
        },
        "files": sorted(item.name for item in pytester.path.glob(".coverage*")),
    }


@pytest.mark.parametrize("kind", ["fork", "none"])
@pytest.mark.parametrize(
    "options",
    [
        ["--cov=driver"],
        ["--cov=driver", "--cov-branch", "--cov-context=test"],
    ],
    ids=["statements", "branches and contexts"],
)
def test_pytest_cov_measures_the_same_with_and_without_a_campaign(
    pytester: pytest.Pytester, options: list[str], kind: str
) -> None:
    if kind == "none":
        # Measuring pauses during a campaign, and coverage does not take up old threads again.
        pytester.makepyfile(test_driver=PROJECT["test_driver"].replace("work):", "):"))
    command = ["-mpytest", "--cov-report=term", *FIXED_ORDER, *options]

    without = measured(pytester, *command)
    during = measured(pytester, *command, MODEL, f"--fail-alloc-isolation={kind}")

    assert during == without
    assert len(without["totals"]) == 2
    (lines,) = without["lines"].values()
    assert lines == [1, 4, 5, 6, 9, 10, 13] + [14] * (kind == "fork")


def test_pytest_cov_measures_the_same_on_workers(pytester: pytest.Pytester) -> None:
    command = ["-mpytest", "--cov-report=term", *FIXED_ORDER, "--cov=driver", "-n2"]

    without = measured(pytester, *command, "--cov-context=test")
    during = measured(pytester, *command, "--cov-context=test", MODEL)

    assert during == without
    assert without["files"] == [".coverage"]


def test_data_of_an_earlier_run_is_added_to_and_not_lost(pytester: pytest.Pytester) -> None:
    config = CONFIG.format(more="patch = _exit, fork").replace("    ", "")
    pytester.path.joinpath("rc").write_text(config)
    pytester.makepyfile(earlier="first = 1")
    measure = ["-mcoverage", "run", "--rcfile=rc", "--append"]

    def append(*more: str) -> dict[str, Any]:
        pytester.path.joinpath(".coverage").unlink(missing_ok=True)
        pytester.run(sys.executable, *measure, "earlier.py")
        return measured(pytester, *measure, "-m", "pytest", *FIXED_ORDER, *more, fresh=False)

    without = append()
    during = append(MODEL)

    assert during == without
    assert len(without["lines"]) == 2


@pytest.mark.parametrize("more", ["", "dynamic_context = test_function", "patch = _exit, fork"])
def test_coverage_run_keeps_its_file_through_a_campaign(
    pytester: pytest.Pytester, more: str
) -> None:
    pytester.path.joinpath("rc").write_text(CONFIG.format(more=more).replace("    ", ""))
    command = ["-mcoverage", "run", "--rcfile=rc", "-m", "pytest", *FIXED_ORDER]

    without = measured(pytester, *command)
    during = measured(pytester, *command, MODEL)

    assert during == without
    assert any(without["lines"].values())
