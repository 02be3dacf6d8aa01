"""What was not tried is said, in a quiet run as well: else it would look like success."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import run_apart

pytestmark = pytest.mark.usefixtures("alone")

SLAB = "--fail-alloc-spec=failslab"
PYMEM = "--fail-alloc-spec=fail_pymem"

GOOD = "def test_good(): pass"

TWO = """
import faultinject as fi


def test_one():
    for size in (8, 16):
        fi.kfree(fi.kmalloc(size, fi.GFP_KERNEL))


def test_two():
    fi.kfree(fi.kmalloc(8, fi.GFP_KERNEL))
"""

LEAF = """
def leaf(text):
    return [text] * 1000


class Tree:
    def grow(self):
        def twig():
            return leaf("x")

        return twig()
"""

TEST_LEAF = """
from leaf import Tree


def test_leaf():
    assert len(Tree().grow()) == 1000
"""


def said(result: pytest.RunResult, beginning: str) -> list[str]:
    return [line for line in result.outlines if line.startswith(beginning)]


def test_a_quiet_run_says_that_nothing_was_reached(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=GOOD)

    result = pytester.runpytest_inprocess(SLAB, "-q")

    totals, hint, _ = result.outlines[1:]
    assert totals == "1 test, 0 call sites, 0 trials"
    assert hint.startswith("No test reached a call site that can fail")
    assert "--fail-alloc-source" in hint


def test_a_quiet_run_counts_what_a_limit_left_out(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=TWO)

    result = pytester.runpytest_inprocess(SLAB, "-q", "--fail-alloc-max=1")

    assert said(result, "1 trial not run (--fail-alloc-max")


def test_a_quiet_run_counts_what_the_budget_left_out(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=TWO)

    result = pytester.runpytest_inprocess(SLAB, "-q", "--fail-alloc-budget=0.000001")

    result.stdout.fnmatch_lines(["* not run: the budget of 1e-06 seconds was spent*"])


def test_a_quiet_run_counts_known_problems(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=TWO.replace("fi.kfree(fi", "assert (fi"))
    pytester.runpytest_inprocess(SLAB, "--fail-alloc-known=known.txt", "--fail-alloc-update-known")

    result = pytester.runpytest_inprocess(SLAB, "-q", "--fail-alloc-known=known.txt")

    assert said(result, "3 known problems (")
    assert result.ret == 0


def test_a_quiet_run_says_of_which_test_no_trial_was_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        from pathlib import Path


        def test_once():
            Path(__file__).with_name("there").mkdir()
        """
    )

    result = pytester.runpytest_inprocess(SLAB, "-q")

    assert said(result, "test_it.py::test_once: no trial was run: the test failed when run again")
    assert not said(result, "No test reached")


