"""The calls that are kmalloc and a little more: arrays, zeros, copies.

Not here: kmalloc itself, and krealloc (`faultinject.mm.kmalloc`).

Source: Linux 6.6 include/linux/slab.h and mm/util.c.
"""

from __future__ import annotations

from types import FrameType
from typing import Final

from faultinject.errors import OutOfBounds, UsageError
from faultinject.gfp import ZERO, int_gfp
from faultinject.mm.kmalloc import Kmalloc, checked_size, kfree, ksize
from faultinject.mm.ledger import known_site, recorded
from faultinject.mm.pointer import Pointer
from faultinject.mm.ram import Ram
from faultinject.mm.span import BytesLike, Span

#: Sizes are 64 bits wide, as on the machines that are modelled.
SIZE_MAX: Final = (1 << 64) - 1


def kzalloc(heap: Kmalloc, size: int, gfp: int, frame: FrameType | None) -> Pointer | None:
    """As kmalloc, filled with zeros."""
    return heap.alloc(size, int_gfp(gfp) | ZERO, frame)


def array_size(count: int, size: int) -> int | None:
    """Return ``count * size``, or None if that overflows 64 bits.

    Raises:
        SpecError: one of them is negative, or not an int.
    """
    total = checked_size(count) * checked_size(size)
    return None if total > SIZE_MAX else total


def kmalloc_array(
    heap: Kmalloc, count: int, size: int, gfp: int, frame: FrameType | None
) -> Pointer | None:
    """As kmalloc of ``count * size`` bytes; None, silently, if that overflows 64 bits."""
    total = array_size(count, size)
    return None if total is None else heap.alloc(total, gfp, frame)


def kcalloc(
    heap: Kmalloc, count: int, size: int, gfp: int, frame: FrameType | None
) -> Pointer | None:
    """As `kmalloc_array`, filled with zeros."""
    return kmalloc_array(heap, count, size, int_gfp(gfp) | ZERO, frame)


def kfree_sensitive(pointer: Pointer | None, frame: FrameType | None, owner: Ram | None) -> None:
    """As kfree, but all usable bytes are overwritten with zeros first.

    Raises:
        DoubleFree: it was freed before.
        InvalidFree: it is nothing that kfree could free, or of another memory.
    """
    if type(pointer) is Pointer and pointer._gone is None:
        pointer._ram.zero(pointer._offset, ksize(pointer, owner))
    kfree(pointer, frame, owner)


def kstrdup(
    heap: Kmalloc, text: str | BytesLike | Pointer | None, gfp: int, frame: FrameType | None
) -> Pointer | None:
    """Copy a C string and its closing zero byte; None for None.

    A ``str`` is encoded as UTF-8. As in C, the string ends at its first zero byte.

    Raises:
        UsageError: `text` is no text.
        OutOfBounds: `text` is a pointer, and no zero byte ends its string.
    """
    if text is None:
        return None
    if isinstance(text, str):
        content = text.encode()
    elif isinstance(text, Span):
        content = bytes(text)
        if 0 not in content:
            raise recorded(
                OutOfBounds(
                    "a string without a closing zero byte was duplicated",
                    value=text.summary,
                    address=text.address,
                    allocated_at=known_site(text._made),
                    cure="End the string with a zero byte, or use kmemdup",
                )
            )
    elif isinstance(text, bytes | bytearray | memoryview):
        content = bytes(text)
    else:
        raise UsageError("not a string", value=text, cure="Pass a str, bytes or a Pointer")
    content = content.partition(b"\0")[0] + b"\0"
    return _copy(heap, content, gfp, frame)


def kmemdup(
    heap: Kmalloc, source: BytesLike | Span, size: int, gfp: int, frame: FrameType | None
) -> Pointer | None:
    """Copy the first `size` bytes of `source`.

    Raises:
        UsageError: `source` is no bytes, or has fewer than `size`.
        OutOfBounds: `source` is a pointer to fewer than `size`.
    """
    size = checked_size(size)
    if isinstance(source, Span):
        content = source[0:size]
    elif isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
        if len(content) < size:
            raise UsageError(
                f"{len(content)} bytes are fewer than the size to copy",
                value=size,
                cure="Pass at most the length of the source",
            )
        content = content[:size]
    else:
        raise UsageError("not bytes", value=source, cure="Pass bytes or a Pointer")
    return _copy(heap, content, gfp, frame)


def _copy(heap: Kmalloc, content: bytes, gfp: int, frame: FrameType | None) -> Pointer | None:
    new = heap.alloc(len(content), gfp, frame)
    if new is not None and content:
        new[:] = content
    return new
