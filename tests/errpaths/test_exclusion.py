"""Exclusions: `# pragma: no cover` and coverage's settings take error paths away."""

from __future__ import annotations

import gc
from pathlib import Path
from textwrap import dedent

import pytest
from coverage import Coverage

from faultinject.errpaths.exclusion import Exclusions
from faultinject.errpaths.find import find_in_file, find_paths

EXCLUSIONS = Exclusions()


def left_of(source: str, exclusions: Exclusions = EXCLUSIONS) -> tuple[list[str], int]:
    """The kinds and lines that are left, and how many paths are not."""
    found = find_paths(dedent(source), "m.py", excluded=exclusions.lines)
    assert found.unreadable is None
    return [f"{path.kind.value} {path.line}" for path in found.paths], found.excluded


CASES = {
    "a handler": (
        "try:\n    a\nexcept A:  # pragma: no cover\n    b\nexcept B:\n    c\n",
        (["except 5"], 1),
    ),
    "the statement in a handler": (
        "try:\n    a\nexcept A:\n    b  # pragma: no cover\n",
        ([], 1),
    ),
    "one of two statements in a handler": (
        "try:\n    a\nexcept A:\n    b  # pragma: no cover\n    c\n",
        (["except 3"], 0),
    ),
    "the function": (
        "@d\ndef f():  # pragma: no cover\n    try: a\n    except A:\n        b\n",
        ([], 1),
    ),
    "its decorator": (
        "@d  # pragma: no cover\ndef f():\n    with a:\n        b\n",
        ([], 1),
    ),
    "the class": (
        "class C:  # pragma: no cover\n    def f(self):\n        with a: b\nwith c: d\n",
        (["with 4"], 1),
    ),
    "finally": ("try:\n    a\nfinally:  # pragma: no cover\n    b\n", ([], 1)),
    "with": ("with a:  # pragma: no cover\n    b\n", ([], 1)),
    "a with of several lines": ("with (\n    a,  # pragma: no cover\n    b,\n):\n    c\n", ([], 1)),
    "the body of a with, which says nothing of its exit": (
        "with a:\n    b  # pragma: no cover\n",
        (["with 1"], 0),
    ),
    "a branch": (
        "if (p := fi.kmalloc(8)) is None:  # pragma: no cover\n    raise A\n",
        ([], 2),
    ),
    "the raise in a branch": (
        "if (p := fi.kmalloc(8)) is None:\n    a\n    raise A  # pragma: no cover\n",
        (["none-branch 1"], 1),
    ),
    "else": (
        "if fi.kmalloc(8):\n    a\nelse:  # pragma: no cover\n    b\n",
        ([], 1),
    ),
    "an expression": ("p = fi.kmalloc(8) or a  # pragma: no cover\n", ([], 1)),
    "an expression in a statement of several lines": (
        "p = (\n    fi.kmalloc(8)\n    or a\n)  # pragma: no cover\n",
        ([], 1),
    ),
    "a case": (
        "match fi.kmalloc(8):\n    case None:  # pragma: no cover\n        a\n",
        ([], 1),
    ),
    "other pragmas": (
        "try:\n    a\nexcept A:  # pragma: no branch\n    b\n",
        (["except 3"], 0),
    ),
    "a string that says so": (
        "try:\n    a\nexcept A:\n    b('pragma: no cover')\n",
        (["except 3"], 0),
    ),
}


@pytest.mark.parametrize(("source", "expected"), CASES.values(), ids=CASES)
def test_coverages_defaults_hold(source: str, expected: tuple[list[str], int]) -> None:
    assert left_of(source) == expected


def test_patterns_of_the_users_hold() -> None:
    source = "try: a\nexcept A:  # no-fault\n    b\nexcept B:  # pragma: no cover\n    c\n"

    assert left_of(source, Exclusions([r"#\s*no-fault"])) == (["except 4"], 1)
    assert left_of("if debug:\n    with a: b\n", Exclusions(["^if debug:"])) == ([], 1)
    assert left_of(source, Exclusions([])) == (["except 2", "except 4"], 0)


def test_the_settings_of_a_measurement_are_taken_over_and_left_alone(tmp_path: Path) -> None:
    config = tmp_path / "pyproject.toml"
    config.write_text('[tool.coverage.report]\nexclude_also = ["log_error"]\n')
    users = Coverage(data_file=str(tmp_path / "data"), config_file=str(config))
    before = users.get_exclude_list()
    source = "try: a\nexcept A:\n    log_error()\nexcept B:  # pragma: no cover\n    c\n"

    assert left_of(source, Exclusions.of(users)) == ([], 2)
    assert users.get_exclude_list() == before
    assert list(tmp_path.iterdir()) == [config]


def test_without_a_plugin_that_is_not_installed_the_configuration_itself_still_excludes(
    tmp_path: Path,
) -> None:
    config = tmp_path / ".coveragerc"
    config.write_text("[run]\nplugins = nosuch\n[report]\nexclude_also = log_error\n")
    users = Coverage(data_file=None, config_file=str(config))
    told: list[str] = []

    exclusions = Exclusions.of(users, tell=told.append)

    assert left_of("try: a\nexcept A:\n    log_error()\n", exclusions) == ([], 1)
    (remark,) = told
    assert f"plugins = nosuch in {config}: ModuleNotFoundError" in remark


def test_without_exclusions_everything_counts() -> None:
    source = "try: a\nexcept A:  # pragma: no cover\n    b\n"

    assert len(find_paths(source, "m.py").paths) == 1


def test_a_file_and_its_text_are_analysed_alike(tmp_path: Path) -> None:
    content = "# coding: latin-1\ntry: a\nexcept Ä:  # pragma: no cover\n    b\n".encode("latin-1")
    file = tmp_path / "odd name.txt"
    file.write_bytes(content)

    on_disk = find_in_file(str(file), excluded=EXCLUSIONS.lines)
    in_memory = find_paths(content, "m.py", excluded=EXCLUSIONS.lines)

    assert on_disk.excluded == in_memory.excluded == 1


def test_no_database_stays_open() -> None:
    exclusions = Exclusions()
    assert left_of("try: a\nexcept A:  # pragma: no cover\n    b\n", exclusions) == ([], 1)

    del exclusions
    gc.collect()  # from Python 3.13 on, an open one warns here, which is an error


def test_exclusion_does_not_change_the_keys_of_what_is_left() -> None:
    twin = "try: a\nexcept A:{}\n    b\n"
    source = twin.format("") + twin.format("  # x")
    pragma = twin.format("  # pragma: no cover") + twin.format("  # x")

    assert find_paths(source, "m.py").paths[1].key == (
        find_paths(pragma, "m.py", excluded=EXCLUSIONS.lines).paths[0].key
    )
