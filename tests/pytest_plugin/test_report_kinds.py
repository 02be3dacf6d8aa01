"""Every kind of report, as a run of pytest writes it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from campaigns import MODEL
from option_places import BUG, make_project
from projects import run_here

pytestmark = pytest.mark.usefixtures("alone")

# The error paths of ring.py stay where they are: nobody ever enters them.
POOL_ONLY = "--fail-alloc-spec=fail_page_alloc:require=pool"

# A handler around a call site, whose faults it does not catch, and a branch of no test's.
OUT_OF_REACH = """
import faultinject as fi


def get(sizes={"ring": 64}):
    try:
        size = sizes["ring"]
        got = fi.kmalloc(size, fi.GFP_KERNEL)
    except KeyError:
        return None
    if got is None:
        raise MemoryError
    return got


def unused():
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    if got is None:
        return -1
    return 0
"""

FILES = {
    "json": lambda text: json.loads(text)["error_paths"]["total"] == 2,
    "lcov": lambda text: "SF:ring.py\nDA:6,1\nDA:7,1\n" in text,
    "cobertura": lambda text: 'filename="ring.py"' in text,
    "sarif": lambda text: json.loads(text)["version"] == "2.1.0",
}


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    return make_project(pytester)


@pytest.mark.parametrize("kind", FILES)
def test_a_report_is_written_to_its_file(project: pytest.Pytester, kind: str) -> None:
    result = project.runpytest_inprocess(MODEL, f"--fail-alloc-report={kind}:out.file")

    path = project.path / "out.file"
    assert FILES[kind](path.read_text(encoding="utf-8"))
    assert f"report written to {path}" in result.outlines


def test_the_pages_are_written_to_their_folder_again_and_again(project: pytest.Pytester) -> None:
    for _ in range(2):
        project.runpytest_inprocess(MODEL, "--fail-alloc-report=html:pages")

    names = {path.name.partition("-")[0] for path in (project.path / "pages").glob("*.html")}
    assert names == {"index.html", "ring.py", "pool.py", "test_it.py"}
    (page,) = (project.path / "pages").glob("ring.py-*.html")
    text = page.read_text(encoding="utf-8")
    assert "ran only under injection" in text
    assert "the source has changed" not in text.lower()


def test_the_table_stands_in_the_section_at_the_end(project: pytest.Pytester) -> None:
    campaign = run_here(project, POOL_ONLY)

    lines = campaign.result.outlines
    assert "error paths   paths   clean   injected   never    %" in lines
    assert "ring.py           2       0          0       2   0%" in lines


def test_term_missing_names_the_lines_also_in_a_quiet_run(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("-q", POOL_ONLY, "--fail-alloc-report=term-missing")

    assert "ring.py           2       0          0       2   0%   6-7, 7" in result.outlines


def test_a_run_that_asks_for_no_report_says_the_total_and_shows_no_table(
    project: pytest.Pytester,
) -> None:
    result = project.runpytest_inprocess(MODEL)

    assert "2 error paths: 0 clean, 2 injected, 0 never (100% reached)" in result.outlines
    assert "TOTAL" not in result.stdout.str()


def test_error_paths_can_be_left_unobserved(project: pytest.Pytester) -> None:
    campaign = run_here(project, MODEL, "--fail-alloc-cov=none")

    assert "error path" not in campaign.text
    assert campaign.summary["trials"] > 0


@pytest.mark.parametrize("asked", ["--fail-alloc-fail-under=5", "--fail-alloc-report=term-missing"])
def test_what_is_about_error_paths_is_refused_where_none_are_observed(
    project: pytest.Pytester, asked: str
) -> None:
    result = project.runpytest_inprocess(MODEL, "--fail-alloc-cov=none", asked)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert asked.partition("=")[0] in result.stderr.str()


def test_handlers_that_no_call_site_can_enter_are_named_apart_from_those_never_run(
    project: pytest.Pytester,
) -> None:
    (project.path / "ring.py").write_text(OUT_OF_REACH)

    result = project.runpytest_inprocess("-q", MODEL, "--fail-alloc-report=term-missing")

    lines = result.outlines
    assert any(line.startswith("ring.py") and line.endswith("9-10, 18-19, 19") for line in lines)
    at = next(at for at, line in enumerate(lines) if line.startswith("handlers that no call site"))
    assert lines[at + 1] == "  ring.py:9-10 except KeyError, in get"


def test_a_limit_on_trials_leaves_it_open_what_can_be_entered(project: pytest.Pytester) -> None:
    (project.path / "ring.py").write_text(OUT_OF_REACH)

    arguments = (MODEL, "--fail-alloc-max=1", "--fail-alloc-report=term-missing")
    result = project.runpytest_inprocess("-q", *arguments)

    assert "no call site can enter" not in result.stdout.str()


def test_a_quiet_run_says_the_total_in_a_line(project: pytest.Pytester) -> None:
    campaign = run_here(project, "-q", MODEL)

    assert "2 error paths: 0 clean, 2 injected, 0 never (100% reached)" in campaign.result.outlines


def test_enough_error_paths_are_no_failure(project: pytest.Pytester) -> None:
    assert run_here(project, MODEL, "--fail-alloc-fail-under=100").result.ret == 0


def test_too_few_do_not_hide_that_a_test_failed(project: pytest.Pytester) -> None:
    project.makepyfile(test_other="def test_other():\n    assert 0\n")

    campaign = run_here(project, POOL_ONLY, "--fail-alloc-fail-under=100")

    assert campaign.result.ret == pytest.ExitCode.TESTS_FAILED
    assert "0 of 2" in campaign.text


def test_a_report_that_cannot_be_written_fails_the_run_and_the_others_are_there(
    project: pytest.Pytester,
) -> None:
    # What is in the way comes only when the run has begun.
    project.makepyfile(
        conftest="import pathlib\ndef pytest_sessionstart():\n    pathlib.Path('a.lcov').mkdir()\n"
    )

    campaign = run_here(project, MODEL, "--fail-alloc-report=lcov:a.lcov")

    assert campaign.result.ret == pytest.ExitCode.TESTS_FAILED
    assert campaign.summary["tests"] == 1  # of the JSON report
    assert "faultinject: a report cannot be written:" in campaign.text
    assert [path.name for path in project.path.glob("a.lcov*")] == ["a.lcov"]


def test_annotations_are_for_github_only(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(test_it=BUG)
    summary = project.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    arguments = ("--fail-alloc-spec=failslab", "--fail-alloc-report=github")

    elsewhere = project.runpytest_inprocess(*arguments)
    assert not summary.exists()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    there = project.runpytest_inprocess(*arguments)

    assert "::error" not in elsewhere.stdout.str()
    there.stdout.fnmatch_lines(["::error file=test_it.py,line=5,title=faultinject%3A failed *"])
    assert summary.read_text(encoding="utf-8").startswith("## Fault injection\n")


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_junit_file_has_each_tests_trials(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_faultinject.plugin,xdist.plugin")
    project.makepyfile(test_it=BUG, test_none="def test_none():\n    pass\n")

    project.runpytest_subprocess(
        "-n", processes, "--fail-alloc-spec=failslab", "--junitxml=out.xml"
    )  # fmt: skip

    cases = ElementTree.parse(project.path / "out.xml").getroot().iter("testcase")
    properties = {
        case.get("name"): [(item.get("name"), item.get("value")) for item in case.iter("property")]
        for case in cases
    }
    assert properties["test_none"] == []
    assert properties["test_it"] == [
        ("faultinject.sites", "1"),
        ("faultinject.trials", "1"),
        ("faultinject.failed", "1"),
        (
            "faultinject.bad",
            "failed at test_it.py:5 in test_it: "
            "1|failslab|test_it.py|test_it+1.10|1|transient|test_it.py::test_it",
        ),
    ]


def test_two_runs_come_together_on_the_command_line(project: pytest.Pytester) -> None:
    from faultinject.cli import main

    for number in ("1", "2"):
        project.runpytest_inprocess(
            MODEL, f"--fail-alloc-shard={number}/2", f"--fail-alloc-report=json:{number}.json"
        )

    status = main(["report", "1.json", "2.json", "--json=both.json", "--html=pages"])

    both = json.loads(Path("both.json").read_text(encoding="utf-8"))
    assert status == 0
    assert both["summary"]["trials"] == 6
    assert both["error_paths"]["never"] == 0
    assert (Path("pages") / "index.html").exists()
