"""What made a vmalloc fail: it needs addresses, a list, pages and page tables.

Lives here: sentences about which of them failed. Not here: how the lines are read
(``.vmalloc_lines``), and the zones, if it was the pages (``.explain``).

Source: Linux mm/vmalloc.c, __vmalloc_node_range() and vm_area_alloc_pages(); 4.12 made
__GFP_HIGHMEM the rule for its pages (commit 19809c2da28a), 6.4 and the stable releases after
6.3.10 no longer warn of huge pages that they go on without (95a301eefa82).
"""

from __future__ import annotations

from typing import Final

from faultinject.klog.reports import FailureReport

_WHY: Final = {
    "size": "it is more than all memory, and no vmalloc can ever be that large",
    "addresses": "no range of addresses was free in the area of vmalloc, or its note of one could "
    "not be had",
    "array": "the list of its pages could not be had",
    "pages": "pages ran out",
    "mapping": "page tables for it could not be had",
    "unknown": "the log does not tell whether it is too large or found no range of addresses",
}


def failed_for_pages(report: FailureReport) -> bool:
    """Whether pages were refused, so that the zones tell why; True of all but vmalloc."""
    return report.vmalloc is None or report.vmalloc.failed == "pages"


def why(report: FailureReport) -> str:
    """Say in half a sentence what failed."""
    error = report.vmalloc
    if error is None:
        return _WHY["unknown"]
    if error.failed == "size" and not report.size:
        return "nothing was asked for: a size of 0 is an error of the caller's"
    return _WHY[error.failed]


def findings(report: FailureReport) -> list[str]:
    """Say what else the line tells."""
    error = report.vmalloc
    if error is None:
        return []
    found = []
    if error.within is not None:
        found.append(f"the range that it had to lie in has {error.within >> 10} kB in all")
    if error.failed == "array" and error.array is not None:
        found.append(f"the list of its pages alone is {error.array} bytes")
    elif error.failed == "pages" and error.got is not None:
        of = "" if report.size is None else f" of {report.size}"
        found.append(f"it had got {error.got} bytes{of}, and gave them back")
        if report.order:
            found.append(
                f"huge pages (order {report.order}) ran out, and the kernel goes on with single "
                "pages: this alone is no failure, and 6.4 does not report it"
            )
    return found


def remarks(report: FailureReport) -> list[str]:
    """Say what the report cannot tell."""
    if failed_for_pages(report):
        return []
    return ["no pages were refused, so that the state of the zones does not tell why it failed"]


def cures(report: FailureReport) -> list[str]:
    """Say what would have let it pass."""
    error = report.vmalloc
    failed = "" if error is None else error.failed
    if failed == "size":
        return ["a smaller size: check how the caller computes it"]
    if failed in ("addresses", "unknown"):
        return [
            "a larger area, on 32 bits with vmalloc=<size> on the kernel's command line, or fewer "
            "and smaller areas (/proc/vmallocinfo lists them)",
        ]
    return []
