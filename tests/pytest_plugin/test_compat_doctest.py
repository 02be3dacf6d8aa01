"""Doctest items under a campaign: in modules and in text files."""

from __future__ import annotations

import pytest
from campaigns import run_campaign

pytestmark = pytest.mark.usefixtures("alone")

MODULE = '''
    import faultinject as fi

    left = []


    def take(size=64):
        """Take and give back.

        >>> take()
        'taken'
        >>> left.append(1)
        >>> len(left)
        1
        >>> left.clear()
        """
        item = fi.kmalloc(size, fi.GFP_KERNEL)
        if item is None:
            raise MemoryError(f"no {size} bytes")
        fi.kfree(item)
        return "taken"


    def give():
        """Give nothing where there is nothing.

        >>> give()
        'given'
        """
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        if item is None:
            return "nothing"
        fi.kfree(item)
        return "given"


    def lend():
        """Answer with an error that is not the fault.

        >>> lend()
        """
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        item[0] = 1
        fi.kfree(item)
'''


@pytest.mark.parametrize("more", [(), ("--doctest-continue-on-failure",)], ids=["first", "all"])
def test_a_doctest_is_failed_call_by_call_and_judged_by_what_its_examples_raise(
    pytester: pytest.Pytester, more: tuple[str, ...]
) -> None:
    pytester.makepyfile(driver=MODULE)
    pytester.maketxtfile(
        test_text="""
        >>> from driver import take
        >>> take()
        'taken'
        >>> _ = [take() for _ in range(3)]
        """
    )

    campaign = run_campaign(pytester, "--doctest-modules", "--fail-alloc-spec=failslab", *more)

    assert campaign.outcomes("driver.py::driver.take") == ["propagated"]
    assert campaign.outcomes("driver.py::driver.give") == ["failed"]
    assert campaign.outcomes("driver.py::driver.lend") == ["failed"]
    # The text calls one site four times: first and last.
    assert campaign.outcomes("test_text.txt::test_text.txt") == ["propagated"] * 2
    assert campaign.all_run_twice
    campaign.result.assert_outcomes(passed=2, failed=2)
    (trial,) = campaign.tests["driver.py::driver.give"]["trials"]
    assert trial["error"] == "AssertionError: give() gave 'nothing', not 'given'"
    campaign.result.stdout.fnmatch_lines(["*Expected:", "*'given'", "*Got:", "*'nothing'"])


def test_a_doctest_is_replayed_by_its_token(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(driver=MODULE)
    campaign = run_campaign(
        pytester, "--doctest-modules", "--fail-alloc-spec=failslab", "-k", "give"
    )
    (token,) = campaign.tokens("driver.py::driver.give")

    replayed = run_campaign(pytester, "--doctest-modules", f"--fail-alloc-replay={token}")

    assert replayed.outcomes("driver.py::driver.give") == ["failed"]
    assert list(replayed.tests) == ["driver.py::driver.give"]
