"""kmalloc: objects of any size, from the smallest class of slabs that holds them.

Lives here: the size classes, `Kmalloc`, and kfree, ksize and krealloc, which act
on an object's own memory. Not here: the slabs (`faultinject.mm.slab`), sizes
above 8 KiB, which are whole pages (`faultinject.mm.page_alloc`), and the calls
that are written with these (`faultinject.mm.kmalloc_family`).

Source: Linux 6.6 mm/slab_common.c and include/linux/slab.h, with SLUB and a
smallest class of 8 bytes; include/linux/slub_def.h of 2.6.24. What came before slabs is
`faultinject.mm.kmalloc_buckets`.
"""

from __future__ import annotations

from types import FrameType
from typing import Final

from faultinject.errors import SpecError, UseAfterFree
from faultinject.gfp import (
    ACCOUNT,
    DMA,
    DMA32,
    HIGHMEM,
    RECLAIMABLE,
    UNKNOWN,
    Gfp,
    int_gfp,
)
from faultinject.mm.bad_free import invalid_free
from faultinject.mm.buddy import MAX_ORDER
from faultinject.mm.kernel_version import KernelVersion
from faultinject.mm.ledger import known_site, recorded
from faultinject.mm.page import get_order
from faultinject.mm.page_alloc import Block, PageAllocator
from faultinject.mm.page_free import free_large
from faultinject.mm.pointer import ZERO_SIZE_PTR, Pointer
from faultinject.mm.ram import PAGE_SHIFT, PAGE_SIZE, Ram
from faultinject.mm.slab import Slab, SlabCache, free_object
from faultinject.mm.warn import fixed_flags

