"""Error paths in a campaign's report: which ran, by which trial, and where faults ended."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from campaigns import REPORT
from coverage import CoverageData
from projects import LIMIT, run_in

from faultinject.report.as_json import SCHEMA_FILE

pytestmark = pytest.mark.usefixtures("alone")

BY_EVENTS = sys.version_info >= (3, 12)

CACHE = """
import contextlib

import faultinject as fi

try:
    import there_is_no_such_module
except ImportError:
    there_is_no_such_module = None


class Cache:
    def put(self, size):
        first = fi.kmalloc(64, fi.GFP_KERNEL)
        if first is None:
            return -1
        try:
            second = fi.kmalloc(size, fi.GFP_KERNEL)
            if second is None:
                raise MemoryError("second")
        except MemoryError:
            fi.kfree(first)
            return -2
        finally:
            self.done = True
        fi.kfree(second)
        fi.kfree(first)
        return 0


def look(key):
    try:
        return {}[key]
    except KeyError:
        return None


def strict(size):
    with contextlib.nullcontext():
        third = fi.kmalloc(size, fi.GFP_KERNEL)
        if third is None:
            raise MemoryError("third")
    fi.kfree(third)


def excluded():
    try:
        return 1
    except OSError:  # pragma: no cover
        return 2
"""

UNUSED = """
def never_called():
    try:
        return 1
    except OSError:
        return 2
"""

TESTS = """
import os

import pytest

import faultinject as fi
from pkg.cache import Cache, look, strict


def test_put():
    look(1)
    assert Cache().put(8) in (0, -1, -2)


def test_strict():
    strict(8)


def test_crash():
    if Cache().put(8) == -2:
        os.kill(os.getpid(), 11)


@pytest.mark.no_fail_alloc
def test_without_a_campaign():
    try:
        look(2)
    except OSError:
        pass
"""

FILES = {
    "pytest.ini": "[pytest]\npythonpath = .\n",
    "pkg/__init__.py": "",
    "pkg/cache.py": CACHE,
    "pkg/unused.py": UNUSED,
    "test_cache.py": TESTS,
}

CAMPAIGN = ("--fail-alloc-spec=failslab",)


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run the project's campaign in a folder and give its report."""
    run_in(folder, FILES, *CAMPAIGN, *arguments)
    found: dict[str, Any] = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("forked"))


def states(report: dict[str, Any]) -> dict[str, str]:
    """By file, function and kind, how a path was reached."""
    return {
        f"{Path(file['file']).stem} {path['function']} {path['kind']}": path["reached"]
        for file in report["error_paths"]["files"]
        for path in file["paths"]
    }


def test_each_path_is_clean_or_injected_or_never(report: dict[str, Any]) -> None:
    shared = "never" if BY_EVENTS else "undecided"
    assert states(report) == {
        "cache <module> except": "clean",
        "cache Cache.put none-branch": "injected",
        "cache Cache.put error-return": "injected",
        "cache Cache.put raise": "injected",
        "cache Cache.put except": "injected",
        "cache Cache.put finally": shared,
        "cache look except": "clean",
        "cache strict with": "injected" if BY_EVENTS else "undecided",
        "cache strict none-branch": "injected",
        "cache strict raise": "injected",
        "unused never_called except": "never",
    }


def test_totals_add_up_and_the_schema_holds(report: dict[str, Any]) -> None:
    jsonschema.validate(report, json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    found = report["error_paths"]
    reached = [path["reached"] for file in found["files"] for path in file["paths"]]

    assert {state: reached.count(state) for state in set(reached)} == {
        state: found[state] for state in ("clean", "injected", "never", "undecided") if found[state]
    }
    assert found["total"] == found["clean"] + found["injected"] + found["never"]
    assert found["total"] + found["undecided"] == len(reached) == 12


def test_a_path_names_the_trials_whose_faults_entered_it(report: dict[str, Any]) -> None:
    trials = {
        trial["replay"]: (test["nodeid"].partition("::")[2], trial["site"]["line"])
        for test in report["tests"]
        for trial in test["trials"]
    }
    by = {
        f"{path['function']} {path['kind']} {path['line']}": sorted(
            trials[token] for token in path["entered_by"]
        )
        for file in report["error_paths"]["files"]
        for path in file["paths"]
        if path["entered_by"]
    }
    # A process that dies delivers what it entered before, but not by lines.
    second = [("test_crash", 18), ("test_put", 18)][0 if BY_EVENTS else 1 :]
    third = [("test_strict", 40)]

    assert by == {
        "Cache.put none-branch 15": [("test_crash", 14), ("test_put", 14)],
        "Cache.put error-return 16": [("test_crash", 14), ("test_put", 14)],
        "Cache.put none-branch 19": second,
        "Cache.put raise 20": second,
        "Cache.put except 21": second,
        "strict none-branch 41": third,
        "strict raise 42": third,
    } | ({"strict with 39": third} if BY_EVENTS else {})


def test_a_trial_says_where_its_fault_was_caught(report: dict[str, Any]) -> None:
    caught = {
        (test["nodeid"].partition("::")[2], trial["site"]["line"]): trial["caught"]
        for test in report["tests"]
        for trial in test["trials"]
    }

    assert caught == {
        ("test_put", 14): {"file": "pkg/cache.py", "line": 16, "kind": "error-return"},
        ("test_put", 18): {"file": "pkg/cache.py", "line": 21, "kind": "except"},
        ("test_strict", 40): "test",
        ("test_crash", 14): {"file": "pkg/cache.py", "line": 16, "kind": "error-return"},
        ("test_crash", 18): None,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["-p", "xdist.plugin", "-n2"],
        ["--fail-alloc-isolation=spawn"],
        ["--fail-alloc-jobs=3"],
    ],
    ids=["two workers", "spawned", "three jobs"],
)
def test_it_is_the_same_however_it_runs(
    tmp_path: Path, report: dict[str, Any], arguments: list[str]
) -> None:
    assert run(tmp_path, *arguments)["error_paths"] == report["error_paths"]


