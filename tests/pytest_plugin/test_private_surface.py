"""What the plugin uses of pytest beyond its documents: one test for each thing.

When a new pytest breaks the plugin, the test that fails here names the cause.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from pytest_faultinject import private

pytestmark = pytest.mark.usefixtures("alone")

# Two scopes, and a list of what happened to them that the tests below can see.
FIXTURES = """
import pytest

EVENTS = []


@pytest.fixture(scope="module")
def wide():
    EVENTS.append("wide")
    yield
    EVENTS.append("wide ends")


@pytest.fixture
def narrow(wide):
    EVENTS.append("narrow")
    yield
    EVENTS.append("narrow ends")
"""


def events_of(item: pytest.Item) -> list[str]:
    events: list[str] = item.module.EVENTS  # type: ignore[attr-defined]
    return events


def names_of_private() -> list[str]:
    return [
        name
        for name, value in vars(private).items()
        if inspect.isfunction(value)
        and value.__module__ == private.__name__
        and not name.startswith("_")
    ]


@pytest.mark.parametrize("name", names_of_private())
def test_everything_private_has_its_test(name: str) -> None:
    assert f"private.{name}(" in Path(__file__).read_text(encoding="utf-8")


def test_an_item_runs_again_with_new_narrow_fixtures_and_the_same_wide_ones(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(FIXTURES + "\n\ndef test_it(narrow):\n    EVENTS.append('body')\n")
    reports: list[pytest.TestReport] = []
    logged: list[pytest.TestReport] = []
    seen: list[str] = []

    class Twice:
        def pytest_runtest_protocol(self, item: pytest.Item) -> bool:
            reports.extend(private.run_protocol(item))
            reports.extend(private.run_protocol(item))
            seen.extend(events_of(item))
            return True

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            logged.append(report)

    pytester.inline_run(plugins=[Twice()])

    once = ["narrow", "body", "narrow ends"]
    assert seen == ["wide", *once, *once]
    assert [report.when for report in reports] == ["setup", "call", "teardown"] * 2
    assert all(report.passed for report in reports)
    assert logged == []


def test_wide_fixtures_can_be_torn_down_as_far_as_the_next_item_needs_none(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_a=FIXTURES + "\n\ndef test_it(wide): pass\n",
        test_b="def test_it(): pass\n",
    )
    seen: list[list[str]] = []

    class Left:
        def pytest_runtestloop(self, session: pytest.Session) -> bool:
            first, other = session.items
            private.run_protocol(first)
            private.tear_down_to(first)
            seen.append(events_of(first)[:])
            private.tear_down_to(other)
            seen.append(events_of(first)[:])
            private.run_protocol(first)
            private.tear_down_all(session)
            seen.append(events_of(first)[:])
            return True

    pytester.inline_run("-p", "no:randomly", plugins=[Left()])

    assert seen == [["wide"], ["wide", "wide ends"], ["wide", "wide ends"] * 2]


def test_an_interrupted_run_can_be_torn_down_as_far_as_it_was_the_items_own(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(FIXTURES + "\n\ndef test_it(narrow):\n    pytest.exit('now')\n")
    seen: list[list[str]] = []

    class Interrupted:
        def pytest_runtest_protocol(self, item: pytest.Item) -> bool:
            with pytest.raises(pytest.exit.Exception):
                private.run_protocol(item)
            seen.append(events_of(item)[:])
            private.tear_down(item)
            seen.append(events_of(item)[:])
            return True

    pytester.inline_run(plugins=[Interrupted()])

    assert seen == [["wide", "narrow"], ["wide", "narrow", "narrow ends"]]


def test_a_debugger_is_shown_a_failure_and_no_skip(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest


        def test_fails():
            assert 0


        def test_skips():
            pytest.skip()
        """
    )
    shown: list[str] = []

    class Debugger:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(self, item, call):  # type: ignore[no-untyped-def]
            report = yield
            if call.when == "call":
                private.interact(item, call, report)
            return report

        def pytest_exception_interact(self, node: pytest.Item) -> None:
            shown.append(node.name)

    pytester.inline_run(plugins=[Debugger()])

    assert shown == ["test_fails"] * 2  # once by the runner itself


