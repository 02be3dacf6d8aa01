"""The lines with which vmalloc reports that it failed, in the wording of every version.

Lives here: reading them. Not here: other headers (``.headers``), what failed and why
(``.vmalloc_cause``).

Source: Linux mm/vmalloc.c, alloc_vmap_area(), __vmalloc_area_node() and
__vmalloc_node_range() of 2.6.16 to 6.12. Until 4.8 the header of a page allocation failure
follows, always of order 0, whatever failed. Where there was no range of addresses, a line of
its own comes first.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from faultinject.klog.reports import VmallocError

_BYTES: Final = "([0-9]{1,20})(?![0-9])"


class VmallocLine(NamedTuple):
    """What such a line says.

    Attributes:
        error: what failed.
        size: bytes that were asked for; None if the line does not tell.
        order: of the pages that could not be had; None if it was not for pages.
    """

    error: VmallocError
    size: int | None
    order: int | None = None


# Of 2.6.28 to 6.10; of 6.11 on; of those before.
_NO_ADDRESSES: Final = re.compile(
    rf"vmap allocation for size {_BYTES} failed"
    rf"|vmalloc_node_range for size {_BYTES} failed: Address range restricted to "
    r"0x([0-9a-f]{1,16}) - 0x([0-9a-f]{1,16})(?![0-9a-f])"
    rf"|vmalloc_node_range for size {_BYTES} failed"
    r"|allocation failed: out of vmalloc space"
)
# Of 3.0 to 5.12; of 5.13; of 5.14 on.
_OLD: Final = re.compile(
    rf"vmalloc: allocation failure(?:, allocated (-?[0-9]{{1,20}}) of {_BYTES} bytes|: {_BYTES}"
    r" bytes)"
)
_NEW: Final = re.compile(rf"vmalloc (?:error: size {_BYTES}, |size {_BYTES} allocation failure: )")
_ORDER: Final = re.compile(r"page order ([0-9]{1,2})(?![0-9])")
_ARRAY: Final = re.compile(rf"page array size {_BYTES}")

# The words of the new ones, and what failed.
_FAILED: Final = {
    "exceeds total pages": "size",
    "vm_struct allocation": "addresses",
    "page array size": "array",
    "failed to map pages": "mapping",
    "failed to allocate pages": "pages",
    "page order": "pages",
}


def read_no_addresses(text: str) -> VmallocLine | None:
    """Read the line that says that there was no range of addresses; None if it is none."""
    found = _NO_ADDRESSES.match(text)
    if found is None:
        return None
    old, new, start, end, cut = found.groups()
    within = None if start is None else int(end, 16) - int(start, 16)
    size = old or new or cut
    return VmallocLine(
        VmallocError("addresses", within=within), None if size is None else int(size)
    )


def read_error(text: str) -> VmallocLine | None:
    """Read what vmalloc says behind the task's name, if it says any such thing."""
    if (found := _OLD.match(text)) is not None:
        got, asked, size = found.groups()
        if got is not None:
            return VmallocLine(VmallocError("pages", got=int(got)), int(asked), 0)
        return VmallocLine(VmallocError("unknown" if int(size) else "size"), int(size))
    if (found := _NEW.match(text)) is None:
        return None
    size, rest = int(found[1] or found[2]), text[found.end() :]
    failed = next((what for words, what in _FAILED.items() if words in rest), "unknown")
    if failed == "pages":
        # The size is not what was asked for here, but what it had got.
        order = _ORDER.search(rest)
        return VmallocLine(VmallocError(failed, got=size), None, int(order[1]) if order else 0)
    array = _ARRAY.search(rest)
    return VmallocLine(VmallocError(failed, array=int(array[1]) if array else None), size)
