"""Strategy 2, right and wrong.

Try ``pytest --fail-alloc examples/ring/test_order.py``.
"""

import contextlib
import errno
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import faultinject as fi
from ring.right import order as right
from ring.wrong import order as wrong

both = pytest.mark.parametrize("driver", [right, wrong], ids=["right", "wrong"])


@contextlib.contextmanager
def opened(driver: ModuleType) -> Iterator[Any]:
    ring = driver.open_ring()
    try:
        yield ring
    finally:
        driver.close_ring(ring)


@both
def test_every_descriptor_can_be_reset(driver: ModuleType) -> None:
    with opened(driver) as ring:
        driver.reset(ring)


@both
def test_a_machine_without_a_free_page_gets_no_ring(driver: ModuleType) -> None:
    # Armed by hand: this test wants the failure in every run, campaign or not.
    with fi.fail_page_alloc(times=-1), pytest.raises(OSError, match="no page") as refused:
        driver.open_ring()

    assert refused.value.errno == errno.ENOMEM
