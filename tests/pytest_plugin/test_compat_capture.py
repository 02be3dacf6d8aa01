"""What a trial writes and reads: its output is shown with it, the input is the user's."""

from __future__ import annotations

import re
import sys

import pytest
from campaigns import MODEL, campaign_of, run_campaign

pytestmark = pytest.mark.usefixtures("alone")

WRITES = """
    import os

    import pytest

    import faultinject as fi


    @pytest.fixture(scope="session", autouse=True)
    def greeting():
        print("before every test")
        yield
        print("after every test")


    def test_bad(capsys_of_mine):
        print("by print")
        os.write(1, b"by write\\n")
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        assert item is not None
        fi.kfree(item)


    @pytest.fixture
    def capsys_of_mine():
        print("by set-up")
        yield
        print("by tear-down")
"""


@pytest.mark.parametrize("how", ["fd", "sys", "tee-sys", "no"])
def test_the_output_of_a_bad_trial_is_told_once_however_it_is_captured(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    # With it nothing ever waits in a buffer to be written twice.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    pytester.makepyfile(test_writes=WRITES)

    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab", f"--capture={how}")

    assert campaign.outcomes("test_writes.py::test_bad") == ["failed"]
    assert campaign.all_run_twice
    lines = campaign.text.splitlines()
    trial = ["by set-up", "by print", "by tear-down"]
    quoted = [line.removeprefix("  > ") for line in lines if line.startswith("  > by ")]
    assert (
        quoted
        == {
            "fd": ["by set-up", "by print", "by write", "by tear-down"],
            "sys": trial,
            "tee-sys": trial,
            "no": [],
        }[how]
    )
    # The clean run's report has it once; on the terminal it comes with each of five runs:
    # the clean one, and census and trial, which both run the test twice.
    assert lines.count("by print") == {"fd": 1, "sys": 1, "tee-sys": 6, "no": 5}[how]
    for word in ("before every test", "after every test"):
        assert campaign.text.count(word) <= (2 if how == "tee-sys" else 1), word


@pytest.mark.parametrize("how", ["fd", "sys"])
def test_trials_at_once_do_not_mix_what_they_write(pytester: pytest.Pytester, how: str) -> None:
    pytester.makepyfile(
        test_many="""
        import os

        import faultinject as fi


        def test_bad():
            for _ in range(4):
                for _ in range(10):
                    print("by", os.getpid(), "x" * 99)
                    os.sched_yield()
                item = fi.kmalloc(64, fi.GFP_KERNEL)
                assert item is not None
                fi.kfree(item)
        """
    )

    campaign = run_campaign(
        pytester,
        f"--capture={how}",
        "--fail-alloc-spec=failslab",
        "--fail-alloc-jobs=3",
        "--fail-alloc-hits=all",
        "-vv",
    )

    assert campaign.outcomes("test_many.py::test_bad") == ["failed"] * 4
    # What stands before a replay line is of that trial.
    failures = campaign.text.partition("= FAILURES =")[2]
    trials = [re.findall(r"^  > by (\d+)", part, re.M) for part in failures.split("  replay: ")]
    assert [len(written) for written in trials[:4]] == [10, 20, 30, 40]
    assert [len(set(written)) for written in trials[:4]] == [1] * 4


@pytest.mark.parametrize("how", ["fd", "no"])
def test_a_trial_reads_nothing_that_is_typed_to_the_run(
    pytester: pytest.Pytester, how: str
) -> None:
    pytester.makepyfile(
        test_reads="""
        import os

        import faultinject as fi


        def test_reads(pytestconfig):
            capture = pytestconfig.pluginmanager.getplugin("capturemanager")
            capture.suspend(in_=True)
            try:
                read = os.read(0, 1)
            finally:
                capture.resume()
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
            assert read in (b"1", b"")
        """
    )
    pytester.makeconftest(
        """
        import os


        def pytest_unconfigure(config):
            config.pluginmanager.getplugin("capturemanager").suspend(in_=True)
            print("LEFT", os.read(0, 100))
        """
    )

    result = pytester.run(
        sys.executable,
        "-mpytest",
        f"--capture={how}",
        MODEL,
        "--fail-alloc-report=json:campaign.json",
        stdin=b"123456789",
    )

    campaign = campaign_of(pytester, result)
    result.stdout.fnmatch_lines(["*LEFT b'23456789'"])
    assert campaign.outcomes("test_reads.py::test_reads") == ["recovered"] * 2
