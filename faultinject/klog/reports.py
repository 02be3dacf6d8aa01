"""Reports: what a kernel log says of one allocation that failed.

Lives here: the records. Every figure is as the log has it; None where it has none. Not
here: a zone of one (`faultinject.mm.mem_info`), how they are read
(`faultinject.klog.reading`), what they come to (``.explain``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from faultinject.mm.mem_info import ZoneState


class Kind(Enum):
    """What the kernel reported."""

    PAGE = "page allocation failure"
    SLAB = "slab allocation failure"
    VMALLOC = "vmalloc error"
    OOM = "invoked oom-killer"


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
