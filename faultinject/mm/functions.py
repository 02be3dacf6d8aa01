"""The kernel's calls as functions: allocations from the current memory, frees to the owner.

Not here: which memory is current (`faultinject.mm.current`), and what the calls do,
which their namesakes of `faultinject.mm.memory.Memory` describe.

An object is always freed into the memory that it came from, whichever is current.
"""

from __future__ import annotations

from faultinject.callsite import caller_frame
from faultinject.gfp import ZERO, Gfp
from faultinject.mm import kmalloc_family, page_free
from faultinject.mm.current import current_memory
from faultinject.mm.kmalloc import kfree as _kfree
from faultinject.mm.kmalloc import krealloc as _krealloc
from faultinject.mm.kmalloc import ksize as _ksize
from faultinject.mm.kmem_cache import KmemCache
from faultinject.mm.page import Page
from faultinject.mm.page_alloc import checked_gfp
from faultinject.mm.pointer import Pointer
from faultinject.mm.slab import Constructor
from faultinject.mm.span import BytesLike, Span


def kmalloc(size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kmalloc`."""
    return current_memory()._heap.alloc(size, gfp, caller_frame())


def kzalloc(size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kzalloc`."""
    return kmalloc_family.kzalloc(current_memory()._heap, size, gfp, caller_frame())


def kmalloc_array(count: int, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kmalloc_array`."""
    return kmalloc_family.kmalloc_array(current_memory()._heap, count, size, gfp, caller_frame())


def kcalloc(count: int, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kcalloc`."""
    return kmalloc_family.kcalloc(current_memory()._heap, count, size, gfp, caller_frame())


def krealloc(pointer: Pointer | None, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.krealloc`; a new object comes from the memory of `pointer`."""
    memory = pointer.memory if type(pointer) is Pointer else current_memory()
    return _krealloc(pointer, size, gfp, caller_frame(), memory._heap, None)


def ksize(pointer: Pointer | None) -> int:
    """See `Memory.ksize`."""
    return _ksize(pointer)


def kfree(pointer: Pointer | None) -> None:
    """See `Memory.kfree`."""
    _kfree(pointer, caller_frame(), None)


def kstrdup(string: str | BytesLike | Pointer | None, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kstrdup`."""
    return kmalloc_family.kstrdup(current_memory()._heap, string, gfp, caller_frame())


def kmemdup(source: BytesLike | Span, size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.kmemdup`."""
    return kmalloc_family.kmemdup(current_memory()._heap, source, size, gfp, caller_frame())


def kmem_cache_create(
    name: str, size: int, align: int = 0, flags: int = 0, ctor: Constructor | None = None
) -> KmemCache:
    """See `Memory.kmem_cache_create`."""
    return current_memory().kmem_cache_create(name, size, align, flags, ctor)


def alloc_pages(gfp: int = Gfp.KERNEL, order: int = 0) -> Page | None:
    """See `Memory.alloc_pages`."""
    return current_memory()._pages.alloc_pages(gfp, order, caller_frame())


def alloc_page(gfp: int = Gfp.KERNEL) -> Page | None:
    """See `Memory.alloc_page`."""
    return current_memory()._pages.alloc_pages(gfp, 0, caller_frame())


def get_free_pages(gfp: int = Gfp.KERNEL, order: int = 0) -> Pointer | None:
    """See `Memory.get_free_pages`."""
    return current_memory()._pages.get_free_pages(gfp, order, caller_frame())


def get_zeroed_page(gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.get_zeroed_page`."""
    return current_memory()._pages.get_free_pages(checked_gfp(gfp) | ZERO, 0, caller_frame())


def alloc_pages_exact(size: int, gfp: int = Gfp.KERNEL) -> Pointer | None:
    """See `Memory.alloc_pages_exact`."""
    return current_memory()._pages.alloc_pages_exact(size, gfp, caller_frame())


def free_pages(pages: Page | Pointer | None, order: int = 0) -> None:
    """See `Memory.free_pages`."""
    page_free.free_pages(pages, order, caller_frame(), None)


def free_page(page: Page | Pointer | None) -> None:
    """See `Memory.free_page`."""
    page_free.free_pages(page, 0, caller_frame(), None)


def free_pages_exact(pointer: Pointer | None, size: int) -> None:
    """See `Memory.free_pages_exact`."""
    page_free.free_pages_exact(pointer, size, caller_frame(), None)