@pytest.fixture
def installed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in ``src`` whose package is imported from where packages are installed."""
    place = pytester.path / "site-packages"
    for folder in (place, pytester.path / "src"):
        (folder / "leaf").mkdir(parents=True)
        (folder / "leaf" / "__init__.py").write_text(LEAF)
    pytester.makepyfile(test_it=TEST_LEAF)
    pytester.makeconftest(
        f"""
        import sys

        sys.path.insert(0, {str(place)!r})


        def pytest_configure():
            import faultinject.campaign.allocations as ours
            import pytest_faultinject.unreached as theirs

            found = (*ours.installed_code(), {str(place)!r})
            theirs.installed_code = ours.installed_code = lambda: found
            import pytest_faultinject.own_code as own

            own.installed_code = lambda: found
        """
    )
    return place


def test_a_package_that_is_imported_from_where_it_is_installed_is_named(
    pytester: pytest.Pytester, installed: Path
) -> None:
    result = pytester.runpytest_subprocess(PYMEM, "-q")

    (hint,) = said(result, "No test reached")
    assert f"leaf is imported from {installed}, not from src/leaf" in hint
    assert hint.endswith("Give --fail-alloc-source=leaf")


def test_naming_it_is_the_cure(pytester: pytest.Pytester, installed: Path) -> None:
    assert run_apart(pytester, PYMEM, "--fail-alloc-source=leaf").summary["trials"] > 0


def test_a_source_of_coverages_that_does_not_exist_is_named(pytester: pytest.Pytester) -> None:
    (pytester.path / ".coveragerc").write_text("[run]\nsource = nosuch\n")
    pytester.makepyfile(leaf=LEAF, test_it=TEST_LEAF)

    result = pytester.runpytest_subprocess(PYMEM, "-q")

    (hint,) = said(result, "No test reached")
    assert "coverage.py's source is nosuch, and there is no such package or folder" in hint


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        pytest.param("leef", "there is no module 'leef': did you mean 'leaf'", id="module"),
        pytest.param(
            "leaf:Tree.groww",
            "there is no 'Tree.groww' in leaf: did you mean 'Tree.grow'",
            id="method",
        ),
        pytest.param(
            "leaf:nothing.like.it", "there is no 'nothing.like.it' in leaf", id="function"
        ),
    ],
)
def test_of_a_source_that_does_not_exist_it_is_said_what_it_may_be(
    pytester: pytest.Pytester, source: str, answer: str
) -> None:
    pytester.makepyfile(leaf=LEAF, test_it=TEST_LEAF)

    result = pytester.runpytest_inprocess(PYMEM, "-q", f"--fail-alloc-source={source}")

    assert said(result, f"--fail-alloc-source names nothing: {answer}")


@pytest.mark.parametrize(
    "source", ["leaf", "leaf:Tree", "leaf:Tree.grow.<locals>.twig", "leaf.py", "json.decoder"]
)
def test_of_a_source_that_exists_nothing_is_said(pytester: pytest.Pytester, source: str) -> None:
    pytester.makepyfile(leaf=LEAF, test_it=TEST_LEAF)

    result = pytester.runpytest_inprocess(SLAB, f"--fail-alloc-source={source}")

    assert not said(result, "--fail-alloc-source names nothing")


def test_an_omission_that_does_not_exist_is_remarked_on(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=TWO)

    result = pytester.runpytest_inprocess(SLAB, "-q", "--fail-alloc-omit=nosuchpkg")

    assert said(result, "--fail-alloc-omit leaves nothing out: there is no module 'nosuchpkg'")
    assert result.ret == pytest.ExitCode.OK


def test_the_workers_of_xdist_tell_what_does_not_exist(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_faultinject.plugin,xdist.plugin")
    pytester.makepyfile(test_it=TWO)

    result = pytester.runpytest_subprocess(
        SLAB, "-q", "-n1", "--fail-alloc-source=nosuch", "--fail-alloc-omit=nosuchpkg"
    )

    assert said(result, "--fail-alloc-source names nothing: there is no module 'nosuch'")
    assert said(result, "--fail-alloc-omit leaves nothing out: there is no module 'nosuchpkg'")


def test_options_that_start_no_campaign_are_said_to_do_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=TWO)

    quiet = pytester.runpytest_inprocess("-q", "--fail-alloc-hits=all")
    two = pytester.runpytest_inprocess("--fail-function-max-errors=3", "--fail-alloc-strict")

    without = "nothing without --fail-alloc or --fail-function"
    assert f"faultinject: --fail-alloc-hits does {without}" in quiet.outlines
    several = f"faultinject: --fail-function-max-errors, --fail-alloc-strict do {without}"
    assert several in two.outlines


def test_what_the_ini_file_says_waits_in_silence(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=TWO)
    pytester.makeini("[pytest]\nfail_alloc_hits = all\nfail_alloc_report = json:out.json\n")

    result = pytester.runpytest_inprocess()

    assert "--fail-alloc" not in result.stdout.str()


def test_a_collection_alone_has_no_section_and_writes_no_report(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_it=TWO)

    result = pytester.runpytest_inprocess(
        SLAB, "--collect-only", "--fail-alloc-report=json:out.json", "--fail-alloc-fail-under=99"
    )

    assert "0 tests" not in result.stdout.str()
    assert "fault injection" not in result.stdout.str()
    assert not (pytester.path / "out.json").exists()
    assert result.ret == pytest.ExitCode.OK


STRAY = "failed 1|failslab|test_it.py|test_gone+1.10|1|transient|test_it.py::test_gone"


@pytest.mark.parametrize(
    ("arguments", "is_told"),
    [
        pytest.param([], True, id="all tests"),
        pytest.param(["-k", "one"], False, id="some by name"),
        pytest.param(["test_it.py"], False, id="one file"),
        pytest.param(["--fail-alloc-shard=1/2"], False, id="a shard"),
    ],
)
def test_a_known_problem_of_no_test_is_mentioned_where_all_tests_are_there(
    pytester: pytest.Pytester, arguments: list[str], is_told: bool
) -> None:
    pytester.makepyfile(test_it=TWO)
    path = pytester.path / "known.txt"
    path.write_text(f"{STRAY}\n")

    result = pytester.runpytest_inprocess(SLAB, f"--fail-alloc-known={path}", *arguments)

    line = f"1 known problem of {path} is of no test that exists: test_it.py::test_gone"
    assert (line in result.outlines) is is_told


READER = """
def read(path):
    size = [0] * 1000
    try:
        with open(path) as file:
            return file.read()
    except {}:
        return ""
