"""Pointers: what kmalloc, kmem_cache and get_free_pages return.

Lives here: `Pointer` and `ZERO_SIZE_PTR`. Not here: the checks of an access
(`faultinject.mm.span`), and freeing (`faultinject.mm.kmalloc`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn, SupportsIndex

from faultinject.errors import OutOfBounds, UsageError
from faultinject.mm.ledger import NOWHERE, recorded
from faultinject.mm.span import Shown, Span

if TYPE_CHECKING:
    from faultinject.mm.memory import Memory


class Pointer(Span):
    """The address of an allocated object, with its bounds and its life.

    ``len(p)`` is the size that was requested; ``ksize(p)`` is the usable one,
    which the program may only reach through ``krealloc``.
    """

    __slots__ = ()


class _ZeroSizePointer(Pointer):
    """What ``kmalloc(0)`` returns: not NULL, no bytes, never live and never freed."""

    __slots__ = ()

    def __init__(self) -> None:
        # Belongs to no memory, so that the inherited fields stay unset.
        self._size = 0
        self._made = NOWHERE
        self._gone = None

    @property
    def address(self) -> int:
        """16, as in the kernel: neither NULL nor a mapped address."""
        return 16

    @property
    def summary(self) -> str:
        """Its name."""
        return Shown("ZERO_SIZE_PTR")

    @property
    def memory(self) -> Memory:
        """There is none.

        Raises:
            UsageError: always.
        """
        raise UsageError("ZERO_SIZE_PTR belongs to no memory", cure="Keep the Memory yourself")

    @property
    def data(self) -> memoryview:
        """An empty view."""
        return memoryview(bytearray())

    def __bytes__(self) -> bytes:
        return b""

    def __repr__(self) -> str:
        return "ZERO_SIZE_PTR"

    def __reduce__(self) -> str:
        return "ZERO_SIZE_PTR"

    def __reduce_ex__(self, protocol: SupportsIndex) -> str:  # type: ignore[override]
        return "ZERO_SIZE_PTR"  # there is only one, so copies are harmless

    def _range(self, key: slice, deed: str) -> tuple[int, int]:
        self._refuse_bounds(key, deed)

    def _refuse_bounds(self, key: SupportsIndex | slice, deed: str) -> NoReturn:
        raise recorded(
            OutOfBounds(
                f"an object of 0 bytes was {deed}",
                value=self.summary,
                address=self.address,
                cure="Do not use what kmalloc(0) returns",
            )
        )


#: What ``kmalloc(0)`` returns. Freeing it does nothing.
ZERO_SIZE_PTR: Final[Pointer] = _ZeroSizePointer()
