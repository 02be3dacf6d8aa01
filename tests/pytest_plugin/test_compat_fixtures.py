"""Fixtures under a campaign: narrow ones are made anew for each run, wide ones are kept."""

from __future__ import annotations

import pytest
from campaigns import JOURNAL, children_of, read_journal, run_campaign

pytestmark = pytest.mark.usefixtures("alone")


def test_wide_fixtures_are_built_once_and_narrow_ones_for_every_run(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        journal=JOURNAL,
        conftest="""
        import pytest
        from journal import note


        def fixture_of(scope):
            @pytest.fixture(scope=scope, name=f"{scope}_wide")
            def fixture():
                note("build", scope)
                yield [scope]
                note("end", scope)

            return fixture


        session_wide = fixture_of("session")
        package_wide = fixture_of("package")
        module_wide = fixture_of("module")
        class_wide = fixture_of("class")
        function_wide = fixture_of("function")
        """,
        test_scopes="""
        import faultinject as fi


        class TestScopes:
            made = 0

            def test_first(self, session_wide, package_wide, module_wide, class_wide,
                           function_wide):
                assert not hasattr(self, "mine"), "the instance of an earlier run"
                self.mine = fi.kmalloc(64, fi.GFP_KERNEL)
                fi.kfree(self.mine)

            def test_second(self, request):
                # Asked for by name in the body, wide fixtures are kept as well.
                for scope in ("session", "package", "module", "class", "function"):
                    assert request.getfixturevalue(f"{scope}_wide") == [scope]
                fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
        """,
    )

    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab")

    notes = read_journal(pytester)
    wide = ["session", "package", "module", "class"]
    once = ["build function", "end function"]
    assert notes["parent"] == (
        [f"build {scope}" for scope in wide]
        + once
        + once
        + [f"end {scope}" for scope in wide[::-1]]
    )
    # A census and a trial for each test; each runs its test twice.
    assert children_of(notes) == [once + once] * 4
    assert campaign.all_run_twice
    assert campaign.summary["recovered"] == campaign.summary["trials"] == 2
    campaign.result.assert_outcomes(passed=2)


def test_memory_of_fixtures_is_no_leak_and_stays_usable_in_trials(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_memory="""
        import pytest

        import faultinject as fi


        @pytest.fixture(scope="module")
        def ring():
            ring = fi.kmalloc(256, fi.GFP_KERNEL)
            ring[0:4] = b"ring"
            yield ring
            fi.kfree(ring)


        @pytest.fixture
        def slot():
            slot = fi.kmalloc(64, fi.GFP_KERNEL)
            yield slot
            fi.kfree(slot)


        @pytest.fixture
        def keep():
            kept = []
            yield kept
            for item in kept:
                fi.kfree(item)


        def test_uses_both(ring, slot, keep):
            assert bytes(ring[0:4]) == b"ring"
            ring[0:4] = b"RING"
            try:
                slot[0] = 1
                item = fi.kmalloc(64, fi.GFP_KERNEL)
                if item is not None:
                    keep.append(item)
            finally:
                ring[0:4] = b"ring"


        def test_leaks(ring, slot):
            first = fi.kmalloc(64, fi.GFP_KERNEL)
            second = fi.kmalloc(64, fi.GFP_KERNEL)
            if first is None or second is None:
                return  # forgets the one that it got
            fi.kfree(first)
            fi.kfree(second)
        """
    )

    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab")

    assert campaign.outcomes("test_memory.py::test_uses_both") == ["recovered"]
    assert campaign.outcomes("test_memory.py::test_leaks") == ["leaked", "leaked"]
    leaks = [trial["leaks"] for trial in campaign.tests["test_memory.py::test_leaks"]["trials"]]
    assert leaks == [
        ["kmalloc of 64 bytes, allocated at test_memory.py:43 in test_leaks"],
        ["kmalloc of 64 bytes, allocated at test_memory.py:42 in test_leaks"],
    ]
    assert campaign.all_run_twice


