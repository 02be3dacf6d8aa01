"""Strategy 3, right and wrong.

Try ``pytest --fail-alloc examples/ring/test_pool.py``.
"""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from ring.right import pool as right
from ring.wrong import pool as wrong


@pytest.fixture(params=[right, wrong], ids=["right", "wrong"])
def driver(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


@pytest.fixture
def pool(driver: ModuleType) -> Iterator[Any]:
    pool = driver.Pool(least=2)
    pool.fill()
    yield pool
    pool.drain()


def test_a_pool_can_be_filled_and_drained(driver: ModuleType) -> None:
    pool = driver.Pool(least=4)

    pool.fill()
    pool.drain()

    assert pool.reserve == []


def test_a_burst_of_packets_finds_buffers(pool: Any, fail_alloc: Any) -> None:
    def the_reserve_is_whole() -> None:
        assert len(pool.reserve) == pool.least

    fail_alloc.invariant(the_reserve_is_whole)

    burst = [pool.take() for _ in range(6)]
    for buffer in burst:
        buffer[0:4] = b"ping"
        pool.give_back(buffer)
