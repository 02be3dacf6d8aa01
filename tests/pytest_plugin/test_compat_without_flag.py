"""Without ``--fail-alloc`` the plugin is on nobody's way."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("alone")


def test_no_hook_of_the_plugin_is_on_the_test_path(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import sys

        ours = {name for name in sys.modules if name.split(".")[0] in
                ("faultinject", "pytest_faultinject")}


        def pytest_sessionfinish(session):
            manager = session.config.pluginmanager
            (plugin,) = (
                plugin
                for name, plugin in manager.list_name_plugin()
                if "faultinject" in name and plugin is not None
            )
            print("HOOKS", sorted(caller.name for caller in manager.get_hookcallers(plugin)))
            print("MODULES", sorted(ours))
            print("COVERAGE", "coverage" in sys.modules)
        """
    )
    pytester.makepyfile("def test_nothing(): pass")

    result = pytester.runpytest_subprocess("-s")

    result.assert_outcomes(passed=1)
    text = result.stdout.str()
    assert "HOOKS ['pytest_addoption', 'pytest_configure']\n" in text
    parts = ("", ".options", ".plugin")
    assert f"MODULES {[f'pytest_faultinject{part}' for part in parts]}\n" in text
    assert "COVERAGE False\n" in text
    assert "isolation" not in text


MARKED = """
    import pytest

    import faultinject as fi

    pytestmark = pytest.mark.fail_alloc("failslab", strict=True, raises=KeyError)
    checked = []


    def take():
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        assert item is not None
        fi.kfree(item)


    def test_fixture(fail_alloc):
        @fail_alloc.invariant
        def check():
            checked.append(1)

        with fail_alloc.paused():
            take()
        take()
        assert fail_alloc.injections == []


    def test_invariants_were_not_asked():
        assert checked == []


    @pytest.mark.fail_alloc("failslab:probability=100,times=-1", max=1)
    def test_marked():
        take()


    @pytest.mark.fail_alloc("no such capability", nonsense=True)
    def test_a_mark_is_not_even_read():
        take()


    @pytest.mark.no_fail_alloc("for a reason")
    def test_left_out():
        take()


    def test_armed_by_hand_is_recorded(fail_alloc):
        with fi.failslab():
            assert fi.kmalloc(64, fi.GFP_KERNEL) is None
        assert [item.capability for item in fail_alloc.injections] == ["failslab"]
"""


def test_the_fixture_is_harmless_and_marks_do_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_marked=MARKED)

    result = pytester.runpytest_subprocess("--strict-markers", "-W", "error", "-v")

    result.assert_outcomes(passed=6)
    assert "fault injection" not in result.stdout.str()
    assert "trial" not in result.stdout.str()


def test_the_plugin_can_be_switched_off(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")

    off = pytester.runpytest_subprocess("-p", "no:pytest_faultinject.plugin", "--fail-alloc")

    assert off.ret == pytest.ExitCode.USAGE_ERROR
    off.stderr.fnmatch_lines(["*unrecognized arguments: --fail-alloc*"])


def test_an_installed_plugin_is_switched_off_by_its_name(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    monkeypatch.delenv("PYTEST_PLUGINS")
    pytester.makepyfile("def test_nothing(): pass")

    off = pytester.runpytest_subprocess("-p", "no:faultinject", "--fail-alloc")
    on = pytester.runpytest_subprocess("--fail-alloc")

    assert off.ret == pytest.ExitCode.USAGE_ERROR
    off.stderr.fnmatch_lines(["*unrecognized arguments: --fail-alloc*"])
    on.assert_outcomes(passed=1)
