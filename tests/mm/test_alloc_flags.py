"""Who may take how much of the reserve: a row per caller, a column per era."""

import pytest

from faultinject.gfp import GFP_ATOMIC, GFP_KERNEL, GFP_NOFS, GFP_NOIO, GFP_NOWAIT, Gfp
from faultinject.mm.alloc_flags import (
    CPUSET,
    HIGHATOMIC,
    NO_WATERMARKS,
    WMARK_HIGH,
    alloc_flags,
    format_alloc_flags,
)
from faultinject.mm.kernel_version import VERSIONS
from faultinject.mm.watermark_rules import steps

ERAS = {
    "old": ("2.6.24", "2.6.32", "3.6", "3.14"),
    "4.9": ("4.9",),
    "4.19": ("4.19",),
    "6": ("6.1", "6.6"),
}
ALL = "all"


def share(gfp: int, kernel: str, **task: bool) -> float | str:
    """The part of a mark of 800 pages that must stay free, in percent."""
    version = VERSIONS[kernel]
    flags = alloc_flags(gfp, 0, version, **task)
    if flags & NO_WATERMARKS:
        return ALL
    found = steps(version.rule, 0, [[0] * 11] * 4, 0, 800, flags, 0, 0, 0, version)
    return found[0][2] / 8


@pytest.mark.parametrize(
    ("gfp", "task", "expected"),
    [
        (GFP_KERNEL, {}, (100, 100, 100, 100)),
        (GFP_NOFS, {}, (100, 100, 100, 100)),
        (GFP_NOIO, {}, (100, 100, 100, 100)),
        (GFP_KERNEL | Gfp.HIGH, {}, (50, 50, 50, 50)),
        (GFP_ATOMIC, {}, (37.5, 37.5, 37.5, 37.5)),
        (GFP_NOWAIT, {}, (75, 100, 100, 100)),
        (GFP_KERNEL, {"realtime": True}, (75, 75, 75, 50)),
        (GFP_KERNEL, {"victim": True}, (ALL, ALL, 50, 50)),
        (GFP_KERNEL | Gfp.HIGH, {"victim": True}, (ALL, ALL, 25, 25)),
        (GFP_KERNEL, {"memalloc": True}, (ALL, ALL, ALL, ALL)),
        (GFP_KERNEL | Gfp.NOMEMALLOC, {"memalloc": True}, (100, 100, 100, 100)),
        (GFP_KERNEL | Gfp.NOMEMALLOC, {"victim": True}, (100, 100, 100, 100)),
    ],
    ids=str,
)
def test_a_caller_may_go_so_deep_into_the_reserve(
    gfp: int, task: dict[str, bool], expected: tuple[object, ...]
) -> None:
    for kernels, part in zip(ERAS.values(), expected, strict=True):
        for kernel in kernels:
            assert share(gfp, kernel, **task) == part, kernel


@pytest.mark.parametrize(
    ("kernel", "part"), [("2.6.24", 37.5), ("3.6", 37.5), ("3.14", 50), ("4.9", 50), ("6.6", 50)]
)
def test_nomemalloc_takes_a_cut_from_atomic_requests_since_3_14(kernel: str, part: float) -> None:
    assert share(GFP_ATOMIC | Gfp.NOMEMALLOC, kernel) == part


@pytest.mark.parametrize(("kernel", "part"), [("2.6.32", 100), ("3.6", ALL), ("6.6", ALL)])
def test_the_memalloc_flag_opens_all_reserves_since_3_6(kernel: str, part: object) -> None:
    assert share(GFP_KERNEL | Gfp.MEMALLOC, kernel) == part
    assert share(GFP_KERNEL | Gfp.MEMALLOC | Gfp.NOMEMALLOC, kernel) == 100


@pytest.mark.parametrize(
    ("gfp", "order", "kernel", "expected"),
    [
        (GFP_ATOMIC, 1, "6.6", True),
        (GFP_NOWAIT, 1, "6.6", True),
        (GFP_ATOMIC, 0, "6.6", False),
        (GFP_ATOMIC | Gfp.NOMEMALLOC, 1, "6.6", False),
        (GFP_KERNEL | Gfp.HIGH, 1, "6.6", False),
        (GFP_ATOMIC, 1, "4.9", True),
        (GFP_NOWAIT, 1, "4.9", False),
        (GFP_ATOMIC, 1, "3.14", False),
    ],
)
def test_atomic_requests_of_several_pages_may_use_what_is_set_aside(
    gfp: int, order: int, kernel: str, expected: bool
) -> None:
    assert bool(alloc_flags(gfp, order, VERSIONS[kernel]) & HIGHATOMIC) is expected


@pytest.mark.parametrize(
    ("gfp", "expected"),
    [
        (GFP_KERNEL, (True, True, True, True)),
        (GFP_KERNEL | Gfp.HIGH, (True, True, True, True)),
        (GFP_NOWAIT, (False, True, True, True)),
        (GFP_ATOMIC, (False, False, False, False)),
    ],
    ids=str,
)
def test_requests_that_must_not_wait_leave_their_cpuset(
    gfp: int, expected: tuple[bool, ...]
) -> None:
    for kernels, bound in zip(ERAS.values(), expected, strict=True):
        for kernel in kernels:
            assert bool(alloc_flags(gfp, 0, VERSIONS[kernel]) & CPUSET) is bound, kernel


def test_alloc_flags_are_printed_by_the_names_of_6_6() -> None:
    version = VERSIONS["6.6"]

    assert format_alloc_flags(alloc_flags(GFP_KERNEL, 0, version)) == "ALLOC_WMARK_MIN|ALLOC_CPUSET"
    assert format_alloc_flags(alloc_flags(GFP_ATOMIC, 2, version)) == (
        "ALLOC_WMARK_MIN|ALLOC_NON_BLOCK|ALLOC_MIN_RESERVE|ALLOC_HIGHATOMIC"
    )
    assert format_alloc_flags(alloc_flags(GFP_KERNEL, 0, version, memalloc=True)) == (
        "ALLOC_WMARK_MIN|ALLOC_NO_WATERMARKS"
    )
    assert format_alloc_flags(WMARK_HIGH) == "ALLOC_WMARK_HIGH"
