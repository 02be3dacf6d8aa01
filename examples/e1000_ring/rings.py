"""The rings of the adapter: descriptors, the driver's notes on each slot, and the buffers.

Differences from a real driver: the descriptors come from the page allocator and not from the DMA
API, and the notes from kcalloc and not from vzalloc.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field

import faultinject as fi

PAGE_BYTES = 4096
DESCRIPTOR_BYTES = 16
NOTE_BYTES = 40  # what the driver remembers of one slot: the buffer, its address, a time stamp


def pages_order(size: int) -> int:
    """The smallest order that holds `size` bytes."""
    return max(0, (size - 1).bit_length() - 12)


@dataclass
class Ring:
    """One transmit or receive ring. Between `setup` and `release` it owns its memory."""

    count: int
    notes: fi.Pointer | None = None
    descriptors: fi.Pointer | None = None
    buffers: list[fi.Pointer | None] = field(default_factory=list)

    @property
    def order(self) -> int:
        return pages_order(self.count * DESCRIPTOR_BYTES)

    def setup(self) -> None:
        """Allocate the notes and the descriptors. OSError(ENOMEM) with nothing kept."""
        notes = fi.kcalloc(self.count, NOTE_BYTES, fi.GFP_KERNEL)
        if notes is None:
            raise OSError(errno.ENOMEM, "no memory for a ring's notes")
        descriptors = fi.get_free_pages(fi.GFP_KERNEL | fi.Gfp.ZERO, self.order)
        if descriptors is None:
            fi.kfree(notes)
            raise OSError(errno.ENOMEM, "no pages for a ring's descriptors")
        self.notes = notes
        self.descriptors = descriptors
        self.buffers = [None] * self.count

    def release(self) -> None:
        """Give everything back; also for a ring that was never set up."""
        self.clean()
        if self.descriptors is not None:
            fi.free_pages(self.descriptors, self.order)
            self.descriptors = None
        fi.kfree(self.notes)
        self.notes = None
        self.buffers = []

    def clean(self) -> None:
        """Free the buffers in flight and forget what the descriptors said."""
        for index, buffer in enumerate(self.buffers):
            if buffer is not None:
                fi.kfree(buffer)
                self.buffers[index] = None
        if self.descriptors is not None:
            size = self.count * DESCRIPTOR_BYTES
            self.descriptors[0:size] = bytes(size)

    def describe(self, index: int, buffer: fi.Pointer) -> None:
        """Point descriptor `index` at `buffer`, which the ring owns from here on."""
        assert self.descriptors is not None, "the ring is not set up"
        at = index * DESCRIPTOR_BYTES
        entry = buffer.address.to_bytes(8, "little") + len(buffer).to_bytes(8, "little")
        self.descriptors[at : at + DESCRIPTOR_BYTES] = entry
        self.buffers[index] = buffer


def setup_all(rings: list[Ring]) -> None:
    """Set up every ring or none. OSError(ENOMEM)."""
    for index, ring in enumerate(rings):
        try:
            ring.setup()
        except OSError:
            for done in reversed(rings[:index]):
                done.release()
            raise


def release_all(rings: list[Ring]) -> None:
    for ring in reversed(rings):
        ring.release()
