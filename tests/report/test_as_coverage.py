"""LCOV and Cobertura: what the programs that read them will find."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from coverage import Coverage
from documents import error_path, make_document, small_document

from faultinject.errors import UsageError
from faultinject.report.as_coverage import as_cobertura, as_lcov
from faultinject.report.findings import Findings


def test_lcov_has_a_line_for_each_error_path_that_is_decided(tmp_path: Path) -> None:
    text = as_lcov(Findings.of(small_document()), tmp_path).decode()

    assert text.splitlines() == [
        "SF:lib/pool.py",
        "DA:11,1",
        "LF:1",
        "LH:1",
        "end_of_record",
        "SF:lib/ring.py",
        "DA:13,1",
        "DA:15,1",
        "DA:21,1",
        "DA:23,0",
        "DA:24,0",
        "DA:29,0",
        "LF:6",
        "LH:3",
        "end_of_record",
    ]


def test_cobertura_has_the_same_numbers(tmp_path: Path) -> None:
    root = ElementTree.fromstring(as_cobertura(Findings.of(small_document()), tmp_path))

    assert (root.get("lines-valid"), root.get("lines-covered")) == ("7", "4")
    assert root.findtext("sources/source") == str(tmp_path)
    classes = {item.get("filename"): item for item in root.iter("class")}
    assert set(classes) == {"lib/pool.py", "lib/ring.py"}
    hits = {line.get("number"): line.get("hits") for line in classes["lib/ring.py"].iter("line")}
    assert hits == {"13": "1", "15": "1", "21": "1", "23": "0", "24": "0", "29": "0"}


def test_a_line_with_two_error_paths_ran_only_if_both_did(tmp_path: Path) -> None:
    paths = [error_path(3, 3, "with", "clean"), error_path(3, 3, "suppress", "never")]

    text = as_lcov(Findings.of(make_document({}, {"a.py": paths})), tmp_path).decode()

    assert "DA:3,0" in text


def test_a_file_in_which_nothing_ran_is_there(tmp_path: Path) -> None:
    files = {"a.py": [error_path(3, 3, "except", "never")], "b.py": []}

    text = as_lcov(Findings.of(make_document({}, files)), tmp_path).decode()

    assert text.startswith("SF:a.py\nDA:3,0\n")
    assert "b.py" not in text


@pytest.mark.parametrize("write", [as_lcov, as_cobertura])
@pytest.mark.parametrize("document", [make_document({}), make_document({}, {"a.py": []})])
def test_a_report_without_error_paths_is_refused(
    write: object, document: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="without error paths"):
        write(Findings.of(document), tmp_path)  # type: ignore[operator]


def test_a_measurement_that_is_going_on_is_not_disturbed(tmp_path: Path) -> None:
    def measured() -> int:
        written = as_lcov(Findings.of(small_document()), tmp_path)
        return len(written)

    measuring = Coverage(data_file=None, config_file=False, include=[__file__])
    before = Coverage.current()
    with measuring.collect():
        measured()

    first = measured.__code__.co_firstlineno
    data = measuring.get_data()
    lines = data.lines(__file__)
    data.close(force=True)
    assert lines == [first + 1, first + 2]
    assert Coverage.current() is before
