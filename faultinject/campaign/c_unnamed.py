"""Functions of C that no symbol table names: where they begin, and which of them are known.

Lives here: where functions begin, from the table that exceptions are unwound with, which
stripping leaves; the parts of a function that the compiler moved away; the functions
that objects of the interpreter point to, each under the name that its source gives it.
Not here: symbol tables (`faultinject.campaign.c_symbols`).

A static function that stands in a type's slot or behind a built-in function is found
there, whatever was stripped. What nothing points to stays without a name.
"""

from __future__ import annotations

import os
import platform
import re
import struct
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from types import BuiltinFunctionType, FunctionType, GenericAlias, UnionType
from typing import Any, Final

from faultinject.campaign.c_symbols import symbols_of

# Of elf.h: a file of x86-64, kinds of a segment, and the flag of one that can be run.
_X86_64: Final = 62
_LOADED, _UNWINDING, _RUNS = 1, 0x6474E550, 1

# How the unwinding table is written by all linkers that count: sorted pairs of 32 bits,
# relative to the table's own beginning.
_ENCODED: Final = b"\x01\x1b\x03\x3b"

# call, jmp, and the conditional jumps, each before a distance of 32 bits.
_TRANSFER: Final = re.compile(rb"\xe8|\xe9|\x0f[\x80-\x8f]")
_CALL: Final = 0xE8
_JUMP: Final = 0xE9

# Functions begin at multiples of this, the parts of them anywhere.
_ALIGNED: Final = 16

# Modules with functions that the table names, which most programs do without.
_OPTIONAL: Final = ("_csv", "_elementtree", "_symtable", "_tokenize")

# What reading a file raises that is not there, is not ours to read, or is another kind.
_UNREADABLE: Final = (OSError, MemoryError, OverflowError, ValueError, struct.error)

# Of typeslots.h, which never changes.
_SLOTS: Final = {"mp_subscript": 5, "dealloc": 52, "descr_get": 54, "iter": 62, "new": 65}


def name_of(path: str, offset: int) -> str:
    """Name a function that has no symbol where the offset lies; "" if nobody knows it."""
    starts = starts_of(path)
    at = bisect_right(starts, offset) - 1
    if at < 0:
        return ""
    return _name_from(path, starts[at]) or _name_from(path, parts_of(path).get(starts[at], -1))


def _name_from(path: str, start: int) -> str:
    return symbols_of(path).name(start) or _pointed_to().get((os.path.realpath(path), start), "")


@cache
def cannot_be_told() -> str | None:
    """Say why CPython's own defects cannot all be told here; None if they can.

    Of an interpreter that has no symbol table, the functions must be known otherwise.
    """
    files = [path for path in _mapped() if path == program() or "/libpython" in path]
    if not files or all(symbols_of(path).whole for path in files):
        return None
    if platform.machine() == "x86_64" and _pointed_to() and any(map(starts_of, files)):
        return None
    return (
        "CPython's own defects cannot all be told from yours here: "
        "this interpreter has no symbol table"
    )


def _mapped() -> dict[str, int]:
    try:
        return dict(_files())
    except OSError:
        return {}  # not Linux


@cache
def program() -> str:
    """Give the file that this process runs, wherever a virtual environment points to it from."""
    return os.path.realpath(
        "/proc/self/exe" if os.path.exists("/proc/self/exe") else sys.executable
    )


@lru_cache(maxsize=16)
def starts_of(path: str) -> list[int]:
    """Read where a file's functions and their parts begin, in their order.

    As offsets from the file's beginning in memory; none if it cannot be read or says it
    otherwise.
    """
    try:
        image = _Image(path)
        at, address = image.unwinding
        if image.data[at : at + 4] != _ENCODED:
            return []
        (rows,) = struct.unpack_from("<I", image.data, at + 8)
        pairs = struct.unpack_from(f"<{2 * rows}i", image.data, at + 12)
        return sorted(start + address for start in pairs[::2])
    except _UNREADABLE:
        return []


@lru_cache(maxsize=16)
def parts_of(path: str) -> dict[int, int]:
    """Find the parts of a file's functions: where each begins, and where its function does.

    Only on x86-64: elsewhere jumps are written otherwise.
    """
    parts: dict[int, int] = {}
    starts = starts_of(path)
    try:
        image = _Image(path)
    except _UNREADABLE:
        return parts
    if starts and image.machine == _X86_64:
        for code, address in image.code:
            parts.update(_parts(code, address, starts))
    return parts


class _Image:
    """What a file of 64 bits puts into memory; addresses count from where it begins there.

    Raises:
        ValueError: it is no such file.
    """

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            self.data = data = file.read()
        if data[:6] != b"\x7fELF\x02\x01":  # of 64 bits, the lowest byte first
            raise ValueError("no ELF file")
        self.machine, at, size, count = struct.unpack_from("<18xH12xQ14xHH", data)
        segments = [
            struct.unpack_from("<IIQQQQQQ", data, at + size * number) for number in range(count)
        ]
        base = min((item[3] & ~0xFFF for item in segments if item[0] == _LOADED), default=0)
        self.unwinding = next(
            ((item[2], item[3] - base) for item in segments if item[0] == _UNWINDING), (0, 0)
        )
        self.code = [
            (data[item[2] : item[2] + item[5]], item[3] - base)
            for item in segments
            if item[0] == _LOADED and item[1] & _RUNS
        ]


