"""What a campaign shows on the terminal, for somebody who knows pytest and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest
from projects import paste, run_here, run_on_terminal

pytestmark = pytest.mark.usefixtures("alone")

SLAB = "--fail-alloc-spec=failslab"

TEST = """
import faultinject as fi


def get(size):
    got = fi.kmalloc(size, fi.GFP_KERNEL)
    if got is None:
        raise MemoryError
    return got


def test_good():
    try:
        fi.kfree(get(8))
    except MemoryError:
        pass


def test_leaky():
    one = get(16)
    two = get(32)
    fi.kfree(two)
    fi.kfree(one)
"""

GOOD = "def test_good(): pass"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(test_it=TEST)
    return pytester


def section(result: pytest.RunResult) -> list[str]:
    """Give the lines of the section at the end."""
    lines = result.outlines
    start = next(at for at, line in enumerate(lines) if re.match("=+ fault injection =+", line))
    end = next(at for at in range(start + 1, len(lines)) if lines[at].startswith("==="))
    return [line for line in lines[start + 1 : end] if line]


LEAKY_TRIAL = "failslab at test_it.py:5 in get, hit 2: left behind: kmalloc of 16 bytes, " + (
    "allocated at test_it.py:5 in get"
)
TOKEN = "1|failslab|test_it.py|get+1.10|{hit}|transient|test_it.py::{test}"


def test_by_default_the_section_has_the_totals_and_a_bad_trial_stands_under_failures(
    project: pytest.Pytester,
) -> None:
    result = project.runpytest_inprocess(SLAB)

    assert section(result) == [
        "2 tests, 2 call sites, 3 trials: 1 recovered, 1 propagated, 1 leaked"
    ]
    text = result.stdout.str()
    shown = text[text.index("The test passes without faults.") : text.index("= fault injection")]
    assert shown[: shown.rindex("\n")] == dedent(
        f"""\
        The test passes without faults. With one injected fault:

        LEAKED with a failslab fault at test_it.py:5 in get, hit 2
          MemoryError
          left behind: kmalloc of 16 bytes, allocated at test_it.py:5 in get
          |
          |     def test_leaky():
          |         one = get(16)
          | >       two = get(32)
          |               ^^^^^^^
          |
          | test_it.py:20:
          | _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _
          |
          | size = 32
          |
          |     def get(size):
          |         got = fi.kmalloc(size, fi.GFP_KERNEL)
          |         if got is None:
          | >           raise MemoryError
          | E           MemoryError
          | E           faultinject: failslab refused 32 bytes at test_it.py:5 in get
          | E           replay token: {TOKEN.format(hit=2, test="test_leaky")}
          |
          | test_it.py:7: MemoryError
          replay: pytest --fail-alloc-replay='{TOKEN.format(hit=2, test="test_leaky")}'"""
    )
    result.stdout.fnmatch_lines(
        [
            "test_it.py .F * [[]100%]",
            "FAILED test_it.py::test_leaky - LEAKED at test_it.py:5 in get (1 bad of 2 tri*",
            "=* 1 failed, 1 passed*",
        ]
    )
    assert result.ret == 1


def test_quiet_leaves_the_totals_line_and_the_failures(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess(SLAB, "-q")

    text = result.stdout.str()
    assert "2 tests, 2 call sites, 3 trials: 1 recovered, 1 propagated, 1 leaked" in text
    assert "LEAKED with a failslab fault" in text
    assert "fault injection" not in text
    assert "faultinject: failslab; isolation" not in text


def test_verbose_has_a_line_for_each_trial_and_counts_them_beside_each_test(
    project: pytest.Pytester,
) -> None:
    result = project.runpytest_inprocess(SLAB, "-v")

    assert section(result) == [
        "test_it.py::test_good",
        "  RECOVERED   failslab at test_it.py:5 in get",
        "test_it.py::test_leaky",
        "  PROPAGATED  failslab at test_it.py:5 in get: MemoryError",
        f"  LEAKED      {LEAKY_TRIAL}",
        "2 tests, 2 call sites, 3 trials: 1 recovered, 1 propagated, 1 leaked",
    ]
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_good PASSED (1 trial) *",
            "test_it.py::test_leaky FAILED (1 bad of 2 trials) *",
        ]
    )


def test_trials_of_one_line_are_told_apart_by_their_column(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import faultinject as fi

        def test_it():
            both = fi.kmalloc(8), fi.kmalloc(8)
            for each in both:
                fi.kfree(each)
        """
    )

    result = pytester.runpytest_inprocess(SLAB, "-v")

    result.stdout.fnmatch_lines(
        [
            "*RECOVERED * failslab at test_it.py:4 in test_it, column 12",
            "*RECOVERED * failslab at test_it.py:4 in test_it, column 27",
        ]
    )


