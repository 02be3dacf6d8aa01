"""Which trials a test gets, how many, how many at once, and how long each may take."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from campaigns import Campaign
from projects import run_apart, run_here

pytestmark = pytest.mark.usefixtures("alone")

SLAB = "--fail-alloc-spec=failslab"
NODE = "test_it.py::test_it"

TEST = """
import faultinject as fi


def get():
    return fi.kmalloc(64, fi.GFP_KERNEL)


def one():
    return get()


def two():
    return get()


def test_it():
    for _ in range(4):
        fi.kfree(one())
    fi.kfree(two())
    first, second = fi.kmalloc(8, fi.GFP_KERNEL), fi.kmalloc(8, fi.GFP_KERNEL)
    fi.kfree(first)
    fi.kfree(second)
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(test_it=TEST)
    return pytester


def trials_of(campaign: Campaign, nodeid: str = NODE) -> list[dict[str, Any]]:
    trials: list[dict[str, Any]] = campaign.tests[nodeid]["trials"]
    return trials


def hits_by_function(campaign: Campaign) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for trial in trials_of(campaign):
        found.setdefault(trial["site"]["function"], []).append(trial["hit"])
    return found


@pytest.mark.parametrize(
    ("hits", "expected"),
    [
        ("first", {"get": [1], "test_it": [1, 1]}),
        ("ends", {"get": [1, 5], "test_it": [1, 1]}),
        ("1", {"get": [1], "test_it": [1, 1]}),
        ("3", {"get": [1, 2, 3], "test_it": [1, 1]}),
        ("99", {"get": [1, 2, 3, 4, 5], "test_it": [1, 1]}),
        ("all", {"get": [1, 2, 3, 4, 5], "test_it": [1, 1]}),
    ],
)
def test_the_hits_of_each_call_site_that_fail_can_be_chosen(
    project: pytest.Pytester, hits: str, expected: dict[str, list[int]]
) -> None:
    campaign = run_here(project, SLAB, f"--fail-alloc-hits={hits}")

    assert hits_by_function(campaign) == expected


@pytest.mark.parametrize(
    ("identity", "sites", "expected"),
    [
        ("line", 2, {"get": [1, 5], "test_it": [1, 2]}),
        ("instruction", 3, {"get": [1, 5], "test_it": [1, 1]}),
        ("site", 4, {"get": [1, 4, 1], "test_it": [1, 1]}),
        ("all", 3, {"get": [1, 2, 3, 4, 5], "test_it": [1, 1]}),
    ],
)
def test_what_makes_two_calls_one_call_site_can_be_chosen(
    project: pytest.Pytester, identity: str, sites: int, expected: dict[str, list[int]]
) -> None:
    campaign = run_here(project, SLAB, f"--fail-alloc-identity={identity}")

    assert campaign.tests[NODE]["sites"] == sites
    assert hits_by_function(campaign) == expected


def test_a_persistent_fault_fails_every_later_call_of_its_capability(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_it="""
        import faultinject as fi


        def test_it():
            made = [fi.kmalloc(64, fi.GFP_KERNEL) for _ in range(4)]
            page = fi.alloc_page(fi.GFP_KERNEL)
            failed = [at for at, got in enumerate(made) if got is None]
            for got in made:
                fi.kfree(got)
            assert page is not None
            fi.free_page(page)
            assert not failed, failed
        """
    )
    options = (SLAB, "--fail-alloc-hits=all")

    transient = run_here(pytester, *options)
    persistent = run_here(pytester, *options, "--fail-alloc-persistent")

    for campaign, expected in (
        (transient, ["[0]", "[1]", "[2]", "[3]"]),
        (persistent, ["[0, 1, 2, 3]", "[1, 2, 3]", "[2, 3]", "[3]"]),
    ):
        said = [trial["error"].partition("\n")[0] for trial in trials_of(campaign)]
        assert said == [f"AssertionError: {failed}" for failed in expected]


