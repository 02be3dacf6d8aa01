"""Imports that fail: which ones, how, and what is left of it afterwards."""

from __future__ import annotations

import ast
import builtins
import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import importing
import pytest

import faultinject as fi
from faultinject.functions import acts, events, hook, target, watch

THE_ONE = builtins.__import__


@pytest.fixture(autouse=True)
def imports_are_those_of_python_afterwards() -> Iterator[None]:
    yield
    assert watch._stack == []
    assert builtins.__import__ is THE_ONE


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Writes modules of a package that is gone after the test."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(**sources: str) -> None:
        folder = tmp_path / "fair"
        folder.mkdir(exist_ok=True)
        for name, source in {"__init__": "", **sources}.items():
            (folder / f"{name}.py").write_text(source, encoding="utf-8")

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "fair"]:
        del sys.modules[name]


def sweep(body: Callable[[], Any], target: str = "imports") -> fi.campaign.sweep.SweepReport:
    return fi.sweep(body, capabilities=f"fail_function:target={target}", isolation="none")


@pytest.mark.parametrize("function", importing.GUARDED, ids=lambda each: each.__name__)
def test_an_import_that_is_guarded_is_tried(function: Callable[[], str]) -> None:
    report = sweep(function)

    assert [trial.outcome.value for trial in report.trials] == ["recovered"]
    assert function() == "with"


@pytest.mark.parametrize("function", importing.NOT_GUARDED, ids=lambda each: each.__name__)
def test_an_import_that_its_author_does_not_expect_to_fail_is_not_tried(
    function: Callable[[], object],
) -> None:
    assert sweep(function).sites == 0


def test_with_another_error_the_same_imports_fail() -> None:
    report = sweep(importing.by_except, "imports:ImportError('no')")

    assert [trial.fault for trial in report.trials] == ["__import__: ImportError('no')"]
    assert sweep(importing.open_to_failure, "imports:ImportError('no')").sites == 0


def test_by_its_name_every_import_fails() -> None:
    report = sweep(importing.open_to_failure, "builtins.__import__:ImportError('no')")

    assert [(trial.outcome.value, trial.fault) for trial in report.trials] == [
        ("propagated", "__import__: ImportError('no')")
    ]


@pytest.mark.parametrize(
    ("statement", "package_name", "missing"),
    [
        ("import wave", "fair", "wave"),
        ("import xml.dom.minidom", "fair", "xml"),
        ("from xml.dom import minidom", "fair", "xml"),
        ("import fair.inner", "fair", "fair.inner"),
        ("from .inner import thing", "fair", "fair.inner"),
        ("from . import inner", "fair", "fair.inner"),
        ("from ..outer import thing", "fair.deep", "fair.outer"),
        ("importlib.import_module('xml.dom')", "fair", "xml"),
        ("importlib.import_module('.inner', 'fair')", "fair", "fair.inner"),
        ("importlib.import_module(name='..outer', package='fair.deep')", "fair", "fair.outer"),
    ],
)
def test_the_error_names_what_is_missing_as_it_does_in_life(
    statement: str, package_name: str, missing: str
) -> None:
    names = {"__name__": package_name, "__package__": package_name, "importlib": importlib}

    with (
        fi.fail_function(
            target="builtins.__import__|importlib.import_module", error="ModuleNotFoundError"
        ),
        pytest.raises(ModuleNotFoundError) as failed,
    ):
        exec(statement, names)

    assert str(failed.value) == f"No module named {missing!r}"
    assert failed.value.name == missing


def test_a_failed_import_has_no_frame_of_ours_in_its_traceback() -> None:
    with (
        fi.fail_function(target="builtins.__import__", error="ImportError('no')"),
        pytest.raises(ImportError) as failed,
    ):
        importing.open_to_failure()

    assert traceback.extract_tb(failed.value.__traceback__)[-1].name == "open_to_failure"
    assert failed.value.__context__ is None


def test_imports_that_do_not_fail_are_as_ever(package: Callable[..., None]) -> None:
    package(star="there = 1", inner="from .star import *\nfrom . import star as s\n")
    seen: dict[str, Any] = {"__name__": "fair", "__package__": "fair"}

    with fi.fail_function(target="builtins.__import__", error="ImportError('no')", space=1000):
        exec("import xml.dom.minidom as dom, os.path\nfrom . import inner\n", seen)
        with pytest.raises(ImportError, match="cannot import name 'nothing'"):
            exec("from fair import nothing", seen)
        with pytest.raises(ModuleNotFoundError) as missing:
            exec("import fair.nowhere", seen)

    assert seen["dom"].__name__ == "xml.dom.minidom"
    assert seen["os"].__name__ == "os"
    assert (seen["inner"].there, seen["inner"].s.__name__) == (1, "fair.star")
    assert missing.value.name == "fair.nowhere"
    assert all(
        Path(entry.filename).parent.name != "functions" or entry.filename == __file__
        for entry in traceback.extract_tb(missing.value.__traceback__)
    )


