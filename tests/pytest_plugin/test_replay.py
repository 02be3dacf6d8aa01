"""Replay: the printed line runs one trial again, from wherever pytest was started."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest
from campaigns import REPORT, Campaign
from leaky_ring import RING, TEST, TESTS
from projects import REPORTS, paste, run_apart, run_here

pytestmark = pytest.mark.usefixtures("alone")

# What else could fail depends on the machine.
MODEL = "--fail-alloc-spec=failslab;fail_page_alloc"


def lines_of(text: str) -> list[str]:
    """Give the replay lines of a run, in the order in which they were printed."""
    marker = re.compile(r"^\s*(?:replay: )?(?=(?:python -m )?pytest .*--fail-alloc-replay=)")
    return [marker.sub("", line) for line in text.splitlines() if marker.match(line)]


def listed(text: str) -> list[str]:
    """Give the trials that the section at the end lists: the outcome and what follows it."""
    return re.findall(r"^  ([A-Z_]+ +\S.* at .*)$", text, flags=re.MULTILINE)


def replay_here(pytester: pytest.Pytester, token: str, *arguments: str) -> Campaign:
    return run_here(pytester, f"--fail-alloc-replay={token}", *arguments)


def test_the_printed_line_gives_the_same_outcome_each_time_it_is_pasted(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(**TESTS)
    campaign = run_apart(pytester, "--fail-alloc-spec=failslab", "-v")
    leaked = [line for line in listed(campaign.text) if line.startswith("LEAKED")]
    (line,) = lines_of(campaign.text)

    pasted = [paste(line, pytester.path) for _ in range(2)]

    for ended in pasted:
        assert ended.returncode == 1
        assert listed(ended.stdout) == leaked
        assert lines_of(ended.stdout) == [line]  # and can be pasted once more
        assert "collected 2 items / 1 deselected / 1 selected" in ended.stdout


def test_the_line_of_a_good_trial_ends_with_status_0(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(**TESTS)
    campaign = run_apart(pytester, "--fail-alloc-spec=failslab", "-vv", "-k", "test_open_twice")
    assert listed(campaign.text)[0].startswith("PROPAGATED")
    line = lines_of(campaign.text)[0]

    ended = paste(line, pytester.path)

    assert ended.returncode == 0
    assert listed(ended.stdout) == listed(campaign.text)[:1]
    assert "1 test, 1 call site, 1 trial: 1 propagated" in ended.stdout


def test_the_line_begins_as_pytest_was_started(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(**TESTS)
    command = "-p no:cacheprovider --fail-alloc-spec=failslab -k 'not twice'"

    as_command = paste(f"pytest -o pythonpath=. {command}", pytester.path)
    as_module = paste(f"python -m pytest {command}", pytester.path)

    (one,), (other,) = lines_of(as_command.stdout), lines_of(as_module.stdout)
    assert one.startswith("pytest --fail-alloc-replay='1|failslab|ring.py|open_ring+")
    assert other == f"python -m {one}"


@pytest.mark.parametrize(
    ("start", "arguments"),
    [
        pytest.param(".", "", id="the root folder"),
        pytest.param("tests", "", id="a folder below it"),
        pytest.param("lib/deep", "../../tests", id="another folder below it"),
        pytest.param("..", "project/tests", id="the folder above it"),
        pytest.param("../elsewhere", "../project/tests/test_ring.py", id="a folder beside it"),
    ],
)
@pytest.mark.parametrize("ini", [True, False], ids=["with an ini file", "without"])
def test_the_line_works_in_the_folder_where_pytest_was_started(
    tmp_path: Path, start: str, arguments: str, ini: bool
) -> None:
    root = tmp_path / "project"
    for name in ("project/tests", "project/lib/deep", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (root / "tests" / "ring.py").write_text(RING)
    (root / "tests" / "test_ring.py").write_text(TEST)
    if ini:
        (root / "pytest.ini").write_text("[pytest]\n")
    folder = (root / start).resolve()
    options = "-p no:cacheprovider --fail-alloc-spec=failslab"
    first = paste(f"python -m pytest {options} {arguments}", folder)
    (line,) = lines_of(first.stdout)

    ended = paste(line, folder)

    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "1 trial: 1 leaked" in ended.stdout
    assert (
        re.search("^rootdir: .*", ended.stdout, re.M)[0]
        == (re.search("^rootdir: .*", first.stdout, re.M)[0])
    )


@pytest.mark.parametrize(
    "options", ["-c other.ini", "--rootdir=inner inner", "-c inner/own.ini inner"]
)
def test_the_line_repeats_what_the_root_folder_was_told_by(tmp_path: Path, options: str) -> None:
    (tmp_path / "inner").mkdir()
    for folder in (tmp_path, tmp_path / "inner"):
        (folder / "ring.py").write_text(RING)
        (folder / f"test_{folder.name}.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for name in ("other.ini", "inner/own.ini"):
        # Without its setting the fault would be another one.
        (tmp_path / name).write_text("[pytest]\nfail_alloc_persistent = true\n")
    first = paste(f"python -m pytest --fail-alloc-spec=failslab {options}", tmp_path)
    line = lines_of(first.stdout)[0]

    ended = paste(line, tmp_path)

    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "1 trial: 1 leaked" in ended.stdout
    assert lines_of(ended.stdout) == [line]


def test_a_token_survives_lines_that_were_inserted_above_its_function(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(**TESTS)
    token = run_here(pytester, "--fail-alloc-spec=failslab").tokens("test_ring.py::test_open")[1]
    pytester.makepyfile(
        ring="import os\n\n\ndef other():\n    return os.sep\n\n" + RING,
        test_ring=TEST.replace("def test_open():", "# A word.\n# Another.\n\ndef test_open():"),
    )

    campaign = replay_here(pytester, token)

    assert campaign.outcomes("test_ring.py::test_open") == ["leaked"]
    assert campaign.tests["test_ring.py::test_open"]["notes"] == []
    assert campaign.result.ret == 1


def test_after_an_edit_of_the_function_the_nearest_call_is_failed_and_the_summary_says_so(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(**TESTS)
    token = run_here(pytester, "--fail-alloc-spec=failslab").tokens("test_ring.py::test_open")[1]
    pytester.makepyfile(ring=RING.replace("    ring = []", "    # New here.\n    ring = []"))

    campaign = replay_here(pytester, token)

    assert campaign.outcomes("test_ring.py::test_open") == ["leaked"]
    campaign.result.stdout.fnmatch_lines(
        ["*::test_open: the call site has moved: the token says open_ring+3, *, line 8"]
    )


WORLD = """
import time

