"""Strategy 4, right and wrong.

Try ``pytest --fail-alloc examples/ring/test_later.py``.
"""

from types import ModuleType

import pytest

from ring.right import later as right
from ring.wrong import later as wrong

ENTRIES = 4


@pytest.mark.parametrize("driver", [right, wrong], ids=["right", "wrong"])
def test_a_ring_that_ran_short_fills_up_again(driver: ModuleType) -> None:
    ring = driver.open_ring(ENTRIES)

    for packets in (3, 1, 2):
        driver.poll(ring, packets)
    driver.poll(ring, 0)  # nothing arrives, but what was put off can be done
    empty = ring.slots.count(None)
    driver.close_ring(ring)

    assert empty == 0
