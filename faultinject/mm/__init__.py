"""The model memory: a kernel's allocators in Python, with real bytes behind every pointer.

Only re-exports. `faultinject.mm.memory` has the whole, `faultinject.mm.functions` the
calls without a memory in front.
"""

from faultinject.capabilities.failslab import SLAB_FAILSLAB
from faultinject.mm import watermark
from faultinject.mm.check import BrokenInvariant
from faultinject.mm.current import current_memory, fresh_default, use_memory
from faultinject.mm.functions import (
    alloc_page,
    alloc_pages,
    alloc_pages_exact,
    free_page,
    free_pages,
    free_pages_exact,
    get_free_pages,
    get_zeroed_page,
    kcalloc,
    kfree,
    kmalloc,
    kmalloc_array,
    kmem_cache_create,
    kmemdup,
    krealloc,
    ksize,
    kstrdup,
    kzalloc,
)
from faultinject.mm.kmem_cache import SLAB_ACCOUNT, SLAB_HWCACHE_ALIGN, KmemCache
from faultinject.mm.ledger import LiveObject
from faultinject.mm.memory import Memory
from faultinject.mm.page import PAGE_SIZE, Page, get_order
from faultinject.mm.pointer import ZERO_SIZE_PTR, Pointer
from faultinject.mm.pressure import Pressure
from faultinject.mm.slab import SLAB_RECLAIM_ACCOUNT
from faultinject.mm.watermark import Verdict
from faultinject.mm.zone import Zone

__all__ = [
    "PAGE_SIZE",
    "SLAB_ACCOUNT",
    "SLAB_FAILSLAB",
    "SLAB_HWCACHE_ALIGN",
    "SLAB_RECLAIM_ACCOUNT",
    "ZERO_SIZE_PTR",
    "BrokenInvariant",
    "KmemCache",
    "LiveObject",
    "Memory",
    "Page",
    "Pointer",
    "Pressure",
    "Verdict",
    "Zone",
    "alloc_page",
    "alloc_pages",
    "alloc_pages_exact",
    "current_memory",
    "free_page",
    "free_pages",
    "free_pages_exact",
    "fresh_default",
    "get_free_pages",
    "get_order",
    "get_zeroed_page",
    "kcalloc",
    "kfree",
    "kmalloc",
    "kmalloc_array",
    "kmem_cache_create",
    "kmemdup",
    "krealloc",
    "ksize",
    "kstrdup",
    "kzalloc",
    "use_memory",
    "watermark",
]
