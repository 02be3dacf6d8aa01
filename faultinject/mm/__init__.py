"""The model memory: a kernel's allocators in Python, with real bytes behind every pointer.

Only re-exports. `faultinject.mm.memory` has the whole, `faultinject.mm.functions` the
calls without a memory in front.
"""

from faultinject.capabilities.failslab import SLAB_FAILSLAB
from faultinject.mm import watermark
from faultinject.mm.attempt import Attempt
from faultinject.mm.check import BrokenInvariant
from faultinject.mm.current import current_memory, fresh_default, use_memory
from faultinject.mm.failures import Failure
from faultinject.mm.functions import (
    alloc_page,
    alloc_pages,
    alloc_pages_exact,
    free_page,
    free_pages,
    free_pages_exact,
    get_free_pages,
    get_page,
    get_zeroed_page,
    kcalloc,
    kfree,
    kfree_sensitive,
    kmalloc,
    kmalloc_array,
    kmalloc_size_roundup,
    kmemdup,
    krealloc,
    krealloc_array,
    ksize,
    kstrdup,
    kvcalloc,
    kvfree,
    kvmalloc,
    kvmalloc_array,
    kvzalloc,
    kzalloc,
    page_count,
    put_page,
    vfree,
    vmalloc,
    vzalloc,
)
from faultinject.mm.kmem_cache import SLAB_ACCOUNT, SLAB_HWCACHE_ALIGN, KmemCache
from faultinject.mm.ledger import LiveObject
from faultinject.mm.memory import Memory
from faultinject.mm.mempool import Mempool
from faultinject.mm.page import PAGE_SIZE, Page, get_order
from faultinject.mm.pointer import ZERO_SIZE_PTR, Pointer
from faultinject.mm.pool_functions import (
    kmem_cache_alloc,
    kmem_cache_alloc_bulk,
    kmem_cache_create,
    kmem_cache_destroy,
    kmem_cache_free,
    kmem_cache_free_bulk,
    kmem_cache_shrink,
    kmem_cache_zalloc,
    mempool_alloc,
    mempool_create,
    mempool_create_kmalloc_pool,
    mempool_create_page_pool,
    mempool_create_slab_pool,
    mempool_destroy,
    mempool_free,
    mempool_resize,
)
from faultinject.mm.pressure import Pressure
from faultinject.mm.shrinker import SHRINK_EMPTY, SHRINK_STOP, ShrinkControl, Shrinker
from faultinject.mm.slab import SLAB_RECLAIM_ACCOUNT
from faultinject.mm.tasks import Task, memalloc_nofs, memalloc_noio, memalloc_noreclaim
from faultinject.mm.watermark import Verdict
from faultinject.mm.zone import Zone

__all__ = [
    "PAGE_SIZE",
    "SHRINK_EMPTY",
    "SHRINK_STOP",
    "SLAB_ACCOUNT",
    "SLAB_FAILSLAB",
    "SLAB_HWCACHE_ALIGN",
    "SLAB_RECLAIM_ACCOUNT",
    "ZERO_SIZE_PTR",
    "Attempt",
    "BrokenInvariant",
    "Failure",
    "KmemCache",
    "LiveObject",
    "Memory",
    "Mempool",
    "Page",
    "Pointer",
    "Pressure",
    "ShrinkControl",
    "Shrinker",
    "Task",
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
    "get_page",
    "get_zeroed_page",
    "kcalloc",
    "kfree",
    "kfree_sensitive",
    "kmalloc",
    "kmalloc_array",
    "kmalloc_size_roundup",
    "kmem_cache_alloc",
    "kmem_cache_alloc_bulk",
    "kmem_cache_create",
    "kmem_cache_destroy",
    "kmem_cache_free",
    "kmem_cache_free_bulk",
    "kmem_cache_shrink",
    "kmem_cache_zalloc",
    "kmemdup",
    "krealloc",
    "krealloc_array",
    "ksize",
    "kstrdup",
    "kvcalloc",
    "kvfree",
    "kvmalloc",
    "kvmalloc_array",
    "kvzalloc",
    "kzalloc",
    "memalloc_nofs",
    "memalloc_noio",
    "memalloc_noreclaim",
    "mempool_alloc",
    "mempool_create",
    "mempool_create_kmalloc_pool",
    "mempool_create_page_pool",
    "mempool_create_slab_pool",
    "mempool_destroy",
    "mempool_free",
    "mempool_resize",
    "page_count",
    "put_page",
    "use_memory",
    "vfree",
    "vmalloc",
    "vzalloc",
    "watermark",
]