"""


@pytest.mark.parametrize(
    ("types", "profile"),
    [
        ("OSError", "--fail-function=disk"),
        ("(ConnectionError, PermissionError)", "--fail-function=network or --fail-function=permi"),
    ],
)
def test_handlers_that_wait_for_other_errors_name_the_campaign_that_brings_them(
    pytester: pytest.Pytester, types: str, profile: str
) -> None:
    pytester.makepyfile(
        reader=READER.format(types),
        test_it="import reader\n\ndef test_it(): assert 'read' in reader.read(reader.__file__)",
    )

    first = pytester.runpytest_subprocess(PYMEM)
    second = pytester.runpytest_subprocess("--fail-function=disk")

    (line,) = said(first, "1 handler that never ran waits for")
    assert f"which no failed allocation has raised: try {profile}" in line
    assert not said(second, "1 handler that never ran")


def test_ctrl_c_tells_what_was_found_until_then(pytester: pytest.Pytester) -> None:
    # A real signal may come while the parent forks, where CPython swallows what it raises.
    pytester.makeconftest(
        """
        from pytest_faultinject.progress import Progress

        real = Progress.of


        def of(self, item, stops):
            told = real(self, item, stops)

            def interrupted(trial, done, total):
                told(trial, done, total)
                raise KeyboardInterrupt

            return interrupted


        Progress.of = of
        """
    )
    pytester.makepyfile(
        test_it="""
        import faultinject as fi


        def test_it():
            assert fi.kmalloc(8, fi.GFP_KERNEL)
            fi.kmalloc(16, fi.GFP_KERNEL)
            fi.kmalloc(24, fi.GFP_KERNEL)


        def test_next():
            fi.kmalloc(8, fi.GFP_KERNEL)
        """
    )

    campaign = run_apart(pytester, SLAB, "-q")

    assert campaign.result.ret == pytest.ExitCode.INTERRUPTED
    assert campaign.outcomes("test_it.py::test_it") == ["failed"]
    assert campaign.tests["test_it.py::test_it"]["not_run"] == 2
    campaign.result.stdout.fnmatch_lines(
        [
            "FAILED with a failslab fault at test_it.py:5*",
            "1 test, 3 call sites, 1 trial: 1 failed",
            "The run was interrupted: *",
            "test_it.py::test_it: interrupted after 1 of 3 trials",
        ]
    )
    campaign.result.assert_outcomes(failed=1)


def test_ctrl_c_before_the_first_trial_does_not_blame_the_tests(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_it="def test_it(): raise KeyboardInterrupt")

    result = pytester.runpytest_subprocess(SLAB)

    assert said(result, "The run was interrupted")
    assert not said(result, "No test was tried")


def test_both_ways_to_count_call_sites_agree(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    from faultinject.cli import main

    shared = "import faultinject as fi\n\ndef get(): fi.kfree(fi.kmalloc(8, fi.GFP_KERNEL))"
    pytester.makepyfile(
        shared=shared,
        test_it="from shared import get\n\ndef test_a(): get()\n\ndef test_b(): get()",
    )

    campaign = run_apart(
        pytester, SLAB, "--fail-alloc-per=suite", "--fail-alloc-report=json:a.json"
    )
    main(["report", "a.json"])

    assert campaign.summary["sites"] == 1
    assert said(campaign.result, "2 tests, 1 call site, 1 trial")
    assert "2 tests, 1 call site, 1 trial" in capsys.readouterr().out


def test_a_plugin_of_coverages_that_is_not_installed_is_named_and_the_campaign_runs(
    pytester: pytest.Pytester,
) -> None:
    (pytester.path / ".coveragerc").write_text("[run]\nplugins = nosuch\n")
    pytester.makepyfile(leaf=LEAF, test_it=TEST_LEAF)

    result = pytester.runpytest_subprocess(PYMEM)

    assert result.ret == pytest.ExitCode.OK
    (remark,) = said(result, "a plugin of coverage.py's cannot be loaded")
    assert f"plugins = nosuch in {pytester.path / '.coveragerc'}" in remark
    assert "--fail-alloc-cov=none" in remark
    assert not said(result, "1 test, 0 call sites")
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