import pytest

import faultinject as fi


class Pool:
    def take(self, size):
        return fi.kmalloc(size, fi.GFP_KERNEL)


@pytest.fixture
def kept():
    got = fi.kmalloc(8, fi.GFP_KERNEL)
    got[0:1] = b"x"
    yield
    fi.kfree(got)


def first(pool):
    return pool.take(32)


def second(pool):
    return pool.take(32)


def test_it(kept):
    pool = Pool()
    one = first(pool)
    two = second(pool)
    fi.kfree(one)
    fi.kfree(two)
    assert one is not None or two is not None, "persistent"
    if one is None or two is None:
        raise MemoryError
    for _ in range(2):
        three, four = fi.kmalloc(8, fi.GFP_KERNEL), fi.kmalloc(8, fi.GFP_KERNEL)
        fi.kfree(three)
        fi.kfree(four)
        if four is None:
            raise MemoryError
"""


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--fail-alloc-strict"], id="strict"),
        pytest.param(["--fail-alloc-persistent"], id="persistent"),
        pytest.param(["--fail-alloc-phases=setup"], id="phases"),
        pytest.param(["--fail-alloc-source=test_it.py", "--fail-alloc-strict"], id="source"),
        pytest.param(["--fail-alloc-identity=site", "--fail-alloc-strict"], id="site"),
        pytest.param(["--fail-alloc-identity=line", "--fail-alloc-strict"], id="line"),
        pytest.param(["--fail-alloc-identity=all", "--fail-alloc-strict"], id="all"),
        pytest.param(["--fail-alloc-hits=all", "--fail-alloc-strict"], id="hits"),
        pytest.param(
            ["--fail-alloc-spec=failslab:require=test_it:second", "--fail-alloc-strict"],
            id="spec with a filter",
        ),
        pytest.param(["--fail-alloc-spec=failslab:probability=60,times=-1"], id="random"),
    ],
)
def test_the_token_carries_the_options_that_decide_the_outcome(
    pytester: pytest.Pytester, options: list[str]
) -> None:
    pytester.makepyfile(test_it=WORLD)
    spec = [] if any("-spec=" in option for option in options) else [MODEL]
    campaign = run_here(pytester, *spec, *options)
    trials = campaign.tests["test_it.py::test_it"]["trials"]
    bad = [trial for trial in trials if trial["verdict"] == "bad"]
    good = [trial for trial in trials if trial["verdict"] == "good"]
    assert bad

    for trial in (bad[0], bad[-1], *good[:1]):
        replayed = replay_here(pytester, trial["replay"])

        (again,) = replayed.tests["test_it.py::test_it"]["trials"]
        times = {"duration": 0}
        assert again | times == trial | times
        assert replayed.result.ret == (1 if trial["verdict"] == "bad" else 0)


def test_the_time_limit_of_the_campaign_holds_in_the_replay(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import time

        import faultinject as fi


        def test_it():
            while (got := fi.kmalloc(64, fi.GFP_KERNEL)) is None:
                while True:
                    time.sleep(0.01)
            fi.kfree(got)
        """
    )
    options = ("--fail-alloc-spec=failslab", "--fail-alloc-timeout=0.3")
    (token,) = run_here(pytester, *options).tokens("test_it.py::test_it")

    as_before = replay_here(pytester, token)
    patient = replay_here(pytester, token, "--fail-alloc-timeout=0.5")

    for campaign, limit in ((as_before, "0.3"), (patient, "0.5")):
        (trial,) = campaign.tests["test_it.py::test_it"]["trials"]
        assert trial["outcome"] == "hung"
        assert f"{limit} seconds" in trial["error"]
        assert trial["replay"] == token  # the same line, whatever else was given


