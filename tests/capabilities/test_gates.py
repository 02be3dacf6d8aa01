"""The capabilities' own gates: the table, and what it does not say."""

import tomllib
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from faultinject.capabilities.capability import Capability
from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.capabilities.failslab import SLAB_FAILSLAB, failslab
from faultinject.engine.scope import fail_nth

VECTORS = tomllib.loads(
    (Path(__file__).parent.parent / "vectors" / "should_fail.toml").read_text("utf-8")
)
ROWS = [row for row in VECTORS["gate"] if row["capability"]]
CAPABILITIES: dict[str, Capability] = {"failslab": failslab, "fail_page_alloc": fail_page_alloc}
KERNEL, ATOMIC = 0xCC0, 0x820


class Cache(NamedTuple):
    object_size: int = 128
    flags: int = 0
    is_bootstrap: bool = False


def ask(row: dict) -> bool:
    if row["capability"] == "failslab":
        return failslab.should_fail(Cache(row["size"]), row["gfp"])
    return fail_page_alloc.should_fail(row["size"].bit_length() - 1, row["gfp"])


@pytest.mark.parametrize("relaxed", [False, True], ids=["default", "relaxed"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["request"])
def test_the_gates_answer_as_the_kernels_do(
    row: dict, relaxed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    gates = row.get("gates", {}) | ({"ignore_gfp_reclaim": False} if relaxed else {})
    nth = row.get("fail_nth")
    knobs = {} if nth else {"probability": 100, "times": -1}
    capability = CAPABILITIES[row["capability"]]

    with ExitStack() as stack:
        armed = stack.enter_context(capability(profile="kernel", **knobs, **gates))
        countdown = stack.enter_context(fail_nth(nth)) if nth else None
        failed = ask(row)

    fails = row["fails_relaxed"] if relaxed else row["fails"]
    assert failed == fails
    assert [injection.size for injection in armed.injections] == [row["size"]] * fails
    assert len(caplog.records) == (fails and not row.get("silent", False))
    if countdown is not None:
        assert countdown.remaining == (0 if fails else nth)


@pytest.mark.parametrize("capability", CAPABILITIES.values(), ids=CAPABILITIES)
def test_the_kernel_profile_injects_nothing_by_itself(capability: Capability) -> None:
    with capability(profile="kernel") as armed:
        pass

    assert armed.attr.probability == 0
    assert armed.gates == {name: gate.kernel_default for name, gate in capability.gates.items()}
    assert armed.gates["ignore_gfp_reclaim"] is True


def test_armed_by_default_even_sleeping_order_0_and_highmem_requests_fail() -> None:
    with failslab(times=-1), fail_page_alloc(times=-1):
        assert failslab.should_fail(Cache(), KERNEL)
        assert fail_page_alloc.should_fail(0, KERNEL | 0x2)


def test_the_cache_that_holds_the_caches_never_fails() -> None:
    with failslab(times=-1):
        assert not failslab.should_fail(Cache(is_bootstrap=True), KERNEL)


def test_cache_filter_fails_only_caches_that_ask_for_it() -> None:
    with failslab(times=-1, cache_filter=True):
        assert not failslab.should_fail(Cache(), KERNEL)
        assert failslab.should_fail(Cache(flags=SLAB_FAILSLAB), KERNEL)


def test_an_exempt_call_charges_nothing() -> None:
    with failslab(space=500, interval=2, ignore_gfp_reclaim=True) as armed:
        failslab.should_fail(Cache(), KERNEL)

    assert (armed.attr.space, armed.attr.count) == (500, 0)


def test_space_is_in_bytes_for_slabs_and_in_pages_for_pages() -> None:
    with failslab(space=300) as slab, fail_page_alloc(space=9) as page:
        failslab.should_fail(Cache(128), KERNEL)
        fail_page_alloc.should_fail(2, KERNEL)

    assert (slab.attr.space, page.attr.space) == (172, 5)


def test_fail_nth_counts_both_capabilities_with_nothing_else_armed() -> None:
    with fail_nth(3) as countdown:
        failed = [
            failslab.should_fail(Cache(), KERNEL),
            fail_page_alloc.should_fail(0, KERNEL),
            failslab.should_fail(Cache(), KERNEL),
            fail_page_alloc.should_fail(0, KERNEL),
        ]

    assert failed == [False, False, True, False]
    assert countdown.fired
    failslab.reset()


def test_a_request_that_must_not_fail_is_not_counted_by_fail_nth() -> None:
    with fail_nth(1) as countdown:
        failslab.should_fail(Cache(), KERNEL | 0x8000)
        fail_page_alloc.should_fail(0, KERNEL | 0x8000)

    assert countdown.remaining == 1
