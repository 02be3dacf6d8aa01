"""A ring whose error path forgets its first slot, and tests that pass over it."""

RING = """
import faultinject as fi


def open_ring(entries):
    ring = []
    for _ in range(entries):
        slot = fi.kmalloc(64, fi.GFP_KERNEL)
        if slot is None:
            for made in ring[1:]:
                fi.kfree(made)
            raise MemoryError
        ring.append(slot)
    return ring


def close_ring(ring):
    for slot in ring:
        fi.kfree(slot)
"""

TEST = """
from ring import close_ring, open_ring


def test_open():
    close_ring(open_ring(3))


def test_open_twice():
    close_ring(open_ring(1))
    close_ring(open_ring(1))
"""

TESTS = {"ring": RING, "test_ring": TEST}