def test_nothing_of_a_run_stays_on_its_item(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        class TestRing:
            open = 0

            def test_it(self, subtests):
                self.open += 1
                print("opened")
                with subtests.test():
                    assert 0
                assert self.open == 1
        """
    )
    reports: list[pytest.TestReport] = []

    class Again:
        def pytest_runtest_protocol(self, item: pytest.Item) -> bool:
            for _ in range(2):
                reports.extend(private.run_protocol(item))
                private.forget_run(item)
            return True

    pytester.inline_run(plugins=[Again()])

    calls = [report for report in reports if report.when == "call"]
    # The second run neither finds the instance of the first nor what it had printed.
    assert "assert self.open == 1" not in str([report.longrepr for report in calls])
    assert [report.capstdout for report in calls] == ["opened\n"] * 2


def test_the_exception_that_pytest_keeps_for_debuggers_can_be_dropped() -> None:
    names = ("last_exc", "last_type", "last_value", "last_traceback")
    for name in names:
        setattr(sys, name, MemoryError())

    private.drop_last_exception()

    assert not any(hasattr(sys, name) for name in names)


def test_tear_down_can_be_held_back_from_wide_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FIXTURES + "\n\ndef test_it(narrow):\n    pass\n")
    seen: list[list[str]] = []

    class HoldsBack:
        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_protocol(self, item):  # type: ignore[no-untyped-def]
            with private.teardown_stops_at(item) as real:
                result = yield
            seen.append(events_of(item)[:])
            real(None)
            seen.append(events_of(item)[:])
            assert "teardown_exact" not in vars(item.session._setupstate)
            return result

    outcome = pytester.inline_run(plugins=[HoldsBack()])

    outcome.assertoutcome(passed=1)
    held = ["wide", "narrow", "narrow ends"]
    assert seen == [held, [*held, "wide ends"]]


def test_hooks_of_items_can_be_relayed_and_relays_can_be_nested(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile("def test_it(): pass")
    caught: list[str] = []
    logged: list[str] = []

    class Relays:
        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_protocol(self, item):  # type: ignore[no-untyped-def]
            def catch(place: str):  # type: ignore[no-untyped-def]
                return {"pytest_runtest_logreport": lambda report: caught.append(place)}

            with private.hooks_relayed(item.session, catch("outer")):
                with private.hooks_relayed(item.session, catch("inner")):
                    item.ihook.pytest_runtest_logreport(report=None)
                item.ihook.pytest_runtest_logreport(report=None)
                caught.append(type(item.ihook.pytest_runtest_setup).__name__)
            assert "gethookproxy" not in vars(item.session)
            return (yield)

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            logged.append(report.when)

    pytester.inline_run(plugins=[Relays()])

    assert caught == ["inner", "outer", "HookCaller"]
    assert logged == ["setup", "call", "teardown"]


FORKS = """
import os
import sys
import tempfile

from pytest_faultinject import private


def in_a_child(run):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            run()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    return pid
"""


def test_what_a_child_prints_goes_to_files_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        FORKS
        + """

def test_it(request):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:

        def child():
            private.redirect_capture(request.config, out.fileno(), err.fileno())
            os.write(1, b"raw words of the child; ")
            print("words of the child", flush=True)
            os.write(2, b"complaint of the child")
            assert os.read(0, 1) == b""

        print("words of the parent")
        in_a_child(child)
        out.seek(0)
        err.seek(0)
        assert out.read() == b"raw words of the child; words of the child\\n"
        assert err.read() == b"complaint of the child"
        print("last words of the parent")
"""
    )

    result = pytester.runpytest_subprocess("-rP")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["words of the parent", "last words of the parent"], consecutive=True
    )
    assert "of the child" not in result.stdout.str()


@pytest.mark.parametrize("capture", ["sys", "no"])
def test_where_no_descriptor_is_captured_none_is_redirected(
    pytester: pytest.Pytester, capture: str
) -> None:
    pytester.makepyfile(
        FORKS
        + """

def test_it(request):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        numbers = (out.fileno(), err.fileno())

        def child():
            private.redirect_capture(request.config, *numbers)
            assert not os.path.sameopenfile(1, numbers[0])

        in_a_child(child)
"""
    )

    pytester.runpytest_subprocess(f"--capture={capture}").assert_outcomes(passed=1)


def test_the_terminal_can_be_muted_for_a_while(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from pytest_faultinject import private


        def test_it(request):
            reporter = request.config.pluginmanager.getplugin("terminalreporter")
            with private.terminal_muted(request.config):
                reporter.write_line("never to be seen")
            reporter.write_line("to be seen")
        """
    )

    result = pytester.runpytest_inprocess("-s")

    result.stdout.fnmatch_lines(["* to be seen"])
    assert "never to be seen" not in result.stdout.str()


