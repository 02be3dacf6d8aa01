"""Strategy 3 with a planted bug: the reserve helps once and is never filled up again."""

import faultinject as fi
from ring.device import BUFFER_BYTES


class Pool:
    """At least `least` buffers that are ours, whatever happens to the rest of the memory."""

    def __init__(self, least: int) -> None:
        self.least = least
        self.reserve: list[fi.Pointer] = []

    def fill(self) -> None:
        """Set the reserve aside. MemoryError if that fails; then nothing is kept."""
        while len(self.reserve) < self.least:
            buffer = fi.kmalloc(BUFFER_BYTES, fi.GFP_KERNEL)
            if buffer is None:
                self.drain()
                raise MemoryError(f"a reserve of {self.least} buffers")
            self.reserve.append(buffer)

    def take(self) -> fi.Pointer | None:
        """A buffer for an interrupt, which cannot wait. None if the reserve is used up as well."""
        buffer = fi.kmalloc(BUFFER_BYTES, fi.GFP_ATOMIC | fi.Gfp.NOWARN)
        if buffer is None and self.reserve:
            return self.reserve.pop()
        return buffer

    def give_back(self, buffer: fi.Pointer) -> None:
        fi.kfree(buffer)

    def drain(self) -> None:
        while self.reserve:
            fi.kfree(self.reserve.pop())
