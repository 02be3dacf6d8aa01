"""Headers: the line with which the kernel begins to report a failed allocation.

Lives here: reading it in the wording of every version, and the line that names the
kernel's release. Not here: the memory's state below it (`faultinject.mm.mem_info`).
"""

from __future__ import annotations

import re

from faultinject.klog.reports import FailureReport, Kind
from faultinject.klog.vmalloc_lines import read_error, read_no_addresses

# A line without one of these begins no report, and no Mem-Info of anything else.
TRIGGERS = (
    "page allocation failure",
    "Unable to allocate memory on ",
    "vmalloc error",
    "vmalloc: allocation failure",
    "vmalloc size ",
    "vmap allocation for size",
    "vmalloc_node_range for size",
    "out of vmalloc space",
    "invoked oom-killer",
    "page allocation stalls",
    "Show Memory",
)

# TASK_COMM_LEN is 16, with the byte that ends it. What is longer only quotes a report.
_COMM = r"(?P<comm>.{1,15}?)"

_MODE = r"(?P<mode>0x[0-9a-fA-F]{1,8})(?![0-9a-zA-Z])(?:\((?P<names>[^)\s]*)\))?"

_PAGE = re.compile(
    rf"{_COMM}: page allocation failure[.:]\s+order:(?P<order>[0-9]{{1,2}})"
    rf"(?![0-9]),\s*mode:{_MODE}"
)
_PAGE_BEGINS = re.compile(rf"{_COMM}: page allocation failure")
_SLAB = re.compile(
    rf"SL[AU]B: Unable to allocate memory on (?:CPU \S+ \(of node \S+\) on )?"
    rf"node (?P<node>-?[0-9]{{1,5}})(?![0-9]),?\s*\(?gfp={_MODE}"
)
_SLAB_BEGINS = re.compile(r"SL[AU]B: Unable to allocate memory on ")
_VMALLOC = re.compile(rf"(?:{_COMM}: )?(?=vmalloc(?: error: size |: allocation failure| size ))")
_OOM = re.compile(rf"{_COMM} invoked oom-killer: ")
_OOM_MODE = re.compile(rf"gfp_mask={_MODE}")
_OOM_ORDER = re.compile(r"order=(?P<order>-?[0-9]{1,2})(?![0-9])")
_ANY_MODE = re.compile(rf"mode:{_MODE}")

_RELEASE = r"(?P<kernel>[0-9]{1,2}\.[0-9]{1,3}[^\s,]*)"
_TAINTED = re.compile(rf"[Tt]ainted(?::[ A-Z()]*)?\s+{_RELEASE}(?:\s|$)")
_BANNER = re.compile(rf"Linux version {_RELEASE}\s")


# A request that takes long (4.10 to 4.14), and what somebody asked for by the keyboard.
_OTHER = re.compile(rf"{_COMM}: page allocation stalls for |[Ss]ys[Rr]q ?: Show Memory")


def read_header(text: str, line: int) -> FailureReport | None:
    """Read the first line of a report; None if the text begins none.

    Args:
        text: the whole line, without the log's prefix.
        line: its number, for the record.
    """
    if found := _PAGE.match(text):
        report = FailureReport(Kind.PAGE, line, found["comm"].strip() or None)
        report.order = int(found["order"])
        return _with_mode(report, found)
    if found := _PAGE_BEGINS.match(text):
        return _cut(FailureReport(Kind.PAGE, line, found["comm"].strip() or None))
    if found := _SLAB.match(text):
        report = FailureReport(Kind.SLAB, line)
        report.node = int(found["node"])
        return _with_mode(report, found)
    if _SLAB_BEGINS.match(text):
        return _cut(FailureReport(Kind.SLAB, line))
    if "vm" in text and (vmalloc := _read_vmalloc(text, line)) is not None:
        return vmalloc
    if found := _OOM.match(text):
        report = FailureReport(Kind.OOM, line, found["comm"].strip() or None)
        if order := _OOM_ORDER.search(text):
            # -1 is a request by sysrq, of no order.
            report.order = int(order["order"]) if int(order["order"]) >= 0 else None
        else:
            report.remarks.append("the header has no order")
        return _with_mode(report, _OOM_MODE.search(text))
    return None


def begins_other(text: str) -> bool:
    """Say whether a Mem-Info follows that belongs to no failure."""
    return _OTHER.match(text) is not None


def read_release(text: str) -> str | None:
    """Give the kernel's release if this is the line of a report that names it."""
    if not text.startswith(("Pid:", "CPU:")):
        return None
    found = _TAINTED.match(text, max(text.rfind("ainted") - 1, 0))
    return None if found is None else found["kernel"]


def read_banner(text: str) -> str | None:
    """Give the kernel's release if this is the first line of a boot."""
    found = _BANNER.match(text)
    return None if found is None else found["kernel"]


def _read_vmalloc(text: str, line: int) -> FailureReport | None:
    if (told := read_no_addresses(text)) is not None:
        return FailureReport(Kind.VMALLOC, line, size=told.size, vmalloc=told.error)
    found = _VMALLOC.match(text)
    told = read_error(text[found.end() :]) if found is not None else None
    if found is None or told is None:
        return None
    report = FailureReport(Kind.VMALLOC, line, size=told.size, vmalloc=told.error)
    report.order = told.order
    if found["comm"] is None:
        # Those of before 4.9: its flags are in the header that follows.
        return report
    report.comm = found["comm"].strip() or None
    return _with_mode(report, _ANY_MODE.search(text))


def _with_mode(report: FailureReport, found: re.Match[str] | None) -> FailureReport:
    if found is None:
        report.remarks.append("the header has no gfp flags")
        return report
    report.mode = int(found["mode"], 16)
    report.names = tuple(filter(None, (found["names"] or "").split("|")))
    return report


def _cut(report: FailureReport) -> FailureReport:
    report.remarks.append("the header is cut: its order and gfp flags cannot be read")
    return report
