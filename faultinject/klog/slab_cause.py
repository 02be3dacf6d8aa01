"""What the figures of a cache without a slab come to.

Lives here: sentences about the sizes, the orders that were tried, and the free objects
there are. Not here: how they are read (``.slab_lines``), the pages that were refused
(``.explain``, of the report that goes with it).

Source: Linux mm/slub.c, calculate_sizes(): the smallest order is that of one object;
allocate_slab(): the default order first, without insisting, then the smallest, as the
request says; slab_out_of_memory(): free objects are those in slabs that are partly used.
"""

from __future__ import annotations

from typing import Final

from faultinject.klog.reports import FailureReport, SlabFigures

# The sizes of a page that kernels are built with, the usual one first.
_PAGES_KB: Final = (4, 16, 64, 8)


def findings(report: FailureReport) -> list[str]:
    """Say what the figures tell; nothing where there are none."""
    slab = report.slab
    if slab is None:
        return []
    return [*_sizes(report.cache or "the cache", slab), *_orders(slab), *_nodes(report, slab)]


def remarks(report: FailureReport) -> list[str]:
    """Say which figures are missing, or contradict each other."""
    slab = report.slab
    if slab is None:
        return ["the log has no figures of the cache"]
    missing = [
        what
        for what, is_there in (
            ("the buffer size", slab.buffer_size is not None),
            ("the min order", slab.min_order is not None),
            ("the slabs of any node", bool(slab.nodes)),
        )
        if not is_there
    ]
    found = [f"the log does not tell {' and '.join(missing)}"] if missing else []
    if slab.pages_line is None:
        found.append(
            "no report of the pages that were refused comes just before, so that the state of "
            "the zones is not known"
        )
    if None not in (slab.buffer_size, slab.min_order) and page_kb(slab) is None:
        found.append(
            f"an object of {slab.buffer_size} bytes does not need order {slab.min_order} with any "
            "size of a page: one of the two is wrong"
        )
    return found


def cures(report: FailureReport) -> list[str]:
    """Say what would have let it pass."""
    slab = report.slab
    if slab is None or slab.min_order is None:
        return []
    found = []
    if slab.debugged:
        found.append(
            f"boot without slub_debug (later called slab_debug) for {report.cache}, or with "
            "slub_debug=O, which leaves it out where it makes slabs larger"
        )
    if slab.min_order:
        found.append("smaller objects: their slabs can be of a smaller order")
    return found


def page_kb(slab: SlabFigures) -> int | None:
    """Give the size of a page with which the smallest order is that of one object."""
    size, order = slab.buffer_size, slab.min_order
    if size is None or order is None:
        return None
    return next((kb for kb in _PAGES_KB if _order(size, kb) == order), None)


def _order(size: int, kb: int) -> int:
    """Give the smallest order whose block holds so many bytes."""
    return ((max(size, 1) - 1) // (kb << 10)).bit_length()


def _sizes(cache: str, slab: SlabFigures) -> list[str]:
    size, order, kb = slab.buffer_size, slab.min_order, page_kb(slab)
    if size is None or order is None or kb is None:
        return []
    bytes_ = slab.object_size or size
    said = f"objects of {cache} have {bytes_} bytes"
    if size > bytes_:
        said += f", and take {size} each"
    said += f": the smallest order that holds one is {order} ({kb << order} kB), so "
    said += "no smaller one was possible" if order else "single pages were enough"
    usual = _order(bytes_, kb)
    if slab.debugged or usual < order:
        said += f"; without debugging it would be order {usual} ({kb << usual} kB)"
    return [said]


def _orders(slab: SlabFigures) -> list[str]:
    least, first = slab.min_order, slab.default_order
    if least is None:
        return []
    kb = page_kb(slab) or _PAGES_KB[0]
    if first is not None and first > least:
        said = (
            f"both orders were refused: the default order {first} ({kb << first} kB), which is "
            f"asked for without insisting, and then the smallest, {least} ({kb << least} kB)"
        )
    else:
        said = f"order {least} ({kb << least} kB) was refused, and there is no other"
    if not least:
        said += "; a single page is never refused for fragmentation"
    if slab.pages_line is not None:
        said += f"; the report at line {slab.pages_line} says why"
    return [said]


def _nodes(report: FailureReport, slab: SlabFigures) -> list[str]:
    if not slab.nodes:
        return []
    free = {each.node: each.free for each in slab.nodes if each.free}
    total = sum(each.objects for each in slab.nodes)
    if not free:
        return [f"all {total} objects were in use: nothing but new pages would have helped"]
    where = ", ".join(f"{count} on node {node}" for node, count in free.items())
    if report.node is not None and report.node >= 0 and report.node not in free:
        asked = next((each for each in slab.nodes if each.node == report.node), None)
        has = "has none free" if asked is not None else "is not among them: it may be offline"
        return [
            f"there were free objects ({where}), but the request was for node {report.node}, "
            f"which {has}"
        ]
    return [
        f"of {total} objects some were free ({where}): freed since, or of a node that the task "
        "may not use"
    ]
