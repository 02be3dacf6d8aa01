"""The free blocks of a log's zones as a picture: a bar for each order, as SVG.

Lives here: what is drawn, and where. Not here: the same as text (``.as_text``).

The picture needs no font, script or style of another file, follows the light or dark scheme
of whoever looks, and says in words what it shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from xml.sax.saxutils import escape

from faultinject.klog.explain import Explanation
from faultinject.klog.zone_check import ZoneCheck

_WIDTH: Final = 640
_BAR_X: Final = 220
_BAR_WIDTH: Final = 400
_ROW: Final = 18
_HEAD: Final = 44

_STYLE: Final = """
text{font:13px monospace;fill:#1c1f24;white-space:pre}.head{font-weight:bold}
.page{fill:#fff}.bar{fill:#2a6fdb}.small{fill:#9aa4b2}
@media(prefers-color-scheme:dark){
text{fill:#e6e8eb}.page{fill:#14171c}.bar{fill:#6ea8ff}.small{fill:#5b6573}
}
"""


def as_svg(explanations: Iterable[Explanation]) -> str:
    """Draw the zones of all reports that have free blocks, one below the other.

    Blocks that are too small for the request are grey. A bar's length is the order's share
    of the zone's free memory, so that bars of two zones do not compare.
    """
    parts: list[str] = []
    y = 10
    for found in explanations:
        for check in found.zones:
            if check.zone.blocks is None:
                continue
            lines, height = _zone(found, check, y)
            parts += lines
            y += height
    if not parts:
        parts.append(f'<text x="10" y="{y + 20}">No report of this log has free blocks.</text>')
        y += 40
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" '
        f'viewBox="0 0 {_WIDTH} {y}" role="img" aria-label="Free blocks by order">\n'
        f"<style>{_STYLE}</style>\n"
        f'<rect class="page" width="{_WIDTH}" height="{y}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _zone(found: Explanation, check: ZoneCheck, top: int) -> tuple[list[str], int]:
    zone, report = check.zone, found.report
    asked = "" if report.order is None else f", order {report.order} {check.verdict}"
    title = f"line {report.line}: node {zone.node} {zone.zone}{asked}"
    lines = [f'<text class="head" x="10" y="{top + 24}">{escape(title)}</text>']
    page_kb = zone.page_kb or 4
    blocks = zone.blocks or ()
    most = max(((count or 0) << order for order, count in enumerate(blocks)), default=0)
    for order, count in enumerate(blocks):
        y = top + _HEAD + order * _ROW
        said = "not in the log" if count is None else f"{count:>7} x {page_kb << order} kB"
        lines.append(f'<text x="10" y="{y + 12}">{order:>2}  {escape(said)}</text>')
        if count and most:
            width = max(1, _BAR_WIDTH * (count << order) / most)
            kind = "small" if report.order is not None and order < report.order else "bar"
            lines.append(
                f'<rect class="{kind}" x="{_BAR_X}" y="{y + 1}" width="{width:.1f}" '
                f'height="{_ROW - 5}"><title>{count << order} pages</title></rect>'
            )
    return lines, _HEAD + len(blocks) * _ROW + 12
