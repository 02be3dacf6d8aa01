"""The project around the code: its commands, its documents, and that they agree with the code."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("examples/**/*.md")])
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


def sources() -> Iterator[Path]:
    yield from sorted((ROOT / "faultinject").rglob("*.py"))
    yield from sorted((ROOT / "pytest_plugin").rglob("*.py"))


def slugs_in(text: str) -> set[str]:
    """Every slug that a source gives to a message: ``slug="..."``, as attribute or argument."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        value: ast.expr | None = None
        if isinstance(node, ast.keyword) and node.arg == "slug":
            value = node.value
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "slug" for target in targets):
                value = node.value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            found.add(value.value)
    return found


def test_slugs_are_found_in_classes_and_in_calls() -> None:
    text = 'class A:\n    slug: str = "one"\n    other = "no"\nf(slug="two", other="no")\n'

    assert slugs_in(text) == {"one", "two"}


def test_every_message_is_explained_and_every_explanation_has_its_message() -> None:
    used = {slug for path in sources() for slug in slugs_in(path.read_text(encoding="utf-8"))}
    page = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
    explained = re.findall(r"^## `([a-z-]+)`$", page, flags=re.MULTILINE)

    assert len(explained) == len(set(explained))
    assert set(explained) == used


def test_the_table_of_options_is_the_one_that_the_plugin_reads() -> None:
    from pytest_faultinject.options import OPTIONS

    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(--\S+)` \| (?:`([^`]*)`)? *\| (.*) \|$", page, flags=re.MULTILINE)

    assert [(spelled.replace("\\|", "|"), default, text) for spelled, default, text in rows] == [
        (
            option.flag if option.kind == "flag" else f"{option.flag}={option.metavar}",
            "" if option.default is None else str(option.default),
            option.help,
        )
        for option in OPTIONS
    ]


def test_the_version_is_a_literal_and_the_changelog_knows_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert "version" not in project.get("dynamic", [])
    assert f"({project['version']})" in (ROOT / "CHANGELOG.md").read_text(
        encoding="utf-8"
    ) or f"[{project['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_package_says_the_version_of_the_project() -> None:
    import faultinject

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert faultinject.__version__ == project["version"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)

    missing = [
        target for target in targets if "://" not in target and not (page.parent / target).exists()
    ]

    assert missing == []


def test_every_page_of_the_manual_can_be_reached_from_its_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")

    unlisted = [
        page.name
        for page in (ROOT / "docs").glob("*.md")
        if page.name != "index.md" and f"({page.name})" not in index
    ]

    assert unlisted == []


@needs_make
@pytest.mark.parametrize("goal", ["test", "check", "demo"])
def test_a_python_that_is_too_old_is_refused_by_name(tmp_path: Path, goal: str) -> None:
    old = tmp_path / "python2"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 2.7.18" && exit 0\nexit 1\n')
    old.chmod(0o755)

    ended = subprocess.run(
        ["make", goal, f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
    )

    assert ended.returncode != 0
    assert "needs Python 3.11 or newer; found: Python 2.7.18" in ended.stderr
    assert f"make {goal} PYTHON=" in ended.stderr
    assert not (tmp_path / "venv").exists()


@needs_make
def test_make_lists_its_commands() -> None:
    listed = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert {line.split()[1] for line in listed.splitlines() if line.startswith("make ")} >= {
        "test",
        "check",
        "demo",
    }


def test_the_script_for_continuous_integration_is_executable_and_parses() -> None:
    script = ROOT / ".ci" / "run"

    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


# The steps of "How to add a capability" in CONTRIBUTING.md, in their order.
STEPS_1_TO_3 = """
from faultinject.capabilities.capability import Capability
from faultinject.capabilities.hookspecs import hookimpl


class FailWater(Capability):
    name = "fail_water"
    unit = "litres"
    doc = "water() returns None."


fail_water = FailWater()


def water(litres):
    return None if fail_water.consult(litres) else litres


@hookimpl
def faultinject_capabilities():
    return [fail_water]
"""
STEP_4 = "[faultinject]\nwater = water\n"
STEP_5 = """
import faultinject as fi
from water import water

with fi.fail_alloc("fail_water:interval=2"):
    assert [water(1), water(1), water(1)] == [1, None, 1]
assert water(1) == 1
"""


def test_the_five_steps_to_a_capability_lead_to_one(tmp_path: Path) -> None:
    installed = tmp_path / "water-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: water\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(STEP_4)
    (tmp_path / "water.py").write_text(STEPS_1_TO_3)

    ended = subprocess.run(
        [sys.executable, "-c", STEP_5],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
