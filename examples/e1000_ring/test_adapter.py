"""What an interface promises, with memory and without.

Try ``pytest --fail-alloc examples/e1000_ring``.
"""

import errno
from collections.abc import Callable, Iterator

import pytest

from e1000_ring.adapter import Adapter


@pytest.fixture
def adapter() -> Iterator[Adapter]:
    adapter = Adapter()
    yield adapter
    adapter.close()


def works(adapter: Adapter) -> None:
    """Assert that frames go out and come in, given a moment to recover."""
    for queue in range(2):
        adapter.watchdog()
        assert adapter.receive(queue, b"ping") == b"ping"
        assert adapter.transmit(queue, b"pong") or adapter.transmit(queue, b"pong")


def refusal(attempt: Callable[[], None]) -> OSError | None:
    """What `attempt` was refused with, or None if it went through."""
    try:
        attempt()
    except OSError as refused:
        return refused
    return None


def test_open_and_close(adapter: Adapter) -> None:
    adapter.open()
    adapter.close()


def test_an_interface_that_was_refused_memory_opens_at_the_second_try(adapter: Adapter) -> None:
    refused = refusal(adapter.open)
    if refused is not None:
        assert refused.errno == errno.ENOMEM
        adapter.open()

    works(adapter)


def test_close_and_open_again(adapter: Adapter) -> None:
    adapter.open()
    adapter.close()
    adapter.open()

    works(adapter)


def test_frames_go_both_ways(adapter: Adapter) -> None:
    adapter.open()

    for _ in range(40):
        works(adapter)


@pytest.mark.parametrize("mtu", [576, 9000])
def test_the_mtu_changes_while_up(adapter: Adapter, mtu: int) -> None:
    adapter.open()

    adapter.change_mtu(mtu)

    works(adapter)
    adapter.watchdog()
    assert adapter.receive(0, bytes(mtu)) == bytes(mtu)


def test_the_mtu_changes_while_down(adapter: Adapter) -> None:
    adapter.change_mtu(9000)
    adapter.open()

    works(adapter)


@pytest.mark.parametrize("count", [8, 512])
def test_the_rings_change_length_or_stay_as_they_were(adapter: Adapter, count: int) -> None:
    adapter.open()

    refused = refusal(lambda: adapter.set_ring_count(count))

    if refused is not None:
        assert refused.errno == errno.ENOMEM
        assert {ring.count for ring in adapter.tx_rings + adapter.rx_rings} == {16}

    works(adapter)


def test_the_rings_change_length_while_down(adapter: Adapter) -> None:
    adapter.set_ring_count(32)
    adapter.open()

    works(adapter)


@pytest.mark.parametrize("count", [0, 7, 4097])
def test_a_ring_of_a_length_the_hardware_lacks_is_refused(adapter: Adapter, count: int) -> None:
    with pytest.raises(OSError, match="descriptors") as refused:
        adapter.set_ring_count(count)

    assert refused.value.errno == errno.EINVAL
