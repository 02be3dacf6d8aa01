"""Strategy 1: allocate at the top. Either everything is there before the device starts, or nothing.

What was allocated is given back in reverse order: the labels at the end of a C function.
"""

from dataclasses import dataclass

import faultinject as fi
from ring.device import BUFFER_BYTES, PAGE_BYTES, hand_to_device


@dataclass
class Ring:
    descriptors: fi.Pointer
    stats: fi.Pointer
    buffers: list[fi.Pointer]


def open_ring(entries: int) -> Ring:
    """Make a full ring. MemoryError if any part of it cannot be had; nothing is left behind."""
    descriptors = fi.get_free_pages(fi.GFP_KERNEL, 0)
    if descriptors is None:
        raise MemoryError("descriptors")
    descriptors[0:PAGE_BYTES] = bytes(PAGE_BYTES)

    stats = fi.kcalloc(entries, 8, fi.GFP_KERNEL)
    if stats is None:
        fi.free_pages(descriptors, 0)
        raise MemoryError("statistics")

    buffers: list[fi.Pointer] = []
    for index in range(entries):
        buffer = fi.kmalloc(BUFFER_BYTES, fi.GFP_KERNEL)
        if buffer is None:
            for done in range(index - 1, -1, -1):
                fi.kfree(buffers[done])
            fi.kfree(stats)
            fi.free_pages(descriptors, 0)
            raise MemoryError(f"buffer {index} of {entries}")
        buffers.append(buffer)
        hand_to_device(descriptors, index, buffer)
    return Ring(descriptors, stats, buffers)


def close_ring(ring: Ring) -> None:
    for buffer in reversed(ring.buffers):
        fi.kfree(buffer)
    fi.kfree(ring.stats)
    fi.free_pages(ring.descriptors, 0)