def _parts(code: bytes, begin: int, starts: list[int]) -> dict[int, int]:
    """Find the regions that are part of a function which begins elsewhere.

    Such a part is jumped into, from one function only, and never called. A jump to where
    it begins may be the last call of a function instead, unless it has a condition. Bytes
    that look like a jump are not taken for one: two are wanted, there or back. Of the
    two regions the function is the one that is aligned.
    """
    called = set()
    sources: dict[int, Counter[int]] = {}
    inside = set()
    distance = struct.Struct("<i")
    for found in _TRANSFER.finditer(code, 0, max(0, len(code) - 4)):
        if found.end() + 4 > len(code):
            break
        target = begin + found.end() + 4 + distance.unpack_from(code, found.end())[0]
        if not begin <= target < begin + len(code):
            continue  # some other instruction's bytes
        region = starts[bisect_right(starts, target) - 1]
        opcode = code[found.start()]
        if opcode == _CALL:
            called.add(target)
            continue
        source = starts[bisect_right(starts, begin + found.start()) - 1]
        if source != region:
            sources.setdefault(region, Counter())[source] += 1
            if opcode != _JUMP or target != region:
                inside.add(region)
    parts = {}
    for region, origins in sources.items():
        if region % _ALIGNED == 0 or region in called or region not in inside or len(origins) > 1:
            continue
        ((origin, jumps),) = origins.items()
        if jumps + sources.get(origin, Counter())[region] > 1:
            parts[region] = origin
    return parts


def _pointed_to() -> dict[tuple[str, int], str]:
    """Name the functions that objects point to, by file and where they begin."""
    return _pointed_to_with(tuple(name for name in _OPTIONAL if name in sys.modules))


@cache
def _pointed_to_with(loaded: tuple[str, ...]) -> dict[tuple[str, int], str]:
    begins = _mapped()
    try:
        found = dict(_addresses(loaded)) if begins else {}
    except (ImportError, AttributeError):  # built without ctypes, or hides what is asked for
        return {}
    known = {}
    for address, name in found.items():
        path, begin = max(
            (item for item in begins.items() if item[1] <= address),
            key=lambda item: item[1],
            default=("", 0),
        )
        known[path, address - begin] = name
    return known


def _files() -> Iterator[tuple[str, int]]:
    """Give the files in memory, each with where it begins."""
    seen = set()
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            where, _, _, _, _, *rest = line.split(maxsplit=5)
            path = rest[0].rstrip("\n") if rest else ""
            if path.startswith("/") and path not in seen:
                seen.add(path)
                yield path, int(where.partition("-")[0], 16)


def _addresses(loaded: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Give the functions behind objects that exist anyway, each with its name in the source.

    Of a module that only a child imports nothing is known: to import it here as well would
    change what the children after it ask for.
    """
    modules = {name: sys.modules[name] for name in loaded}
    import ctypes

    api = ctypes.PyDLL(None)
    slot_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_int)(
        ("PyType_GetSlot", api)
    )
    function_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(
        ("PyCFunction_GetFunction", api)
    )
    slots: list[tuple[Any, str, str]] = [
        (type({}.items()), "iter", "dictitems_iter"),
        (type(iter({}.items())), "dealloc", "dictiter_dealloc"),
        (GenericAlias, "mp_subscript", "ga_getitem"),
        (UnionType, "mp_subscript", "union_getitem"),
        (FunctionType, "descr_get", "func_descr_get"),
    ]
    functions: list[tuple[Any, str]] = [({}.setdefault, "dict_setdefault"), (open, "_io_open")]
    tokenizer = getattr(modules.get("_tokenize"), "TokenizerIter", None)
    slots.append((getattr(modules.get("_csv"), "Dialect", None), "new", "dialect_new"))
    slots.append((tokenizer, "new", "tokenizeriter_new"))
    functions.append((getattr(modules.get("_symtable"), "symtable", None), "_symtable_symtable"))
    element_type = getattr(modules.get("_elementtree"), "Element", None)
    if isinstance(element_type, type) and element_type.__module__ == "xml.etree.ElementTree":
        element = element_type("a")
        slots.append((type(element.iter()), "dealloc", "elementiter_dealloc"))
        functions.append((element.iter, "_elementtree_Element_iter"))
        functions.append((element.itertext, "_elementtree_Element_itertext"))
    functions += [(value, f"os_{name}") for name, value in vars(sys.modules["posix"]).items()]
    # What code under test has put in their place is nobody's of these.
    for owner, slot, name in slots:
        if isinstance(owner, type) and (address := slot_of(owner, _SLOTS[slot])):
            yield address, name
    for function, name in functions:
        if isinstance(function, BuiltinFunctionType) and (address := function_of(function)):
            yield address, name
