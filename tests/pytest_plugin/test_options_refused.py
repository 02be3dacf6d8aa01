"""Every wrong value of every option is refused before anything has begun."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from option_places import (
    INI_FILES,
    MODEL,
    flag_of,
    make_project,
    on_command_line,
    twin,
    write_ini,
    write_toml,
)
from projects import run_here
from pytest_faultinject.options import OPTIONS

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    return make_project(pytester)


@dataclass(frozen=True)
class Wrong:
    """A value that is refused, and what the refusal says besides the option and the value."""

    stem: str
    value: str
    allowed: str
    shown: str | None = None


WRONG = [
    Wrong("spec", "failslob", "failslab"),
    Wrong("spec", "failslab:intervall=3", "interval"),
    Wrong("spec", "failslab:probability=often", "number", "often"),
    Wrong("spec", "failslab:interval=3", "probability", "failslab:interval=3"),
    Wrong("spec", "failslab:times=-1", "probability"),
    Wrong("spec", "fail_page_alloc:space=4", "probability"),
    Wrong("function", "os.fsyncc:EIO", "fsync", "os.fsyncc"),
    Wrong("function", "os.getpid", "OSError(EIO)"),
    Wrong("function", "os.getpid:ENOSPCE", "ENOSPC", "ENOSPCE"),
    Wrong("function-max-errors", "0", "a whole number of at least 1"),
    Wrong("order", "0", "a whole number of at least 1"),
    Wrong("order", "3", "1 or 2"),
    Wrong("source", "no/such/folder", "path"),
    Wrong("source", "absent.py", "path"),
    Wrong("omit", "no/such/folder", "path"),
    Wrong("hits", "some", "first, ends, all, or a whole number of at least 1"),
    Wrong("hits", "0", "first, ends, all, or a whole number of at least 1"),
    Wrong("hits", "-1", "first, ends, all, or a whole number of at least 1"),
    Wrong("identity", "token", "line, instruction, site, all"),
    Wrong("phases", "body", "call, setup, teardown"),
    Wrong("phases", "call,", "call, setup, teardown"),
    Wrong("max", "0", "a whole number of at least 1"),
    Wrong("max", "many", "a whole number of at least 1"),
    Wrong("max", "2.5", "a whole number of at least 1"),
    Wrong("trials", "0", "a whole number of at least 1"),
    Wrong("trials", "-3", "a whole number of at least 1"),
    Wrong("seed", "-1", "a whole number of at least 0"),
    Wrong("seed", "0x10", "a whole number of at least 0"),
    Wrong("timeout", "0", "a number of seconds above 0"),
    Wrong("timeout", "-1", "a number of seconds above 0"),
    Wrong("timeout", "soon", "a number of seconds above 0"),
    Wrong("timeout", "inf", "a number of seconds above 0"),
    Wrong("timeout", "nan", "a number of seconds above 0"),
    Wrong("cov", "on", "off"),
    Wrong("memory", "0", "a size such as 512M or 2G, or none for no limit"),
    Wrong("memory", "-1", "a size such as 512M or 2G, or none for no limit"),
    Wrong("memory", "some", "a size such as 512M or 2G, or none for no limit"),
    Wrong("oracle", "lock", "Perhaps locks"),
    Wrong("oracle", "no-lock", "Perhaps no-locks"),
    Wrong("oracle", "locks;files", "Perhaps", "locks;files"),
    Wrong("oracle", "xyz,locks", "Give one of all, descriptors", "xyz"),
    Wrong("per", "module", "test, suite"),
    Wrong("budget", "0", "a number of seconds above 0"),
    Wrong("budget", "-5", "a number of seconds above 0"),
    Wrong("budget", "10m", "a number of seconds above 0"),
    Wrong("budget", "nan", "a number of seconds above 0"),
    Wrong("shard", "0/2", "1 <= I <= N"),
    Wrong("shard", "3/2", "1 <= I <= N"),
    Wrong("shard", "1", "1 <= I <= N"),
    Wrong("jobs", "0", "a whole number from 1 to 1024, or auto"),
    Wrong("jobs", "1025", "a whole number from 1 to 1024, or auto"),
    Wrong("jobs", "some", "a whole number from 1 to 1024, or auto"),
    Wrong("isolation", "vm", "auto, fork, spawn, none"),
    Wrong("fork-after", "function", "session, fixtures"),
    Wrong("replay", "nonsense", "Paste the whole token"),
    Wrong("replay", "2|failslab|a.py|f+1|1|transient|t.py::t", "version 1"),
    Wrong("known", "absent.txt", "--fail-alloc-update-known"),
    Wrong("known", ".", "--fail-alloc-update-known"),
    Wrong("report", "xml", "term, term-missing, github, json:FILE, html:DIR, lcov:FILE"),
    Wrong("report", "json", "cobertura:FILE, sarif:FILE"),
    Wrong("report", "json:", "term, term-missing, github, json:FILE"),
    Wrong("report", "github:", "term, term-missing, github, json:FILE"),
    Wrong("report", "html:absent/out", "a folder in a folder that exists", "absent/out"),
    Wrong("report", "html:.", "a folder with something else in it", "something else"),
    Wrong("report", "html:test_it.py", "a file, not a folder", "test_it.py"),
    Wrong("report", "sarif:.", "a file, not a folder", "."),
    Wrong("report", "json:absent/out.json", "a folder that exists", "absent/out.json"),
    Wrong("report", "json:.", "a file, not a folder", "."),
    Wrong("fail-under", "-1", "a percentage from 0 to 100"),
    Wrong("fail-under", "101", "a percentage from 0 to 100"),
    Wrong("fail-under", "all", "a percentage from 0 to 100"),
    Wrong("fail-under", "nan", "a percentage from 0 to 100"),
]


def check_refused(result: pytest.RunResult, name: str, wrong: Wrong) -> None:
    said = result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stdout.str() == ""  # nothing has begun
    assert said.startswith("ERROR: ")
    assert "Traceback" not in said
    for part in (name, wrong.shown or wrong.value, wrong.allowed):
        assert part in said, said


def test_every_option_that_takes_a_value_has_wrong_ones() -> None:
    assert {wrong.stem for wrong in WRONG} == {
        option.stem for option in OPTIONS if option.kind != "flag"
    }


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.stem}={wrong.value}")
def test_a_wrong_value_is_refused_at_start_up(project: pytest.Pytester, wrong: Wrong) -> None:
    result = project.runpytest_inprocess(
        "--fail-alloc", *on_command_line({wrong.stem: wrong.value})
    )

    check_refused(result, flag_of(wrong.stem), wrong)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.stem}={wrong.value}")
def test_a_wrong_value_in_an_ini_file_is_refused_with_the_files_name(
    project: pytest.Pytester, wrong: Wrong
) -> None:
    write_ini(project.path, {"": True, wrong.stem: wrong.value})

    result = project.runpytest_inprocess()

    check_refused(result, f"{twin(wrong.stem)} in {project.path / 'pytest.ini'}", wrong)


@pytest.mark.parametrize(
    "stem", [option.stem for option in OPTIONS if option.kind not in ("flag", "texts")]
)
def test_an_empty_value_is_refused_on_the_command_line_and_means_the_default_in_an_ini_file(
    project: pytest.Pytester, stem: str
) -> None:
    refused = project.runpytest_inprocess("--fail-alloc", f"{flag_of(stem)}=")
    write_ini(project.path, {"": True, "spec": [MODEL], stem: ""})
    campaign = run_here(project)

    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert flag_of(stem) in refused.stderr.str()
    assert campaign.summary["trials"] == 6


@pytest.mark.parametrize("stem", ["spec", "source", "omit", "report"])
def test_an_empty_item_is_refused(project: pytest.Pytester, stem: str) -> None:
    result = project.runpytest_inprocess("--fail-alloc", f"{flag_of(stem)}=")

    check_refused(result, flag_of(stem), Wrong(stem, "", "Give a value"))


def test_an_empty_token_is_refused_although_nothing_else_asks_for_a_campaign(
    project: pytest.Pytester,
) -> None:
    result = project.runpytest_inprocess("--fail-alloc-replay=")

    check_refused(result, "--fail-alloc-replay", Wrong("replay", "", "Give a value: TOKEN"))


@pytest.mark.parametrize("stem", [option.stem for option in OPTIONS if option.kind == "flag"])
@pytest.mark.parametrize(("place", "value"), [("pytest.ini", "perhaps"), ("tool.pytest", 3)])
def test_a_flag_in_an_ini_file_is_true_or_false(
    project: pytest.Pytester, stem: str, place: str, value: object
) -> None:
    file = {"pytest.ini": "pytest.ini", "tool.pytest": "pyproject.toml"}[place]
    INI_FILES[place](project.path, {"": True, stem: value})

    result = project.runpytest_inprocess()

    where = f"{twin(stem)} in {project.path / file}"
    check_refused(result, where, Wrong(stem, str(value), "true or false"))


@pytest.mark.parametrize(
    ("stem", "value", "allowed"),
    [
        ("max", True, "a whole number of at least 1"),
        ("max", 2.5, "a whole number of at least 1"),
        ("jobs", -1, "a whole number from 1 to 1024"),
        ("timeout", [3], "a number of seconds above 0"),
    ],
)
def test_a_wrong_native_toml_value_is_refused_as_any_other(
    project: pytest.Pytester, stem: str, value: object, allowed: str
) -> None:
    write_toml("tool.pytest")(project.path, {"": True, stem: value})

    result = project.runpytest_inprocess()

    where = f"{twin(stem)} in {project.path / 'pyproject.toml'}"
    check_refused(result, where, Wrong(stem, str(value), allowed))


def test_a_wrong_value_given_by_override_is_blamed_on_the_override(
    project: pytest.Pytester,
) -> None:
    write_ini(project.path, {"": True, "max": "3"})

    result = project.runpytest_inprocess("-o", "fail_alloc_max=none")

    check_refused(result, "-o fail_alloc_max", Wrong("max", "none", "a whole number"))


def test_one_capability_is_not_swept_with_two_sets_of_knobs(project: pytest.Pytester) -> None:
    specs = ["failslab:require=ring", "failslab:require=pool"]

    result = project.runpytest_inprocess(*on_command_line({"spec": specs}))

    check_refused(result, "--fail-alloc-spec", Wrong("spec", "failslab", "one SPEC"))


def test_several_jobs_without_isolation_are_refused(project: pytest.Pytester) -> None:
    values = {"jobs": 2, "isolation": "none"}

    result = project.runpytest_inprocess("--fail-alloc", *on_command_line(values))

    check_refused(result, "--fail-alloc-isolation", Wrong("isolation", "none", "one job"))


def test_an_update_needs_a_file_of_known_problems(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("--fail-alloc", "--fail-alloc-update-known")

    check_refused(
        result, "--fail-alloc-update-known", Wrong("known", "no file", "--fail-alloc-known=FILE")
    )