def test_more_verbose_has_the_replay_line_of_every_trial(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess(SLAB, "-vv")

    replayed = [line.strip() for line in section(result) if "--fail-alloc-replay" in line]
    assert replayed == [
        f"pytest --fail-alloc-replay='{TOKEN.format(hit=hit, test=test)}'"
        for hit, test in ((1, "test_good"), (1, "test_leaky"), (2, "test_leaky"))
    ]


def test_without_tracebacks_the_section_says_how_to_replay_what_is_bad(
    project: pytest.Pytester,
) -> None:
    result = project.runpytest_inprocess(SLAB, "--tb=no")

    assert section(result) == [
        f"LEAKED      {LEAKY_TRIAL}",
        f"            pytest --fail-alloc-replay='{TOKEN.format(hit=2, test='test_leaky')}'",
        "2 tests, 2 call sites, 3 trials: 1 recovered, 1 propagated, 1 leaked",
    ]


def test_only_the_first_three_tracebacks_of_a_test_are_shown_unless_more_are_asked_for(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_it="""
        import faultinject as fi


        def test_it():
            for number in range(5):
                print(f"round {number}")
                got = fi.kmalloc(64, fi.GFP_KERNEL)
                assert got is not None
                fi.kfree(got)
        """
    )
    options = (SLAB, "--fail-alloc-hits=all")

    plain = pytester.runpytest_inprocess(*options).stdout.str()
    more = pytester.runpytest_inprocess(*options, "-vv").stdout.str()

    for text, shown in ((plain, 3), (more, 5)):
        assert text.count("FAILED with a failslab fault") == 5
        assert text.count("  replay: pytest --fail-alloc-replay=") == 5
        assert text.count("  | E           assert None is not None") == shown
        # What a trial printed stands with it.
        assert text.count("  > ---------- Captured stdout call ----------") == shown
        assert text.count("  > round 0") == shown
        assert text.count("  > round 2") == shown - 2


def test_bad_trials_of_one_cause_are_told_together_and_all_of_them_under_vv(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_it="""
        import faultinject as fi


        def test_it():
            kept = fi.kmalloc(16, fi.GFP_KERNEL)
            assert kept is not None
            one = fi.kmalloc(24, fi.GFP_KERNEL)
            if one is None:
                raise MemoryError
            two = fi.kmalloc(32, fi.GFP_KERNEL)
            if two is None:
                fi.kfree(one)
                raise MemoryError
            three = fi.kmalloc(40, fi.GFP_KERNEL)
            if three is None:
                fi.kfree(one)
                fi.kfree(two)
                raise MemoryError
            for item in (kept, one, two, three):
                fi.kfree(item)
        """
    )

    plain = pytester.runpytest_inprocess(SLAB).stdout.str()
    every = pytester.runpytest_inprocess(SLAB, "-vv").stdout.str()

    assert plain.count("LEAKED with a failslab fault") == 1
    assert plain.count("  replay: pytest --fail-alloc-replay=") == 2  # with that of what failed
    (more,) = (line for line in plain.splitlines() if line.startswith("  and "))
    assert more.startswith(
        "  and 2 more with faults at test_it.py:10, 14; replay one: pytest --fail-alloc-replay='1|"
    )
    assert "test_it+10.12" in more
    assert every.count("LEAKED with a failslab fault") == 3
    assert every.count("  replay: pytest --fail-alloc-replay=") == 4


def test_the_style_of_tracebacks_is_the_one_that_was_asked_for(project: pytest.Pytester) -> None:
    short = project.runpytest_inprocess(SLAB, "--tb=short").stdout.str()
    native = project.runpytest_inprocess(SLAB, "--tb=native").stdout.str()

    assert "  | test_it.py:20: in test_leaky\n  |     two = get(32)" in short
    assert "  | Traceback (most recent call last):" in native


def test_a_persistent_fault_is_said_to_be_one(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess(SLAB, "--fail-alloc-persistent")

    result.stdout.fnmatch_lines(
        ["LEAKED with a failslab fault at test_it.py:5 in get, hit 2, and every call after it"]
    )


def test_of_several_leaks_one_is_named_and_the_others_are_counted(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_it=TEST.replace("one = get(16)", "one = get(16); get(64)"))

    # What a clean run leaves as well is no leak: only the first object is.
    single = pytester.runpytest_inprocess(SLAB, "-v")
    pytester.makepyfile(
        test_it=TEST.replace("one = get(16)", "one = get(16); one = [one, get(64)]").replace(
            "fi.kfree(one)", "fi.kfree(one[0]); fi.kfree(one[1])"
        )
    )
    several = pytester.runpytest_inprocess(SLAB, "-v")

    single.stdout.fnmatch_lines(["  LEAKED *, hit 3: left behind: kmalloc of 16 bytes, *:5 in get"])
    several.stdout.fnmatch_lines(["  LEAKED *, hit 3: left behind: kmalloc of * (and 1 more)"])


def test_colours_tell_good_from_bad_from_doubtful(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it=TEST
        + """

RUNS = __file__ + ".runs"


def test_not_the_same_twice():
    with open(RUNS, "a") as file:
        file.write("x")
    with open(RUNS) as file:
        if len(file.read()) < 4:
            fi.kfree(get(64))
"""
    )

    coloured = pytester.runpytest_inprocess(SLAB, "-v", "--color=yes").stdout.str()
    Path(pytester.path, "test_it.py.runs").unlink()
    plain = pytester.runpytest_inprocess(SLAB, "-v", "--color=no").stdout.str()

    green, red, yellow = "\x1b[32m", "\x1b[31m", "\x1b[33m"
    assert f"{green}RECOVERED  \x1b[0m" in coloured
    assert f"{green}PROPAGATED \x1b[0m" in coloured
    assert f"{red}LEAKED     \x1b[0m" in coloured
    assert f"{yellow}NOT_REACHED\x1b[0m" in coloured
    assert f"{red}1 leaked\x1b[0m" in coloured
    assert f"\x1b[1m{red}LEAKED\x1b[0m with a failslab fault at" in coloured
    assert re.search(r"  \| .*\x1b\[[0-9;]+mE +.*MemoryError", coloured)
    assert "\x1b" not in plain


def test_the_header_says_what_will_fail_and_how(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=GOOD)

    result = pytester.runpytest_inprocess(
        f"{SLAB};fail_page_alloc:min_order=1",
        "--fail-alloc-spec=failslab:probability=9",
        "--fail-alloc-jobs=3",
        "--fail-alloc-seed=7",
        "--fail-alloc-trials=1",
        "--fail-alloc-shard=1/2",
    )

    assert (
        "faultinject: failslab, fail_page_alloc, failslab:probability=9; isolation fork; 3 jobs; "
        "seed 7; shard 1/2"
    ) in result.outlines


def test_a_campaign_that_reaches_no_call_site_says_so_and_names_the_options(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_it=GOOD)

    result = pytester.runpytest_inprocess(SLAB)

    totals, *hint = section(result)
    assert totals == "1 test, 0 call sites, 0 trials"
    assert "No test reached a call site that can fail" in " ".join(hint)
    assert "--fail-alloc-source" in " ".join(hint)
    assert result.ret == 0


def test_a_campaign_without_a_test_to_try_says_so(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it="def test_bad(): assert 0")

    result = pytester.runpytest_inprocess(SLAB)

    assert section(result) == [
        "0 tests, 0 call sites, 0 trials",
        "No test was tried: only those are that pass by themselves.",
    ]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        pytest.param(TEST, 1, id="a bad trial"),
        pytest.param(TEST.partition("def test_leaky")[0], 0, id="good trials alone"),
        pytest.param("import faultinject as fi", 5, id="no test"),
        pytest.param(GOOD, 0, id="no trial"),
        pytest.param("def test_bad(): assert 0", 1, id="a test that fails by itself"),
    ],
)
def test_the_exit_status_is_pytests_own(pytester: pytest.Pytester, text: str, status: int) -> None:
    pytester.makepyfile(test_it=text)

    assert pytester.runpytest_inprocess(SLAB).ret == status


