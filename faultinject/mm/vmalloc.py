"""vmalloc: pages from anywhere, side by side only for who uses them; and kvmalloc above it.

Lives here: `VmallocAreas`, the areas of one memory, `VmallocPointer`, vfree and kvfree.
Not here: the pages (`faultinject.mm.page_alloc`), and kmalloc (`faultinject.mm.kmalloc`).

An area takes its pages one by one, so that no fragmentation hinders it. What it needs
besides is taken as in the kernel, and can fail there: a descriptor, and an array of the
pages, which is a kmalloc up to one page and an area of its own above. Those two are the
model's own and no leaks. The bytes are mapped apart from the pages: nobody can reach them
through a page.

Source: Linux 6.6 mm/vmalloc.c, __vmalloc_node_range(), and mm/util.c, kvmalloc_node().
Pages of areas are never large ones, and addresses never run out.
"""

from __future__ import annotations

import contextlib
from types import FrameType
from typing import Final

from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.engine.message import fail_dump
from faultinject.gfp import (
    DIRECT_RECLAIM,
    DMA,
    DMA32,
    HIGHMEM,
    NOFAIL,
    NORETRY,
    NOWARN,
    RETRY_MAYFAIL,
    ZERO,
    Gfp,
    format_gfp,
)
from faultinject.mm.alloc_flags import WMARK_LOW
from faultinject.mm.bad_free import double_free, invalid_free
from faultinject.mm.failure_text import comm
from faultinject.mm.kmalloc import Kmalloc, checked_size, kfree
from faultinject.mm.ledger import Trace, trace_of
from faultinject.mm.page_alloc import checked_gfp
from faultinject.mm.pointer import Pointer
from faultinject.mm.ram import (
    PAGE_OFFSET,
    PAGE_SHIFT,
    PAGE_SIZE,
    POISON_INUSE,
    POISON_LIMIT,
    Ram,
)
from faultinject.mm.span import Home
from faultinject.mm.zones import PLAN_BITS, contradiction

#: Where areas begin on x86-64; between two of them lies a page that nobody has.
VMALLOC_START: Final = 0xFFFF_C900_0000_0000
#: The size of an area's descriptor, struct vm_struct, in bytes.
DESCRIPTOR: Final = 64
#: The size of one entry of an area's array of pages, in bytes.
ENTRY: Final = 8
#: So many pages are asked for at once, before they are asked for one by one.
BULK: Final = 100
#: The most that kvmalloc gives from an area, in bytes.
INT_MAX: Final = (1 << 31) - 1

#: What the descriptor and the array take over of a request's flags.
_NESTED: Final = int(
    Gfp.RECLAIM
    | Gfp.HIGH
    | Gfp.IO
    | Gfp.FS
    | Gfp.NOWARN
    | Gfp.RETRY_MAYFAIL
    | Gfp.NOFAIL
    | Gfp.NORETRY
    | Gfp.MEMALLOC
    | Gfp.NOMEMALLOC
    | Gfp.NOLOCKDEP
)


class VmallocArea(Home):
    """One area.

    Attributes:
        areas: takes it back.
        frames: the page frames, in no order.
        place: where it begins, as the distance to `PAGE_OFFSET`.
        own: what the area needs besides.
        freed_by: the name of the function that frees it.
    """

    __slots__ = ("areas", "frames", "freed_by", "own", "place")

    def __init__(
        self, areas: VmallocAreas, frames: list[int], place: int, own: tuple[Pointer, ...]
    ) -> None:
        super().__init__("vmalloc")
        self.areas = areas
        self.frames = frames
        self.place = place
        self.own = own
        self.freed_by = "vfree"


class VmallocPointer(Pointer):
    """What vmalloc returns. kfree does not take it; vfree and kvfree do."""

    __slots__ = ("_area",)

    def __init__(self, ram: Ram, size: int, area: VmallocArea, made: Trace) -> None:
        super().__init__(ram, 0, size, area, made)
        self._area = area

    @property
    def address(self) -> int:
        """The address of the first byte, also after the free."""
        return PAGE_OFFSET + self._area.place


