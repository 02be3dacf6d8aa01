"""The methods of a `Memory` for objects of any size: kmalloc's family, vmalloc's, kvmalloc's.

Lives here: what they promise; each finds its caller and passes it on. Not here: what
they do (`faultinject.mm.kmalloc`, `faultinject.mm.kmalloc_family`,
`faultinject.mm.vmalloc`), and the same calls without a memory in front
(`faultinject.mm.functions`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faultinject.callsite import outer_frame
from faultinject.gfp import ZERO, Gfp, int_gfp
from faultinject.mm import kmalloc_family
from faultinject.mm.kmalloc import kfree as _kfree
from faultinject.mm.kmalloc import krealloc as _krealloc
from faultinject.mm.kmalloc import ksize as _ksize
from faultinject.mm.pointer import Pointer
from faultinject.mm.span import BytesLike, Span
from faultinject.mm.vmalloc import kvfree as _kvfree
from faultinject.mm.vmalloc import vfree as _vfree

if TYPE_CHECKING:
    from faultinject.mm.memory import Memory


def kmalloc(self: Memory, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """Return `size` bytes that hold no promised value, or None.

    ``kmalloc(0)`` is ZERO_SIZE_PTR. More than 4 MiB is None, with one logged
    warning. Flags that kmalloc cannot honour are dropped with a warning.

    Raises:
        SpecError: `size` is negative or not an int, or `gfp` is not an int.
    """
    return self._heap.alloc(size, gfp, outer_frame())


def kzalloc(self: Memory, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """As `kmalloc`, filled with zeros."""
    return kmalloc_family.kzalloc(self._heap, size, gfp, outer_frame())


def kmalloc_array(self: Memory, count: int, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """As `kmalloc` of ``count * size`` bytes; None, silently, past 64 bits."""
    return kmalloc_family.kmalloc_array(self._heap, count, size, gfp, outer_frame())


def kcalloc(self: Memory, count: int, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """As `kmalloc_array`, filled with zeros."""
    return kmalloc_family.kcalloc(self._heap, count, size, gfp, outer_frame())


def krealloc(
    self: Memory, pointer: Pointer | None, size: int, gfp: int = Gfp.KERNEL
) -> Pointer | None:
    """Resize an object and keep its contents.

    While `size` fits into ``ksize(pointer)``, the same pointer comes back, nothing
    is allocated and nothing can fail. Otherwise the object moves, and `pointer` is
    freed. None means failure: `pointer` is still valid. A size of 0 frees and
    returns ZERO_SIZE_PTR; a `pointer` of None allocates. ``data`` must be taken
    again. As in the kernel, ``__GFP_ZERO`` does not clear what grows in place.

    Raises:
        UseAfterFree: it was freed.
        InvalidFree: it is nothing that kfree could free, or of another Memory.
    """
    return _krealloc(pointer, size, gfp, outer_frame(), self._heap, self._ram)


def krealloc_array(
    self: Memory, pointer: Pointer | None, count: int, size: int, gfp: int = Gfp.KERNEL
) -> Pointer | None:
    """As `krealloc` to ``count * size`` bytes; None, silently, past 64 bits."""
    total = kmalloc_family.array_size(count, size)
    if total is None:
        return None
    return _krealloc(pointer, total, gfp, outer_frame(), self._heap, self._ram)


def ksize(self: Memory, pointer: Pointer | None) -> int:
    """Return how many bytes are usable behind `pointer`; 0 for None and ZERO_SIZE_PTR."""
    return _ksize(pointer, self._ram)


def kmalloc_size_roundup(self: Memory, size: int) -> int:
    """Return what ``ksize`` would say of a kmalloc of `size` bytes, without allocating.

    A size that kmalloc refuses is returned as it is.
    """
    return self._heap.roundup(size)


def kfree(self: Memory, pointer: Pointer | None) -> None:
    """Free what the kmalloc family or a kmem_cache returned; None is a no-op.

    Raises:
        DoubleFree: it was freed before.
        InvalidFree: it is something else, or of another Memory.
    """
    _kfree(pointer, outer_frame(), self._ram)


def kfree_sensitive(self: Memory, pointer: Pointer | None) -> None:
    """As `kfree`, but all its usable bytes are overwritten with zeros first."""
    kmalloc_family.kfree_sensitive(pointer, outer_frame(), self._ram)


def kstrdup(
    self: Memory, string: str | BytesLike | Pointer | None, gfp: int = Gfp.KERNEL
) -> Pointer | None:
    """Copy a string and its closing zero byte; a ``str`` as UTF-8. None for None."""
    return kmalloc_family.kstrdup(self._heap, string, gfp, outer_frame())


def kmemdup(
    self: Memory, source: BytesLike | Span, size: int, gfp: int = Gfp.KERNEL
) -> Pointer | None:
    """Copy the first `size` bytes of `source`."""
    return kmalloc_family.kmemdup(self._heap, source, size, gfp, outer_frame())


def vmalloc(self: Memory, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """Return `size` bytes on pages that need not lie side by side, or None.

    The pages are taken one by one, so that fragmentation does not matter. Free them
    with `vfree`. 0 bytes, and more than the Memory has, are None with a warning.

    Raises:
        SpecError: `size` is negative or not an int, or `gfp` is not an int or has unknown bits.
    """
    return self._areas.alloc(size, gfp, outer_frame())


def vzalloc(self: Memory, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """As `vmalloc`, filled with zeros."""
    return self._areas.alloc(size, int_gfp(gfp) | ZERO, outer_frame())


def vfree(self: Memory, pointer: Pointer | None) -> None:
    """Free what `vmalloc` returned; None is a no-op.

    Raises:
        DoubleFree: it was freed before.
        InvalidFree: it is something else, or of another Memory.
    """
    _vfree(pointer, outer_frame(), self._ram)


def kvmalloc(self: Memory, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """Return `size` bytes from kmalloc, or else from vmalloc; free them with `kvfree`.

    Of more than a page, kmalloc is asked once, lightly and silently; vmalloc follows
    only if the request may sleep. More than 2 GiB is None with a warning.

    Raises:
        SpecError: as `kmalloc`.
    """
    return self._areas.kvmalloc(size, int_gfp(gfp), outer_frame())


def kvzalloc(self: Memory, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """As `kvmalloc`, filled with zeros."""
    return self._areas.kvmalloc(size, int_gfp(gfp) | ZERO, outer_frame())


def kvmalloc_array(self: Memory, count: int, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """As `kvmalloc` of ``count * size`` bytes; None, silently, past 64 bits."""
    total = kmalloc_family.array_size(count, size)
    return None if total is None else self._areas.kvmalloc(total, int_gfp(gfp), outer_frame())


def kvcalloc(self: Memory, count: int, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """As `kvmalloc_array`, filled with zeros."""
    gfp = int_gfp(gfp) | ZERO
    total = kmalloc_family.array_size(count, size)
    return None if total is None else self._areas.kvmalloc(total, gfp, outer_frame())


def kvfree(self: Memory, pointer: Pointer | None) -> None:
    """Free what `kvmalloc`, `kmalloc` or `vmalloc` returned; None is a no-op.

    Raises:
        DoubleFree: it was freed before.
        InvalidFree: it is something else, or of another Memory.
    """
    _kvfree(pointer, outer_frame(), self._ram)
