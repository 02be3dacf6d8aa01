"""Pages that may be moved: whose they are, and the move of one.

Lives here: `MovablePage`, which code under test holds, `HeldPages`, which nobody does,
and `move_page`. Not here: which page is moved, and where to (`faultinject.mm.compaction`).

A kernel moves single pages that it can reach every user of. Here those are pages that
were asked for with ``__GFP_MOVABLE``, one at a time, and pages under movable pressure.
Such a page lies elsewhere after the move: its ``pfn`` and its ``address`` are others. Whoever
takes its ``data``, or a reference of its own, pins it.
"""

from __future__ import annotations

from typing import Protocol, SupportsIndex, overload

from faultinject.mm.page import Page
from faultinject.mm.ram import PAGE_SHIFT, PAGE_SIZE, Ram
from faultinject.mm.span import BytesLike


class MovablePage(Page):
    """A page that compaction may move, also while another thread reads or writes it."""

    __slots__ = ()

    def __bytes__(self) -> bytes:
        with self._ram.lock:
            return super().__bytes__()

    @overload
    def __getitem__(self, key: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    def __getitem__(self, key: SupportsIndex | slice) -> int | bytes:
        with self._ram.lock:
            return super().__getitem__(key)

    @overload
    def __setitem__(self, key: SupportsIndex, value: int) -> None: ...
    @overload
    def __setitem__(self, key: slice, value: BytesLike) -> None: ...
    def __setitem__(self, key: SupportsIndex | slice, value: int | BytesLike) -> None:
        with self._ram.lock:
            super().__setitem__(key, value)  # type: ignore[index, assignment]  # as it came

    @property
    def is_pinned(self) -> bool:
        """Whether somebody relies on where it lies."""
        return self._view is not None or self._home.shared


class Owner(Protocol):
    """Who keeps pages out of reach.

    Attributes:
        movable: whether they may be moved.
        blocks: the order of each block, by its first page frame.
    """

    movable: bool
    blocks: dict[int, int]


class HeldPages(dict[int, int]):
    """Pages that are out of reach, but allocated to nobody: order by frame number.

    Attributes:
        owners: of those that may be moved.
    """

    __slots__ = ("owners",)

    def __init__(self) -> None:
        super().__init__()
        self.owners: dict[int, Owner] = {}

    def hold(self, owner: Owner) -> None:
        """Add the blocks of an owner."""
        self.update(owner.blocks)
        if owner.movable:
            self.owners.update(dict.fromkeys(owner.blocks, owner))

    def release(self, pfn: int) -> None:
        """Forget a block."""
        del self[pfn]
        self.owners.pop(pfn, None)

    def move(self, pfn: int, target: int) -> None:
        """Replace the first page of a movable block by another page."""
        order, owner = self[pfn], self.owners[pfn]
        del owner.blocks[pfn]
        self.release(pfn)
        left = {pfn + (1 << piece): piece for piece in range(order)}
        left[target] = 0
        owner.blocks.update(left)
        self.update(left)
        self.owners.update(dict.fromkeys(left, owner))


def move_page(ram: Ram, page: MovablePage, target: int) -> None:
    """Move a page, contents and all, to a page frame that nobody uses.

    The caller holds the lock, and frees the page frame that it came from.
    """
    before, after = page._offset, target << PAGE_SHIFT
    ram.bytes[after : after + PAGE_SIZE] = ram.bytes[before : before + PAGE_SIZE]
    del ram.live[before]
    page._offset = after
    ram.live[after] = page
