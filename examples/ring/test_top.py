"""Strategy 1, right and wrong.

Try ``pytest --fail-alloc examples/ring/test_top.py``.
"""

from types import ModuleType

import pytest

from ring.device import DESCRIPTOR, OWNED_BY_DEVICE
from ring.right import top as right
from ring.wrong import top as wrong

ENTRIES = 8


@pytest.mark.parametrize("driver", [right, wrong], ids=["right", "wrong"])
def test_an_open_ring_has_a_buffer_in_every_slot(driver: ModuleType) -> None:
    ring = driver.open_ring(ENTRIES)

    for index, buffer in enumerate(ring.buffers):
        entry = bytes(ring.descriptors[index * DESCRIPTOR.size : (index + 1) * DESCRIPTOR.size])
        assert DESCRIPTOR.unpack(entry) == (buffer.address, len(buffer), OWNED_BY_DEVICE, 0)
    assert len(ring.buffers) == ENTRIES
    driver.close_ring(ring)
