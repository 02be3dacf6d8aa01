"""Profiles: tables of what goes wrong in life, ours, other packages' and the project's."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_faultinject.options import OPTIONS

from faultinject.capabilities import registry
from faultinject.errors import SpecError
from faultinject.functions import fault, target
from faultinject.functions.profiles import Row, names, rows

OURS = ["disk", "permission", "descriptors", "network", "process", "database", "threads", "imports"]
MANUAL = Path("/usr/share/man")
# "open(2), write(2)", and the pages that a page itself refers to: "mkstemp(3): any of open(2)".
PAGE = re.compile(r"([a-z_0-9]+)\(([237])\)")


def manual(name: str, section: str) -> str:
    page = MANUAL / f"man{section}" / f"{name}.{section}.gz"
    text = gzip.decompress(page.read_bytes()).decode()
    link = re.match(r"\.so man(\d)/(\w+)\.\d", text)
    return manual(link[2], link[1]) if link else text


def project(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def shop() -> Iterator[None]:
    module = types.ModuleType("book_shop")
    exec("def sell(): ...\nclass Closed(Exception): ...\n", vars(module))
    sys.modules["book_shop"] = module
    yield
    del sys.modules["book_shop"]


def test_there_are_eight_profiles(tmp_path: Path) -> None:
    assert names(root=tmp_path) == OURS


def test_rows_about_another_package_are_there_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def about_it() -> set[str]:
        return {row.target for row in rows("database", root=tmp_path) if "aio" in row.target}

    module = types.ModuleType("aiosqlite")
    exec("class Connection:\n    async def commit(self): ...\nclass Cursor: ...", vars(module))
    monkeypatch.setitem(sys.modules, "aiosqlite", module)
    assert about_it() == {"aiosqlite.Connection.commit"}
    monkeypatch.setitem(sys.modules, "aiosqlite", None)

    assert about_it() == set()


def test_the_help_of_the_option_names_them() -> None:
    (text,) = (option.help for option in OPTIONS if option.flag == "--fail-function")

    assert f"PROFILE ({', '.join(OURS)}, or the project's own)" in text


@pytest.mark.parametrize("name", OURS)
def test_every_row_of_ours_names_what_exists_and_who_says_so(name: str, tmp_path: Path) -> None:
    found = rows(name, root=tmp_path)

    assert found
    for row in found:
        assert target.resolve(row.target)
        assert [fault.parse(text).text for text in row.faults]
        assert row.source


@pytest.mark.parametrize("name", OURS)
def test_no_two_rows_of_a_profile_say_the_same(name: str, tmp_path: Path) -> None:
    said = [
        (each.callable, each.owner, row.only, fault.parse(text).text)
        for row in rows(name, root=tmp_path)
        for each in target.resolve(row.target)
        for text in row.faults
    ]

    assert sorted(str(each) for each in set(said)) == sorted(str(each) for each in said)


@pytest.mark.skipif(not (MANUAL / "man2" / "open.2.gz").is_file(), reason="no manual pages")
@pytest.mark.parametrize("name", OURS)
def test_the_manual_lists_each_error_of_a_row_that_names_its_pages(
    name: str, tmp_path: Path
) -> None:
    unlisted = []
    for row in rows(name, root=tmp_path):
        pages = " ".join(manual(*page) for page in PAGE.findall(row.source))
        for text in row.faults if pages and "(3p)" not in row.source else ():
            number = re.match(r"(E[A-Z0-9]+|socket\.gaierror\((EAI_[A-Z]+))\b(?!\()", text)
            if number and text != "EOFError" and (number[2] or number[1]) not in pages:
                unlisted.append((row.target, text, row.source))

    assert unlisted == []


def test_rows_may_be_asked_for_by_the_end_of_their_names(tmp_path: Path) -> None:
    found = [row.target for row in rows("disk", ending="replace", root=tmp_path)]

    assert found == ["os.replace", "pathlib.Path.replace"]


def test_a_full_disk_is_met_by_whoever_opens_writes_or_renames(tmp_path: Path) -> None:
    disk = {row.target: row.faults for row in rows("disk", root=tmp_path)}

    for called in ("open", "io.TextIOWrapper.write", "os.replace", "os.mkdir", "os.fsync"):
        assert "ENOSPC" in disk[called]
    assert "ENOSPC after" in disk["io.TextIOWrapper.close"]
    assert "short-write" in disk["os.write"]


@pytest.mark.usefixtures("shop")
def test_a_project_adds_profiles_and_rows(tmp_path: Path) -> None:
    project(
        tmp_path,
        "[[tool.faultinject.profiles.shop]]\n"
        'target = "book_shop.sell"\n'
        'faults = ["book_shop:Closed", "ENOSPC after"]\n'
        'source = "opening hours"\n'
        "[tool.faultinject.profiles.disk]\n"
        'targets = ["book_shop.sell"]\n'
        'faults = "EIO"\n'
        'source = "the cellar"\n'
        'only = "writing"\n',
    )

    assert names(root=tmp_path) == [*OURS, "shop"]
    assert rows("shop", root=tmp_path) == (
        Row("book_shop.sell", ("book_shop:Closed", "ENOSPC after"), "opening hours"),
    )
    *ours, added = rows("disk", root=tmp_path)
    assert len(ours) > 50
    assert added == Row("book_shop.sell", ("EIO",), "the cellar", "writing")


def test_the_nearest_pyproject_above_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = 'target = "open"\nfaults = ["EIO"]\nsource = "life"\n'
    project(tmp_path, f"[[tool.faultinject.profiles.odd]]\n{row}")
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")

    assert rows("odd") == (Row("open", ("EIO",), "life"),)


def test_a_row_may_be_for_some_platforms_only(tmp_path: Path) -> None:
    project(
        tmp_path,
        "[[tool.faultinject.profiles.odd]]\n"
        'targets = ["open", "os.no_such_call"]\nfaults = ["EIO"]\nsource = "life"\n'
        "optional = true\n",
    )

    assert [row.target for row in rows("odd", root=tmp_path)] == ["open"]


PACKAGE = """
from faultinject.capabilities.hookspecs import hookimpl

