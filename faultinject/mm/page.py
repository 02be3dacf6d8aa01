"""Pages: their size, the order of a size, and `Page`.

Not here: which pages are free (`faultinject.mm.buddy`), and how they are asked
for (`faultinject.mm.page_alloc`).
"""

from __future__ import annotations

from typing import Final

from faultinject.errors import SpecError
from faultinject.mm.ram import PAGE_SHIFT, PAGE_SIZE
from faultinject.mm.span import Span

__all__ = ["PAGE_SHIFT", "PAGE_SIZE", "Page", "get_order"]

_CURE: Final = "Pass a size of 1 byte or more"


def get_order(size: int) -> int:
    """Return the smallest order whose block holds `size` bytes: 4096 is 0, 4097 is 1.

    Raises:
        SpecError: `size` is not an int of 1 or more; the kernel leaves 0 undefined.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise SpecError("no order holds this size", value=size, cure=_CURE)
    return ((size - 1) >> PAGE_SHIFT).bit_length()


class Page(Span):
    """A block of ``1 << order`` pages; its bytes are read and written like a pointer's."""

    __slots__ = ()

    @property
    def pfn(self) -> int:
        """The page frame number of the first page."""
        return self._offset >> PAGE_SHIFT

    @property
    def order(self) -> int:
        """The order that was asked for, and that ``free_pages`` must be told."""
        return get_order(self._size)
