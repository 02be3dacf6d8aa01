"""Limits: how much memory a trial may take, beyond what a clean run takes.

Lives here: reading the limit as users write it, holding a process to it, and
measuring what a clean run needs. Not here: when it holds
(`faultinject.campaign.child`), limits in time (`faultinject.campaign.isolation`).
"""

from __future__ import annotations

import contextlib
import re
import sys

from faultinject.errors import UsageError

if sys.platform != "win32":
    import resource

# Nothing that a test does by right takes so much more than its clean run did.
DEFAULT_MEMORY = 1 << 30

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,15})([KMGT]?)", re.ASCII | re.IGNORECASE)


def parse_memory(value: str | int | None, *, option: str = "memory") -> int | None:
    """Read a memory limit: bytes, a text such as ``512M``, or ``none``.

    Args:
        value: K, M, G and T are powers of 1024; None is no limit, like ``none``.
        option: who is asking, for the error.

    Raises:
        UsageError: anything else, or 0.
    """
    if value is None:
        return None
    if isinstance(value, str) and value.strip().lower() == "none":
        return None
    size = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if isinstance(value, str) and (found := _SIZE.fullmatch(value.strip())):
        size = int(found[1]) * _UNITS[found[2].upper()]
    if size < 1:
        raise UsageError(
            "not a size of memory",
            value=value,
            where=option,
            cure="Give bytes, a size such as 512M or 2G, or none for no limit",
        )
    return size


class DataLimit:
    """The limit on this process's data: what it allocates, private and open for writing.

    Not on its address space: programs reserve that by the terabyte and never use it.

    Args:
        size: bytes in all, or None for no limit.
    """

    def __init__(self, size: int | None) -> None:
        self.holds = False
        if size is None:
            return
        with contextlib.suppress(OSError, ValueError):
            self._before = resource.getrlimit(resource.RLIMIT_DATA)
            soft, hard = self._before
            if soft == resource.RLIM_INFINITY or size < soft:
                resource.setrlimit(resource.RLIMIT_DATA, (size, hard))
                self.holds = True

    def lift(self) -> None:
        """Let the process allocate again: what it reports must not fail."""
        if self.holds:
            self.holds = False
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_DATA, self._before)


def data_size() -> int:
    """Give the bytes of data that this process has mapped; 0 where nobody tells."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            return int(file.read(200).split()[5]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0


def peak_growth(size: int) -> int:
    """Give by how many bytes the process ever was larger than `size`, its address space.

    Args:
        size: what `address_space` gave.
    """
    return max(0, _status_field(b"VmPeak:") - size)


def address_space() -> int:
    """Give the bytes of this process's address space; 0 where nobody tells."""
    return _status_field(b"VmSize:")


def kernel_kills() -> int:
    """Give how many processes the kernel has ended because it had no memory left."""
    with (
        contextlib.suppress(OSError, ValueError),
        open("/proc/vmstat", "rb", buffering=0) as file,
    ):
        for line in file.read(65_536).splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    return 0


def _status_field(name: bytes) -> int:
    with (
        contextlib.suppress(OSError, IndexError, ValueError),
        open("/proc/self/status", "rb", buffering=0) as file,
    ):
        for line in file.read(8192).splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0