class VmallocAreas:
    """The areas of one memory, and the calls that make them.

    Args:
        heap: gives the descriptors; its page allocator gives the pages.
    """

    __slots__ = ("_end", "_gaps", "_heap", "_pages", "_total", "ram")

    def __init__(self, heap: Kmalloc, total: int) -> None:
        self._heap = heap
        self._pages = heap.pages
        self._total = total
        self.ram = heap.pages.ram
        self._end = VMALLOC_START - PAGE_OFFSET
        # Freed places by their number of pages: the next area of that size is put there.
        self._gaps: dict[int, list[int]] = {}

    def alloc(self, size: int, gfp: int, frame: FrameType | None) -> VmallocPointer | None:
        """Make an area of `size` bytes for `frame`, or None.

        Raises:
            SpecError: `size` is negative or not an int, or `gfp` has unknown bits.
        """
        size, gfp = checked_size(size), checked_gfp(gfp)
        if self._pages.zones.plans[gfp & PLAN_BITS] is None:
            raise contradiction(gfp)
        if size == 0:
            _complain("WARNING: vmalloc of 0 bytes", gfp, frame)
            return None
        if size > self._total:
            _complain(f"vmalloc error: size {size}, exceeds total pages", gfp, frame)
            return None
        return self._make(size, gfp, frame)

    def kvmalloc(self, size: int, gfp: int, frame: FrameType | None) -> Pointer | None:
        """Return `size` bytes from kmalloc or, if it has none, from an area.

        Raises:
            SpecError: `size` is negative or not an int, or `gfp` is negative.
        """
        size = checked_size(size)
        lightly = gfp
        if size > PAGE_SIZE:
            lightly = (gfp | NOWARN) & ~NOFAIL
            if not gfp & RETRY_MAYFAIL:
                lightly |= NORETRY
        found = self._heap.alloc(size, lightly, frame)
        if found is not None or size <= PAGE_SIZE or not gfp & DIRECT_RECLAIM:
            return found
        if size > INT_MAX:
            _complain(f"WARNING: kvmalloc of {size} bytes, more than {INT_MAX}", gfp, frame)
            return None
        return self.alloc(size, gfp, frame)

    def _make(
        self, size: int, gfp: int, frame: FrameType | None, *, own: bool = False
    ) -> VmallocPointer | None:
        """Make an area; with `own` it is one that the model needs itself."""
        pages = -(-size // PAGE_SIZE)
        ram = self.ram.beside(pages << PAGE_SHIFT)  # raises before anything is taken
        nested = gfp & _NESTED | ZERO
        descriptor = self._heap.alloc(DESCRIPTOR, nested, frame)
        if descriptor is None:
            _complain(f"vmalloc error: size {size}, vm_struct allocation failed", gfp, frame)
            return None
        self.ram.claim(descriptor._offset)
        length = pages * ENTRY
        array: Pointer | None
        if length > PAGE_SIZE:
            array = self._make(length, nested, frame, own=True)
        else:
            array = self._heap.alloc(length, nested, frame)
            if array is not None:
                self.ram.claim(array._offset)
        if array is None:
            _complain(
                f"vmalloc error: size {pages << PAGE_SHIFT}, "
                f"failed to allocated page array size {length}",
                gfp,
                frame,
            )
            self._release((descriptor,), frame)
            return None
        frames = self._take(pages, gfp, frame)
        if frames is None:
            self._release((descriptor, array), frame)
            return None
        if not gfp & ZERO:
            fill = POISON_INUSE * min(POISON_LIMIT, ram.size)
            ram.bytes[: len(fill)] = fill
        with ram.lock:
            area = VmallocArea(self, frames, self._place(pages), (descriptor, array))
            pointer = VmallocPointer(ram, size, area, trace_of(frame))
            (ram.own if own else ram.live)[area.place] = pointer
        return pointer

    def _place(self, pages: int) -> int:
        """Find addresses for an area, and a page behind it that nobody has."""
        gaps = self._gaps.get(pages)
        if gaps:
            return gaps.pop()
        place = self._end
        self._end += (pages + 1) << PAGE_SHIFT
        return place

    def _take(self, count: int, gfp: int, frame: FrameType | None) -> list[int] | None:
        if not gfp & (DMA | DMA32):
            gfp |= HIGHMEM
        quiet = gfp | NOWARN
        frames: list[int] = []
        while len(frames) < count:
            wanted = min(BULK, count - len(frames))
            found = self._take_bulk(wanted, quiet & ~NOFAIL, frame)
            frames += found
            if len(found) < wanted:
                break
        retry = True  # after a bulk that was refused, not a request of its own
        while len(frames) < count:
            offset = self._pages.obtain(0, quiet, frame, retry=retry)
            if offset is None:
                _complain(
                    f"vmalloc error: size {len(frames) << PAGE_SHIFT}, failed to allocate pages",
                    gfp,
                    frame,
                )
                self._give_back(frames)
                return None
            frames.append(offset >> PAGE_SHIFT)
            retry = False
        return frames

    def _take_bulk(self, count: int, gfp: int, frame: FrameType | None) -> list[int]:
        """Take up to `count` pages for which no mark and no fault stands in the way."""
        plan = self._pages.zones.plans[gfp & PLAN_BITS]
        if plan is None or fail_page_alloc.should_fail(0, gfp, frame):
            return []
        frames: list[int] = []
        with self.ram.lock:
            while len(frames) < count:
                pfn = self._pages.zones.take(plan, 0, WMARK_LOW)
                if pfn is None:
                    break
                frames.append(pfn)
        return frames

    def _give_back(self, frames: list[int]) -> None:
        with self.ram.lock:
            for pfn in frames:
                self._pages.blocks.free(pfn, 0)

    def _release(self, own: tuple[Pointer, ...], frame: FrameType | None) -> None:
        for pointer in own:
            self.ram.disclaim(pointer.address - PAGE_OFFSET)
            kvfree(pointer, frame, self.ram)

    def take_back(
        self, pointer: VmallocPointer, area: VmallocArea, frame: FrameType | None
    ) -> None:
        """End an area.

        Raises:
            DoubleFree: it has ended already.
        """
        with self.ram.lock:
            first = pointer._gone is None
            if first:
                pointer._gone = trace_of(frame)
                del self.ram.live[area.place]
                pointer._revoke_view(poison=True)
                self._give_back(area.frames)
                self._gaps.setdefault(len(area.frames), []).append(area.place)
        if not first:
            raise double_free(pointer)
        # Slices of a view still show the poison, and keep the bytes.
        with contextlib.suppress(BufferError):
            pointer._ram.bytes.close()
        self._release(area.own, frame)


def _complain(what: str, gfp: int, frame: FrameType | None) -> None:
    """Log why there is no area, unless ``__GFP_NOWARN`` forbids it."""
    if not gfp & NOWARN:
        fail_dump(
            f"{comm()}: {what}, mode:{gfp:#x}({format_gfp(gfp)}), "
            "nodemask=(null),cpuset=/,mems_allowed=0",
            stack=False,
            suppressed=0,
            frame=frame,
        )


def vfree(pointer: object, frame: FrameType | None, owner: Ram | None) -> None:
    """Free what vmalloc returned; None is a no-op.

    Args:
        pointer: what to free.
        frame: who frees.
        owner: the only memory that may take it, or None for its own.

    Raises:
        DoubleFree: it was freed before.
        InvalidFree: it is something else, or of another memory.
    """
    if pointer is None:
        return
    if type(pointer) is not VmallocPointer:
        freed_by = getattr(getattr(pointer, "_home", None), "freed_by", "kfree")
        raise invalid_free(
            "vfree was given what vmalloc did not return", pointer, f"Free it with {freed_by}"
        )
    area = pointer._area
    if owner is not None and area.areas.ram is not owner:
        raise invalid_free(
            "vfree was given an object of another Memory", pointer, "Free it in its own Memory"
        )
    area.areas.take_back(pointer, area, frame)


def kvfree(pointer: object, frame: FrameType | None, owner: Ram | None) -> None:
    """Free what kvmalloc, kmalloc or vmalloc returned; None is a no-op.

    Raises:
        DoubleFree: it was freed before.
        InvalidFree: it is something else, or of another memory.
    """
    if type(pointer) is VmallocPointer:
        vfree(pointer, frame, owner)
    else:
        kfree(pointer, frame, owner)