@hookimpl
def faultinject_profiles():
    return {"odd": [{"target": "open", "faults": ["EIO"], "source": "life"}], "disk": []}
"""
ASK = """
from faultinject.functions.profiles import names, rows
print(names()[-1], rows("odd"))
"""


def test_an_installed_package_adds_rows_by_a_hook(tmp_path: Path) -> None:
    installed = tmp_path / "odd-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[faultinject]\nodd = odd_profiles\n")
    (tmp_path / "odd_profiles.py").write_text(PACKAGE)

    ended = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.stderr == ""
    assert ended.stdout == f"odd {(Row('open', ('EIO',), 'life'),)}\n"


def test_what_a_package_gives_must_be_a_table_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "call", lambda hook: [("odd 1.0", [3])])

    with pytest.raises(SpecError, match=r"profiles are no mapping .*: \[3\] \(odd 1.0\)"):
        names(root=tmp_path)


def test_an_unknown_profile_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no such profile: 'dsk'\. Perhaps disk is meant"):
        rows("dsk", root=tmp_path)


GOOD = {"target": '"open"', "faults": '["EIO"]', "source": '"life"'}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": '"oepn"'}, r"row 1, target; .*Perhaps open "),
        ({"faults": '["EIOO"]'}, r"no such error number: 'EIOO' \(.*row 1, faults; character 1 of"),
        ({"faults": "[]"}, r"a row has no faults: \[\].*row 1, faults"),
        ({"faults": "3"}, r"a row has no faults: 3"),
        ({"target": None}, r"a row has no target .*row 1, target"),
        ({"source": None}, r"a row names no source"),
        ({"source": '" "'}, r"a row names no source"),
        ({"only": '"sunday"'}, r"unknown state: 'sunday' .*Give one of writing"),
        ({"errors": "1"}, r"a row has no such key: 'errors' .*faults"),
    ],
)
def test_a_bad_row_is_refused_with_file_row_and_cure(
    tmp_path: Path, change: dict[str, str | None], said: str
) -> None:
    keys = {**GOOD, **change}
    lines = [f"{key} = {value}" for key, value in keys.items() if value is not None]
    project(tmp_path, "\n".join(["[[tool.faultinject.profiles.odd]]", *lines]))

    with pytest.raises(SpecError, match=said) as refused:
        rows("odd", root=tmp_path)

    assert f"{tmp_path}/pyproject.toml: tool.faultinject.profiles.odd" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.faultinject]\nprofiles = 3\n", "profiles are no table"),
        ("[tool.faultinject.profiles]\nodd = 3\n", "a profile is no list of rows: 3"),
        ("[tool.faultinject.profiles]\nodd = [3]\n", r"a row is no table: 3 .*row 1"),
        ("[tool\n", "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_of_rows_is_refused(tmp_path: Path, text: str, said: str) -> None:
    project(tmp_path, text)

    with pytest.raises(SpecError, match=said):
        rows("odd", root=tmp_path)
