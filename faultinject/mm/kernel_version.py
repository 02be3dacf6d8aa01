"""Kernel versions: where they differ in whom they give the last pages.

Lives here: one row per version that can be modelled. Not here: what the columns
do (`faultinject.mm.alloc_flags`, `faultinject.mm.watermark`, `faultinject.mm.marks`).

Flags are those of 6.6 whatever the version (`faultinject.gfp`): what could not
sleep then lacked ``__GFP_WAIT``, here it lacks ``__GFP_DIRECT_RECLAIM``.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from faultinject.errors import SpecError

Rule: TypeAlias = Literal["iterative", "direct", "modern"]
RULES: Final[tuple[Rule, ...]] = ("iterative", "direct", "modern")


class KernelVersion(NamedTuple):
    """What one version does its own way.

    Attributes:
        name: ``"6.6"``.
        rule: the watermark rule.
        harder: who has the right that the kernel calls ALLOC_HARDER, later
            ALLOC_NON_BLOCK: whoever cannot sleep (``wait``), whoever in addition has
            ``__GFP_HIGH`` (``atomic``, as ``__GFP_ATOMIC`` was), or whoever cannot sleep,
            but then it cuts the mark only together with ``__GFP_HIGH`` (``reserve``).
        nomemalloc_bars_harder: whether ``__GFP_NOMEMALLOC`` takes that right away.
        memalloc_flag: whether ``__GFP_MEMALLOC`` exists.
        victim_reserve: whether an OOM victim gets a part of the reserve, not all of it.
        highatomic: whether pageblocks are set aside for atomic requests of several pages.
        scaled: whether the marks grow with watermark_scale_factor.
        most_min_free: the largest min_free_kbytes that the kernel chooses.
        movable_is_high: whether zone Movable has no share in min_free_kbytes.
        highmem_ratio: lowmem_reserve_ratio of HighMem; 0 is no reserve.
        letters: the migrate types that show_mem tells, in its order.
        kmalloc: where objects come from: ``"slab"``, or ``"buckets"``, as before slabs.
        kmalloc_cached: the largest object that is not whole pages, in bytes.
        kmalloc_in_k: whether the caches of 1024 bytes and more are named in kilobytes.
    """

    name: str
    rule: Rule
    harder: Literal["wait", "atomic", "reserve"]
    nomemalloc_bars_harder: bool
    memalloc_flag: bool
    victim_reserve: bool
    highatomic: bool
    scaled: bool
    most_min_free: int
    movable_is_high: bool
    highmem_ratio: int
    letters: str
    kmalloc: Literal["slab", "buckets"]
    kmalloc_cached: int
    kmalloc_in_k: bool


_OLD: Final = KernelVersion(
    name="2.6.24",
    rule="iterative",
    harder="wait",
    nomemalloc_bars_harder=False,
    memalloc_flag=False,
    victim_reserve=False,
    highatomic=False,
    scaled=False,
    most_min_free=65536,
    movable_is_high=False,
    highmem_ratio=32,
    letters="",
    kmalloc="slab",
    kmalloc_cached=2048,
    kmalloc_in_k=False,
)
_LATER_OLD: Final = _OLD._replace(name="2.6.32", kmalloc_cached=8192)
_MIDDLE: Final = _OLD._replace(
    name="4.9",
    rule="modern",
    harder="atomic",
    nomemalloc_bars_harder=True,
    memalloc_flag=True,
    highatomic=True,
    scaled=True,
    letters="UMEH",
    kmalloc_cached=8192,
)
_NEW: Final = _MIDDLE._replace(
    name="6.6",
    harder="reserve",
    victim_reserve=True,
    most_min_free=262144,
    movable_is_high=True,
    highmem_ratio=0,
    kmalloc_in_k=True,
)

VERSIONS: Final = {
    version.name: version
    for version in (
        # Only its kmalloc is modelled; pages are given as in 2.6.24.
        _OLD._replace(name="2.0", kmalloc="buckets", kmalloc_cached=131_048),
        _OLD,
        _LATER_OLD,
        _LATER_OLD._replace(name="3.6", memalloc_flag=True),
        _LATER_OLD._replace(
            name="3.14", memalloc_flag=True, nomemalloc_bars_harder=True, letters="UEM"
        ),
        _MIDDLE,
        _MIDDLE._replace(name="4.19", victim_reserve=True, highmem_ratio=0),
        _NEW._replace(name="6.1", movable_is_high=False),
        _NEW,
    )
}
LATEST: Final = _NEW


def kernel_version(name: object) -> KernelVersion:
    """Return the row of a version.

    Raises:
        SpecError: it is none of those that are modelled.
    """
    version = VERSIONS.get(name) if isinstance(name, str) else None
    if version is None:
        raise SpecError(
            "not a kernel version that is modelled",
            value=name,
            cure=f"Pass one of {', '.join(VERSIONS)}",
        )
    return version


def watermark_rule(name: object) -> Rule:
    """Return the name of a watermark rule, checked.

    Raises:
        SpecError: it is none.
    """
    for rule in RULES:
        if name == rule:
            return rule
    raise SpecError("not a watermark rule", value=name, cure=f"Pass one of {', '.join(RULES)}")
