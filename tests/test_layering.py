"""The floors: imports run down only. The table here is the one of CONTRIBUTING.md.

An import counts wherever it stands: at the top, inside a function, under
``if TYPE_CHECKING``, or as ``importlib.import_module("...")``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_LINES = 500

# The longest prefix that matches decides. Names that share a floor are strangers to each other.
FLOORS = {
    "faultinject.errors": 0,
    "faultinject.gfp": 0,
    "faultinject.callsite": 0,
    "faultinject.prng": 0,
    "faultinject.engine": 1,
    "faultinject.capabilities": 2,
    "faultinject.mm": 3,
    "faultinject.native": 3,
    "faultinject.functions": 3,
    "faultinject.campaign": 4,
    "faultinject.errpaths": 4,
    "faultinject.klog": 4,
    "faultinject.report": 5,
    "faultinject.api": 6,
    "faultinject.program": 6,
    "faultinject": 6,
    "faultinject.cli": 7,
    "faultinject.__main__": 7,
    "pytest_faultinject": 7,
}

# Neighbours on one floor that do meet, each with its reason.
NEIGHBOURS = {
    ("faultinject.callsite", "faultinject.errors"),  # a bad pattern is a SpecError
    ("faultinject.gfp", "faultinject.errors"),
    ("faultinject.prng", "faultinject.errors"),
    ("faultinject", "faultinject.api"),  # the package re-exports the api
    ("faultinject.__main__", "faultinject.cli"),  # python -m faultinject
}
# Only for annotations: at run time this would be a cycle.
TYPE_CHECKING_NEIGHBOURS = {("faultinject.errors", "faultinject.callsite")}

BANNED_NAMES = {
    "base",
    "common",
    "handler",
    "handlers",
    "helper",
    "helpers",
    "manager",
    "misc",
    "processor",
    "util",
    "utils",
    "wrapper",
}


@dataclass(frozen=True)
class Import:
    """One import of one module, where it is written."""

    path: str
    line: int
    importer: str
    imported: str
    for_types_only: bool


def module_name(path: Path, root: Path) -> str:
    """The import name of a file under `root`; ``pytest_plugin/`` is not part of it."""
    parts = list(path.relative_to(root).with_suffix("").parts)
    if parts[0] == "pytest_plugin":
        parts.pop(0)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def sources(root: Path) -> list[Path]:
    return sorted([*root.glob("faultinject/**/*.py"), *root.glob("pytest_plugin/**/*.py")])


def owner(module: str) -> str | None:
    """The entry of FLOORS that `module` falls under; a new top-level module has none."""
    # The package itself is an entry, but only for itself: not for what nobody has placed yet.
    candidates = [
        entry
        for entry in FLOORS
        if module == entry or (entry != "faultinject" and module.startswith(entry + "."))
    ]
    return max(candidates, key=len, default=None)


def imports_of(path: Path, root: Path, modules: set[str]) -> Iterator[Import]:
    """Every import of the project's own modules that stands in one file."""
    importer = module_name(path, root)
    package = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    type_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        for imported in _targets(node, package, modules):
            if imported.split(".")[0] in {"faultinject", "pytest_faultinject"}:
                yield Import(
                    path=path.relative_to(root).as_posix(),
                    line=node.lineno,  # type: ignore[attr-defined]
                    importer=importer,
                    imported=imported,
                    for_types_only=id(node) in type_only,
                )


def _targets(node: ast.AST, package: str, modules: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        source = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            source = ".".join([*above, source] if source else above)
        for alias in node.names:
            # `from faultinject import errors` imports the module, not the package's name.
            whole = f"{source}.{alias.name}"
            yield whole if whole in modules else source
    elif (
        isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] in {"import_module", "__import__"}
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    ):
        yield node.args[0].value


def complaint(found: Import) -> str | None:
    """What is wrong with one import, or None."""
    at = f"{found.path}:{found.line} imports {found.imported}"
    mine, theirs = owner(found.importer), owner(found.imported)
    if mine is None or theirs is None:
        return f"{at}: {found.importer if mine is None else found.imported} has no floor"
    if mine == theirs or FLOORS[mine] > FLOORS[theirs]:
        return None
    if FLOORS[mine] < FLOORS[theirs]:
        return f"{at} (floor {FLOORS[mine]} -> {FLOORS[theirs]})"
    pair = (mine, theirs)
    if pair in NEIGHBOURS or (found.for_types_only and pair in TYPE_CHECKING_NEIGHBOURS):
        return None
    return f"{at} (floor {FLOORS[mine]}: neighbours are strangers)"


def wrong_imports(root: Path) -> list[str]:
    paths = sources(root)
    modules = {module_name(path, root) for path in paths}
    found = [item for path in paths for item in imports_of(path, root, modules)]
    return [text for item in found if (text := complaint(item)) is not None]


