"""Where the watermarks come from: min_free_kbytes, the marks of a zone, its reserve.

Lives here: arithmetic only, in pages. Not here: the check against a mark
(`faultinject.mm.watermark`), and the zones (`faultinject.mm.zone`).

Source: Linux mm/page_alloc.c, init_per_zone_wmark_min(),
__setup_per_zone_wmarks(), setup_per_zone_lowmem_reserve().
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Final, NamedTuple

from faultinject.mm.kernel_version import KernelVersion
from faultinject.mm.ram import PAGE_SIZE

DMA: Final = "DMA"
DMA32: Final = "DMA32"
NORMAL: Final = "Normal"
HIGHMEM: Final = "HighMem"
MOVABLE: Final = "Movable"
#: All zones, from the lowest.
ZONES: Final = (DMA, DMA32, NORMAL, HIGHMEM, MOVABLE)

_KB_PER_PAGE: Final = PAGE_SIZE // 1024
_LEAST_MIN_FREE: Final = 128
_HIGH_LEAST: Final = 32
_HIGH_MOST: Final = 128
#: watermark_scale_factor, in ten-thousandths of a zone.
_SCALE: Final = 10
#: lowmem_reserve_ratio; that of HighMem depends on the version.
_RATIOS: Final = {DMA: 256, DMA32: 256, NORMAL: 32}


class Marks(NamedTuple):
    """The three marks of a zone, in pages."""

    min: int
    low: int
    high: int


NO_MARKS: Final = Marks(0, 0, 0)


def default_min_free_kbytes(lowmem_kbytes: int, version: KernelVersion) -> int:
    """Return what the kernel chooses for so much memory in the zones up to Normal."""
    return min(max(isqrt(16 * lowmem_kbytes), _LEAST_MIN_FREE), version.most_min_free)


def lowmem_pages(zones: Mapping[str, int], version: KernelVersion) -> int:
    """Return how many pages share min_free_kbytes; `zones` is name -> pages."""
    return sum(pages for name, pages in zones.items() if not _is_high(name, zones, version))


def zone_marks(
    zones: Mapping[str, int], min_free_kbytes: int, version: KernelVersion
) -> dict[str, Marks]:
    """Return the marks of each zone; `zones` is name -> pages."""
    lowmem = lowmem_pages(zones, version)
    marks = {}
    for name, pages in zones.items():
        share = min_free_kbytes // _KB_PER_PAGE * pages // lowmem if lowmem else 0
        least = share
        if _is_high(name, zones, version):
            least = min(max(pages // 1024, _HIGH_LEAST), _HIGH_MOST)
        if version.scaled:
            distance = max(share // 4, pages * _SCALE // 10_000)
            marks[name] = Marks(least, least + distance, least + 2 * distance)
        else:
            marks[name] = Marks(least, least + share // 4, least + share // 2)
    return marks


def lowmem_reserve(zones: Mapping[str, int], version: KernelVersion) -> dict[str, tuple[int, ...]]:
    """Return, for each zone, what it keeps from requests that could use higher ones.

    Args:
        zones: name -> pages, from the lowest; empty zones have their column too.
        version: of the kernel.

    Returns:
        Name -> pages, by the index of the highest zone that a request may use.
    """
    names, pages = list(zones), list(zones.values())
    return {
        name: tuple(
            _share(sum(pages[index + 1 : above + 1]), _ratio(name, version))
            for above in range(len(names))
        )
        for index, name in enumerate(names)
    }


def _share(pages: int, ratio: int) -> int:
    return pages // ratio if ratio else 0


def _ratio(name: str, version: KernelVersion) -> int:
    return version.highmem_ratio if name == HIGHMEM else _RATIOS.get(name, 0)


def _is_high(name: str, zones: Mapping[str, int], version: KernelVersion) -> bool:
    if name == MOVABLE:
        # In older kernels, only where Movable was cut out of HighMem.
        return version.movable_is_high or bool(zones.get(HIGHMEM))
    return name == HIGHMEM


def in_kb(pages: int) -> int:
    """Return pages as kB."""
    return pages * _KB_PER_PAGE


def total(counts: Sequence[int]) -> int:
    """Return the pages of so many blocks of each order, from 0 up."""
    return sum(count << order for order, count in enumerate(counts))