def test_the_exit_status_needs_no_terminal_reporter(project: pytest.Pytester) -> None:
    campaign = run_here(project, SLAB, "-p", "no:terminal")

    assert campaign.result.ret == 1
    assert campaign.summary["leaked"] == 1


def test_every_trial_that_was_left_out_is_counted(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess(SLAB, "--fail-alloc-hits=all", "--fail-alloc-max=1")

    assert "1 trial not run (--fail-alloc-max, -x)" in section(result)


PROGRESS = """
import pytest_faultinject.progress as progress

# Whoever tests must not wait for two seconds.
progress._PATIENCE = progress._INTERVAL = 0.0
"""

LINE = re.compile(r"test_it: (\d+)/12 trials, (\d+) bad")


@pytest.fixture
def long_sweep(pytester: pytest.Pytester) -> Path:
    pytester.makeconftest(PROGRESS)
    pytester.makepyfile(
        test_it="""
        import faultinject as fi


        def test_it():
            for number in range(12):
                got = fi.kmalloc(64, fi.GFP_KERNEL)
                assert number != 4 or got is not None
                fi.kfree(got)


        def test_next():
            pass
        """
    )
    return pytester.path


def test_on_a_terminal_a_long_sweep_shows_how_far_it_is(long_sweep: Path) -> None:
    text = run_on_terminal(long_sweep, SLAB, "--fail-alloc-hits=all")

    assert LINE.findall(text) == [(str(n), str(int(n >= 5))) for n in range(1, 12)]
    # It is written over itself, and nothing of it stays.
    assert all(
        part.startswith("\r") or "test_it: " not in part for part in re.split("(?=\r)", text)
    )
    assert re.search(r"test_it\.py.*F.*\..*\[100%\]", text.replace("\r\n", "\n"), re.DOTALL)
    rows = [row.rpartition("\r")[2] for row in text.replace("\r\n", "\n").split("\n")]
    assert not any(LINE.search(row) for row in rows)


@pytest.mark.parametrize("options", [["-q"], ["--fail-alloc-hits=first"]], ids=["quiet", "short"])
def test_on_a_terminal_there_is_no_progress_line_where_it_is_not_wanted(
    long_sweep: Path, options: list[str]
) -> None:
    text = run_on_terminal(long_sweep, SLAB, "--fail-alloc-hits=all", *options)

    assert "trials, 0 bad" not in text


def test_a_sweep_of_less_than_two_seconds_has_no_progress_line(long_sweep: Path) -> None:
    (long_sweep / "conftest.py").unlink()

    text = run_on_terminal(long_sweep, SLAB, "--fail-alloc-hits=all")

    assert "1 failed, 1 passed" in text
    assert LINE.search(text) is None


def test_where_output_is_no_terminal_there_is_no_progress_line(long_sweep: Path) -> None:
    ended = paste(f"python -m pytest {SLAB} --fail-alloc-hits=all", long_sweep)

    assert ended.returncode == 1
    assert "trials, " not in ended.stdout.partition("FAILURES")[0]
