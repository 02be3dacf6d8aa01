"""Reports: what a kernel log says of one allocation that failed.

Lives here: the records. Every figure is as the log has it; None where it has none. Not
here: how they are read (`faultinject.klog.reading`), what they come to (``.explain``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """What the kernel reported."""

    PAGE = "page allocation failure"
    SLAB = "slab allocation failure"
    VMALLOC = "vmalloc error"
    OOM = "invoked oom-killer"


@dataclass(slots=True)
class ZoneState:
    """One zone of a Mem-Info.

    Attributes:
        node: its NUMA node; 0 where the log names none.
        zone: ``DMA``, ``DMA32``, ``Normal``, ``HighMem``, ``Movable`` or ``Device``.
        line: where in the log the zone was first named.
        figures: the zone line's, by the kernel's name and in kB (``free``, ``min``,
            ``low``, ``high``, ``boost``, ``present``, ``managed``, ``free_cma`` …).
        reserve: ``lowmem_reserve[]``, in pages, by the zone that a request allows.
        blocks: free blocks by order; None for an order whose number is not readable,
            and altogether where the log has no such line.
        letters: the migrate types of the free blocks by order, ``""`` where none.
        page_kb: the size of a page, read off the block sizes.
        total_kb: the sum that the kernel printed behind the blocks.
    """

    node: int
    zone: str
    line: int
    figures: dict[str, int] = field(default_factory=dict)
    reserve: tuple[int, ...] | None = None
    blocks: tuple[int | None, ...] | None = None
    letters: tuple[str, ...] = ()
    page_kb: int | None = None
    total_kb: int | None = None


@dataclass(slots=True)
class FailureReport:
    """One report.

    Attributes:
        kind: of what.
        line: the header's line in the log, 1-based.
        comm: the task's name.
        order: of the request; of a slab's, None: the log does not tell it.
        mode: the gfp flags as a number, with the values of that kernel.
        names: the flags as the kernel spelled them out, or ().
        kernel: the release, ``2.6.32-41-server``.
        node: the node that was asked for, where the header names one; -1 is any.
        size: bytes, of vmalloc.
        cache: the slab cache's name.
        zones: in the order of the log; empty without a Mem-Info.
        remarks: what could not be read, or may be wrong, one sentence each.
    """

    kind: Kind
    line: int
    comm: str | None = None
    order: int | None = None
    mode: int | None = None
    names: tuple[str, ...] = ()
    kernel: str | None = None
    node: int | None = None
    size: int | None = None
    cache: str | None = None
    zones: list[ZoneState] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