SOURCES = {
    "lib/__init__.py": "",
    "lib/ring.py": "import faultinject as fi\n\n\ndef ring(get=None):\n"
    "    return get() if get else fi.kmalloc(64, fi.GFP_KERNEL)\n",
    "lib/pool.py": "import faultinject as fi\n\n\nclass Pool:\n    def take(self):\n"
    "        return fi.kmalloc(64, fi.GFP_KERNEL)\n\n\n"
    "def spare():\n    return fi.kmalloc(64, fi.GFP_KERNEL)\n",
    "test_it.py": "import faultinject as fi\nfrom lib.pool import Pool, spare\n"
    "from lib.ring import ring\n\n\ndef test_it():\n"
    "    for get in (ring, Pool().take, spare, lambda: ring(spare)):\n        fi.kfree(get())\n"
    "    fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))\n",
}


@pytest.mark.parametrize(
    ("options", "functions"),
    [
        ([], {"ring", "Pool.take", "spare", "test_it"}),
        (["source=lib"], {"ring", "Pool.take", "spare"}),
        (["source=lib/"], {"ring", "Pool.take", "spare"}),
        (["source=lib.pool"], {"Pool.take", "spare"}),
        (["source=lib/pool.py"], {"Pool.take", "spare"}),
        (["source=lib.pool:Pool"], {"Pool.take"}),
        (
            ["source=lib.pool:Pool", "source=test_it.py"],
            {"Pool.take", "test_it", "test_it.<locals>"},
        ),
        (["source=lib/pool.py:9-11"], {"spare"}),
        (["source=lib.ring"], {"ring"}),
        (["omit=lib"], {"test_it"}),
        (["omit=lib.pool:spare", "omit=test_it.py"], {"ring", "Pool.take"}),
        (["source=lib", "omit=lib/pool.py"], {"ring"}),
        (["source=lib.nowhere"], set()),
    ],
)
def test_whose_code_is_under_test_can_be_said(
    pytester: pytest.Pytester, options: list[str], functions: set[str]
) -> None:
    pytester.makeini("[pytest]\npythonpath = .\n")
    for name, text in SOURCES.items():
        (pytester.path / name).parent.mkdir(exist_ok=True)
        (pytester.path / name).write_text(text)

    campaign = run_here(pytester, SLAB, *(f"--fail-alloc-{option}" for option in options))

    found = {trial["site"]["function"].removesuffix(".<lambda>") for trial in trials_of(campaign)}
    assert found == functions
    assert campaign.result.ret == 0


def test_a_limit_keeps_the_first_trials_and_counts_the_rest(project: pytest.Pytester) -> None:
    whole = run_here(project, SLAB)
    limited = run_here(project, SLAB, "--fail-alloc-max=3")

    assert limited.tokens(NODE) == whole.tokens(NODE)[:3]
    assert limited.tests[NODE]["not_run"] == limited.summary["not_run"] == 1
    assert "1 trial not run (--fail-alloc-max, -x)" in limited.result.outlines
    assert whole.summary["not_run"] == 0
    assert "not run" not in whole.text


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_all_shards_together_run_every_trial_once(project: pytest.Pytester, count: int) -> None:
    given = (SLAB, "--fail-alloc-hits=all")

    whole = run_here(project, *given)
    parts = [
        run_here(project, *given, f"--fail-alloc-shard={n}/{count}") for n in range(1, count + 1)
    ]

    together = Counter(token for part in parts for token in part.tokens(NODE))
    assert together == Counter(whole.tokens(NODE))
    assert len(whole.tokens(NODE)) == 7
    # What another machine does is not "not run".
    assert {part.summary["not_run"] for part in parts} == {0}


