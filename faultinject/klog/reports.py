"""Reports: what a kernel log says of one allocation that failed.

Lives here: the records. Every figure is as the log has it; None where it has none. Not
here: a zone of one (`faultinject.mm.mem_info`), how they are read
(`faultinject.klog.reading`), what they come to (``.explain``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from faultinject.mm.mem_info import ZoneState


class Kind(Enum):
    """What the kernel reported."""

    PAGE = "page allocation failure"
    SLAB = "slab allocation failure"
    VMALLOC = "vmalloc error"
    OOM = "invoked oom-killer"


class SlabNode(NamedTuple):
    """What a cache has on one node: whole slabs, the objects in them, and the free ones."""

    node: int
    slabs: int
    objects: int
    free: int


@dataclass(slots=True)
class SlabFigures:
    """What the allocator of slabs tells of the cache that got no pages.

    Attributes:
        object_size: bytes that whoever asks gets; None where the log does not tell.
        buffer_size: bytes that one takes in a slab, with what debugging adds.
        default_order: of the pages of a slab, as the kernel likes them; None with SLAB, which
            has one order only.
        min_order: the smallest order that a slab can have.
        debugged: whether the kernel says that debugging made the smallest order larger.
        nodes: in the order of the log.
        pages_line: the line of the page allocation failure that goes with it.
    """

    object_size: int | None = None
    buffer_size: int | None = None
    default_order: int | None = None
    min_order: int | None = None
    debugged: bool = False
    nodes: list[SlabNode] = field(default_factory=list)
    pages_line: int | None = None


@dataclass(slots=True)
class VmallocError:
    """What a vmalloc came to grief over.

    Attributes:
        failed: ``size`` (0, or more than all memory), ``addresses`` (no free range of them,
            or no memory to note one down), ``array`` (the list of its pages), ``pages``,
            ``mapping`` (their page tables), ``unknown``.
        got: bytes that it had got, where pages ran out and the log tells.
        array: bytes of the list of pages, where that failed.
        within: bytes of the whole range that it had to lie in.
    """

    failed: str
    got: int | None = None
    array: int | None = None
    within: int | None = None


@dataclass(slots=True)
class FailureReport:
    """One report.

    Attributes:
        kind: of what.
        line: the header's line in the log, 1-based.
        comm: the task's name.
        order: of the request; None of a slab's, which tries two (`slab`), and of a vmalloc
            that did not fail for pages.
        mode: the gfp flags as a number, with the values of that kernel.
        names: the flags as the kernel spelled them out, or ().
        kernel: the release, ``2.6.32-41-server``.
        node: the node that was asked for, where the header names one; -1 is any.
        size: bytes, of vmalloc.
        cache: the slab cache's name.
        slab: its figures; None of other reports.
        vmalloc: what failed; None of other reports.
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
    slab: SlabFigures | None = None
    vmalloc: VmallocError | None = None
    zones: list[ZoneState] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
