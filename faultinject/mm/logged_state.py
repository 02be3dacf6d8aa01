"""The state of a machine's zones as the Mem-Info of its log tells it.

Lives here: what ``Memory.from_show_mem`` takes over, and an error that names line and field
where the text is cut or contradicts itself. Not here: reading the lines
(`faultinject.mm.mem_info`), the same from /proc (`faultinject.mm.proc_text`), a memory in
that state (`faultinject.mm.real_state`).
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import dedent
from typing import Final, NoReturn

from faultinject.errors import SpecError
from faultinject.mm.buddy import MAX_ORDER, MAX_ORDER_PAGES, ORDERS
from faultinject.mm.built_zones import DEVICE, built_with
from faultinject.mm.log_prefix import strip_prefix, without_colours
from faultinject.mm.marks import ZONES, Marks, total
from faultinject.mm.mem_info import BEGINS, MemInfo, ZoneState
from faultinject.mm.migrate import PAGEBLOCK_PAGES
from faultinject.mm.proc_text import checked_text
from faultinject.mm.ram import PAGE_SIZE
from faultinject.mm.real_state import RealZone, chosen_node

_PAGE_KB: Final = PAGE_SIZE // 1024
# CMA, and blocks that are isolated just now.
_OUT_OF_REACH: Final = frozenset("CI")
_NEEDED: Final = ("free", "min", "low", "high")
# More would take minutes to lay out; a machine with so many has terabytes in single pages.
_MOST_BLOCKS: Final = 1 << 24
_CURE: Final = "Pass one Mem-Info, whole, as the log has it"


def read_logged_state(text: str, node: int | None = None) -> list[RealZone]:
    """Read one node's zones that have pages, from the lowest.

    Args:
        text: of one report; its other lines, and what the log writes before each line, do
            no harm.
        node: which one; needed where there are several.

    Raises:
        SpecError: the text has no Mem-Info or several, or one that is cut or inconsistent.
    """
    states: list[ZoneState] = []
    reader = MemInfo(states, _refuse)
    begun = 0
    for number, line in _whole_lines(dedent(checked_text(text, "Mem-Info"))):
        if line[:9].lower() == "mem-info:":
            if begun:
                raise _wrong("a second Mem-Info", f"the first one is at line {begun}", number)
            begun = number
        else:
            reader.read(line, number)
    if not states:
        raise SpecError("the text has no Mem-Info", value=text[:40], cure=_CURE)
    node = chosen_node([state.node for state in states], node)
    seen = frozenset(state.zone for state in states)
    found = [
        _real_zone(state, seen)
        for state in states
        if state.node == node and state.zone != DEVICE and _pages(state, "managed", "present") != 0
    ]
    return sorted(found, key=lambda zone: ZONES.index(zone.name))


def _whole_lines(text: str) -> Iterator[tuple[int, str]]:
    """Give the lines without prefixes, wrapped ones joined, with the number of their first."""
    lines = [strip_prefix(line) for line in without_colours(text).splitlines()]
    dated = any(has_prefix for _, _, has_prefix in lines)
    number, whole = 0, ""
    for at, (line, _, has_prefix) in enumerate(lines, 1):
        continues = not has_prefix if dated else BEGINS.match(line) is None
        if number and continues:
            whole = f"{whole} {line.strip()}"
            continue
        if number:
            yield number, whole.strip()
        number, whole = at, line
    if number:
        yield number, whole.strip()


def _real_zone(state: ZoneState, seen: frozenset[str]) -> RealZone:
    reserve = zip(_checked(state, seen), state.reserve or (), strict=True)
    figures = {name: _pages(state, name) or 0 for name in (*_NEEDED, "boost", "free_cma")}
    boost = figures["boost"]
    marks = Marks(figures["min"] - boost, figures["low"] - boost, figures["high"] - boost)
    if min(marks) < 0:
        raise _wrong("a boost above the mark", _name(state), state.line)
    if list(marks) != sorted(marks):
        raise _wrong("the marks min, low, high are out of order", _name(state), state.line)
    blocks = _ordinary(state)
    atomic = _atomic(state, blocks)
    aside = max(_pages(state, "reserved_highatomic") or 0, 2 * total(atomic))
    aside = -(-aside // PAGEBLOCK_PAGES) * PAGEBLOCK_PAGES
    room = _room_for(blocks) + (2 * aside + MAX_ORDER_PAGES if aside else 0)
    return RealZone(
        state.zone,
        max(_pages(state, "present", "managed") or 0, room),
        marks,
        boost,
        {name: kept for name, kept in reserve if name in ZONES},
        blocks,
        aside,
        atomic,
        total(blocks) - figures["free"] + figures["free_cma"],
    )


def _checked(state: ZoneState, seen: frozenset[str]) -> tuple[str, ...]:
    """Verify that a zone is whole; give the zones that its lowmem_reserve is about."""
    name, line = _name(state), state.line
    missing = [figure for figure in _NEEDED if figure not in state.figures]
    missing += ["blocks"] if state.blocks is None else []
    missing += ["lowmem_reserve"] if state.reserve is None else []
    missing += ["present"] if _pages(state, "present", "managed") is None else []
    if missing:
        raise _wrong(f"a zone without {', '.join(missing)}", name, line)
    blocks, reserve = state.blocks or (), state.reserve or ()
    if state.page_kb != _PAGE_KB:
        said = f"pages of {state.page_kb} kB, where the model's have {_PAGE_KB}"
        raise _wrong(said, name, line)
    if len(blocks) > ORDERS:
        raise _wrong(f"blocks of more orders than the model's {MAX_ORDER}", name, line)
    if sum(count or 0 for count in blocks) > _MOST_BLOCKS:
        raise _wrong(f"more than {_MOST_BLOCKS} free blocks", name, line)
    if min(reserve) < 0:
        raise _wrong("a lowmem_reserve below 0", name, line)
    built = built_with(seen, len(reserve))
    if not built:
        said = f"a lowmem_reserve of {len(reserve)} zones, which does not fit {sorted(seen)}"
        raise _wrong(said, name, line)
    return built[0]


def _pages(state: ZoneState, *names: str) -> int | None:
    """Give the first of these figures that the log has, in pages."""
    kb = next((state.figures[name] for name in names if name in state.figures), None)
    return None if kb is None else kb // _PAGE_KB


def _ordinary(state: ZoneState) -> tuple[int, ...]:
    """Give the free blocks without those that only movable pages, or nothing, may be put into."""
    blocks = state.blocks or ()
    letters = (*state.letters, *[""] * (len(blocks) - len(state.letters)))
    return tuple(
        0 if kinds and set(kinds) <= _OUT_OF_REACH else count or 0
        for count, kinds in zip(blocks, letters, strict=True)
    )


def _atomic(state: ZoneState, blocks: tuple[int, ...]) -> tuple[int, ...]:
    """Give the blocks that only atomic requests may have; where kinds are mixed, none."""
    letters = state.letters + ("",) * (len(blocks) - len(state.letters))
    return tuple(count if kinds == "H" else 0 for count, kinds in zip(blocks, letters, strict=True))


def _room_for(blocks: tuple[int, ...]) -> int:
    """Give how many pages hold these blocks, each beside one that is taken.

    The log tells how many pages exist, and not over how many frames they are spread.
    """
    pages = sum(count << min(order + 1, MAX_ORDER) for order, count in enumerate(blocks))
    return -(-pages // MAX_ORDER_PAGES) * MAX_ORDER_PAGES


def _name(state: ZoneState) -> str:
    return f"node {state.node} zone {state.zone}"


def _refuse(line: int, text: str) -> NoReturn:
    raise _wrong("a Mem-Info that cannot be read", text, line)


def _wrong(what: str, value: str, line: int) -> SpecError:
    return SpecError(what, value=value, where=f"line {line}", cure=_CURE)
