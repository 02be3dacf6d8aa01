"""`fi.import_afresh`: modules that are imported once more, and what is left of it."""

from __future__ import annotations

import array
import itertools
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from types import ModuleType

import pytest

import faultinject as fi

# One that is an extension, and of no interest otherwise.
EXTENSION = next(
    module
    for module in (array, __import__("_random"), __import__("_json"), __import__("_elementtree"))
    if isinstance(module.__spec__.loader, ExtensionFileLoader)
)

Write = Callable[..., ModuleType]


@pytest.fixture
def booth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules of a package and imports it; it is gone after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    before = {*sys.modules}
    meta_path = [*sys.meta_path]

    def write(**sources: str) -> ModuleType:
        folder = tmp_path / "booth"
        folder.mkdir(exist_ok=True)
        for name, source in {"__init__": "", **sources}.items():
            (folder / f"{name}.py").write_text(source, encoding="utf-8")
        return __import__("booth")

    yield write
    assert sys.meta_path == meta_path
    for name in [*sys.modules]:
        if name.partition(".")[0] == "booth" or (name == "stall" and name not in before):
            del sys.modules[name]


def test_a_package_is_imported_once_more_with_what_it_imports_of_itself(booth: Write) -> None:
    old = booth(__init__="from . import inner\nmarks = []", inner="from booth import deep", deep="")

    new = fi.import_afresh("booth")

    assert new is not old
    assert new.inner is not old.inner
    assert new.inner.deep is not old.inner.deep
    assert new.marks is not old.marks


def test_the_old_modules_are_there_again_afterwards(booth: Write) -> None:
    old = booth(__init__="from . import inner", inner="")
    before = dict(sys.modules)

    fi.import_afresh("booth")

    assert sys.modules == before
    assert sys.modules["booth"] is old
    assert old.inner is sys.modules["booth.inner"]


def test_the_old_modules_are_there_again_after_an_error(booth: Write, tmp_path: Path) -> None:
    old = booth(__init__="from . import inner", inner="")
    (tmp_path / "booth" / "inner.py").write_text("raise KeyError('shut')  # another size")
    before = dict(sys.modules)

    with pytest.raises(KeyError, match="shut"):
        fi.import_afresh("booth")

    assert sys.modules == before
    assert old.inner is sys.modules["booth.inner"]


def test_a_submodule_is_imported_once_more_and_its_package_keeps_the_old_one(
    booth: Write,
) -> None:
    old = booth(__init__="from . import inner", inner="import booth\nhome = booth")
    inner = old.inner

    new = fi.import_afresh("booth.inner")

    assert new is not inner
    assert new.home is old
    assert old.inner is inner


def test_what_was_not_imported_before_is_not_afterwards(booth: Write) -> None:
    old = booth(extra="")

    for _ in range(2):
        assert fi.import_afresh("booth.extra").__name__ == "booth.extra"

        assert "booth.extra" not in sys.modules
        assert not hasattr(old, "extra")


def test_several_modules_know_each_other(booth: Write) -> None:
    booth(one="class Error(Exception): ...", two="from booth.one import Error")

    fi.import_afresh("booth.two")  # neither was there before
    seen = []
    new = fi.import_afresh("booth", "booth.two", "booth.one")
    for name in ("two", "one"):
        seen.append(getattr(new, name).Error)

    assert seen[0] is seen[1]


def test_extension_modules_stay_and_belong_to_the_new_package_too(booth: Write) -> None:
    old = booth(inner="import booth.quick\nfound = booth.quick", quick="raise KeyError")
    name, spec = EXTENSION.__name__, EXTENSION.__spec__
    sys.modules["booth.quick"] = EXTENSION
    old.quick = EXTENSION  # type: ignore[attr-defined]

    new = fi.import_afresh("booth", "booth.inner")

    assert new.inner.found is EXTENSION
    assert new.quick is EXTENSION
    assert sys.modules["booth.quick"] is EXTENSION
    assert (EXTENSION.__name__, EXTENSION.__spec__) == (name, spec)


def test_what_somebody_blocks_stays_blocked(booth: Write) -> None:
    booth(__init__="try:\n    from . import extra\nexcept ImportError:\n    extra = None", extra="")
    sys.modules["booth.extra"] = None  # type: ignore[assignment]

    assert fi.import_afresh("booth").extra is None
    assert sys.modules["booth.extra"] is None


def test_another_package_whose_name_begins_so_is_left_alone(booth: Write, tmp_path: Path) -> None:
    (tmp_path / "booths.py").write_text("")
    other = booth(__init__="import booths").booths

    assert fi.import_afresh("booth").booths is other
    assert sys.modules.pop("booths") is other


@pytest.mark.parametrize("name", ["", ".inner", "booth:inner", "3", None, itertools])
def test_what_is_no_name_of_a_module_is_refused(name: object) -> None:
    with pytest.raises(fi.SpecError, match="not the name of a module"):
        fi.import_afresh(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["sys", "itertools", "__main__", "zipimport", EXTENSION.__name__])
def test_what_cannot_be_imported_twice_is_refused(name: str) -> None:
    module = __import__(name)

    with pytest.raises(fi.SpecError, match=f"cannot be imported twice: '{name}'"):
        fi.import_afresh(name)

    assert sys.modules[name] is module


def test_no_name_at_all_is_refused() -> None:
    with pytest.raises(fi.SpecError, match="no module is named"):
        fi.import_afresh()


def test_a_module_that_does_not_exist_is_told_by_the_import(booth: Write) -> None:
    booth()

    with pytest.raises(ModuleNotFoundError) as failed:
        fi.import_afresh("booth", "booth.nowhere")

    assert failed.value.name == "booth.nowhere"


def test_imports_at_the_top_of_a_module_fail_in_a_sweep(booth: Write) -> None:
    booth(__init__="try:\n    import wave\nexcept ImportError:\n    wave = None\n")

    report = fi.sweep(
        lambda: fi.import_afresh("booth"),
        capabilities="fail_function:target=imports",
        isolation="none",
    )

    assert [(trial.function, trial.line, trial.outcome.value) for trial in report.trials] == [
        ("<module>", 2, "recovered")
    ]
    assert report.trials[0].file.endswith("booth/__init__.py")
