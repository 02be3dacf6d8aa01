"""GitHub Actions: annotations that the runner understands, and a summary that it shows."""

from pathlib import Path

import pytest
from documents import error_path, large_document, make_document, small_document, trial

from faultinject.errors import UsageError
from faultinject.report.as_markdown import as_markdown
from faultinject.report.findings import Findings
from faultinject.report.github import annotate, write_summary


def test_bad_trials_are_errors_and_paths_that_never_ran_are_warnings() -> None:
    lines = list(annotate(Findings.of(small_document())))

    assert [line.partition(" ")[0] for line in lines] == ["::error"] * 2 + ["::warning"] * 3
    assert lines[0].startswith(
        "::error file=lib/ring.py,line=12,title=faultinject%3A leaked with a failslab fault"
        "::MemoryError: no slot%0Akmalloc of 64 bytes"
    )
    assert lines[2] == (
        "::warning file=lib/ring.py,line=23,endLine=24,"
        "title=faultinject%3A error path never reached::"
        "No test and no injected fault has ever run: except OSError, ValueError in Ring.resize"
    )


def test_errors_are_left_out_where_another_program_tells_of_them() -> None:
    lines = list(annotate(Findings.of(small_document()), errors=False))

    assert all(line.startswith("::warning") for line in lines)


def test_what_would_end_a_command_is_escaped() -> None:
    odd = trial("failed", file="a,b:c.py", error="50 % lost\n::error::x", replay="1|\r")

    (line,) = annotate(Findings.of(make_document({"t.py::a": [odd]})))

    assert line.splitlines() == [line]
    assert "file=a%2Cb%3Ac.py," in line
    assert "50 %25 lost%0A::error::x" in line


def test_no_more_is_printed_than_the_runner_shows() -> None:
    bad = [trial("failed", hit=hit) for hit in range(30)]
    paths = [error_path(line, line, "except", "never") for line in range(1, 30)]

    lines = list(annotate(Findings.of(make_document({"t.py::a": bad}, {"a.py": paths}))))

    assert sum(line.startswith("::error ") for line in lines) == 10
    assert sum(line.startswith("::warning ") for line in lines) == 10


def test_the_summary_is_added_to_what_the_job_wrote_before(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("# Before\n")

    written = write_summary(Findings.of(small_document()), {"GITHUB_STEP_SUMMARY": str(path)})

    text = path.read_text(encoding="utf-8")
    assert written == str(path)
    assert text.startswith("# Before\n## Fault injection\n")
    assert "| lib/ring.py | 6 | 1 | 2 | 3 | 50% | 23-24, 24, 29 |" in text
    assert "7 error paths: 1 clean, 3 injected, 3 never" in text


def test_outside_of_a_job_there_is_no_summary() -> None:
    assert write_summary(Findings.of(small_document()), {}) is None


def test_a_summary_that_cannot_be_written_is_an_error_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write_summary(Findings.of(small_document()), {"GITHUB_STEP_SUMMARY": str(tmp_path)})


def test_nothing_in_a_cell_is_markdown_html_or_a_mention() -> None:
    odd = trial("failed", error="a\n| b")

    text = as_markdown(Findings.of(make_document({"t.py::a[x|`y` <b>_z_</b> @team #1]": [odd]})))

    row = next(line for line in text.splitlines() if line.startswith("| FAILED"))
    assert r"a\[x\|\`y\` &lt;b&gt;\_z\_&lt;/b&gt; &#64;team &#35;1\]" in row
    assert row.endswith(r"| a \| b |")


def test_the_summary_of_a_large_report_stays_below_what_github_drops(tmp_path: Path) -> None:
    document = large_document(tmp_path, files=300, trials=3000, lines=70)

    assert len(as_markdown(Findings.of(document)).encode()) < 200_000
