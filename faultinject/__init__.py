"""Fault injection for Python: make calls fail, systematically, and see what holds.

Lives here: the public names, and nothing else. Each is imported when it is first used
(PEP 562), so that ``import faultinject`` costs next to nothing in a run that injects
nothing. The first use puts it into this module, after which it is an ordinary global.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own is not worth two milliseconds here
if TYPE_CHECKING:
    from faultinject.api import (
        fail_alloc,
    )
    from faultinject.callsite import (
        CallSite,
    )
    from faultinject.campaign.sweep import (
        sweep,
    )
    from faultinject.capabilities.fail_page_alloc import (
        fail_page_alloc,
    )
    from faultinject.capabilities.failslab import (
        failslab,
    )
    from faultinject.engine.attr import (
        FaultAttr,
    )
    from faultinject.engine.log import (
        Injection,
        injections,
    )
    from faultinject.engine.scope import (
        fail_nth,
        make_it_fail,
        no_faults,
    )
    from faultinject.errors import (
        CapabilityError,
        Deadlock,
        DoubleFree,
        FaultInjectError,
        InvalidFree,
        LeakedObjects,
        MemoryFault,
        OutOfBounds,
        SpecError,
        UnavailableError,
        UsageError,
        UseAfterFree,
    )
    from faultinject.functions.afresh import (
        import_afresh,
    )
    from faultinject.functions.capability import (
        fail_function,
    )
    from faultinject.functions.injectable import (
        error_injectable,
    )
    from faultinject.gfp import (
        __GFP_ACCOUNT,
        __GFP_COMP,
        __GFP_DIRECT_RECLAIM,
        __GFP_DMA,
        __GFP_DMA32,
        __GFP_FS,
        __GFP_HARDWALL,
        __GFP_HIGH,
        __GFP_HIGHMEM,
        __GFP_IO,
        __GFP_KSWAPD_RECLAIM,
        __GFP_MEMALLOC,
        __GFP_MOVABLE,
        __GFP_NOFAIL,
        __GFP_NOLOCKDEP,
        __GFP_NOMEMALLOC,
        __GFP_NORETRY,
        __GFP_NOWARN,
        __GFP_RECLAIM,
        __GFP_RECLAIMABLE,
        __GFP_RETRY_MAYFAIL,
        __GFP_SKIP_KASAN,
        __GFP_SKIP_ZERO,
        __GFP_THISNODE,
        __GFP_WRITE,
        __GFP_ZERO,
        __GFP_ZEROTAGS,
        GFP_ATOMIC,
        GFP_DMA,
        GFP_DMA32,
        GFP_HIGHUSER,
        GFP_HIGHUSER_MOVABLE,
        GFP_KERNEL,
        GFP_KERNEL_ACCOUNT,
        GFP_NOFS,
        GFP_NOIO,
        GFP_NOWAIT,
        GFP_TRANSHUGE,
        GFP_TRANSHUGE_LIGHT,
        GFP_USER,
        Gfp,
        format_gfp,
    )
    from faultinject.mm import (
        PAGE_SIZE,
        SHRINK_EMPTY,
        SHRINK_STOP,
        SLAB_ACCOUNT,
        SLAB_FAILSLAB,
        SLAB_HWCACHE_ALIGN,
        SLAB_RECLAIM_ACCOUNT,
        ZERO_SIZE_PTR,
        KmemCache,
        LiveObject,
        Memory,
        Mempool,
        Page,
        Pointer,
        alloc_page,
        alloc_pages,
        alloc_pages_exact,
        current_memory,
        free_page,
        free_pages,
        free_pages_exact,
        get_free_pages,
        get_order,
        get_page,
        get_zeroed_page,
        kcalloc,
        kfree,
        kfree_sensitive,
        kmalloc,
        kmalloc_array,
        kmalloc_size_roundup,
        kmem_cache_alloc,
        kmem_cache_alloc_bulk,
        kmem_cache_create,
        kmem_cache_destroy,
        kmem_cache_free,
        kmem_cache_free_bulk,
        kmem_cache_shrink,
        kmem_cache_zalloc,
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
        memalloc_nofs,
        memalloc_noio,
        memalloc_noreclaim,
        mempool_alloc,
        mempool_create,
        mempool_create_kmalloc_pool,
        mempool_create_page_pool,
        mempool_create_slab_pool,
        mempool_destroy,
        mempool_free,
        mempool_resize,
        page_count,
        put_page,
        use_memory,
        vfree,
        vmalloc,
        vzalloc,
    )
    from faultinject.native.capability import (
        fail_pymem,
    )

__all__ = [
    "GFP_ATOMIC",
    "GFP_DMA",
    "GFP_DMA32",
    "GFP_HIGHUSER",
    "GFP_HIGHUSER_MOVABLE",
    "GFP_KERNEL",
    "GFP_KERNEL_ACCOUNT",
    "GFP_NOFS",
    "GFP_NOIO",
    "GFP_NOWAIT",
    "GFP_TRANSHUGE",
    "GFP_TRANSHUGE_LIGHT",
    "GFP_USER",
    "PAGE_SIZE",
    "SHRINK_EMPTY",
    "SHRINK_STOP",
    "SLAB_ACCOUNT",
    "SLAB_FAILSLAB",
    "SLAB_HWCACHE_ALIGN",
    "SLAB_RECLAIM_ACCOUNT",
    "ZERO_SIZE_PTR",
    "__GFP_ACCOUNT",
    "__GFP_COMP",
    "__GFP_DIRECT_RECLAIM",
    "__GFP_DMA",
    "__GFP_DMA32",
    "__GFP_FS",
    "__GFP_HARDWALL",
    "__GFP_HIGH",
    "__GFP_HIGHMEM",
    "__GFP_IO",
    "__GFP_KSWAPD_RECLAIM",
    "__GFP_MEMALLOC",
    "__GFP_MOVABLE",
    "__GFP_NOFAIL",
    "__GFP_NOLOCKDEP",
    "__GFP_NOMEMALLOC",
    "__GFP_NORETRY",
    "__GFP_NOWARN",
    "__GFP_RECLAIM",
    "__GFP_RECLAIMABLE",
    "__GFP_RETRY_MAYFAIL",
    "__GFP_SKIP_KASAN",
    "__GFP_SKIP_ZERO",
    "__GFP_THISNODE",
    "__GFP_WRITE",
    "__GFP_ZERO",
    "__GFP_ZEROTAGS",
    "CallSite",
    "CapabilityError",
    "Deadlock",
    "DoubleFree",
    "FaultAttr",
    "FaultInjectError",
    "Gfp",
    "Injection",
    "InvalidFree",
    "KmemCache",
    "LeakedObjects",
    "LiveObject",
    "Memory",
    "MemoryFault",
    "Mempool",
    "OutOfBounds",
    "Page",
    "Pointer",
    "SpecError",
    "UnavailableError",
    "UsageError",
    "UseAfterFree",
    "alloc_page",
    "alloc_pages",
    "alloc_pages_exact",
    "current_memory",
    "error_injectable",
    "fail_alloc",
    "fail_function",
    "fail_nth",
    "fail_page_alloc",
    "fail_pymem",
    "failslab",
    "format_gfp",
    "free_page",
    "free_pages",
    "free_pages_exact",
    "get_free_pages",
    "get_order",
    "get_page",
    "get_zeroed_page",
    "import_afresh",
    "injections",
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
    "make_it_fail",
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
    "no_faults",
    "page_count",
    "put_page",
    "sweep",
    "use_memory",
    "vfree",
    "vmalloc",
    "vzalloc",
]

__version__ = "0.1.0"

# Where each public name lives, flags aside. The imports above say the same to type
# checkers; a test compares the two.
_HOMES = {
    "faultinject.api": "fail_alloc",
    "faultinject.callsite": "CallSite",
    "faultinject.campaign.sweep": "sweep",
    "faultinject.capabilities.fail_page_alloc": "fail_page_alloc",
    "faultinject.capabilities.failslab": "failslab",
    "faultinject.engine.attr": "FaultAttr",
    "faultinject.engine.log": "Injection injections",
    "faultinject.engine.scope": "fail_nth make_it_fail no_faults",
    "faultinject.errors": (
        "CapabilityError Deadlock DoubleFree FaultInjectError InvalidFree LeakedObjects "
        "MemoryFault OutOfBounds SpecError UnavailableError UsageError UseAfterFree"
    ),
    "faultinject.functions.afresh": "import_afresh",
    "faultinject.functions.capability": "fail_function",
    "faultinject.functions.injectable": "error_injectable",
    "faultinject.gfp": "Gfp format_gfp",
    "faultinject.native.capability": "fail_pymem",
    "faultinject.mm": (
        "PAGE_SIZE SLAB_ACCOUNT SLAB_FAILSLAB SLAB_HWCACHE_ALIGN SLAB_RECLAIM_ACCOUNT "
        "ZERO_SIZE_PTR KmemCache LiveObject Memory Mempool Page Pointer alloc_page "
        "alloc_pages alloc_pages_exact current_memory free_page free_pages "
        "free_pages_exact get_free_pages get_order get_page get_zeroed_page kcalloc "
        "kfree kfree_sensitive kmalloc kmalloc_array kmalloc_size_roundup "
        "kmem_cache_alloc kmem_cache_alloc_bulk kmem_cache_create kmem_cache_destroy "
        "kmem_cache_free kmem_cache_free_bulk kmem_cache_shrink kmem_cache_zalloc "
        "kmemdup krealloc krealloc_array ksize kstrdup kvcalloc kvfree kvmalloc "
        "kvmalloc_array kvzalloc kzalloc mempool_alloc mempool_create "
        "mempool_create_kmalloc_pool mempool_create_page_pool mempool_create_slab_pool "
        "mempool_destroy mempool_free mempool_resize page_count put_page use_memory "
        "vfree vmalloc vzalloc "
        "SHRINK_EMPTY SHRINK_STOP memalloc_nofs memalloc_noio memalloc_noreclaim"
    ),
}
_SUBMODULES = (
    "api",
    "callsite",
    "campaign",
    "capabilities",
    "engine",
    "errors",
    "functions",
    "gfp",
    "mm",
    "native",
)


def _home_of(name: str) -> str | None:
    if name.startswith(("GFP_", "__GFP_")):
        return "faultinject.gfp" if name in __all__ else None
    return next((home for home, names in _HOMES.items() if name in names.split()), None)


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    # Inside a class body Python turns fi.__GFP_ZERO into fi._ThatClass__GFP_ZERO.
    public = name[max(name.find("__GFP_"), 0) :] if name.startswith("_") else name
    home = _home_of(public)
    if home is not None:
        value: object = getattr(import_module(home), public)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=None)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