def wrong_files(root: Path) -> list[str]:
    wrong = []
    for path in sources(root):
        at = path.relative_to(root).as_posix()
        text = path.read_text(encoding="utf-8")
        if (length := text.count("\n")) > MAX_LINES:
            wrong.append(f"{at} has {length} lines; at most {MAX_LINES}")
        if BANNED_NAMES & set(path.stem.split("_")) or path.parent.name in BANNED_NAMES:
            wrong.append(f"{at}: the name says nothing; use the noun")
        if not ast.get_docstring(ast.parse(text)):
            wrong.append(f"{at} has no module docstring")
    return wrong


def test_imports_run_down_only() -> None:
    assert wrong_imports(ROOT) == []


def test_files_are_short_and_named_by_a_noun_and_say_what_they_hold() -> None:
    assert wrong_files(ROOT) == []


def test_the_project_is_really_looked_at() -> None:
    names = {module_name(path, ROOT) for path in sources(ROOT)}

    assert {"faultinject", "faultinject.errors", "pytest_faultinject.plugin"} <= names


BAD_TREE = {
    "upward": (
        {"faultinject/mm/slab.py": "import os\nimport sys\n\nimport faultinject.campaign\n"},
        "faultinject/mm/slab.py:4 imports faultinject.campaign (floor 3 -> 4)",
    ),
    "upward, late": (
        {"faultinject/engine/attr.py": "def f():\n    from faultinject import mm\n"},
        "faultinject/engine/attr.py:2 imports faultinject.mm (floor 1 -> 3)",
    ),
    "upward, for types only": (
        {"faultinject/gfp.py": "if TYPE_CHECKING:\n    from faultinject.engine.attr import F\n"},
        "faultinject/gfp.py:2 imports faultinject.engine.attr (floor 0 -> 1)",
    ),
    "upward, relative": (
        {"faultinject/capabilities/failslab.py": "from ..mm import slab\n"},
        "faultinject/capabilities/failslab.py:1 imports faultinject.mm (floor 2 -> 3)",
    ),
    "upward, by name": (
        {"faultinject/mm/page.py": "importlib.import_module('faultinject.cli')\n"},
        "faultinject/mm/page.py:1 imports faultinject.cli (floor 3 -> 7)",
    ),
    "the package from inside": (
        {"faultinject/report/term.py": "from faultinject import kmalloc\n"},
        "faultinject/report/term.py:1 imports faultinject (floor 5 -> 6)",
    ),
    "neighbours": (
        {"faultinject/klog/parse.py": "from faultinject.campaign import plan\n"},
        "faultinject/klog/parse.py:1 imports faultinject.campaign "
        "(floor 4: neighbours are strangers)",
    ),
    "for types only, but at run time": (
        {"faultinject/errors.py": "from faultinject.callsite import CallSite\n"},
        "faultinject/errors.py:1 imports faultinject.callsite (floor 0: neighbours are strangers)",
    ),
    "nobody placed it": (
        {"faultinject/extra.py": "import faultinject.errors\n"},
        "faultinject/extra.py:1 imports faultinject.errors: faultinject.extra has no floor",
    ),
    "the plugin from the command line": (
        {"faultinject/cli.py": "import pytest_faultinject.plugin\n"},
        "faultinject/cli.py:1 imports pytest_faultinject.plugin "
        "(floor 7: neighbours are strangers)",
    ),
}


def plant(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("files", "expected"), BAD_TREE.values(), ids=BAD_TREE)
def test_a_bad_import_is_named_with_its_line_and_floors(
    tmp_path: Path, files: dict[str, str], expected: str
) -> None:
    plant(tmp_path, {"faultinject/__init__.py": "", "faultinject/mm/__init__.py": "", **files})

    assert wrong_imports(tmp_path) == [expected]


def test_downward_imports_of_every_shape_are_fine(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "faultinject/__init__.py": "from faultinject.api import sweep\nfrom . import mm\n",
            "faultinject/errors.py": "if TYPE_CHECKING:\n    from faultinject.callsite import C\n",
            "faultinject/klog/parse.py": "from faultinject.mm import buddy\n",
            "faultinject/mm/__init__.py": "from . import buddy\n",
            "faultinject/mm/buddy.py": "def f():\n    from ..engine import attr\n",
            "faultinject/__main__.py": "from faultinject.cli import main\n",
            "pytest_plugin/pytest_faultinject/plugin.py": "from . import options\nimport pytest\n",
        },
    )

    assert wrong_imports(tmp_path) == []


def test_a_long_file_a_vague_name_and_a_missing_docstring_are_refused(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "faultinject/mm/slab.py": '"""Slabs."""\n' + "x = 1\n" * MAX_LINES,
            "faultinject/mm/slab_utils.py": '"""Odds and ends."""\n',
            "faultinject/mm/page.py": "x = 1\n",
        },
    )

    assert wrong_files(tmp_path) == [
        "faultinject/mm/page.py has no module docstring",
        "faultinject/mm/slab.py has 501 lines; at most 500",
        "faultinject/mm/slab_utils.py: the name says nothing; use the noun",
    ]
