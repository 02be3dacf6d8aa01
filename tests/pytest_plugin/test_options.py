"""Every option, from every place where it can be written, and its effect."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from campaigns import REPORT, Campaign
from option_places import (
    BUG,
    CALLS,
    HANG,
    HUNGRY,
    INI_FILES,
    LEAK,
    MODEL,
    SET_UP_APART,
    TEST,
    make_project,
    on_command_line,
    write_ini,
    write_toml,
)
from projects import REPORTS, run_apart, run_here
from pytest_faultinject.options import OPTIONS

from faultinject.capabilities import registry

pytestmark = pytest.mark.usefixtures("alone")

BUG_TOKEN = "1|failslab|test_it.py|test_it+1.10|1|transient|test_it.py::test_it"

Effect = Callable[[Campaign, Path], object]


@dataclass(frozen=True)
class Case:
    """One option with a value, and what must be seen of it.

    Attributes:
        other: another value, with which that is not seen.
        beside: other options that it needs.
    """

    value: Any
    effect: Effect
    other: Any = None
    beside: Mapping[str, Any] = field(default_factory=lambda: {"spec": [MODEL]})
    test: str = TEST


def trials_of(campaign: Campaign) -> list[dict[str, Any]]:
    return [trial for test in campaign.tests.values() for trial in test["trials"]]


def each(name: str) -> Callable[[Campaign], set[Any]]:
    return lambda campaign: {trial[name] for trial in trials_of(campaign)}


def files_of(campaign: Campaign) -> set[str]:
    return {trial["site"]["file"] for trial in trials_of(campaign)}


def hits_in_ring(campaign: Campaign) -> list[int]:
    return [
        trial["hit"]
        for trial in trials_of(campaign)
        if trial["site"]["file"] == "ring.py" and trial["capability"] == "failslab"
    ]


def tokens_end_in(text: str) -> Effect:
    return lambda campaign, folder: (
        all(text in trial["replay"] for trial in trials_of(campaign)) and trials_of(campaign)
    )


def header_says(text: str) -> Effect:
    return lambda campaign, folder: any(
        line.startswith("faultinject: ") and text in line.split("; ")
        for line in campaign.result.outlines
    )


# Calls of the tests themselves do not fail, unless that is asked for.
IN_TEST = {"spec": ["failslab"], "source": ["test_it.py"]}

CASES: dict[str, Case] = {
    "spec": Case(
        ["fail_page_alloc"],
        lambda campaign, folder: each("capability")(campaign) == {"fail_page_alloc"},
        other=["failslab", "fail_page_alloc"],
        beside={},
    ),
    "function": Case(
        ["os.listdir:EIO"],
        lambda campaign, folder: each("fault")(campaign) == {"os.listdir: OSError(EIO)"},
        other=["os.listdir:EACCES"],
        beside=IN_TEST,
        test=CALLS,
    ),
    "function-max-errors": Case(
        1,
        lambda campaign, folder: campaign.summary["trials"] == 1,
        other=2,
        beside={**IN_TEST, "function": ["pathlib.Path.open"]},
        test=CALLS,
    ),
    "order": Case(
        2,
        lambda campaign, folder: campaign.summary["trials"] == 2,
        other=1,
        beside={**IN_TEST, "function": ["os.listdir:EIO", "os.getpid:EPERM"]},
        test=CALLS,
    ),
    "source": Case(
        ["pool.py"], lambda campaign, folder: files_of(campaign) == {"pool.py"}, other=["ring.py"]
    ),
    "omit": Case(
        ["pool.py", "test_it.py"],
        lambda campaign, folder: files_of(campaign) == {"ring.py"},
        other=["ring.py"],
    ),
    "hits": Case(
        "all", lambda campaign, folder: hits_in_ring(campaign) == [1, 2, 3], other="first"
    ),
    "identity": Case(
        "line",
        lambda campaign, folder: any("test_it+8|2|" in t["replay"] for t in trials_of(campaign)),
        other="instruction",
    ),
    "phases": Case(
        "setup",
        lambda campaign, folder: {t["site"]["function"] for t in trials_of(campaign)} == {"kept"},
        other="call",
    ),
    "persistent": Case(True, lambda campaign, folder: each("persistent")(campaign) == {True}),
    "strict": Case(
        True,
        lambda campaign, folder: (
            {t["verdict"] for t in trials_of(campaign) if t["outcome"] == "propagated"} == {"bad"}
            and campaign.result.ret == 1
        ),
    ),
    "max": Case(
        2,
        lambda campaign, folder: (
            (campaign.summary["trials"], campaign.summary["not_run"]) == (2, 4)
        ),
        other=3,
    ),
    "trials": Case(
        3,
        lambda campaign, folder: campaign.summary["trials"] == 3,
        other=4,
        beside={"spec": ["failslab:probability=100"]},
    ),
    "seed": Case(
        7, tokens_end_in("|7|"), other=8, beside={"spec": ["failslab:probability=100"], "trials": 2}
    ),
    "timeout": Case(
        0.25,
        lambda campaign, folder: any(
            trial["outcome"] == "hung" and "0.25 seconds" in trial["error"]
            for trial in trials_of(campaign)
        ),
        other=0.35,
        beside={"spec": ["failslab"]},
        test=HANG,
    ),
    "memory": Case(
        "64M",
        lambda campaign, folder: campaign.outcomes("test_it.py::test_it") == ["propagated"],
        other="none",
        beside={"spec": ["failslab"]},
        test=HUNGRY,
    ),
    "oracle": Case(
        "no-files",
        lambda campaign, folder: campaign.outcomes("test_it.py::test_it") == ["propagated"],
        other="files",
        beside={"spec": ["failslab"]},
        test=LEAK,
    ),
    "per": Case(
        "suite",
        lambda campaign, folder: "5 call sites, each tried in the quickest" in campaign.text,
        other="test",
        beside={"spec": [MODEL], "hits": "all", "identity": "all"},
    ),
    "budget": Case(
        1e-9,
        lambda campaign, folder: (
            (campaign.summary["trials"], campaign.summary["not_run"]) == (0, 6)
        ),
        other=600,
    ),
    "last-bad": Case(True, header_says("no bad trial is remembered: the whole campaign runs")),
    "shard": Case("1/6", lambda campaign, folder: campaign.summary["trials"] == 1, other="1/2"),
    "jobs": Case(2, header_says("2 jobs"), other=1),
    "isolation": Case(
        "none",
        lambda campaign, folder: len(set((folder / "pids").read_text().split())) == 1,
        other="fork",
    ),
    "fork-after": Case(
        "fixtures",
        lambda campaign, folder: "False" in (folder / "pids").read_text().split(),
        other="session",
        beside={"spec": ["failslab"]},
        test=SET_UP_APART,
    ),
    "replay": Case(
        "1|failslab|ring.py|get+1.10|3|transient|test_it.py::test_it",
        lambda campaign, folder: [t["hit"] for t in trials_of(campaign)] == [3],
        other="1|failslab|ring.py|get+1.10|1|transient|test_it.py::test_it",
    ),
    "known": Case(
        "known.txt",
        lambda campaign, folder: (campaign.summary["known"], campaign.result.ret) == (1, 0),
        other="nothing-known.txt",
        beside={"spec": ["failslab"]},
        test=BUG,
    ),
    "update-known": Case(
        True,
        lambda campaign, folder: BUG_TOKEN in (folder / "known.txt").read_text(),
        beside={"spec": ["failslab"], "known": "known.txt"},
        test=BUG,
    ),
    "fail-under": Case(
        50,
        lambda campaign, folder: (
            campaign.result.ret == 1 and "reached (0 of 2), 50% are required" in campaign.text
        ),
        other=0,
        beside={"spec": ["fail_page_alloc:require=pool"]},
    ),
    "cov": Case(
        "merge",
        lambda campaign, folder: "nothing to merge with" in campaign.text,
        other="off",
    ),
}


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    return make_project(pytester)


def prepare(project: pytest.Pytester, stem: str, case: Case) -> None:
    project.makepyfile(test_it=case.test)
    if stem == "known":
        (project.path / "known.txt").write_text(f"failed {BUG_TOKEN}\n")


def test_every_option_has_a_case() -> None:
    elsewhere = {"", "report"}

    assert set(CASES) | elsewhere == {option.stem for option in OPTIONS}


@pytest.mark.parametrize("stem", CASES)
def test_an_option_works_from_the_command_line(project: pytest.Pytester, stem: str) -> None:
    case = CASES[stem]
    prepare(project, stem, case)

    campaign = run_here(
        project, "--fail-alloc", *on_command_line({**case.beside, stem: case.value})
    )

    assert case.effect(campaign, project.path)


@pytest.mark.parametrize("place", INI_FILES)
@pytest.mark.parametrize("stem", CASES)
def test_an_option_works_from_its_ini_twin(project: pytest.Pytester, stem: str, place: str) -> None:
    case = CASES[stem]
    prepare(project, stem, case)
    INI_FILES[place](project.path, {"": True, **case.beside, stem: case.value})

    campaign = run_here(project)

    assert case.effect(campaign, project.path)


@pytest.mark.parametrize("stem", [stem for stem, case in CASES.items() if case.other is not None])
def test_the_command_line_wins_over_the_ini_file(project: pytest.Pytester, stem: str) -> None:
    case = CASES[stem]
    prepare(project, stem, case)
    write_ini(project.path, {"": True, **case.beside, stem: case.other})

    by_ini = run_here(project)
    assert not case.effect(by_ini, project.path)

    (project.path / "pids").unlink(missing_ok=True)
    by_both = run_here(project, *on_command_line({stem: case.value}))
    assert case.effect(by_both, project.path)


@pytest.mark.parametrize("stem", [stem for stem, case in CASES.items() if case.value is True])
def test_a_flag_that_nobody_gives_has_no_effect(project: pytest.Pytester, stem: str) -> None:
    case = CASES[stem]
    prepare(project, stem, case)
    (project.path / "known.txt").touch()

    campaign = run_here(project, "--fail-alloc", *on_command_line(case.beside))

    assert not case.effect(campaign, project.path)


def test_a_flag_can_be_switched_off_in_the_ini_file(project: pytest.Pytester) -> None:
    write_ini(project.path, {"": "false", "persistent": "off"})

    without = project.runpytest_inprocess()
    campaign = run_here(project, *on_command_line({"spec": [MODEL]}))

    assert "fault injection" not in without.stdout.str()
    assert each("persistent")(campaign) == {False}


@pytest.mark.parametrize(
    ("stem", "value"), [("hits", 2), ("jobs", 2), ("timeout", 3), ("spec", "failslab")]
)
def test_a_native_toml_value_of_another_type_is_read_as_it_is_meant(
    project: pytest.Pytester, stem: str, value: object
) -> None:
    write_toml("tool.pytest")(project.path, {"": True, "spec": [MODEL], stem: value})

    campaign = run_here(project)

    assert campaign.result.ret == 0
    if stem == "hits":
        assert hits_in_ring(campaign) == [1, 2]
    if stem == "spec":
        assert each("capability")(campaign) == {"failslab"}


def test_without_the_flag_nothing_happens(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess(*REPORTS, *on_command_line({"max": 3, "strict": True}))

    assert (project.path / "pids").read_text().count("\n") == 1
    assert not (project.path / REPORT).exists()
    assert "isolation" not in result.stdout.str()
    assert "fault injection" not in result.stdout.str()


def test_the_flag_does_not_swallow_the_path_behind_it(project: pytest.Pytester) -> None:
    project.makepyfile(test_other="def test_other(): pass")

    campaign = run_here(project, "--fail-alloc", "test_it.py")

    assert list(campaign.tests) == ["test_it.py::test_it"]


def test_a_spec_implies_the_flag_and_can_be_repeated(project: pytest.Pytester) -> None:
    specs = ["failslab:require=ring", "fail_page_alloc:min_order=1"]

    campaign = run_here(project, *on_command_line({"spec": specs}))

    assert each("capability")(campaign) == {"failslab"}  # the page is of order 0
    assert files_of(campaign) == {"ring.py"}
    assert "faultinject: failslab, fail_page_alloc; isolation fork" in campaign.result.outlines


def test_a_spec_in_the_ini_file_alone_starts_no_campaign(project: pytest.Pytester) -> None:
    write_ini(project.path, {"spec": ["failslab"]})

    result = project.runpytest_inprocess()

    assert "fault injection" not in result.stdout.str()


def test_several_capabilities_fit_into_one_spec(project: pytest.Pytester) -> None:
    one = run_here(project, *on_command_line({"spec": ["failslab;fail_page_alloc"]}))
    two = run_here(project, *on_command_line({"spec": ["failslab", "fail_page_alloc"]}))

    assert each("capability")(one) == {"failslab", "fail_page_alloc"}
    assert one.tokens("test_it.py::test_it") == two.tokens("test_it.py::test_it")


def test_without_a_spec_every_capability_there_is_fails(project: pytest.Pytester) -> None:
    campaign = run_here(project, "--fail-alloc")

    header = next(line for line in campaign.result.outlines if line.startswith("faultinject:"))
    # Which functions are to fail, somebody has to say.
    names = [name for name in registry.names() if name != "fail_function"]
    assert ", ".join(names) in header
    assert each("capability")(campaign) >= {"failslab", "fail_page_alloc"}


@pytest.mark.parametrize("place", ["command line", *INI_FILES])
def test_a_report_goes_where_the_option_says(project: pytest.Pytester, place: str) -> None:
    values = {"report": ["json:one.json", "json:two words.json"]}
    if place == "command line":
        arguments = ["--fail-alloc", *on_command_line(values)]
    else:
        arguments = []
        INI_FILES[place](project.path, {"": True, **values})

    result = project.runpytest_inprocess(*arguments)

    for name in ("one.json", "two words.json"):
        assert json.loads((project.path / name).read_text())["schema"] == 1
        assert f"report written to {project.path / name}" in result.outlines
    # A file comes on top of the section at the end.
    result.stdout.fnmatch_lines(["1 test, 5 call sites, *"])


def test_the_command_line_replaces_the_reports_of_the_ini_file(project: pytest.Pytester) -> None:
    write_ini(project.path, {"": True, "report": ["json:from-ini.json"]})

    campaign = run_here(project)

    assert campaign.summary["tests"] == 1
    assert not (project.path / "from-ini.json").exists()


def test_a_path_in_the_ini_file_starts_at_its_folder_one_on_the_command_line_where_you_are(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(test_it=BUG)
    (project.path / "known.txt").write_text(f"failed {BUG_TOKEN}\n")
    inner = project.mkdir("inner")
    monkeypatch.chdir(inner)
    write_ini(project.path, {"": True, "known": "known.txt", "spec": ["failslab"]})

    result = project.runpytest_inprocess(
        "../test_it.py", "--fail-alloc-report=json:here.json", "--rootdir=.."
    )

    assert result.ret == 0
    assert json.loads((inner / "here.json").read_text())["summary"]["known"] == 1


def test_jobs_auto_is_one_for_each_core(project: pytest.Pytester) -> None:
    cores = len(os.sched_getaffinity(0))

    campaign = run_here(project, "--fail-alloc", "--fail-alloc-jobs=auto")

    header = next(line for line in campaign.result.outlines if line.startswith("faultinject:"))
    assert (f"{cores} jobs" in header) == (cores > 1)


def test_every_option_is_explained_in_the_help(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("--help")

    shown = " ".join(result.stdout.str().split())
    for option in OPTIONS:
        assert option.flag in shown
        assert " ".join(option.help.split()) in shown.replace("- ", "-")


def test_the_entry_point_can_be_switched_off(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_PLUGINS")
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")

    result = project.runpytest_subprocess("-p", "no:faultinject", "--fail-alloc")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unrecognized arguments: --fail-alloc*"])


def test_a_campaign_in_a_process_of_its_own_is_the_same(project: pytest.Pytester) -> None:
    (spec,) = on_command_line({"spec": [MODEL]})

    here, apart = run_here(project, spec), run_apart(project, spec)

    assert here.tokens("test_it.py::test_it") == apart.tokens("test_it.py::test_it")
    assert here.outcomes("test_it.py::test_it") == apart.outcomes("test_it.py::test_it")