def test_what_an_imported_module_imports_for_itself_is_not_the_importers(
    package: Callable[..., None],
) -> None:
    def body() -> None:
        for name in ("fair", "fair.optional"):
            sys.modules.pop(name, None)
        importlib.import_module("fair.optional")

    package(optional="try:\n    import wave\nexcept ImportError:\n    wave = None\n")

    outside = fi.sweep(
        body, capabilities="fail_function:target=imports", isolation="none", source=[__file__]
    )
    inside = fi.sweep(
        body, capabilities="fail_function:target=imports", isolation="none", source=["fair"]
    )

    assert outside.sites == 0
    assert [(trial.function, trial.outcome.value) for trial in inside.trials] == [
        ("<module>", "recovered")
    ]


def test_c_code_that_imports_for_a_function_is_no_statement_of_its() -> None:
    def formats() -> str:
        import time

        return time.strptime("1", "%H").tm_hour  # type: ignore[return-value]

    report = sweep(formats, "builtins.__import__:ImportError('no')")

    assert [trial.line - formats.__code__.co_firstlineno for trial in report.trials] == [1]


def test_the_end_of_an_inner_watch_leaves_the_outer_one_in_force() -> None:
    with fi.fail_function(target="imports", times=-1):
        with (
            fi.fail_function(target="builtins.__import__", error="ImportError('inner')"),
            pytest.raises(ImportError, match="inner"),
        ):
            importing.open_to_failure()
        assert importing.by_except() == "without"
        importing.open_to_failure()
    assert importing.by_except() == "with"


def test_a_stand_in_has_the_name_of_what_it_stands_in_for() -> None:
    with fi.fail_function(target="imports"):
        (found,) = target.resolve("builtins.__import__")

        assert builtins.__import__ is not THE_ONE
        assert found == target.Target("__import__", THE_ONE)


def test_what_somebody_else_puts_in_its_place_stays_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    met: list[str] = []

    with fi.fail_function(target="builtins.__import__", error="ImportError('no')", times=-1):
        standing_in = builtins.__import__

        def replacement(name: str, *arguments: Any) -> ModuleType:
            met.append(name)
            return standing_in(name, *arguments)

        with fi.no_faults():
            monkeypatch.setattr(builtins, "__import__", replacement)
        importing.open_to_failure()
    assert builtins.__import__ is replacement
    importing.open_to_failure()
    monkeypatch.undo()

    # Now what was replaced is there again, long after anybody has watched.
    assert met == ["wave"] * 2
    importing.open_to_failure()
    with fi.fail_function(target="imports"):
        assert importing.by_except() == "without"


def test_somebody_elses_import_fails_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def replacement(*arguments: Any) -> ModuleType:
        return THE_ONE(*arguments)

    monkeypatch.setattr(builtins, "__import__", replacement)
    with (
        fi.fail_function(target="builtins.__import__", error="ImportError('no')"),
        pytest.raises(ImportError, match="no"),
    ):
        importing.open_to_failure()
    monkeypatch.undo()


def test_what_has_no_source_is_not_tried() -> None:
    source = Path(importing.__file__).read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(compile(ast.parse(source), "<nowhere>", "exec"), names)

    assert sweep(names["by_except"]).sites == 0


def test_without_c_an_import_fails_with_one_more_entry_in_the_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if sys.version_info < (3, 12):
        pytest.skip("3.11 sees nothing without C")
    python = hook.PythonHook()
    for module in (watch, events, target):
        monkeypatch.setattr(module, "hook", python)
    for holder in (acts, hook):
        monkeypatch.setattr(holder, "HAS_C", False)

    with fi.fail_function(target="imports", times=-1):
        with fi.fail_function(target="imports"):
            assert importing.by_except() == "without"
        assert importing.by_except() == "without"
        importing.open_to_failure()
    with (
        fi.fail_function(target="builtins.__import__", error="ImportError('no')"),
        pytest.raises(ImportError) as failed,
    ):
        importing.open_to_failure()

    assert [entry.name for entry in traceback.extract_tb(failed.value.__traceback__)][-2:] == [
        "open_to_failure",
        "__call__",
    ]
