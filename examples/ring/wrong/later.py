"""Strategy 4 with a planted bug: after one failure, later never comes."""

from dataclasses import dataclass

import faultinject as fi
from ring.device import BUFFER_BYTES

# Polls of all rings share one refill, which must not start inside itself.
refilling = False


@dataclass
class Ring:
    slots: list[fi.Pointer | None]
    starved: int = 0


def open_ring(entries: int) -> Ring:
    """Make a ring. Slots that find no memory stay empty for now; this never fails."""
    ring = Ring([None] * entries)
    refill(ring)
    return ring


def refill(ring: Ring) -> None:
    """Put a buffer into every empty slot, or as many as can be had."""
    global refilling
    if refilling:
        return
    refilling = True
    for index, slot in enumerate(ring.slots):
        if slot is None:
            buffer = fi.kmalloc(BUFFER_BYTES, fi.GFP_ATOMIC | fi.Gfp.NOWARN)
            if buffer is None:
                ring.starved += 1
                return
            ring.slots[index] = buffer
    refilling = False


def poll(ring: Ring, packets: int) -> int:
    """Take up to `packets` packets off the ring, then fill up. Returns how many there were."""
    received = 0
    for index, slot in enumerate(ring.slots):
        if slot is not None and received < packets:
            fi.kfree(slot)
            ring.slots[index] = None
            received += 1
    refill(ring)
    return received


def close_ring(ring: Ring) -> None:
    for slot in ring.slots:
        fi.kfree(slot)
    ring.slots.clear()