def test_many_tests_of_one_trial_each_spread_over_the_shards(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import pytest

        import faultinject as fi


        @pytest.mark.parametrize("number", range(16))
        def test_it(number):
            fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
        """
    )

    parts = [run_here(pytester, SLAB, f"--fail-alloc-shard={n}/2") for n in (1, 2)]

    counts = [part.summary["trials"] for part in parts]
    assert sum(counts) == 16
    assert min(counts) >= 4


def test_two_jobs_run_two_trials_at_once(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import time
        from pathlib import Path

        import faultinject as fi

        FOLDER = Path(__file__).parent


        def test_it():
            for number in range(2):
                got = fi.kmalloc(64, fi.GFP_KERNEL)
                if got is None:
                    # Each waits for the other one; alone it would wait in vain.
                    (FOLDER / f"trial-{number}").touch()
                    until = time.monotonic() + 10
                    while not (FOLDER / f"trial-{1 - number}").exists():
                        assert time.monotonic() < until, "alone"
                        time.sleep(0.01)
                fi.kfree(got)
        """
    )

    campaign = run_apart(pytester, SLAB, "--fail-alloc-jobs=2", "--fail-alloc-timeout=20")

    assert campaign.outcomes(NODE) == ["recovered", "recovered"]


def test_the_report_has_the_plans_order_whatever_order_the_trials_end_in(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_it="""
        import time
        from pathlib import Path

        import faultinject as fi

        LAST = Path(__file__).with_name("last")


        def test_it():
            for number in range(4):
                got = fi.kmalloc(64, fi.GFP_KERNEL)
                if got is None and number == 3:
                    LAST.touch()
                if got is None and number == 0:
                    while not LAST.exists():  # the first trial ends last
                        time.sleep(0.01)
                fi.kfree(got)
        """
    )

    campaign = run_apart(pytester, SLAB, "--fail-alloc-hits=all", "--fail-alloc-jobs=2")

    assert [trial["hit"] for trial in trials_of(campaign)] == [1, 2, 3, 4]
    assert campaign.outcomes(NODE) == ["recovered"] * 4


SLOW = """
import time
from pathlib import Path

import pytest

import faultinject as fi

FAULT = []


def forever(where):
    if FAULT and {place!r} == where:
        while True:
            time.sleep(0.01)


@pytest.fixture
def ring():
    if {place!r} == "set-up" and fi.kmalloc(64, fi.GFP_KERNEL) is None:
        FAULT.append(1)
        forever("set-up")
    yield
    forever("tear-down")


def test_it(ring):
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    if got is None:
        FAULT.append(1)
    forever("body")
    fi.kfree(got)


def test_next():
    fi.kfree(fi.kmalloc(64, fi.GFP_KERNEL))
"""


@pytest.mark.parametrize("place", ["set-up", "body", "tear-down"])
def test_a_trial_that_passes_its_time_limit_is_hung_wherever_it_is(
    pytester: pytest.Pytester, place: str
) -> None:
    pytester.makepyfile(test_it=SLOW.format(place=place))

    campaign = run_apart(
        pytester,
        SLAB,
        "--fail-alloc-timeout=0.4",
        "--fail-alloc-phases=setup,call",
        "--fail-alloc-max=1",
    )

    (trial,) = trials_of(campaign)
    assert (trial["outcome"], trial["error"]) == (
        "hung",
        f"did not end in 0.4 seconds (in its {place})",
    )
    assert campaign.outcomes("test_it.py::test_next") == ["recovered"]


def test_a_test_that_takes_longer_than_the_limit_without_a_fault_is_not_tried(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_it="""
        import time


        def test_it():
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                time.sleep(0.01)
        """
    )

    campaign = run_here(pytester, SLAB, "--fail-alloc-timeout=0.2")

    assert campaign.outcomes(NODE) == []
    assert campaign.result.ret == 0
    campaign.result.stdout.fnmatch_lines(
        [f"{NODE}: no trial was run: the clean census run did not end in 0.2 seconds *"]
    )


@pytest.mark.parametrize("seconds", ["1e9", "0.5"])
def test_any_time_limit_that_is_allowed_can_be_waited_for(
    project: pytest.Pytester, seconds: str
) -> None:
    campaign = run_here(project, SLAB, f"--fail-alloc-timeout={seconds}")

    assert set(campaign.outcomes(NODE)) == {"recovered"}
