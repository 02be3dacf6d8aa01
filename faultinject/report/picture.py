"""The picture of a file's faults: lines from where one was thrown to where it was caught.

Lives here: what is drawn, and where, in units of the picture. Not here: how a line or a
name is drawn (``html/picture.html.j2``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from faultinject.report.findings import FileFindings, FoundPath

WIDTH = 720
LEFT, RIGHT = 220, 360
ROW = 24

_MOST_LINKS = 40

# In letters: what fits beside the curves, at 12 pixels in a font of one width.
_LONGEST_SITE, _LONGEST_PATH = 28, 46


@dataclass(slots=True)
class Node:
    """A call site on the left, or where a fault ended on the right.

    Attributes:
        file: the file it is in; "" for the end that is no place.
        text: what is written, short enough for its side.
        whole: the same, uncut.
        state: of an error path; "" for a call site, ``left`` for the way out of the test.
    """

    file: str
    line: int
    text: str
    whole: str
    state: str
    y: float = 0.0


@dataclass(frozen=True, slots=True)
class Link:
    """From a call site to where its faults ended."""

    start: Node
    end: Node
    trials: int

    @property
    def curve(self) -> str:
        """The path's data, for SVG."""
        middle = (LEFT + RIGHT) / 2
        y, z = self.start.y, self.end.y
        return f"M{LEFT} {y:g}C{middle:g} {y:g} {middle:g} {z:g} {RIGHT} {z:g}"

    @property
    def width(self) -> float:
        """The stroke's width: more trials, a broader line, but never a broad one."""
        return min(4.0, 1.0 + self.trials / 2)


@dataclass(slots=True)
class Picture:
    """What is drawn of one file."""

    sites: list[Node] = field(default_factory=list)
    paths: list[Node] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    left_out: int = 0

    @property
    def height(self) -> int:
        """In units; the width is always `WIDTH`."""
        return ROW * max(len(self.sites), len(self.paths)) + ROW


def draw(file: FileFindings) -> Picture | None:
    """Draw where faults were thrown and where they ended, if either is in a file."""
    counted: Counter[tuple[tuple[str, int, str], FoundPath | str]] = Counter()
    far = [trial for path in file.paths for trial in path.entered_by]
    for trial in dict.fromkeys([*file.trials, *far]):
        for end in [trial.ended] if trial.ended is not None else trial.entered[-1:]:
            here = file.name in (trial.file, "" if isinstance(end, str) else end.file)
            if here and trial.file:
                counted[(trial.file, trial.line, trial.function), end] += 1
    if not counted:
        return None
    chosen = sorted(counted, key=_order)
    picture = Picture(left_out=max(0, len(chosen) - _MOST_LINKS))
    sites: dict[tuple[str, int, str], Node] = {}
    ends: dict[FoundPath | str, Node] = {}
    for site, end in chosen[:_MOST_LINKS]:
        start = sites.setdefault(site, _node(file, *site, state=""))
        node = ends.setdefault(end, _end(file, end))
        picture.links.append(Link(start, node, counted[site, end]))
    picture.sites = _placed(sites.values())
    picture.paths = _placed(ends.values())
    return picture


def _order(link: tuple[tuple[str, int, str], FoundPath | str]) -> tuple[object, ...]:
    site, end = link
    return site, isinstance(end, str), *(() if isinstance(end, str) else (end.file, end.line))


def _end(here: FileFindings, end: FoundPath | str) -> Node:
    if isinstance(end, str):
        return Node("", 0, "out of the test", "out of the test: nothing caught it", "left")
    words = f"{end.label} in {end.function}" if end.function else end.label
    return _node(here, end.file, end.line, words, state=end.reached)


def _node(here: FileFindings, file: str, line: int, words: str, *, state: str) -> Node:
    place = str(line) if file == here.name else f"{file.rpartition('/')[2]}:{line}"
    short = f"{place} {words}"
    longest = _LONGEST_PATH if state else _LONGEST_SITE
    if len(short) > longest:
        short = short[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return Node(file, line, short, f"{file}:{line} {words}", state)


def _placed(nodes: Iterable[Node]) -> list[Node]:
    """Put nodes under each other by file and line."""
    ordered = sorted(nodes, key=lambda node: (not node.file, node.file, node.line))
    for number, node in enumerate(ordered):
        node.y = ROW * (number + 1)
    return ordered
