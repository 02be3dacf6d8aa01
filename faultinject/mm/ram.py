"""The bytes of a model memory, and what all its parts share.

Lives here: `Ram`, the mapping behind every address, its lock and its ledger of
live spans, and the fills that make stale contents visible. Not here: who gets
which bytes (`faultinject.mm.buddy`, `faultinject.mm.slab`) and how they are
read (`faultinject.mm.span`).

The mapping is private and anonymous: a page costs nothing until it is touched,
and a forked trial never writes into its parent.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
import weakref
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Final

from faultinject.errors import UnavailableError

if TYPE_CHECKING:
    from faultinject.mm.memory import Memory
    from faultinject.mm.span import Span

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT

#: Address of page frame 0: where x86-64 maps all physical memory. Every model
#: starts here, so that a run repeats its addresses.
PAGE_OFFSET: Final = 0xFFFF_8880_0000_0000

#: The kernel's POISON_INUSE: fills memory that was asked for without ``__GFP_ZERO``.
POISON_INUSE: Final = b"\x5a"
#: The kernel's POISON_FREE: fills freed memory that a view may still show.
POISON_FREE: Final = b"\x6b"
#: Most bytes of one object that are filled with a poison.
POISON_LIMIT: Final = 2 * PAGE_SIZE

# Above this, dropping the pages is quicker than writing zeros over them.
_DROP_FROM: Final = 16 * PAGE_SIZE
_ZEROS: Final = bytes(_DROP_FROM)


class Ram:
    """The bytes, lock and ledger of one `faultinject.mm.memory.Memory`.

    Attributes:
        bytes: the mapping; offset 0 is address `PAGE_OFFSET`.
        live: the ledger: offset -> the `Span` that is allocated there. It keeps
            spans alive, because only a free frees: a dropped pointer is a leak.
        lock: guards every structure of the memory. Never held while a fault is
            decided, a message is logged or a constructor runs: those may call back.
        memory: the memory that this belongs to.
        own: what the model allocated for itself, offset -> span: no leak of anybody.
        serial: the how manieth of the process.
    """

    __slots__ = (
        "__weakref__",
        "_beside",
        "bytes",
        "live",
        "lock",
        "memory",
        "own",
        "serial",
        "size",
    )

    def __init__(self, memory: Memory, size: int) -> None:
        self.memory = memory
        self.size = size
        self.bytes = _map(size)
        self.live: dict[int, Span] = {}
        self.own: dict[int, Span] = {}
        self.lock = threading.RLock()
        self.serial = next(_serials)
        self._beside: weakref.WeakSet[Ram] = weakref.WeakSet()
        with _everyone_lock:
            _everyone.add(self)

    def beside(self, size: int) -> Ram:
        """Map more bytes of the same memory, under the same lock and ledger."""
        other = Ram.__new__(Ram)
        other.memory, other.size, other.serial = self.memory, size, self.serial
        other.live, other.own, other.lock = self.live, self.own, self.lock
        other.bytes = _map(size)
        with self.lock:
            self._beside.add(other)
        return other

    def claim(self, offset: int) -> None:
        """Make what was allocated at `offset` the model's own: nobody else frees or leaks it."""
        with self.lock:
            self.own[offset] = self.live.pop(offset)

    def disclaim(self, offset: int) -> None:
        """Undo `claim`, so that it can be freed."""
        with self.lock:
            self.live[offset] = self.own.pop(offset)

    def renew_lock(self) -> None:
        """Replace the lock: after a fork nobody might be left to release it."""
        self.lock = threading.RLock()
        for other in self._beside:
            other.lock = self.lock

    def zero(self, offset: int, length: int) -> None:
        """Fill `length` bytes with zeros."""
        if length > _DROP_FROM and sys.platform == "linux" and not offset % PAGE_SIZE:
            # Linux hands out fresh zero pages after this, only when they are touched.
            whole = length - length % PAGE_SIZE
            self.bytes.madvise(mmap.MADV_DONTNEED, offset, whole)
            offset, length = offset + whole, length - whole
        end = offset + length
        while offset < end:
            step = min(end - offset, _DROP_FROM)
            self.bytes[offset : offset + step] = _ZEROS[:step]
            offset += step


@cache
def _no_reserve() -> int:
    """Give MAP_NORESERVE: without it a memory as large as the machine's is refused."""
    # The module has it since 3.13; elsewhere than here the number is another one.
    usual = os.uname().machine in ("x86_64", "i686", "aarch64", "armv7l", "riscv64", "s390x")
    return getattr(mmap, "MAP_NORESERVE", 0x4000 if usual else 0)


def _map(size: int) -> mmap.mmap:
    try:
        if sys.platform == "win32":
            return mmap.mmap(-1, size)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        if sys.platform == "linux":
            flags |= _no_reserve()
        mapping = mmap.mmap(-1, size, flags=flags)
    except (OSError, OverflowError, ValueError) as error:
        raise UnavailableError(
            "the system cannot map a model memory of that many bytes",
            value=size,
            where=str(error),
            cure="Ask for a smaller Memory",
        ) from error
    if sys.platform == "linux":
        # With huge pages the first byte of each two megabytes would commit them all.
        mapping.madvise(mmap.MADV_NOHUGEPAGE)
    return mapping


_everyone: Final[weakref.WeakSet[Ram]] = weakref.WeakSet()
_everyone_lock = threading.Lock()
_serials: Final = count(1)


def every_ram() -> list[Ram]:
    """Return the bytes of all memories that exist, oldest first."""
    with _everyone_lock:
        return sorted(_everyone, key=lambda ram: ram.serial)


def _renew_locks() -> None:
    global _everyone_lock
    # Threads do not survive a fork, the locks they held would.
    _everyone_lock = threading.Lock()
    for ram in every_ram():
        ram.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