def test_it_is_the_same_in_one_process(tmp_path: Path, report: dict[str, Any]) -> None:
    within = ["--fail-alloc-isolation=none", "-k", "not crash"]
    forked = run(tmp_path, "-k", "not crash")

    assert run(tmp_path, *within)["error_paths"] == forked["error_paths"]
    assert states(forked) == states(report)


def test_nobody_looks_where_nobody_is_to_look(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        test_it="""
        import sys

        import faultinject as fi


        def test_it():
            fi.kfree(fi.kmalloc(8, fi.GFP_KERNEL))
            tools = getattr(sys, "monitoring", None)
            assert tools is None or not any(tools.get_tool(number) for number in (2, 3, 4, 5))
            assert "faultinject.errpaths.find" not in sys.modules
        """
    )

    arguments = (*CAMPAIGN, "--fail-alloc-cov=none", "-p", "no:cacheprovider")
    result = pytester.runpytest_subprocess(*arguments, timeout=LIMIT)

    assert result.ret == 0, result.stdout.str()
    result.stdout.no_fnmatch_line("*error path*")


def test_a_named_function_is_all_that_counts(tmp_path: Path) -> None:
    found = run(tmp_path, "--fail-alloc-source=pkg.cache:strict")

    assert set(states(found)) == {
        "cache strict with",
        "cache strict none-branch",
        "cache strict raise",
    }


def test_those_of_an_installed_package_count_where_it_is_named(tmp_path: Path) -> None:
    body = 'iniconfig.IniConfig("x.ini", "[a]\\nb = 1\\n").get("a", "c")'
    test = f"import iniconfig\n\ndef test_default():\n    assert {body} is None\n"
    run_in(
        tmp_path,
        {"test_ini.py": test, "pytest.ini": "[pytest]\n"},
        *(*CAMPAIGN, "--fail-alloc-source=iniconfig"),
    )

    found = json.loads((tmp_path / REPORT).read_text(encoding="utf-8"))["error_paths"]
    (reached,) = (
        path["reached"]
        for file in found["files"]
        for path in file["paths"]
        if path["function"] == "IniConfig.get" and path["kind"] == "except"
    )
    assert reached == "clean"


def test_omitted_code_and_tests_do_not_count(tmp_path: Path) -> None:
    found = run(tmp_path, "--fail-alloc-source=pkg", "--fail-alloc-omit=pkg/unused.py")

    assert {name.split()[0] for name in states(found)} == {"cache"}


CORES = ["ctrace", *(["sysmon"] if BY_EVENTS else [])]


def project_with_coverage(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, way: str
) -> list[str]:
    """Write the project, and give the command that runs its tests measured."""
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, text in FILES.items():
        (pytester.path / name).parent.mkdir(exist_ok=True)
        (pytester.path / name).write_text(text)
    command = ["-m", "pytest", "-q", "-k", "not crash"]
    if way == "coverage run":
        return ["-mcoverage", "run", "--source=pkg", *command]
    workers = ["-p", "xdist.plugin", "-n2"] if way == "two workers" else []
    return [*command, "-p", "pytest_cov.plugin", "--cov=pkg", "--cov-report=", *workers]


def measure(pytester: pytest.Pytester, *command: str) -> dict[str, Any]:
    """Run a command, and give the lines that its ``.coverage`` holds, and what lies beside it."""
    path = pytester.path / ".coverage"
    path.unlink(missing_ok=True)
    result = pytester.run(sys.executable, *command)
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    data = CoverageData(str(path))
    data.read()
    return {
        "lines": {file: sorted(data.lines(file) or ()) for file in data.measured_files()},
        "files": sorted(item.name for item in pytester.path.glob(".coverage*")),
    }


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("way", ["pytest-cov", "coverage run"])
def test_coverage_measures_the_same_beside_it(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    report: dict[str, Any],
    core: str,
    way: str,
) -> None:
    monkeypatch.setenv("COVERAGE_CORE", core)
    command = project_with_coverage(pytester, monkeypatch, way)

    without = measure(pytester, *command)
    during = measure(pytester, *command, *CAMPAIGN, f"--fail-alloc-report=json:{REPORT}")

    assert during == without
    assert any(without["lines"].values())
    found = json.loads((pytester.path / REPORT).read_text(encoding="utf-8"))
    assert states(found) == states(report)


@pytest.mark.parametrize("way", ["pytest-cov", "coverage run", "two workers"])
def test_on_request_lines_that_ran_under_injection_count_in_coverage(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    command = project_with_coverage(pytester, monkeypatch, way)
    plain = measure(pytester, *command)

    merged = measure(pytester, *command, *CAMPAIGN, "--fail-alloc-cov=merge")

    cache = next(name for name in plain["lines"] if name.endswith("cache.py"))
    more = set(merged["lines"][cache]) - set(plain["lines"][cache])
    assert more == {16, 20, 21, 22, 23, 42}
    assert {name: lines for name, lines in merged["lines"].items() if name != cache} == {
        name: lines for name, lines in plain["lines"].items() if name != cache
    }
    assert merged["files"] == plain["files"] == [".coverage"]


def test_what_a_conftest_imports_before_anybody_looks_is_undecided(
    tmp_path: Path, report: dict[str, Any]
) -> None:
    (tmp_path / "conftest.py").write_text("import pkg.cache\n", encoding="utf-8")

    found = states(run(tmp_path))

    assert found.pop("cache <module> except") == "undecided"
    assert found.items() <= states(report).items()