#: Object sizes by the kernel's index; index 0 stands for ``kmalloc(0)``.
CLASSES: Final = (0, 96, 192, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
#: The largest size that comes from a cache, in bytes; since 2.6.32.
MAX_CACHED: Final = CLASSES[-1]
#: The largest size at all, in bytes.
MAX_SIZE: Final = PAGE_SIZE << MAX_ORDER

#: (size + 7) // 8 -> index into CLASSES, for every size up to MAX_CACHED.
_INDEX: Final = tuple(
    CLASSES.index(min(c for c in CLASSES if c >= eighth * 8))
    for eighth in range(MAX_CACHED // 8 + 1)
)

_SPECIAL: Final = DMA | RECLAIMABLE | ACCOUNT
_BAD: Final = DMA32 | HIGHMEM | UNKNOWN
_UNNAMEABLE: Final = _SPECIAL | _BAD


class Kmalloc:
    """The kmalloc caches of one memory; each is made when it is first needed.

    Attributes:
        pages: where the slabs and the larger objects come from.
        version: of the kernel.
        max_cached: the largest size that comes from a cache, in bytes.
    """

    __slots__ = ("_families", "_normal", "max_cached", "pages", "version")

    def __init__(self, pages: PageAllocator) -> None:
        self.pages = pages
        self.version = pages.zones.machine.version
        self.max_cached = self.version.kmalloc_cached
        self._normal: list[SlabCache | None] = [None] * len(CLASSES)
        self._families = {"kmalloc": self._normal}

    def alloc(self, size: int, gfp: int, frame: FrameType | None) -> Pointer | None:
        """Return an object for `frame`, None, or ZERO_SIZE_PTR; the arguments are not checked."""
        kind = type(gfp)
        if kind is Gfp:
            gfp = gfp._value_  # type: ignore[attr-defined]  # a Gfp, as was just seen
        elif kind is not int:
            gfp = int_gfp(gfp)
        if type(size) is not int or size < 0:
            size = checked_size(size)
        caches = self._normal
        if gfp & _UNNAMEABLE:
            gfp, caches = self._unusual(gfp, frame)
        if size <= self.max_cached:
            index = _INDEX[(size + 7) >> 3]
            cache = caches[index]
            if cache is None:
                if index == 0:
                    return ZERO_SIZE_PTR
                cache = self._make(gfp, index)
            return cache.take(size, gfp, frame)
        return self.pages.alloc_large(size, gfp, frame)

    def roundup(self, size: int) -> int:
        """Return how many bytes a kmalloc of `size` would make usable; `size`, if it fails."""
        size = checked_size(size)
        if size <= self.max_cached:
            return CLASSES[_INDEX[(size + 7) >> 3]]
        return PAGE_SIZE << get_order(size) if size <= MAX_SIZE else size

    def _unusual(self, gfp: int, frame: FrameType | None) -> tuple[int, list[SlabCache | None]]:
        if gfp < 0:
            raise SpecError("gfp flags are negative", value=gfp, cure="Pass 0 or more")
        invalid = gfp & _BAD
        if invalid:
            gfp &= ~_BAD
            fixed_flags(invalid, gfp, frame)
        if not gfp & _SPECIAL:
            return gfp, self._normal
        with self.pages.ram.lock:
            caches = self._families.setdefault(_family(gfp), [None] * len(CLASSES))
        return gfp, caches

    def _make(self, gfp: int, index: int) -> SlabCache:
        family = _family(gfp)
        with self.pages.ram.lock:
            caches = self._families[family]
            cache = caches[index]
            if cache is None:
                cache = caches[index] = self._cache(family, index, _FAMILY_PAGES.get(family, 0))
        return cache

    def _cache(self, family: str, index: int, page_flags: int) -> SlabCache:
        size = CLASSES[index]
        name = f"{family}-{class_name(size, self.version)}"
        return SlabCache(self.pages, name, size, kind="kmalloc", page_flags=page_flags)

    def caches(self) -> list[SlabCache]:
        """Return the caches that have been made, the normal ones first."""
        with self.pages.ram.lock:
            return [
                cache for caches in self._families.values() for cache in caches if cache is not None
            ]


_FAMILY_PAGES: Final = {"dma-kmalloc": DMA, "kmalloc-rcl": RECLAIMABLE}


def _family(gfp: int) -> str:
    if not gfp & _SPECIAL:
        return "kmalloc"
    if gfp & DMA:
        return "dma-kmalloc"
    return "kmalloc-rcl" if gfp & RECLAIMABLE else "kmalloc-cg"


def class_name(size: int, version: KernelVersion) -> str:
    """Return a kernel's name of a size class: 512 is ``512``, 1024 is ``1k`` or ``1024``."""
    return f"{size >> 10}k" if size >= 1024 and version.kmalloc_in_k else str(size)


def checked_size(size: object) -> int:
    """Return a size in bytes; refuse what cannot be one.

    Raises:
        SpecError: it is negative, or not an int.
    """
    if isinstance(size, bool) or not isinstance(size, int):
        raise SpecError("a size is not an int", value=size, cure="Pass a number of bytes")
    if size < 0:
        raise SpecError("a size is negative", value=size, cure="Pass 0 or more bytes")
    return int(size)


def kfree(pointer: object, frame: FrameType | None, owner: Ram | None) -> None:
    """Free what the kmalloc family or a kmem_cache returned.

    None and ZERO_SIZE_PTR are no-ops.

    Args:
        pointer: what to free.
        frame: who frees.
        owner: the only memory that may take it, or None for its own.

    Raises:
        DoubleFree: it was freed before.
        InvalidFree: it is something else, or of another memory.
    """
    if type(pointer) is Pointer:
        home = pointer._home
        if owner is not None and pointer._ram is not owner:
            raise invalid_free(
                "kfree was given an object of another Memory", pointer, "Free it in its own Memory"
            )
        if type(home) is Slab:
            free_object(pointer, home, frame)
            return
        if type(home) is Block and home.freed_by == "kfree":
            free_large(pointer, home, frame)
            return
    if pointer is not None and pointer is not ZERO_SIZE_PTR:
        raise _not_ours("kfree", pointer)


def ksize(pointer: object, owner: Ram | None = None) -> int:
    """Return how many bytes are usable behind a pointer; 0 for None and ZERO_SIZE_PTR.

    Raises:
        UseAfterFree: it was freed.
        InvalidFree: it is nothing that kfree could free.
    """
    if pointer is None or pointer is ZERO_SIZE_PTR:
        return 0
    home = _slot(pointer, "ksize", owner)
    if isinstance(home, Slab):
        return home.cache.layout.room
    return 1 << (home.order + PAGE_SHIFT)


def krealloc(
    pointer: Pointer | None,
    size: int,
    gfp: int,
    frame: FrameType | None,
    heap: Kmalloc,
    owner: Ram | None,
) -> Pointer | None:
    """Resize an object, as `faultinject.mm.memory.Memory.krealloc` says.

    Args:
        pointer: what to resize.
        size: the bytes that are wanted.
        gfp: flags of a new allocation.
        frame: who asks.
        heap: where a new object comes from.
        owner: the only memory whose object may be resized, or None for any.
    """
    size = checked_size(size)
    if pointer is None or pointer is ZERO_SIZE_PTR:
        return heap.alloc(size, gfp, frame)
    if size == 0:
        kfree(pointer, frame, owner)
        return ZERO_SIZE_PTR
    usable = ksize(pointer, owner)
    if size <= usable:
        with pointer._ram.lock:
            if size != len(pointer):
                pointer._revoke_view(poison=False)
                pointer._size = size
        return pointer
    new = heap.alloc(size, gfp, frame)
    if new is not None:
        source, target = pointer._offset, new._offset
        new._ram.bytes[target : target + usable] = pointer._ram.bytes[source : source + usable]
        kfree(pointer, frame, owner)
    return new


def _slot(pointer: object, function: str, owner: Ram | None) -> Slab | Block:
    home = pointer._home if type(pointer) is Pointer else None
    if not isinstance(home, Slab) and not (isinstance(home, Block) and home.freed_by == "kfree"):
        raise _not_ours(function, pointer)
    assert isinstance(pointer, Pointer)
    if owner is not None and pointer._ram is not owner:
        raise invalid_free(
            f"{function} was given an object of another Memory", pointer, "Ask its own Memory"
        )
    if pointer._gone is not None:
        raise recorded(
            UseAfterFree(
                f"{function} was asked about a freed object",
                value=pointer.summary,
                address=pointer.address,
                allocated_at=known_site(pointer._made),
                freed_at=known_site(pointer._gone),
                cure="Do not keep the pointer after the free",
            )
        )
    return home


def _not_ours(function: str, pointer: object) -> Exception:
    freed_by = getattr(getattr(pointer, "_home", None), "freed_by", None)
    cure = f"Free it with {freed_by}" if freed_by else "Pass a kmalloc pointer"
    return invalid_free(f"{function} was given what kmalloc did not return", pointer, cure)
