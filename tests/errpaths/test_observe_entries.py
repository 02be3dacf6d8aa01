"""Entries in the bytecode: no error path of real code is without one."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from types import CodeType

import pytest

from faultinject.errpaths.find import find_in_file
from faultinject.errpaths.monitor_entries import find_entries, function_of
from faultinject.errpaths.path import ErrorPath

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="for sys.monitoring")


def codes_of(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_of(constant)


def entries_of(file: str) -> tuple[tuple[ErrorPath, ...], dict[str, list[tuple[str, int]]]]:
    """The paths of a file, and for each the functions and lines or offsets where it begins."""
    paths = find_in_file(file).paths
    found: dict[str, list[tuple[str, int]]] = {}
    with open(file, "rb") as stream:
        module = compile(stream.read(), file, "exec")
    for code in codes_of(module):
        entries = find_entries(code, paths)
        for places in (entries.lines, entries.offsets):
            for place, begun in places.items():
                for path in begun:
                    found.setdefault(path.key, []).append((function_of(code), place))
    return paths, found


@pytest.mark.parametrize(
    "name",
    ["contextlib", "tarfile", "subprocess", "asyncio.base_events", "concurrent.futures._base"],
)
def test_every_path_of_the_standard_library_begins_somewhere(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None

    paths, found = entries_of(spec.origin)

    assert len(paths) > 5
    assert [path for path in paths if path.key not in found] == []
    assert all({path.function} == {name for name, _ in found[path.key]} for path in paths)


def test_a_comprehension_belongs_to_the_function_it_is_in() -> None:
    source = "def f():\n    return [x for x in (y for y in ())]\n\n\nz = (1 for _ in ())\n"
    names = {code.co_qualname: function_of(code) for code in codes_of(compile(source, "m", "exec"))}

    assert names["f.<locals>.<genexpr>"] == "f"
    assert names["<genexpr>"] == names["<module>"] == "<module>"
