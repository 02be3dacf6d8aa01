"""The state of a real machine's zones, as /proc/buddyinfo and /proc/zoneinfo tell it.

Lives here: reading the two texts, with an error that names line and field. Not here: a
memory in that state (`faultinject.mm.memory`), logs (`faultinject.klog`).

Source: Linux mm/vmstat.c, frag_show_print() and zoneinfo_show_print(), 2.6.24 to 6.18.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

from faultinject.errors import SpecError

Place: TypeAlias = tuple[int, str]
"""A zone: its node and its name."""

_ZONE: Final = re.compile(r"Node (\d+), zone +([A-Za-z0-9]+)(.*)", re.ASCII)
_MOST: Final = 1 << 52

# By the name that the text has, the field's. `cma` is the number of pages, free or not.
_FIELDS: Final = {
    "pages free": "free",
    "boost": "boost",
    "min": "min",
    "low": "low",
    "high": "high",
    "spanned": "spanned",
    "present": "present",
    "managed": "managed",
    "nr_free_cma": "free_cma",
    "start_pfn:": "start_pfn",
}
_NEEDED: Final = ("free", "min", "low", "high", "present")
_PROTECTION: Final = re.compile(r"protection: \((.*)\)")


class ProcZone(NamedTuple):
    """One zone of /proc/zoneinfo; all in pages.

    Attributes:
        place: node and name.
        free: free pages.
        min: the mark, its boost included; so are `low` and `high`.
        low: the mark.
        high: the mark.
        present: pages that exist.
        protection: what is kept from requests that may use each higher zone.
        boost: by how much the marks are raised just now; 0 where the text has none.
        managed: pages that the allocator has. Where the text has none, they may be all that
            are `spanned`: older kernels took pages of their own off `present`, and did not
            have to take them from that zone.
        spanned: pages with holes counted; `present` where the text has none.
        free_cma: free pages of contiguous areas.
        start_pfn: the number of its first page frame; None where the text has none.
    """

    place: Place
    free: int
    min: int
    low: int
    high: int
    present: int
    protection: tuple[int, ...]
    boost: int
    managed: int
    spanned: int
    free_cma: int
    start_pfn: int | None


def parse_buddyinfo(text: str) -> dict[Place, tuple[int, ...]]:
    """Read /proc/buddyinfo: for each zone, the free blocks of each order.

    Raises:
        SpecError: a line is not of such a file; it names the line and the field.
    """
    found: dict[Place, tuple[int, ...]] = {}
    orders = 0
    for number, line in enumerate(checked_text(text, "buddyinfo").splitlines(), 1):
        if not line.strip():
            continue
        where = f"buddyinfo line {number}"
        place, rest = _zone(line, where)
        counts = tuple(
            _number(word, f"{where}, order {order}") for order, word in enumerate(rest.split())
        )
        orders = orders or len(counts)
        if not counts or len(counts) != orders:
            raise _wrong(
                f"{len(counts)} orders where the first line has {orders}"
                if counts
                else "a zone without block counts",
                line,
                where,
            )
        if place in found:
            raise _wrong("a zone that was there before", line, where)
        found[place] = counts
    if not found:
        raise _wrong("no zone", text[:40], "buddyinfo")
    return found


def parse_zoneinfo(text: str) -> tuple[ProcZone, ...]:
    """Read /proc/zoneinfo; zones without pages are among them, if the text has them.

    Raises:
        SpecError: a line is not of such a file, or a zone lacks a field; it names the line
            and the field.
    """
    zones: list[ProcZone] = []
    places: set[Place] = set()
    begun: tuple[Place, int] | None = None
    fields: dict[str, int] = {}
    protection: tuple[int, ...] | None = None

    for number, line in enumerate([*checked_text(text, "zoneinfo").splitlines(), None], 1):
        if line is not None and not line.startswith("Node "):
            if begun is None and line.strip():
                raise _wrong("a line before the first zone", line, f"zoneinfo line {number}")
            where = f"zoneinfo line {number}"
            if (kept := _PROTECTION.fullmatch(line.strip())) is not None:
                words = kept[1].split(",")
                protection = tuple(_number(word.strip(), where) for word in words)
            elif (field := _field(line)) is not None and field not in fields:
                fields[field] = _number(line.split()[-1], f"{where}, {field}")
            continue
        if begun is not None:
            zones.append(_finished(begun, fields, protection))
        if line is not None:
            place, rest = _zone(line, f"zoneinfo line {number}")
            if rest.strip() or place in places:
                what = "a zone that was there before" if place in places else "not a zone's line"
                raise _wrong(what, line, f"zoneinfo line {number}")
            places.add(place)
            begun, fields, protection = (place, number), {}, None
    if not zones:
        raise _wrong("no zone", text[:40], "zoneinfo")
    return tuple(zones)


def checked_text(text: str, what: str) -> str:
    """Return a text; refuse what is none, as bytes are.

    Raises:
        SpecError: it is no str.
    """
    if not isinstance(text, str):
        raise SpecError(f"{what} is not a text", value=text, cure="Pass a str")
    return text


def _finished(
    begun: tuple[Place, int], fields: dict[str, int], protection: tuple[int, ...] | None
) -> ProcZone:
    place, number = begun
    missing = [name for name in _NEEDED if name not in fields]
    if protection is None:
        missing.append("protection")
    # The kernel leaves the rest of a zone without pages out, but for these two.
    if missing and fields.get("present") != 0:
        raise _wrong(
            f"a zone without {', '.join(missing)}",
            f"Node {place[0]}, zone {place[1]}",
            f"zoneinfo line {number}",
        )
    least, low, high = marks = [fields.get(name, 0) for name in ("min", "low", "high")]
    if marks != sorted(marks):
        raise _wrong(
            "the marks min, low, high of a zone are out of order",
            ", ".join(map(str, marks)),
            f"zoneinfo line {number}",
        )
    present = fields.get("present", 0)
    spanned = fields.get("spanned", present)
    return ProcZone(
        place,
        fields.get("free", 0),
        least,
        low,
        high,
        present,
        protection or (),
        fields.get("boost", 0),
        fields.get("managed", max(present, spanned) if present else 0),
        spanned,
        fields.get("free_cma", 0),
        fields.get("start_pfn"),
    )


def _field(line: str) -> str | None:
    return _FIELDS.get(" ".join(line.split()[:-1]))


def _zone(line: str, where: str) -> tuple[Place, str]:
    found = _ZONE.fullmatch(line)
    if found is None:
        raise _wrong("not a zone's line", line, where)
    return (int(found[1]), found[2]), found[3]


def _number(word: str, where: str) -> int:
    # A negative count is a race of per-CPU counters; the kernel prints 0 since 2.6.27.
    if not (word.isascii() and word.isdigit()) or int(word) > _MOST:
        raise _wrong("not a number of pages", word, where)
    return int(word)


def _wrong(what: str, value: str, where: str) -> SpecError:
    return SpecError(
        what, value=value, where=where, cure="Pass the whole text of the file, as it is"
    )
