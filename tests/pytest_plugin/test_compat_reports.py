"""What others are told of a test under a campaign: one report for each phase, and no more.

In both kinds of isolation, since only one of them hides a trial by itself.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from campaigns import run_campaign

pytestmark = [
    pytest.mark.usefixtures("alone"),
    pytest.mark.parametrize("kind", ["fork", "none"]),
]

PROJECT = """
    import warnings

    import pytest

    import faultinject as fi


    def take():
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        if item is None:
            warnings.warn("falls back", UserWarning)
        fi.kfree(item)
        return item is not None


    @pytest.fixture
    def ring():
        yield []


    def test_good(ring, capsys):
        warnings.warn("told once", UserWarning)
        take()


    def test_bad(ring):
        print("out of the body")
        assert take(), "no item"


    @pytest.mark.xfail(reason="known")
    def test_xfails():
        take()
        assert not take()


    def test_skips():
        take()
        pytest.skip("not here")


    def test_fails_clean():
        take()
        assert not "clean"


    def test_propagates():
        if not take():
            raise MemoryError("no item")
"""

COUNTERS = """
    import os
    from collections import Counter

    import pytest

    told = Counter()


    def pytest_runtest_logstart(nodeid, location):
        told[nodeid, "logstart"] += 1


    def pytest_runtest_logreport(report):
        told[report.nodeid, report.when, report.outcome] += 1


    def pytest_runtest_logfinish(nodeid, location):
        told[nodeid, "logfinish"] += 1


    def pytest_exception_interact(node, call, report):
        told[node.nodeid, "interact"] += 1


    def pytest_warning_recorded(warning_message, when, nodeid, location):
        told[nodeid, "warning", str(warning_message.message)] += 1


    def pytest_sessionfinish():
        with open("told.txt", "w") as file:
            for key, times in sorted(told.items()):
                print(times, *key, file=file)
"""

TOLD = """\
1 test_all.py::test_bad call failed
1 test_all.py::test_bad logfinish
1 test_all.py::test_bad logstart
1 test_all.py::test_bad setup passed
1 test_all.py::test_bad teardown passed
1 test_all.py::test_fails_clean call failed
1 test_all.py::test_fails_clean interact
1 test_all.py::test_fails_clean logfinish
1 test_all.py::test_fails_clean logstart
1 test_all.py::test_fails_clean setup passed
1 test_all.py::test_fails_clean teardown passed
1 test_all.py::test_good call passed
1 test_all.py::test_good logfinish
1 test_all.py::test_good logstart
1 test_all.py::test_good setup passed
1 test_all.py::test_good teardown passed
1 test_all.py::test_good warning told once
1 test_all.py::test_propagates call passed
1 test_all.py::test_propagates logfinish
1 test_all.py::test_propagates logstart
1 test_all.py::test_propagates setup passed
1 test_all.py::test_propagates teardown passed
1 test_all.py::test_skips call skipped
1 test_all.py::test_skips logfinish
1 test_all.py::test_skips logstart
1 test_all.py::test_skips setup passed
1 test_all.py::test_skips teardown passed
1 test_all.py::test_xfails call skipped
1 test_all.py::test_xfails logfinish
1 test_all.py::test_xfails logstart
1 test_all.py::test_xfails setup passed
1 test_all.py::test_xfails teardown passed
"""


def test_hooks_counters_and_junit_see_each_test_once(pytester: pytest.Pytester, kind: str) -> None:
    pytester.makepyfile(test_all=PROJECT)
    pytester.makeconftest(COUNTERS)

    campaign = run_campaign(
        pytester, f"--fail-alloc-isolation={kind}", "--junitxml=junit.xml", "--durations=0", "-vv"
    )

    campaign.result.assert_outcomes(passed=2, failed=2, xfailed=1, skipped=1, warnings=1)
    assert (pytester.path / "told.txt").read_text() == TOLD
    # Only tests whose clean run passes have a campaign.
    assert sorted(campaign.tests) == [
        "test_all.py::test_bad",
        "test_all.py::test_good",
        "test_all.py::test_propagates",
    ]
    (suite,) = ET.parse(pytester.path / "junit.xml").getroot()
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "6", "failures": "2", "errors": "0", "skipped": "2"}
    cases = {case.get("name"): case for case in suite}
    assert len(suite) == len(cases) == 6
    (failure,) = cases["test_bad"].findall("failure")
    assert "with one injected fault" in (failure.text or "").lower()
    assert "replay: " in (failure.text or "")
    assert "no item" in (failure.text or "")
    assert [part.tag for part in cases["test_good"]] == ["properties"]
    campaign.result.stdout.fnmatch_lines(["*slowest durations*", "*s call *test_all.py::test_bad"])
    lines = campaign.result.outlines
    assert sum(line.endswith("s call     test_all.py::test_bad") for line in lines) == 1
    warned = campaign.text.partition("warnings summary")[2].partition("\n=====")[0]
    assert warned
    assert "falls back" not in warned  # that of a trial is told with the trial


def test_warnings_as_errors_apply_to_the_tests_and_not_to_the_campaign(
    pytester: pytest.Pytester, kind: str
) -> None:
    pytester.makepyfile(
        test_strict="""
        import threading
        import warnings

        import pytest

        import faultinject as fi


        @pytest.fixture(scope="module", autouse=True)
        def thread():
            # CPython warns of a fork while there are threads.
            done = threading.Event()
            thread = threading.Thread(target=done.wait)
            thread.start()
            yield
            done.set()
            thread.join()


        def test_good():
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))


        def test_warns_of_the_fault():
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            if item is None:
                warnings.warn("no item", ResourceWarning)
            fi.kfree(item)
        """
    )

    campaign = run_campaign(pytester, f"--fail-alloc-isolation={kind}", "-W", "error")

    assert campaign.outcomes("test_strict.py::test_good") == ["recovered"] * 2
    assert campaign.outcomes("test_strict.py::test_warns_of_the_fault") == ["failed"] * 2
    assert campaign.all_run_twice
    campaign.result.assert_outcomes(passed=1, failed=1)
    assert "DeprecationWarning" not in campaign.text


def test_set_up_plans_and_live_logs_are_shown_of_the_clean_run_alone(
    pytester: pytest.Pytester, kind: str
) -> None:
    pytester.makepyfile(
        test_live="""
        import logging

        import pytest

        import faultinject as fi


        @pytest.fixture
        def ring():
            yield []


        def test_logs(ring):
            logging.getLogger("driver").warning("takes an item")
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            assert item is not None
            fi.kfree(item)
        """
    )

    campaign = run_campaign(
        pytester, f"--fail-alloc-isolation={kind}", "--setup-show", "-o", "log_cli=true"
    )

    live, _, failures = campaign.text.partition("= FAILURES =")
    assert live.count("SETUP    F ring") == live.count("TEARDOWN F ring") == 1
    assert live.count("takes an item") == 1
    # The clean run's log, and of each bad trial its log and its line in the traceback.
    assert failures.count("takes an item") == 1 + 2 * 2
    assert campaign.outcomes("test_live.py::test_logs") == ["failed"] * 2


def test_a_campaign_needs_no_terminal(pytester: pytest.Pytester, kind: str) -> None:
    pytester.makepyfile(test_all=PROJECT)

    campaign = run_campaign(pytester, f"--fail-alloc-isolation={kind}", "-p", "no:terminal")

    assert campaign.outcomes("test_all.py::test_good") == ["recovered"] * 2
    assert campaign.outcomes("test_all.py::test_bad") == ["failed"] * 2
    assert campaign.result.ret == pytest.ExitCode.TESTS_FAILED
    assert campaign.text == ""
