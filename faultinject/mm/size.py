"""Sizes of memories, zones and pressure: bytes, or a text such as ``"64M"``.

Not here: what is done with them (`faultinject.mm.memory`, `faultinject.mm.zone_layout`).
"""

from __future__ import annotations

import re
from typing import Final

from faultinject.errors import SpecError
from faultinject.mm.ram import PAGE_SIZE

#: The smallest memory, in bytes.
MIN_SIZE: Final = PAGE_SIZE
#: The largest, in bytes: what x86-64 maps directly.
MAX_SIZE: Final = 64 << 40

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_CURE: Final = 'Pass bytes, or a text such as "64K", "64M" or "1G"'


def parse_size(size: object, *, of: str = "a Memory", least: int = MIN_SIZE) -> int:
    """Read a size, in bytes.

    Args:
        size: an int, or a text with K, M, G or T for powers of 1024.
        of: what has the size, for errors.
        least: the smallest size, in bytes.

    Raises:
        SpecError: it is neither bytes nor such a text, is no multiple of the page size,
            or is too small or too large.
    """
    if isinstance(size, str):
        found = re.fullmatch(r"([0-9]{1,20})([KMGT]?)", size.strip(), re.ASCII | re.IGNORECASE)
        if found is None:
            raise SpecError(f"not the size of {of}", value=size, cure=_CURE)
        value = int(found[1]) * _UNITS[found[2].upper()]
    elif isinstance(size, bool) or not isinstance(size, int):
        raise SpecError(f"not the size of {of}", value=size, cure=_CURE)
    else:
        value = int(size)
    if not least <= value <= MAX_SIZE:
        raise SpecError(
            f"{of} cannot be that small or large",
            value=size,
            cure=f"Pass at least {least} and at most {MAX_SIZE} bytes",
        )
    if value % PAGE_SIZE:
        raise SpecError(
            f"the size of {of} is not a multiple of the page size",
            value=size,
            cure=f"Pass a multiple of {PAGE_SIZE} bytes",
        )
    return value
