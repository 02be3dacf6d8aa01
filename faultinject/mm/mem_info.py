"""Mem-Info: the state of every zone as a kernel prints it into its log, of 2.6 to 6.x.

Lives here: reading its lines. Not here: which lines of a log belong to it
(`faultinject.klog.reading`), a memory in that state (`faultinject.mm.logged_state`), and
the model's own Mem-Info (`faultinject.mm.show_mem`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import lshift
from typing import Final

# How many orders there are unless a line shows more.
_ORDERS: Final = 11

_NAME: Final = "DMA32|DMA|Normal|HighMem|Movable|Device"
_ZONE: Final = rf"(?:Node[ \t]+([0-9]{{1,5}})[ \t]+)?({_NAME})"

# The first alternative is for speed alone.
_WITH_KB: Final = r"(?:[0-9]+kB.*|.*kB.*)"

#: A line of a zone: what `MemInfo.take` takes are its groups.
LINE: Final = (
    rf"(?:{_ZONE}(?::[ \t]+([0-9]+\*{_WITH_KB})|[ \t]+(free:{_WITH_KB}))"
    r"|lowmem_reserve\[\]:[ \t]*(.*)|Node[ \t]+[0-9]+[ \t]+active_anon:.*)"
)
_LINE: Final = re.compile(LINE)

# A figure that ends in anything but its unit is cut, and none.
_FIGURE: Final = re.compile(r"([a-z_]+(?:\([a-z]+\))?):\s?([0-9]{1,18})[kK]B(?!\S)")
_BLOCK: Final = re.compile(r"([0-9]{1,12})\*([0-9]{1,9})kB(?:\s+\(([A-Z]+)\))?(?!\S)")
# The whole line as nearly every machine prints it; reading it at once takes a third of the time.
_USUAL_PAGE_KB: Final = 4
_USUAL_BLOCKS: Final = re.compile(
    " ".join(
        rf"([0-9]{{1,12}})\*{_USUAL_PAGE_KB << order}kB(?: \(([A-Z]+)\))?"
        for order in range(_ORDERS)
    )
    + r" = ([0-9]{1,18})kB(?!\S)"
)
# The lines of figures that were met, by the names in them: all of a kernel have the same ones,
# and such a line read at once takes a third of the time. A log that has more kinds is slower.
_MOST_KINDS: Final = 4
_WHOLE_LINES: Final[list[tuple[tuple[str, ...], re.Pattern[str]]]] = []
_TOTAL: Final = re.compile(r"=\s*([0-9]{1,18})kB(?!\S)")
_PAGES: Final = re.compile(r"(?:-?[0-9]{1,18}(?:\s+|\Z))+")
_NEEDED: Final = frozenset({"free", "min", "low", "high"})

#: What begins a line of its own where lines have no prefix to tell by.
BEGINS: Final = re.compile(
    rf"""
    Mem-[Ii]nfo: | (?:Node[ ]+[0-9]{{1,5}}[ ]+)?(?:{_NAME})(?:[ ]+free:|:[ ]|[ ]+per-cpu)
    | lowmem_reserve | Node[ ]+[0-9]+[ ]+(?:active|hugepages) | [Aa]ctive(?:_anon)?:[0-9]+(?![0-9k])
    | [0-9]+[ ]+(?:total[ ]+)?page | CPU | Pid: | Call[ ] | Hardware[ ]name | Free[ ]swap
    | Total[ ]swap | Swap[ ]cache | SL[AU]B: | [ ]+cache: | [ ]+node[ ] | [ ]+\S+[ ]debugging[ ]
    | [ ]?\[<? | Workqueue: | Tainted: | Stack[ ]:
    """,
    re.VERBOSE | re.ASCII,
)


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


class MemInfo:
    """Reads the lines of one Mem-Info.

    Args:
        zones: what is read goes there, in the order of the lines.
        remark: told the number of a line that cannot be read, and what is wrong with it.
    """

    __slots__ = ("_by_name", "_last", "_remark", "_zones")

    def __init__(self, zones: list[ZoneState], remark: Callable[[int, str], None]) -> None:
        self._zones = zones
        self._remark = remark
        self._by_name: dict[tuple[str | None, str], ZoneState] = {}
        self._last: ZoneState | None = None

    def read(self, text: str, line: int) -> bool:
        """Read a line if it belongs to a zone; say whether it does."""
        found = _LINE.match(text)
        if found is not None:
            self.take(("", *found.groups()), line)
        return found is not None

    def take(self, groups: Sequence[str | None], line: int) -> None:
        """Take what a line says: who printed it, and the groups of `LINE`.

        A line of a node says nothing.
        """
        _, node, name, blocks, figures, reserve = groups
        if name is not None:
            zone = self._by_name.get((node, name)) or self._zone(node, name, line)
            if figures is not None:
                self._read_figures(zone, figures, line)
            elif blocks is not None:
                self._read_blocks(zone, blocks, line)
        elif reserve is not None:
            self._read_reserve(reserve, line)

    def _zone(self, node: str | None, name: str, line: int) -> ZoneState:
        number = int(node or 0)
        for zone in self._zones:
            if (zone.node, zone.zone) == (number, name):
                break
        else:
            zone = ZoneState(number, name, line)
            self._zones.append(zone)
        self._by_name[node, name] = zone
        return zone

    def _read_figures(self, zone: ZoneState, text: str, line: int) -> None:
        if zone.figures:
            self._say(zone, "has two lines of figures; the first one counts", line)
            self._last = None
            return
        zone.figures = figures = _figures(text)
        self._last = zone
        if not figures.keys() >= _NEEDED:
            missing = [name for name in ("free", "min", "low", "high") if name not in figures]
            self._say(zone, f"has no readable {', '.join(missing)}", line)

    def _read_reserve(self, text: str, line: int) -> None:
        zone, self._last = self._last, None
        if zone is None:
            self._remark(line, f"line {line}: a lowmem_reserve follows no zone, and is left out")
            return
        zone.reserve = _reserve(text)
        if zone.reserve is None:
            self._say(zone, "has a lowmem_reserve that cannot be read", line)

    def _read_blocks(self, zone: ZoneState, text: str, line: int) -> None:
        if zone.blocks is not None:
            self._say(zone, "has two lines of free blocks; the first one counts", line)
            return
        usual = _USUAL_BLOCKS.match(text)
        if usual is not None:
            columns = usual.groups("")
            zone.page_kb, zone.total_kb = _USUAL_PAGE_KB, int(columns[-1])
            zone.letters = columns[1:-1:2]
            counts: tuple[int, ...] | None = tuple(map(int, columns[:-1:2]))
        else:
            counts = self._read_columns(zone, text, line)
        if counts is None:
            return
        zone.blocks = counts
        summed = sum(map(lshift, counts, range(len(counts)))) * (zone.page_kb or 0)
        if summed != zone.total_kb:
            said = f"has free blocks of {summed} kB in all, and the log says {zone.total_kb} kB"
            self._say(zone, said, line)

    def _read_columns(self, zone: ZoneState, text: str, line: int) -> tuple[int, ...] | None:
        """Read blocks one by one: of another size, or fewer of them; None if they are cut."""
        head, end = text, _TOTAL.search(text)
        if end is not None:
            zone.total_kb, head = int(end[1]), text[: end.start()]
        found = _BLOCK.findall(head)
        sizes = [int(size) for _, size, _ in found]
        # An order is where its size says, and a page is what the first one is.
        if not found or sizes != [sizes[0] << order for order in range(len(sizes))]:
            zone.blocks = (None,) * _ORDERS
            self._say(zone, "has free blocks that cannot be read", line)
            return None
        zone.page_kb = sizes[0]
        zone.letters = tuple(kinds for _, _, kinds in found)
        counts = tuple(int(count) for count, _, _ in found)
        if zone.total_kb is not None:
            return counts
        zone.blocks = (*counts, *[None] * (_ORDERS - len(counts)))
        said = f"has free blocks of {len(counts)} orders: the end of the line is cut"
        self._say(zone, said, line)
        return None

    def _say(self, zone: ZoneState, text: str, line: int) -> None:
        self._remark(line, f"node {zone.node} zone {zone.zone} {text}")


def _figures(text: str) -> dict[str, int]:
    """Give the figures of a zone's line; of one that is there twice, the first counts."""
    for names, expression in _WHOLE_LINES:
        if (found := expression.match(text)) is not None:
            return dict(zip(names, map(int, found.groups()), strict=True))
    told = _FIGURE.findall(text)
    figures = {name: int(figure) for name, figure in reversed(told)}
    if len(figures) == len(told) and len(_WHOLE_LINES) < _MOST_KINDS:
        names = tuple(name for name, _ in told)
        expression = _whole_line(names)
        if expression.match(text) is not None:
            _WHOLE_LINES.append((names, expression))
    return figures


def _whole_line(names: tuple[str, ...]) -> re.Pattern[str]:
    """Give what matches a line that has these figures, in their order, and no others."""
    figures = " ".join(rf"{re.escape(name)}:([0-9]{{1,18}})[kK]B" for name in names)
    return re.compile(rf"{figures}(?: pages_scanned:[0-9]+)?(?: all_unreclaimable\? [a-z]+)?\s*\Z")


@lru_cache(maxsize=64)  # all reports of a machine have the same ones
def _reserve(text: str) -> tuple[int, ...] | None:
    return None if _PAGES.fullmatch(text) is None else tuple(map(int, text.split()))
