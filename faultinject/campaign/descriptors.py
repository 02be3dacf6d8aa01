"""Descriptors of ours in a process whose code under test may close any number.

Lives here: how one is kept out of the way, and the `Bell`, by which a child says that it
is done. Not here: those that a child writes to (`faultinject.campaign.isolation`), the
oracle that counts the test's own (`faultinject.campaign.oracles.descriptors`).
"""

from __future__ import annotations

import contextlib
import os
import sys

if sys.platform != "win32":
    import fcntl  # here, and not in the child: an import there is paid for by every trial

# Out of the way of a test that closes low descriptors, or counts on them. The second is
# for a low limit.
_HIGH = (1000, 200)


def out_of_the_way(descriptor: int) -> int:
    """Give a descriptor a high number, which tests that close or count low ones leave alone."""
    for least in _HIGH:
        with contextlib.suppress(OSError):  # a low limit on descriptors
            high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, least)
            os.close(descriptor)
            return high
    return descriptor


class Bell:
    """By which a child says that it is done, while its memory is still being given back.

    Attributes:
        heard: the descriptor to wait at.
    """

    def __init__(self) -> None:
        self.heard, rung = os.pipe()
        os.set_blocking(self.heard, False)
        self._rung = out_of_the_way(rung)
        self._is = _identity(self._rung)

    def ring(self) -> None:
        """Wake the parent, unless the test has closed the descriptor; its number may be reused."""
        with contextlib.suppress(OSError):
            if _identity(self._rung) == self._is:
                os.write(self._rung, b"!")

    def silence(self) -> None:
        """Take what was rung."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.heard, 512)

    def close(self) -> None:
        """Give both ends back."""
        os.close(self.heard)
        os.close(self._rung)


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino
