"""Sites and faults as the hook saw them, in words.

Lives here: `NativeSite` and `NativeEvent`, and decoding them from code objects,
offsets and addresses, which happens only while disarmed. Not here: the tables
themselves (``site_table.c``, ``event_ring.h``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from types import CodeType
from typing import Final, TypeAlias

from faultinject.callsite import site_of_key
from faultinject.native.requests import DOMAINS

Caller: TypeAlias = tuple[str, str, int] | None
"""A C symbol or "", the shared object's name, and the offset in it."""

SiteRow: TypeAlias = tuple[int, CodeType, int, int, Caller, int, int, int, int]
EventRow: TypeAlias = tuple[int, CodeType | None, int, int, Caller, int, int]

# Flags of site_table.h.
_VETOED: Final = 1
_EXTENSION: Final = 2
_FOREIGN: Final = 4


@dataclass(frozen=True, slots=True)
class NativeSite:
    """A call site that allocates: an instruction and a domain.

    Its identity survives from one process to the next, as long as the source file and
    the Python version stay the same: no address is in it.

    Attributes:
        file: ``co_filename``, unchanged.
        function: ``co_qualname``.
        first_line: ``co_firstlineno``.
        line: the line of the instruction.
        column: the column of its expression; -1 if unknown.
        offset: ``f_lasti``.
        domain: one of raw, mem, obj, arena.
        c_caller: the C function that asked, and where: ``PyList_New libpython+0x1f0``; "" if
            the site stands for all of them.
        hits: how often it was reached.
        min_size: the smallest request in bytes.
        max_size: the largest.
        extension: an extension under test asked; the line need not be under test itself.
    """

    file: str
    function: str
    first_line: int
    line: int
    column: int
    offset: int
    domain: str
    c_caller: str = ""
    hits: int = 0
    min_size: int = 0
    max_size: int = 0
    extension: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


@dataclass(frozen=True, slots=True)
class NativeEvent:
    """A fault that was injected.

    Attributes:
        number: counts from 1 in one arming.
        site: where; None for a request that no frame stands behind, or on a thread
            without the GIL. Its hits and sizes are 0.
        domain: one of raw, mem, obj, arena.
        size: of the request, in bytes.
        c_caller: as in `NativeSite`.
        thread: as `threading.get_ident` numbers them.
    """

    number: int
    site: NativeSite | None
    domain: str
    size: int
    c_caller: str
    thread: int


def caller_text(caller: Caller) -> str:
    """Write a C caller: its name where there is one, then shared object and offset."""
    if caller is None:
        return ""
    symbol, module, offset = caller
    return f"{symbol} {module}+{offset:#x}".lstrip()


def caller_place(text: str) -> tuple[str, int] | None:
    """Read shared object and offset back; None if the text holds none."""
    module, plus, offset = text.rpartition(" ")[2].rpartition("+")
    if not plus:
        return None
    try:
        return module, int(offset, 16)
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _decode(code: CodeType, offset: int, domain: int) -> NativeSite:
    place = site_of_key((code, offset))
    return NativeSite(
        file=code.co_filename,
        function=code.co_qualname,
        first_line=code.co_firstlineno,
        line=place.line,
        column=place.column,
        offset=offset,
        domain=DOMAINS[domain],
    )


def read_sites(rows: Iterable[SiteRow], *, by_caller: bool) -> list[NativeSite]:
    """Decode a site table, in the order in which the sites were first reached.

    Args:
        rows: what the C module gave.
        by_caller: whether two C callers at one instruction are two sites. Inside an
            extension under test they always are.
    """
    found: dict[tuple[object, ...], NativeSite] = {}
    for _, code, offset, domain, caller, hits, smallest, largest, flags in sorted(
        rows, key=lambda row: row[0]
    ):
        if not hits or flags & (_VETOED | _FOREIGN):
            continue
        extension = bool(flags & _EXTENSION)
        site = replace(
            _decode(code, offset, domain),
            c_caller=caller_text(caller) if by_caller or extension else "",
            hits=hits,
            min_size=smallest,
            max_size=largest,
            extension=extension,
        )
        # Code that exec() makes again is another object: only its content counts.
        key = (site.file, site.function, site.first_line, offset, domain, site.c_caller, extension)
        same = found.get(key)
        if same is not None:
            site = replace(
                same,
                hits=same.hits + hits,
                min_size=min(same.min_size, smallest),
                max_size=max(same.max_size, largest),
            )
        found[key] = site
    return list(found.values())


def read_events(rows: Iterable[EventRow]) -> list[NativeEvent]:
    """Decode the ring of events, oldest first."""
    return [
        NativeEvent(
            number=number,
            site=None if code is None else _decode(code, offset, domain),
            domain=DOMAINS[domain],
            size=size,
            c_caller=caller_text(caller),
            thread=thread,
        )
        for number, code, offset, domain, caller, size, thread in rows
    ]