def test_a_wide_fixture_that_fails_at_its_end_is_one_error_of_its_last_test(
    pytester: pytest.Pytester,
) -> None:
    project = """
        import pytest

        import faultinject as fi


        @pytest.fixture(scope="module")
        def device():
            yield
            raise RuntimeError("the device is gone")


        @pytest.fixture
        def slot():
            yield
            {more}


        def test_takes(device, slot):
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
            {body}
        """
    pytester.makepyfile(
        test_a=project.format(more="pass", body="pass"),
        test_b=project.format(more="pass", body="assert not 'clean'"),
        test_c=project.format(more="raise KeyError('slot')", body="pass"),
    )
    pytester.makeconftest(
        """
        def pytest_runtest_logreport(report):
            print("TOLD", report.nodeid[:6], report.when, report.outcome)


        def pytest_runtest_logfinish(nodeid):
            print("TOLD", nodeid[:6], "end")


        def pytest_exception_interact(node, report):
            print("TOLD", node.nodeid[:6], "interact", report.when)
        """
    )

    campaign = run_campaign(pytester, "-s")
    without = pytester.runpytest_subprocess("-s")

    assert list(campaign.tests) == ["test_a.py::test_takes"]
    assert campaign.outcomes("test_a.py::test_takes") == ["recovered"] * 2
    told, plain = (
        [
            " ".join(line.partition("TOLD ")[2].split())
            for line in result.outlines
            if "TOLD " in line
        ]
        for result in (campaign.result, without)
    )
    # pytest joins the last two errors in one group; here they are two reports.
    plain.insert(-2, "test_c teardown failed")
    plain.insert(-2, "test_c interact teardown")
    assert sorted(told) == sorted(plain)
    assert [line for line in told if "interact" not in line] == [
        line for line in plain if "interact" not in line
    ]


BUILT_IN = """
    import os
    import sys

    import pytest

    import faultinject as fi


    def take():
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        fi.kfree(item)
        return "nothing" if item is None else "something"


    def test_tmp_path(tmp_path, tmp_path_factory, tmpdir):
        assert os.listdir(tmp_path) == os.listdir(tmpdir) == []
        tmp_path.joinpath("taken").write_text(take())
        assert tmp_path_factory.mktemp("more").joinpath("file").write_text("x") == 1


    def test_capsys(capsys):
        print(take())
        print("error", file=sys.stderr)
        out, err = capsys.readouterr()
        assert out in ("nothing\\n", "something\\n") and err == "error\\n"


    def test_capfd(capfd):
        os.write(1, take().encode())
        out, err = capfd.readouterr()
        assert out in ("nothing", "something") and err == ""


    def test_caplog(caplog):
        import logging

        logging.getLogger("driver").warning(take())
        assert caplog.messages in (["nothing"], ["something"])


    def test_monkeypatch(monkeypatch, tmp_path):
        assert "TAKEN" not in os.environ
        monkeypatch.setenv("TAKEN", "yes")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "taken", take(), raising=False)


    def test_recwarn(recwarn):
        import warnings

        warnings.warn(take())
        assert len(recwarn) == 1


    def test_record_property(record_property, request):
        assert request.node.user_properties == []
        record_property("taken", take())
"""


def test_built_in_fixtures_are_fresh_in_every_run_and_leave_nothing_behind(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_built_in=BUILT_IN)

    campaign = run_campaign(pytester, "--basetemp=folders", "--junitxml=junit.xml")

    assert campaign.all_run_twice
    assert {name: campaign.outcomes(name) for name in campaign.tests} == {
        name: ["recovered", "recovered"] for name in campaign.tests
    }
    campaign.result.assert_outcomes(passed=7)
    folders = pytester.path / "folders"
    assert sorted(item.name for item in folders.iterdir() if not item.is_symlink()) == [
        "more0",
        "test_monkeypatch0",
        "test_tmp_path0",
    ]
    # What the clean run wrote is there, untouched by the trials.
    assert (folders / "test_tmp_path0" / "taken").read_text() == "something"
    junit = (pytester.path / "junit.xml").read_text(encoding="utf-8")
    assert junit.count('<property name="taken"') == 1
    assert '<property name="taken" value="something"' in junit


@pytest.mark.parametrize("policy", ["none", "failed"])
def test_the_retention_policy_of_temporary_folders_is_kept(
    pytester: pytest.Pytester, policy: str
) -> None:
    pytester.makepyfile(
        test_folders="""
        import faultinject as fi


        def test_good(tmp_path):
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))


        def test_bad(tmp_path):
            assert fi.kmalloc(64, fi.GFP_KERNEL) is not None
        """
    )
    pytester.makeini(f"[pytest]\ntmp_path_retention_policy = {policy}")
    pytester.makeconftest(
        """
        def pytest_sessionfinish(session):
            base = session.config._tmp_path_factory._basetemp
            print("BASE", sorted(item.name for item in base.iterdir() if item.is_dir()))
        """
    )

    campaign = run_campaign(pytester, "-s")

    assert campaign.outcomes("test_folders.py::test_good") == ["recovered"] * 2
    assert campaign.outcomes("test_folders.py::test_bad") == ["failed"] * 2
    assert campaign.all_run_twice
    assert "faultinject-" not in campaign.text.partition("BASE")[2].splitlines()[0]