def test_the_folder_of_all_temporary_folders_is_known_once_there_is_one(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile("def test_it(tmp_path): pass\n")
    seen: list[Path | None] = []

    class Looking:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
            seen.append(private.shared_tmp_path(item.config))
            seen.append(item.funcargs["tmp_path"])  # type: ignore[attr-defined]
            yield

    pytester.inline_run(plugins=[Looking()])

    base, folder = seen
    assert base is not None
    assert folder is not None
    assert folder.parent == base


@pytest.mark.parametrize("colour", ["yes", "no"])
def test_whether_the_terminal_has_colours_is_known(pytester: pytest.Pytester, colour: str) -> None:
    pytester.makepyfile("def test_it(): pass\n")
    seen: list[bool] = []

    class Looking:
        def pytest_runtest_setup(self, item: pytest.Item) -> None:
            seen.append(private.is_coloured(item.config))

    pytester.inline_run(f"--color={colour}", plugins=[Looking()])

    assert seen == [colour == "yes"]


def test_what_was_captured_so_far_can_be_thrown_away(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from pytest_faultinject import private


        def test_it(request):
            print("drained")
            private.drain_capture(request.config)
            print("kept")
            assert 0
        """
    )

    result = pytester.runpytest_inprocess("--tb=line", "-rA")
    uncaptured = pytester.runpytest_inprocess("-s")

    result.stdout.fnmatch_lines(["*Captured stdout call*", "kept"])
    assert "drained" not in result.stdout.str()
    uncaptured.stdout.fnmatch_lines(["*drained", "kept"])


def test_what_pytest_captures_of_the_log_can_be_noted(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import logging

        def test_it():
            logging.warning("seen %d", 1)
        """
    )
    noted: list[str] = []
    captured: list[str] = []

    class Noting:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
            with private.log_noted(item.config, noted.append):
                yield

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            captured.append(report.caplog)

    pytester.inline_run(plugins=[Noting()])
    pytester.inline_run("-p", "no:logging", plugins=[Noting()])

    assert len(noted) == 1
    assert noted[0].endswith("seen 1")
    assert noted[0] in captured[1]


def test_a_childs_temporary_folders_are_apart_and_can_be_removed_by_the_parent(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        FORKS
        + """

def test_it(request, tmp_path_factory):
    config = request.config
    private.prepare_tmp_path(config)
    before = tmp_path_factory.mktemp("mine")
    other = before.parent

    def child():
        private.use_own_tmp_path(config)
        made = tmp_path_factory.mktemp("mine")
        assert made.parent == private.tmp_path_of(config, os.getpid())
        assert tmp_path_factory.mktemp("mine").parent == made.parent
        (made / "file").touch()

    pid = in_a_child(child)
    own = private.tmp_path_of(config, pid)
    assert own.parent == other
    assert len(list(own.glob("mine*/file"))) == 1

    private.remove_tmp_path(config)

    assert not own.exists()
    assert before.exists()
    assert tmp_path_factory.mktemp("mine").parent == other
"""
    )

    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_a_failure_can_be_rendered_with_colours_and_without(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it():\n    assert 0, 'no reason'")
    texts: list[str] = []

    class Renders:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            texts.append(private.render(report.longrepr, markup=False))
            texts.append(private.render(report.longrepr, markup=True))

    pytester.inline_run(plugins=[Renders()])

    plain, coloured = [text for text in texts if text]
    assert "E       AssertionError: no reason" in plain
    assert "\x1b" not in plain
    assert "\x1b[" in coloured
    assert private.render("a text", markup=True) == "a text"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], True),
        (["test_it.py"], True),
        (["-c", "other.ini"], False),
        (["--rootdir=inner"], False),
        (["--rootdir=."], True),
        (["inner"], False),
    ],
)
def test_the_root_folder_of_a_run_without_arguments_is_known(
    pytester: pytest.Pytester, arguments: list[str], found: bool
) -> None:
    pytester.makepyfile("def test_it(): pass")
    pytester.makeini("[pytest]\n")
    (pytester.mkdir("inner") / "pytest.ini").write_text("[pytest]\n")
    (pytester.path / "other.ini").write_text("[pytest]\n")

    config = pytester.parseconfig(*arguments)

    assert private.is_found_without_arguments(config) is found


@pytest.mark.parametrize("value", ["3", "2.5", "true", '["a", "b"]', '"text"'])
def test_a_native_toml_value_can_be_read_as_it_is(pytester: pytest.Pytester, value: str) -> None:
    pytester.makepyprojecttoml(f"[tool.pytest]\nfail_alloc_max = {value}\n")

    config = pytester.parseconfig()

    native = {"3": 3, "2.5": 2.5, "true": True, '["a", "b"]': ["a", "b"], '"text"': "text"}
    assert private.native_ini_value(config, "fail_alloc_max") == native[value]
    assert private.native_ini_value(config, "fail_alloc_seed") is None
