"""The adapter: open, close, and the two changes that a running interface must survive."""

from __future__ import annotations

import errno
from dataclasses import dataclass

import faultinject as fi
from e1000_ring.rings import Ring, release_all, setup_all

MIN_COUNT, MAX_COUNT = 8, 4096
MIN_MTU, MAX_MTU = 68, 16110
FRAME_OVERHEAD = 18  # header and checksum


def receive_buffer_bytes(mtu: int) -> int:
    """The smallest size the hardware knows that holds a whole frame."""
    frame = mtu + FRAME_OVERHEAD
    return next(size for size in (256, 512, 1024, 2048, 4096, 8192, 16384) if frame <= size)


@dataclass
class Stats:
    received: int = 0
    sent: int = 0
    dropped: int = 0
    alloc_failed: int = 0


class Adapter:
    """One network interface. Closed and unconfigured when made."""

    def __init__(self, queues: int = 2, count: int = 16, mtu: int = 1500) -> None:
        self.mtu = mtu
        self.stats = Stats()
        self.tx_rings = [Ring(count) for _ in range(queues)]
        self.rx_rings = [Ring(count) for _ in range(queues)]
        self.interrupt: fi.Pointer | None = None
        self.running = False

    def open(self) -> None:
        """Bring the interface up. OSError(ENOMEM) with nothing kept.

        Missing receive buffers are no error: `watchdog` gets them later.
        """
        setup_all(self.tx_rings)
        try:
            setup_all(self.rx_rings)
        except OSError:
            release_all(self.tx_rings)
            raise
        self._refill_all()
        self.interrupt = fi.kzalloc(64, fi.GFP_KERNEL)
        if self.interrupt is None:
            release_all(self.rx_rings)
            release_all(self.tx_rings)
            raise OSError(errno.ENOMEM, "no memory for the interrupt's action")
        self.running = True

    def close(self) -> None:
        """Bring the interface down. Never fails, also when it is down already."""
        self.running = False
        fi.kfree(self.interrupt)
        self.interrupt = None
        release_all(self.rx_rings)
        release_all(self.tx_rings)

    def change_mtu(self, mtu: int) -> None:
        """Use frames of another size. Buffers of the new size are as best-effort as in `open`."""
        if not MIN_MTU <= mtu <= MAX_MTU:
            raise OSError(errno.EINVAL, f"mtu {mtu}")
        if self.running:
            self._down()
        self.mtu = mtu
        if self.running:
            self._refill_all()

    def set_ring_count(self, count: int) -> None:
        """Use rings of another length. OSError(ENOMEM): the old rings stay in use.

        The new rings are made before the old ones are given up, so that there is no moment at
        which a failure leaves the interface without any.
        """
        if not MIN_COUNT <= count <= MAX_COUNT:
            raise OSError(errno.EINVAL, f"{count} descriptors")
        new_tx = [Ring(count) for _ in self.tx_rings]
        new_rx = [Ring(count) for _ in self.rx_rings]
        if self.running:
            setup_all(new_tx)
            try:
                setup_all(new_rx)
            except OSError:
                release_all(new_tx)
                raise
            self._down()
            release_all(self.rx_rings)
            release_all(self.tx_rings)
        self.tx_rings, self.rx_rings = new_tx, new_rx
        if self.running:
            self._refill_all()

    def watchdog(self) -> None:
        """The timer's work: fill receive rings that ran short."""
        if self.running:
            self._refill_all()

    def receive(self, queue: int, payload: bytes) -> bytes | None:
        """What the wire delivers to a queue. None if the frame was lost for want of a buffer."""
        ring = self.rx_rings[queue]
        index = next((i for i, buffer in enumerate(ring.buffers) if buffer is not None), None)
        if index is None:
            self.stats.dropped += 1
            return None
        buffer = ring.buffers[index]
        assert buffer is not None
        buffer[0 : len(payload)] = payload
        frame = bytes(buffer[0 : len(payload)])
        fi.kfree(buffer)
        ring.buffers[index] = None
        self.stats.received += 1
        self._refill(ring)
        return frame

    def transmit(self, queue: int, payload: bytes) -> bool:
        """Queue one frame. False if it was dropped; the caller goes on."""
        ring = self.tx_rings[queue]
        if None not in ring.buffers:
            self._reclaim(ring)
        skb = fi.kmemdup(payload, len(payload), fi.GFP_ATOMIC)
        if skb is None:
            self.stats.dropped += 1
            return False
        ring.describe(ring.buffers.index(None), skb)
        self.stats.sent += 1
        return True

    def _reclaim(self, ring: Ring) -> None:
        """Free what the hardware has sent."""
        ring.clean()

    def _down(self) -> None:
        for ring in [*self.tx_rings, *self.rx_rings]:
            ring.clean()

    def _refill_all(self) -> None:
        for ring in self.rx_rings:
            self._refill(ring)

    def _refill(self, ring: Ring) -> None:
        size = receive_buffer_bytes(self.mtu)
        for index, buffer in enumerate(ring.buffers):
            if buffer is None:
                fresh = fi.kmalloc(size, fi.GFP_ATOMIC | fi.Gfp.NOWARN)
                if fresh is None:
                    self.stats.alloc_failed += 1
                    return
                ring.describe(index, fresh)
