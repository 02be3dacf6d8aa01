"""kmem_cache: objects of one kind for code that allocates many.

Lives here: `KmemCache`, its creation and its end. Not here: the slabs behind it
(`faultinject.mm.slab`).

Source: Linux 6.6 mm/slab_common.c. Caches are not merged, and making one takes
nothing from the model memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import FrameType
from typing import TYPE_CHECKING, Final

from faultinject.callsite import outer_frame
from faultinject.capabilities.failslab import SLAB_FAILSLAB, failslab
from faultinject.errors import DoubleFree, LeakedObjects, SpecError, UsageError
from faultinject.gfp import Gfp
from faultinject.mm.bad_free import double_free, invalid_free
from faultinject.mm.ledger import recorded, site_of_trace
from faultinject.mm.page_alloc import PageAllocator, checked_gfp
from faultinject.mm.pointer import Pointer
from faultinject.mm.ram import PAGE_SIZE
from faultinject.mm.slab import SLAB_RECLAIM_ACCOUNT, Constructor, Slab, SlabCache, free_object
from faultinject.mm.span import Home, Span

if TYPE_CHECKING:
    from faultinject.mm.memory import Memory

SLAB_HWCACHE_ALIGN: Final = 0x0000_2000
SLAB_ACCOUNT: Final = 0x0400_0000

#: The largest object, in bytes (KMALLOC_MAX_SIZE).
MAX_OBJECT: Final = 4 << 20

_FLAGS: Final = SLAB_HWCACHE_ALIGN | SLAB_RECLAIM_ACCOUNT | SLAB_FAILSLAB | SLAB_ACCOUNT
_CACHE_LINE: Final = 64
_WORD: Final = 8


class KmemCache(SlabCache):
    """A cache of objects of one size, made by ``kmem_cache_create``."""

    __slots__ = ()

    @property
    def memory(self) -> Memory:
        """The memory that it is in."""
        return self._ram.memory

    def alloc(self, gfp: int = Gfp.KERNEL) -> Pointer | None:
        """Return an object, or None if a fault is injected or memory is exhausted.

        Raises:
            SpecError: `gfp` is not an int or has unknown bits.
            UseAfterFree: the cache was destroyed.
        """
        return self.take(self.object_size, checked_gfp(gfp), outer_frame())

    def free(self, obj: Pointer | None) -> None:
        """Give an object back; None is a no-op.

        Raises:
            DoubleFree: it was freed before.
            InvalidFree: it is not from this cache.
        """
        if obj is not None:
            self._free_for(obj, outer_frame())

    def alloc_bulk(self, gfp: int, count: int) -> list[Pointer] | None:
        """Return `count` objects, or None and not one of them.

        failslab is asked once for the whole.

        Raises:
            SpecError: `gfp` is not an int or has unknown bits.
            UsageError: `count` is not an int of 0 or more.
        """
        frame = outer_frame()
        gfp = checked_gfp(gfp)
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise UsageError("not a number of objects", value=count, cure="Pass 0 or more")
        taken: list[Pointer] = []
        if count and failslab.should_fail(self, gfp, frame):
            return None
        while len(taken) < count:
            one = self.take(self.object_size, gfp, frame, asked=True)
            if one is None:
                for other in taken:
                    self._free_for(other, frame)
                return None
            taken.append(one)
        return taken

    def free_bulk(self, objects: Iterable[Pointer]) -> None:
        """Give several objects back, in order, or none of them if one of them cannot be.

        Raises:
            DoubleFree: one was freed before, or is there twice.
            InvalidFree: one is not from this cache.
        """
        frame = outer_frame()
        objects = list(objects)
        seen: set[Pointer] = set()
        with self._ram.lock:
            for obj in objects:
                self._verify(obj)
                if obj._gone is not None or obj in seen:
                    raise double_free(obj)
                seen.add(obj)
            for obj in objects:
                self._free_for(obj, frame)

    def destroy(self) -> None:
        """End the cache and give its pages back.

        Raises:
            LeakedObjects: objects are left. They are named, and the cache goes on living.
            DoubleFree: it was destroyed before.
        """
        with self._ram.lock:
            dead, self._dead = self._dead, True
            # Only a cache that must not be destroyed is worth a look at the whole ledger.
            unused = all(len(slab.free) == slab.total for slab in self.slabs)
            left = [] if dead or unused else self.objects()
            if left:
                self._dead = False
        if dead:
            raise recorded(
                DoubleFree(
                    "a kmem_cache was destroyed a second time",
                    value=self.name,
                    cure="Destroy a cache once",
                )
            )
        if left:
            self._refuse_destroy(left)
        with self._ram.lock:
            self.shrink()
            self.memory._kmem_caches.pop(self, None)

    def __repr__(self) -> str:
        state = "destroyed" if self._dead else f"{len(self.slabs)} slabs"
        return f"<KmemCache {self.name!r}, {self.object_size} bytes, {state}>"

    def _free_for(self, obj: object, frame: FrameType | None) -> None:
        pointer, slab = self._verify(obj)
        free_object(pointer, slab, frame)

    def _verify(self, obj: object) -> tuple[Pointer, Slab]:
        slab = obj._home if type(obj) is Pointer else None
        if not isinstance(slab, Slab) or slab.cache is not self:
            owner = f"; it is from {slab.kind}" if isinstance(slab, Home) else ""
            raise invalid_free(
                f"kmem_cache {self.name!r} was given an object that is not its own{owner}",
                obj,
                "Free an object to the cache that it came from",
            )
        assert isinstance(obj, Pointer)
        return obj, slab

    def _refuse_destroy(self, left: list[Span]) -> None:
        shown = [
            f"{span.address:#x} ({len(span)} bytes, allocated at {site_of_trace(span._made)})"
            for span in left[:10]
        ]
        if len(left) > len(shown):
            shown.append(f"and {len(left) - len(shown)} more")
        number = "1 object" if len(left) == 1 else f"{len(left)} objects"
        fault = LeakedObjects(
            f"kmem_cache {self.name!r} still has {number} when it is destroyed",
            address=left[0].address,
            cure="Free them first: " + "; ".join(shown),
        )
        fault.allocated_at = site_of_trace(left[0]._made)
        raise recorded(fault)


def create_kmem_cache(
    pages: PageAllocator,
    name: str,
    size: int,
    align: int = 0,
    flags: int = 0,
    ctor: Constructor | None = None,
) -> KmemCache:
    """Check the arguments of ``kmem_cache_create`` and make the cache.

    Raises:
        SpecError: an argument is impossible. In the kernel these are EINVAL and a warning.
    """
    if not isinstance(name, str) or not name or any(c.isspace() for c in name):
        raise SpecError(
            "not a name for a kmem_cache", value=name, cure="Pass a text without blanks"
        )
    where = f"kmem_cache {name!r}"
    if not _is_int(size) or not 1 <= size <= MAX_OBJECT:
        raise SpecError(
            "not a size for objects",
            value=size,
            where=where,
            cure=f"Pass an int of 1 to {MAX_OBJECT}",
        )
    if not _is_int(align) or not 0 <= align <= PAGE_SIZE or align & (align - 1):
        raise SpecError(
            "not an alignment",
            value=align,
            where=where,
            cure=f"Pass 0 or a power of two of at most {PAGE_SIZE}",
        )
    if not _is_int(flags) or flags & ~_FLAGS:
        raise SpecError(
            "unknown kmem_cache flags",
            value=hex(flags) if _is_int(flags) else flags,
            where=where,
            cure="Combine SLAB_HWCACHE_ALIGN, SLAB_RECLAIM_ACCOUNT, SLAB_FAILSLAB, SLAB_ACCOUNT",
        )
    if ctor is not None and not callable(ctor):
        raise SpecError(
            "a constructor cannot be called",
            value=ctor,
            where=where,
            cure="Pass a function of one Pointer",
        )
    return KmemCache(
        pages,
        name,
        size,
        kind=f"kmem_cache:{name}",
        align=_alignment(size, align, flags),
        flags=flags,
        ctor=ctor,
    )


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _alignment(size: int, align: int, flags: int) -> int:
    if flags & SLAB_HWCACHE_ALIGN:
        # Small objects share a line, but none lies across two.
        line = _CACHE_LINE
        while size <= line // 2:
            line //= 2
        align = max(align, line)
    return max(align, _WORD)