def test_the_oracles_of_the_campaign_judge_the_replay(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import os

        import faultinject as fi


        def test_it():
            descriptor, got = os.dup(0), fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                raise MemoryError
            fi.kfree(got)
            os.close(descriptor)
        """
    )
    options = ("--fail-alloc-spec=failslab", "--fail-alloc-oracle=no-locks,no-descriptors")
    narrow = run_here(pytester, *options)
    (token,) = narrow.tokens("test_it.py::test_it")
    whole = run_here(pytester, options[0])

    replayed = replay_here(pytester, token)

    assert "oracle=no-descriptors,no-locks" in token
    assert "oracle" not in whole.tokens("test_it.py::test_it")[0]
    assert whole.outcomes("test_it.py::test_it") == ["leaked"]
    for campaign in (narrow, replayed):
        assert campaign.outcomes("test_it.py::test_it") == ["propagated"]


def test_marks_hold_in_the_replay(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import pytest

        import faultinject as fi


        class PoolEmpty(Exception):
            pass


        @pytest.mark.fail_alloc("failslab", raises=PoolEmpty, strict=True)
        def test_it():
            got = fi.kmalloc(64, fi.GFP_KERNEL)
            if got is None:
                raise PoolEmpty
            fi.kfree(got)
        """
    )
    (token,) = run_here(pytester, "--fail-alloc").tokens("test_it.py::test_it")

    campaign = replay_here(pytester, token)

    (trial,) = campaign.tests["test_it.py::test_it"]["trials"]
    assert (trial["outcome"], trial["verdict"]) == ("propagated", "bad")


def test_a_token_finds_its_test_among_files_that_are_named_as_well(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(**TESTS, test_other="def test_other(): pass")
    token = run_here(pytester, "--fail-alloc-spec=failslab").tokens("test_ring.py::test_open")[1]

    alone = replay_here(pytester, token)
    among = replay_here(pytester, token, "test_other.py", "test_ring.py")
    not_among = pytester.runpytest_inprocess(f"--fail-alloc-replay={token}", "test_other.py")

    alone.result.assert_outcomes(failed=1, deselected=1)
    among.result.assert_outcomes(failed=1, deselected=2)
    assert not_among.ret == pytest.ExitCode.USAGE_ERROR
    assert "Name its file" in not_among.stderr.str()


def test_a_replay_needs_no_flag_and_says_in_its_header_what_it_is(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(**TESTS)
    token = run_here(pytester, "--fail-alloc-spec=failslab").tokens("test_ring.py::test_open")[1]

    campaign = replay_here(pytester, token)

    assert "faultinject: failslab; isolation fork; one trial replayed" in campaign.result.outlines
    assert listed(campaign.text) == [
        "LEAKED      failslab at ring.py:7 in open_ring, hit 3: left behind: "
        "kmalloc of 64 bytes, allocated at ring.py:7 in open_ring"
    ]


def arguments_of(line: str) -> Mapping[str, str]:
    words = shlex.split(line)
    return dict(word.partition("=")[::2] for word in words if word.startswith("--"))


def test_the_printed_line_holds_the_token_of_the_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(**TESTS)

    campaign = run_here(pytester, "--fail-alloc-spec=failslab", "-vv")

    printed = [arguments_of(line)["--fail-alloc-replay"] for line in lines_of(campaign.text)]
    tokens = [token for test in campaign.tests for token in campaign.tokens(test)]
    assert [token for token in printed if token in tokens] == printed
    assert set(printed) == set(tokens)
    assert REPORTS[0].endswith(REPORT)
