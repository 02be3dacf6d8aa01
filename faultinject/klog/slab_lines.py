"""The lines below a slab's failure: the cache, and what it has on each node.

Lives here: reading them, of SLUB and of SLAB. Not here: the line above (``.headers``),
what the figures come to (``.slab_cause``).

Source: Linux mm/slub.c and mm/slab.c, slab_out_of_memory(), of 2.6.31 to 6.12. What SLAB
calls the object size is what one takes in a slab; its later versions tell no free objects.
"""

from __future__ import annotations

import re
from typing import Final

from faultinject.klog.reports import FailureReport, SlabFigures, SlabNode

_NUMBER: Final = r"([0-9]{1,12})(?![0-9a-zA-Z])"
_CACHE: Final = re.compile(r"\s*cache: (\S+), object size: [0-9]")
_SLUB: Final = re.compile(
    rf"object size: {_NUMBER}, buffer size: {_NUMBER}(?:, default order: {_NUMBER})?"
    rf"(?:, min order: {_NUMBER})?"
)
_SLAB: Final = re.compile(rf"object size: {_NUMBER}, order: {_NUMBER}")
_DEBUGGED: Final = "debugging increased min order"
_NODE: Final = re.compile(
    rf"\s*node {_NUMBER}: slabs: (?:{_NUMBER}/)?{_NUMBER}, objs: (?:{_NUMBER}/)?{_NUMBER}"
    rf"(?:, free: {_NUMBER})?"
)


def read_figures(report: FailureReport, text: str) -> bool:
    """Read one of the lines below the header into a slab's report; say whether it is one."""
    if report.cache is None and (cache := _CACHE.match(text)) is not None:
        report.cache = cache[1]
        report.slab = _sizes(text)
    elif report.slab is None:
        return False
    elif (found := _NODE.match(text)) is not None:
        _add_node(report.slab, found)
    elif _DEBUGGED not in text:
        return False
    if report.slab is not None and _DEBUGGED in text:
        report.slab.debugged = True
    return True


def _sizes(text: str) -> SlabFigures:
    if (found := _SLUB.search(text)) is not None:
        sizes = [None if size is None else int(size) for size in found.groups()]
        return SlabFigures(sizes[0], sizes[1], sizes[2], sizes[3])
    if (found := _SLAB.search(text)) is not None:
        return SlabFigures(buffer_size=int(found[1]), min_order=int(found[2]))
    return SlabFigures()


def _add_node(slab: SlabFigures, found: re.Match[str]) -> None:
    node, _, slabs, active, objects, free = found.groups()
    if any(each.node == int(node) for each in slab.nodes):
        return
    if free is None:
        # Without a slash it is SLUB's line, and cut.
        if active is None:
            return
        free = str(int(objects) - int(active))
    slab.nodes.append(SlabNode(int(node), int(slabs), int(objects), int(free)))
