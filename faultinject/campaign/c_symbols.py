"""Names of C functions, from the symbol tables of the files they are in.

Lives here: reading an ELF file's symbol table, the static functions included where it
was not stripped, and the name of the function at an offset. Not here: where the offsets
come from (`faultinject.campaign.c_stacks`).

It needs no program to be installed. What it cannot name stays an offset: a static
function of a stripped file, code that is in no file, a file that is not ELF.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from functools import lru_cache
from operator import itemgetter
from typing import Any, BinaryIO, Final

# Of elf.h. A section: its type, offset, size, and the section with its names.
_SYMBOL_TABLE, _DYNAMIC_SYMBOLS, _LOADED = 2, 11, 1
_FUNCTIONS: Final = (2, 10)

# What a compiler appends to the name of a part or a copy of a function.
_PART = re.compile(r"(\.(cold|isra|part|constprop|lto_priv|localalias|llvm)(\.\d+)*)+$")

_Row = tuple[int, int, int]  # where a function begins, its size, where its name is


class Symbols:
    """The functions of one file.

    Args:
        rows: the functions, in the order in which they begin.
        names: the table of names that the rows point into.
        base: the address for which the file was linked.
        whole: it was not stripped of its static functions.
    """

    def __init__(self, rows: list[_Row], names: bytes, base: int, *, whole: bool = False) -> None:
        self.whole: Final = whole
        self._rows = rows
        self._starts = [row[0] for row in rows]
        self._names = names
        self._base = base

    def name(self, offset: int) -> str:
        """Give the function at an offset from the file's beginning in memory; "" if unknown."""
        address = self._base + offset
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return ""
        start, size, name_at = self._rows[at]
        if address >= start + size:
            return ""
        name = self._names[name_at : self._names.index(b"\0", name_at)]
        return _PART.sub("", name.decode(errors="replace"))


_NONE: Final = Symbols([], b"", 0)


@lru_cache(maxsize=64)
def symbols_of(path: str) -> Symbols:
    """Read the functions of a file; none if it cannot be read or is no ELF file."""
    try:
        with open(path, "rb") as file:
            return _read(file)
    except (OSError, ValueError, OverflowError, MemoryError, struct.error, IndexError):
        return _NONE


def _read(file: BinaryIO) -> Symbols:
    ident = file.read(16)
    if ident[:4] != b"\x7fELF":
        return _NONE
    is_wide, order = ident[4] == 2, "<" if ident[5] == 1 else ">"
    word = "Q" if is_wide else "I"
    header = struct.Struct(f"{order}HHI{word}{word}{word}IHHHHHH")
    head = header.unpack(file.read(header.size))
    programs_at, sections_at = head[4], head[5]
    program_size, n_programs, section_size, n_sections = head[8:12]
    section = struct.Struct(f"{order}II{word}{word}{word}{word}II{word}{word}")
    sections = list(_table(file, section, sections_at, section_size, n_sections))
    tables = [item for item in sections if item[1] in (_SYMBOL_TABLE, _DYNAMIC_SYMBOLS)]
    if not tables:
        return _NONE
    table = min(tables, key=itemgetter(1))  # the whole one, unless it was stripped off
    names = _part(file, sections[table[6]])
    entry = struct.Struct(f"{order}IBBHQQ" if is_wide else f"{order}IIIBBH")
    rows = []
    for fields in entry.iter_unpack(_part(file, table)):
        if is_wide:
            name, info, _, where, start, size = fields
        else:
            name, start, size, info, _, where = fields
        if info & 0xF in _FUNCTIONS and where and size:
            rows.append((start, size, name))
    rows.sort()
    program = struct.Struct(f"{order}IIQQQQQQ" if is_wide else f"{order}IIIIIIII")
    address_at = 3 if is_wide else 2
    loaded = [
        item[address_at] & ~0xFFF
        for item in _table(file, program, programs_at, program_size, n_programs)
        if item[0] == _LOADED
    ]
    return Symbols(rows, names, min(loaded, default=0), whole=table[1] == _SYMBOL_TABLE)


def _table(file: BinaryIO, row: struct.Struct, at: int, size: int, count: int) -> Any:
    file.seek(at)
    data = file.read(size * count)
    return (row.unpack_from(data, number * size) for number in range(count))


def _part(file: BinaryIO, section: tuple[int, ...]) -> bytes:
    file.seek(section[4])
    return file.read(section[5])
