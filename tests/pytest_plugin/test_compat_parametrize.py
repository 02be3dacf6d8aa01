"""Parametrized tests under a campaign: any id, and its replay line through a real shell."""

from __future__ import annotations

import pytest
from campaigns import run_campaign
from projects import paste

pytestmark = pytest.mark.usefixtures("alone")

AWKWARD = {
    "escaped ids": ["größe-\u6f22\u5b57 [z] a/b"],
    "raw ids": [
        "größe-\u6f22\u5b57 [z] a/b",
        "a|b 100% %41 %7C a::b",
        " edges ; 'and' \"quotes\" $HOME `id` $(id) !x c=e&f>g<h*?#~ back\\slash",
        "tab\tand\nline",
        "",
    ],
}

RAW = """
    [pytest]
    disable_test_id_escaping_and_forfeit_all_rights_to_community_support = true
"""


@pytest.mark.parametrize("kind", AWKWARD)
def test_the_replay_line_of_any_parameter_id_works_when_pasted_into_a_shell(
    pytester: pytest.Pytester, kind: str
) -> None:
    ids = AWKWARD[kind]
    pytester.makepyfile(
        test_ids=f"""
        import pytest

        import faultinject as fi


        @pytest.mark.parametrize("number", range({len(ids)}), ids={ids!r})
        def test_id(number):
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            assert item is not None, f"number {{number}}"
        """
    )
    if kind == "raw ids":
        pytester.makeini(RAW)

    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab")

    assert campaign.summary["failed"] == len(campaign.tests) == len(ids)
    # A line break inside an id is spelled out in the token: each replay line is one line.
    lines = [line for line in campaign.result.outlines if line.startswith("  replay: ")]
    assert len(lines) == len(ids)
    for number, line in enumerate(lines):
        printed = paste(line.removeprefix("  replay: "), pytester.path).stdout
        assert "1 test, 1 call site, 1 trial: 1 failed" in printed, line
        assert f"AssertionError: number {number}\n" in printed, line


def test_parameters_keep_their_own_fixtures_and_sites(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_sizes="""
        import pytest

        import faultinject as fi

        built = []


        @pytest.fixture(params=[8, 16], ids=["small", "large"], scope="module")
        def size(request):
            built.append(request.param)
            yield request.param
            built.remove(request.param)


        @pytest.mark.parametrize("count", [1, 3])
        def test_takes(size, count):
            assert built == [size]
            for _ in range(count):
                item = fi.kmalloc(size, fi.GFP_KERNEL)
                assert item is None or len(item) == size
                fi.kfree(item)
        """
    )

    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab")

    assert {name: len(test["trials"]) for name, test in campaign.tests.items()} == {
        "test_sizes.py::test_takes[small-1]": 1,
        "test_sizes.py::test_takes[small-3]": 2,
        "test_sizes.py::test_takes[large-1]": 1,
        "test_sizes.py::test_takes[large-3]": 2,
    }
    assert campaign.summary["recovered"] == campaign.summary["trials"] == 6
    assert campaign.all_run_twice


def test_a_replay_line_works_for_a_test_below_a_folder_and_from_that_folder(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeini("[pytest]")
    folder = pytester.mkdir("some tests")
    folder.joinpath("test_deep.py").write_text(
        "import faultinject as fi\n\n\ndef test_deep():\n"
        "    assert fi.kmalloc(8, fi.GFP_KERNEL) is not None\n",
        encoding="utf-8",
    )

    campaign = run_campaign(pytester, "--fail-alloc-spec=failslab")

    (line,) = (line for line in campaign.result.outlines if line.startswith("  replay: "))
    for place in (pytester.path, folder):
        printed = paste(line.removeprefix("  replay: "), place).stdout
        assert "1 test, 1 call site, 1 trial: 1 failed" in printed, place
