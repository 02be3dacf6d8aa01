"""pytest-timeout beside a campaign: it watches the clean run, the campaign's limit the trials."""

from __future__ import annotations

import pytest
from campaigns import FIXED_ORDER, MODEL, run_campaign

METHODS = ["signal", "thread"]


@pytest.fixture(autouse=True)
def with_timeout(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs load pytest-timeout beside this plugin."""
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_faultinject.plugin,pytest_timeout")


HANGS = """
    import threading
    import time

    import pytest

    import faultinject as fi


    def take():
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        if item is None:
            raise MemoryError("no item")
        fi.kfree(item)


    def test_hangs():
        for number in range(3):
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            while item is None:
                time.sleep(0.01)
            fi.kfree(item)


    @pytest.mark.timeout(0.7)
    def test_hangs_in_a_lock():
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        if item is None:
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        fi.kfree(item)


    def test_after():
        take()
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_trial_that_hangs_is_hung_and_the_time_of_a_campaign_is_not_the_tests(
    pytester: pytest.Pytester, method: str
) -> None:
    pytester.makepyfile(test_hangs=HANGS)

    campaign = run_campaign(
        pytester,
        # Three trials of 0.5 seconds: more than the test itself may take.
        "--timeout=0.9",
        f"--timeout-method={method}",
        "--fail-alloc-timeout=0.5",
        "--fail-alloc-hits=all",
        "--fail-alloc-spec=failslab",
    )

    assert campaign.outcomes("test_hangs.py::test_hangs") == ["hung"] * 3
    assert campaign.outcomes("test_hangs.py::test_hangs_in_a_lock") == ["hung"]
    assert campaign.outcomes("test_hangs.py::test_after") == ["propagated"]
    campaign.result.assert_outcomes(failed=2, passed=1)
    assert "Timeout" not in campaign.text


def test_a_limit_shorter_than_the_campaigns_does_not_end_a_trial(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_slow="""
        import time

        import faultinject as fi


        def test_slow():
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            if item is None:
                time.sleep(0.8)
            fi.kfree(item)
        """
    )

    campaign = run_campaign(pytester, "--timeout=0.5", "--fail-alloc-spec=failslab")

    assert campaign.outcomes("test_slow.py::test_slow") == ["recovered"]


CLEAN_HANG = """
    import time

    import faultinject as fi


    def test_before():
        fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))


    def test_hangs():
        fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
        while True:
            time.sleep(0.01)


    def test_after():
        fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
"""


def test_the_time_limit_of_a_clean_run_works_by_signal(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_clean=CLEAN_HANG)

    campaign = run_campaign(pytester, "--timeout=0.5", "--timeout-method=signal")

    campaign.result.assert_outcomes(passed=2, failed=1)
    campaign.result.stdout.fnmatch_lines(["*Timeout (>0.5s) from pytest-timeout*"])
    assert list(campaign.tests) == ["test_clean.py::test_before", "test_clean.py::test_after"]


def test_the_time_limit_of_a_clean_run_works_by_thread(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_clean=CLEAN_HANG)

    result = pytester.runpytest_subprocess(
        MODEL, "--timeout=0.5", "--timeout-method=thread", "-v", *FIXED_ORDER
    )

    # This method ends the whole run, campaign or not.
    result.stdout.fnmatch_lines(["*test_before PASSED (2 trials)*", "*+ Timeout +*"])
    assert result.ret == 1
    assert "test_after" not in result.stdout.str()


def test_without_isolation_the_time_limit_of_the_test_ends_a_trial(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_hangs=HANGS)

    campaign = run_campaign(
        pytester,
        "--timeout=0.4",
        "--fail-alloc-isolation=none",
        "--fail-alloc-spec=failslab",
        "--fail-alloc-hits=first",
    )

    assert campaign.outcomes("test_hangs.py::test_hangs") == ["failed"]
    assert campaign.outcomes("test_hangs.py::test_after") == ["propagated"]
    campaign.result.stdout.fnmatch_lines(["*Timeout (>0.4s) from pytest-timeout*"])
    campaign.result.assert_outcomes(failed=2, passed=1)
