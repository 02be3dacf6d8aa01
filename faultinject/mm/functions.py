"""The kernel's calls as functions: allocations from the current memory, frees to the owner.

Not here: those for caches and pools (`faultinject.mm.pool_functions`), which memory is
current (`faultinject.mm.current`), and what the calls do, which their namesakes of
`faultinject.mm.memory.Memory` describe.

An object is always freed into the memory that it came from, whichever is current.
"""

from __future__ import annotations

from faultinject.callsite import outer_frame
from faultinject.gfp import ZERO, Gfp
from faultinject.mm import kmalloc_family, page_free, page_refs
from faultinject.mm.current import current_memory
from faultinject.mm.kmalloc import kfree as _kfree
from faultinject.mm.kmalloc import krealloc as _krealloc
from faultinject.mm.kmalloc import ksize as _ksize
from faultinject.mm.page import Page
from faultinject.mm.page_alloc import checked_gfp
from faultinject.mm.pointer import Pointer
from faultinject.mm.span import BytesLike, Span
from faultinject.mm.vmalloc import kvfree as _kvfree
from faultinject.mm.vmalloc import vfree as _vfree


def kmalloc(size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kmalloc`."""
    return current_memory()._heap.alloc(size, gfp, outer_frame())


def kzalloc(size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kzalloc`."""
    return kmalloc_family.kzalloc(current_memory()._heap, size, gfp, outer_frame())


def kmalloc_array(count: int, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kmalloc_array`."""
    return kmalloc_family.kmalloc_array(current_memory()._heap, count, size, gfp, outer_frame())


def kcalloc(count: int, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kcalloc`."""
    return kmalloc_family.kcalloc(current_memory()._heap, count, size, gfp, outer_frame())


def krealloc(pointer: Pointer | None, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.krealloc`; a new object comes from the memory of `pointer`."""
    memory = pointer.memory if type(pointer) is Pointer else current_memory()
    return _krealloc(pointer, size, gfp, outer_frame(), memory._heap, None)


def krealloc_array(
    pointer: Pointer | None, count: int, size: int, gfp: int = Gfp.KERNEL
) -> Pointer | None:
    """See `Memory.krealloc_array`; a new object comes from the memory of `pointer`."""
    total = kmalloc_family.array_size(count, size)
    return None if total is None else krealloc(pointer, total, gfp)


def ksize(pointer: Pointer | None) -> int:
    """See `Memory.ksize`."""
    return _ksize(pointer)


def kmalloc_size_roundup(size: int) -> int:
    """See `Memory.kmalloc_size_roundup`."""
    return current_memory()._heap.roundup(size)


def kfree(pointer: Pointer | None) -> None:
    """See `Memory.kfree`."""
    _kfree(pointer, outer_frame(), None)


def kfree_sensitive(pointer: Pointer | None) -> None:
    """See `Memory.kfree_sensitive`."""
    kmalloc_family.kfree_sensitive(pointer, outer_frame(), None)


def kstrdup(string: str | BytesLike | Pointer | None, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kstrdup`."""
    return kmalloc_family.kstrdup(current_memory()._heap, string, gfp, outer_frame())


def kmemdup(source: BytesLike | Span, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kmemdup`."""
    return kmalloc_family.kmemdup(current_memory()._heap, source, size, gfp, outer_frame())


def vmalloc(size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.vmalloc`."""
    return current_memory()._areas.alloc(size, gfp, outer_frame())


def vzalloc(size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.vzalloc`."""
    return current_memory().vzalloc(size, gfp)


def vfree(pointer: Pointer | None) -> None:
    """See `Memory.vfree`."""
    _vfree(pointer, outer_frame(), None)


def kvmalloc(size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kvmalloc`."""
    return current_memory().kvmalloc(size, gfp)


def kvzalloc(size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kvzalloc`."""
    return current_memory().kvzalloc(size, gfp)


def kvmalloc_array(count: int, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kvmalloc_array`."""
    return current_memory().kvmalloc_array(count, size, gfp)


def kvcalloc(count: int, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kvcalloc`."""
    return current_memory().kvcalloc(count, size, gfp)


def kvfree(pointer: Pointer | None) -> None:
    """See `Memory.kvfree`."""
    _kvfree(pointer, outer_frame(), None)


def alloc_pages(gfp: int = Gfp.KERNEL, order: int = 0) -> Page | None:
    """See `Memory.alloc_pages`."""
    return current_memory()._pages.alloc_pages(gfp, order, outer_frame())


def alloc_page(gfp: int = Gfp.KERNEL) -> Page | None:
    """See `Memory.alloc_page`."""
    return current_memory()._pages.alloc_pages(gfp, 0, outer_frame())


def get_free_pages(gfp: int = Gfp.KERNEL, order: int = 0) -> Pointer | None:
    """See `Memory.get_free_pages`."""
    return current_memory()._pages.get_free_pages(gfp, order, outer_frame())


def get_zeroed_page(gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.get_zeroed_page`."""
    return current_memory()._pages.get_free_pages(checked_gfp(gfp) | ZERO, 0, outer_frame())


def alloc_pages_exact(size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.alloc_pages_exact`."""
    return current_memory()._pages.alloc_pages_exact(size, gfp, outer_frame())


def free_pages(pages: Page | Pointer | None, order: int = 0) -> None:
    """See `Memory.free_pages`."""
    page_free.free_pages(pages, order, outer_frame(), None)


def free_page(page: Page | Pointer | None) -> None:
    """See `Memory.free_page`."""
    page_free.free_pages(page, 0, outer_frame(), None)


def free_pages_exact(pointer: Pointer | None, size: int) -> None:
    """See `Memory.free_pages_exact`."""
    page_free.free_pages_exact(pointer, size, outer_frame(), None)


def get_page(page: Page) -> None:
    """See `Memory.get_page`."""
    page_refs.get_page(page, None)


def put_page(page: Page) -> None:
    """See `Memory.put_page`."""
    page_free.put_page(page, outer_frame(), None)


def page_count(page: Page) -> int:
    """See `Memory.page_count`."""
    return page_refs.page_count(page, None)
