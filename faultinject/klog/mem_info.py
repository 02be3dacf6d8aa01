"""Mem-Info: the state of every zone as show_mem prints it, of 2.6 to 6.x.

Lives here: reading its lines. Not here: which lines belong to it
(`faultinject.klog.reading`).
"""

from __future__ import annotations

import re

from faultinject.klog.reports import FailureReport, ZoneState

# How many orders there are unless a line shows more.
ORDERS = 11

_ZONE = r"(?:Node\s+(?P<node>[0-9]{1,5})\s+)?(?P<zone>DMA32|DMA|Normal|HighMem|Movable|Device)"

_ZONE_LINE = re.compile(rf"{_ZONE}\s+(?P<figures>free:.*)")
_BUDDY_LINE = re.compile(rf"{_ZONE}:\s+(?P<blocks>[0-9]+\*.*)")
_RESERVE_LINE = re.compile(r"lowmem_reserve\[\]:\s*(?P<pages>.*)")

# A figure that ends in anything but its unit is cut, and none.
_FIGURE = re.compile(r"([a-z][a-z_]*(?:\([a-z]+\))?):\s?([0-9]{1,18})[kK]B(?!\S)")
_BLOCK = re.compile(r"([0-9]{1,12})\*([0-9]{1,9})kB(?:\s+\(([A-Z]+)\))?(?!\S)")
_TOTAL = re.compile(r"=\s*([0-9]{1,18})kB(?!\S)")

# What begins a line of its own where lines have no prefix to tell by.
BEGINS = re.compile(
    rf"""
    Mem-[Ii]nfo: | {_ZONE}(?:\s+free:|:\s|\s+per-cpu)
    | lowmem_reserve | Node\s+[0-9]+\s+(?:active|hugepages) | [Aa]ctive(?:_anon)?:[0-9]+(?![0-9k])
    | [0-9]+\s+(?:total\s+)?page | CPU | Pid: | Call\s | Hardware\sname | Free\sswap | Total\sswap
    | Swap\scache | SL[AU]B: | \s+cache: | \s+node\s | \s?\[<? | Workqueue: | Tainted: | Stack\s:
    """,
    re.VERBOSE | re.ASCII,
)


class MemInfo:
    """Reads the lines of one report's Mem-Info into its zones."""

    def __init__(self, report: FailureReport) -> None:
        self._report = report
        self._by_name: dict[tuple[int, str], ZoneState] = {}
        self._last: ZoneState | None = None

    def read(self, text: str, line: int) -> bool:
        """Read a line if it belongs to a zone; say whether it does."""
        if found := _ZONE_LINE.match(text):
            self._read_figures(self._zone(found, line), found["figures"])
        elif found := _BUDDY_LINE.match(text):
            self._read_blocks(self._zone(found, line), found["blocks"])
        elif found := _RESERVE_LINE.match(text):
            self._read_reserve(found["pages"], line)
        else:
            return False
        return True

    def _zone(self, found: re.Match[str], line: int) -> ZoneState:
        key = int(found["node"] or 0), found["zone"]
        zone = self._by_name.get(key)
        if zone is None:
            zone = self._by_name[key] = ZoneState(*key, line)
            self._report.zones.append(zone)
        return zone

    def _read_figures(self, zone: ZoneState, text: str) -> None:
        if zone.figures:
            self._remark(zone, "has two lines of figures; the first one counts")
            self._last = None
            return
        for name, figure in _FIGURE.findall(text):
            zone.figures.setdefault(name, int(figure))
        self._last = zone
        missing = [name for name in ("free", "min", "low", "high") if name not in zone.figures]
        if missing:
            self._remark(zone, f"has no readable {', '.join(missing)}")

    def _read_reserve(self, text: str, line: int) -> None:
        zone, self._last = self._last, None
        if zone is None:
            self._report.remarks.append(
                f"line {line}: a lowmem_reserve follows no zone, and is left out"
            )
            return
        numbers = text.split()
        if not numbers or not all(re.fullmatch(r"-?[0-9]{1,18}", each) for each in numbers):
            self._remark(zone, "has a lowmem_reserve that cannot be read")
            return
        zone.reserve = tuple(int(number) for number in numbers)

    def _read_blocks(self, zone: ZoneState, text: str) -> None:
        if zone.blocks is not None:
            self._remark(zone, "has two lines of free blocks; the first one counts")
            return
        head, total = text, _TOTAL.search(text)
        if total is not None:
            zone.total_kb, head = int(total[1]), text[: total.start()]
        found = _BLOCK.findall(head)
        sizes = [int(size) for _, size, _ in found]
        # An order is where its size says, and a page is what the first one is.
        if not found or sizes != [sizes[0] << order for order in range(len(sizes))]:
            zone.blocks = (None,) * ORDERS
            self._remark(zone, "has free blocks that cannot be read")
            return
        zone.page_kb = sizes[0]
        counts = [int(count) for count, _, _ in found]
        zone.letters = tuple(kinds for _, _, kinds in found)
        summed = sum(count * size for count, size in zip(counts, sizes, strict=True))
        if zone.total_kb is None:
            zone.blocks = (*counts, *[None] * (ORDERS - len(counts)))
            self._remark(
                zone, f"has free blocks of {len(counts)} orders: the end of the line is cut"
            )
            return
        zone.blocks = tuple(counts)
        if summed != zone.total_kb:
            self._remark(
                zone, f"has free blocks of {summed} kB in all, and the log says {zone.total_kb} kB"
            )

    def _remark(self, zone: ZoneState, text: str) -> None:
        self._report.remarks.append(f"node {zone.node} zone {zone.zone} {text}")
