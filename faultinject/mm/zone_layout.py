"""How a memory is cut into zones, and by which kernel's rules it is run.

Lives here: `Machine`, and the reading of the arguments that describe one. Not here:
the zones themselves (`faultinject.mm.zones`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from faultinject.errors import SpecError
from faultinject.mm.buddy import MAX_ORDER_PAGES
from faultinject.mm.kernel_version import (
    LATEST,
    KernelVersion,
    Rule,
    kernel_version,
    watermark_rule,
)
from faultinject.mm.marks import (
    DMA,
    DMA32,
    HIGHMEM,
    MOVABLE,
    NORMAL,
    ZONES,
    default_min_free_kbytes,
    in_kb,
    lowmem_pages,
)
from faultinject.mm.ram import PAGE_SHIFT
from faultinject.mm.size import MAX_SIZE, parse_size


class _DefaultSize(str):
    """Tells a size that was not given from the same text, given."""

    __slots__ = ()


DEFAULT_SIZE: Final[str] = _DefaultSize("64M")

_MB: Final = 1 << 20 >> PAGE_SHIFT
_4_GB: Final = 4096 * _MB
#: Layout -> zones, each with the frame where it ends at the latest.
LAYOUTS: Final[Mapping[str, tuple[tuple[str, int], ...]]] = {
    "x86_64": ((DMA, 16 * _MB), (DMA32, _4_GB), (NORMAL, MAX_SIZE >> PAGE_SHIFT)),
    "x86_32": ((DMA, 16 * _MB), (NORMAL, 896 * _MB), (HIGHMEM, MAX_SIZE >> PAGE_SHIFT)),
}


class Machine(NamedTuple):
    """What a memory is to be.

    Attributes:
        zones: name -> pages, from the lowest. Zones that are configured, but have no
            pages, are there too; Normal and Movable always are.
        version: of the kernel.
        rule: the watermark rule.
        min_free_kbytes: what the marks come from, or None: every free page may be taken.
    """

    zones: Mapping[str, int]
    version: KernelVersion
    rule: Rule
    min_free_kbytes: int | None


def describe(
    size: str | int,
    zones: str | Mapping[str, str | int] | None,
    kernel: str | None,
    rule: str | None,
    min_free_kbytes: int | None,
) -> Machine:
    """Read the arguments of a `faultinject.mm.memory.Memory`, which describes them.

    Raises:
        SpecError: one of them is impossible, or they contradict each other.
    """
    version = LATEST if kernel is None else kernel_version(kernel)
    chosen = version.rule if rule is None else watermark_rule(rule)
    if zones is None and kernel is None and rule is None and min_free_kbytes is None:
        pages = parse_size(size) >> PAGE_SHIFT
        return Machine({NORMAL: pages, MOVABLE: 0}, version, chosen, None)
    configured = _configured(size, zones)
    lowmem = lowmem_pages(configured, version)
    if min_free_kbytes is None:
        lowmem_kb = in_kb(sum(configured.get(name, 0) for name in (DMA, DMA32, NORMAL)))
        min_free_kbytes = default_min_free_kbytes(lowmem_kb, version)
    elif isinstance(min_free_kbytes, bool) or not isinstance(min_free_kbytes, int):
        raise SpecError("min_free_kbytes is not an int", value=min_free_kbytes, cure="Pass kB")
    elif min_free_kbytes < 0:
        raise SpecError("min_free_kbytes is negative", value=min_free_kbytes, cure="Pass 0 or more")
    if min_free_kbytes >= in_kb(lowmem):
        raise SpecError(
            "min_free_kbytes keeps the whole memory back",
            value=min_free_kbytes,
            where=f"{in_kb(lowmem)} kB in the zones that share it",
            cure="Make the memory larger, or pass a smaller min_free_kbytes",
        )
    return Machine(configured, version, chosen, min_free_kbytes)


def _configured(size: str | int, zones: str | Mapping[str, str | int] | None) -> dict[str, int]:
    if zones is None:
        found = {NORMAL: parse_size(size) >> PAGE_SHIFT}
    elif isinstance(zones, str):
        found = _laid_out(zones, parse_size(size) >> PAGE_SHIFT)
    elif isinstance(zones, Mapping):
        found = _listed(zones)
        pages = sum(found.values())
        if size is not DEFAULT_SIZE and parse_size(size) >> PAGE_SHIFT != pages:
            raise SpecError(
                "the zones are not as large as the Memory",
                value=size,
                where=f"the zones have {pages << PAGE_SHIFT} bytes",
                cure="Leave the size out, or make the zones add up to it",
            )
    else:
        raise SpecError(
            "not a layout of zones",
            value=zones,
            cure=f"Pass zone names with sizes, or one of {', '.join(LAYOUTS)}",
        )
    return {name: found.get(name, 0) for name in ZONES if name in {*found, NORMAL, MOVABLE}}


def _laid_out(layout: str, pages: int) -> dict[str, int]:
    if layout not in LAYOUTS:
        raise SpecError(
            "not a layout of zones", value=layout, cure=f"Pass one of {', '.join(LAYOUTS)}"
        )
    found, start = {}, 0
    for name, end in LAYOUTS[layout]:
        found[name] = min(pages, end) - start
        start += found[name]
    return found


def _listed(zones: Mapping[str, str | int]) -> dict[str, int]:
    found = {}
    for name, size in zones.items():
        if name not in ZONES:
            raise SpecError("not a zone", value=name, cure=f"Pass one of {', '.join(ZONES)}")
        found[name] = parse_size(size, of=f"zone {name}", least=0) >> PAGE_SHIFT
    parse_size(sum(found.values()) << PAGE_SHIFT, of="all zones together")
    if not any(found.get(name) for name in (DMA, DMA32, NORMAL)):
        raise SpecError(
            "no zone is there for ordinary requests",
            value=dict(zones),
            cure=f"Give one of {DMA}, {DMA32}, {NORMAL} some memory",
        )
    dma = -(-found.get(DMA, 0) // MAX_ORDER_PAGES) * MAX_ORDER_PAGES
    if found.get(DMA, 0) > _4_GB or (found.get(DMA32) and dma + found[DMA32] > _4_GB):
        raise SpecError(
            f"{DMA} and {DMA32} do not end below 4 GiB",
            value=dict(zones),
            cure=f"Give the rest to {NORMAL}",
        )
    return found
