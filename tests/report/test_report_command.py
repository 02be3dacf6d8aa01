"""``faultinject report``: several reports in, every form out, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from documents import error_path, make_document, small_document, trial, write_sources

from faultinject.cli import main


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_sources(tmp_path)
    save("a.json", small_document(tmp_path))
    return tmp_path


def save(name: str, document: dict[str, Any]) -> None:
    Path(name).write_text(json.dumps(document), encoding="utf-8")


def test_one_command_writes_every_form(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = [
        "--html=out",
        "--lcov=a.lcov",
        "--cobertura=a.xml",
        "--sarif=a.sarif",
        "--json=b.json",
    ]

    status = main(["report", "a.json", *outputs])

    said = capsys.readouterr().out
    assert status == 0
    assert (root / "out" / "index.html").exists()
    assert (root / "a.lcov").read_text().startswith("SF:lib/pool.py\n")
    assert "<coverage " in (root / "a.xml").read_text()
    assert json.loads((root / "a.sarif").read_text())["version"] == "2.1.0"
    assert json.loads((root / "b.json").read_text()) == json.loads((root / "a.json").read_text())
    assert said.count("report written to ") == 5
    assert "lib/ring.py       6       1          2       3           1    50%\n" in said


def test_the_lines_that_never_ran_are_named_when_asked_for(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["report", "--missing", "a.json"])

    assert "23-24, 24, 29" in capsys.readouterr().out


def test_several_reports_are_one(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = trial("leaked", file="lib/more.py", test="t.py::more", error="MemoryError")
    path = error_path(3, 4, "except", "clean", function="more")
    save("b.json", make_document({"t.py::more": [more]}, {"lib/more.py": [path]}, python="3.12.1"))

    status = main(["report", "a.json", "b.json", "--json=c.json"])

    said = capsys.readouterr().out
    assert status == 0
    assert "lib/more.py       1" in said
    assert "lib/ring.py       6" in said
    assert "5 tests," in said
    assert json.loads((root / "c.json").read_text())["python"] == "3.13.0, 3.12.1"


def test_the_threshold_sets_the_status(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "a.json", "--fail-under=57"]) == 0
    assert main(["report", "a.json", "--fail-under=58"]) == 1
    assert "57.14% reached (4 of 7), 58% are required" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["-1", "100.5", "all", "nan"])
def test_a_threshold_that_is_no_percentage_is_refused(
    root: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", "a.json", f"--fail-under={text}"])

    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert f"argument --fail-under: '{text}' is no percentage from 0 to 100" in error


def test_annotations_are_printed_and_the_summary_written(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(root / "summary.md"))

    main(["report", "a.json", "--github"])

    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(("::error ", "::warning ")) for line in lines) == 5
    assert "Fault injection" in (root / "summary.md").read_text()


def test_sources_are_looked_for_below_the_root_that_is_given(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    main(["report", "../a.json", "--html=here"])
    main(["report", "../a.json", "--html=there", "--root=.."])

    (without,) = (elsewhere / "here").glob("lib_ring.py*")
    (with_source,) = (elsewhere / "there").glob("lib_ring.py*")
    assert "could not be read" in without.read_text()
    assert "A ring of buffers" in with_source.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.json"], "a report cannot be read: 'absent.json'"),
        (["lib"], "a report cannot be read: 'lib'"),
        (["other.json"], "another schema version: 2 (other.json)"),
        (["a.json", "other.json"], "another schema version: 2 (other.json)"),
        (["a.json", "--html=lib"], "a folder with something else in it: 'lib'"),
        (["a.json", "--html=a.json"], "a file, not a folder: 'a.json'"),
        (["a.json", "--html=absent/html"], "a folder that does not exist: 'absent/html'"),
        (["a.json", "--lcov=lib"], "a folder, not a file: 'lib'"),
        (["a.json", "--root=absent"], "no such folder: 'absent' (--root)"),
        (["old.json", "--lcov=out"], "a report without error paths"),
        (["a.json", "changed.json"], "different versions of a source file: 'lib/ring.py'"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    save("other.json", {"schema": 2})
    save("old.json", make_document({"t.py::a": [trial()]}))
    changed = small_document(root)
    changed["sources"]["lib/ring.py"] = "another"
    save("changed.json", changed)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}

    status = main(["report", *arguments])

    assert status == 2
    assert said in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def spoiled(**changes: object) -> dict[str, Any]:
    path = {**error_path(3, 4, "except", "clean"), **changes}
    return make_document({}, {"a.py": [path]})


@pytest.mark.parametrize(
    ("document", "where"),
    [
        (spoiled(line="3"), "error_paths.files[0].paths[0].line"),
        (spoiled(end_line=None), "error_paths.files[0].paths[0].line"),
        (spoiled(kind="catch"), "error_paths.files[0].paths[0].kind"),
        (spoiled(reached="sometimes"), "error_paths.files[0].paths[0].reached"),
        (spoiled(types="MemoryError"), "error_paths.files[0].paths[0].types"),
        (spoiled(entered_by=[1]), "error_paths.files[0].paths[0].entered_by"),
        (spoiled() | {"sources": {"a.py": 1}}, "sources"),
        (spoiled() | {"error_paths": {"files": 1}}, "a wrong value"),
        (spoiled() | {"error_paths": {}}, "a part missing"),
        (make_document({"t.py::a": [trial(caught="somewhere")]}), "trials[0].caught"),
        (make_document({"t.py::a": [trial(caught={"file": "a.py"})]}), "trials[0].caught"),
        (make_document({"t.py::a": [trial(traceback=1)]}), "trials[0].traceback"),
    ],
)
def test_error_paths_that_were_edited_are_refused_with_the_place(
    root: Path, capsys: pytest.CaptureFixture[str], document: dict[str, Any], where: str
) -> None:
    save("b.json", document)

    assert main(["report", "b.json", "--html=out"]) == 2
    assert where in capsys.readouterr().err
    assert not (root / "out").exists()
