"""References to pages: who else holds a block, and when it is free at last.

Lives here: `SharedBlock`, and the counting. Not here: the end of the last reference
(`faultinject.mm.page_free`).

A block is counted as a whole, as the kernel does with ``__GFP_COMP``. Most blocks have one
reference and nothing that counts it: a second one replaces their home for as long as it
lasts.

Source: Linux 6.6 include/linux/mm.h, get_page(), put_page(), page_count().
"""

from __future__ import annotations

from typing import Final

from faultinject.errors import InvalidFree, UseAfterFree
from faultinject.mm.bad_free import invalid_free
from faultinject.mm.ledger import known_site, recorded
from faultinject.mm.page import Page
from faultinject.mm.page_alloc import Block
from faultinject.mm.ram import Ram
from faultinject.mm.span import Span

#: No block has it, so that a free looks twice.
_ORDER_OF_SHARED: Final = -1


class SharedBlock(Block):
    """A block that is held more than once.

    Attributes:
        block: its home as long as there was one reference.
        count: the references, 2 or more.
    """

    __slots__ = ("block", "count")
    shared = True

    def __init__(self, block: Block) -> None:
        super().__init__(block.allocator, block.kind, _ORDER_OF_SHARED, block.pages, block.freed_by)
        self.block = block
        self.count = 2


def get_page(page: object, owner: Ram | None) -> None:
    """Add a reference to a block of pages.

    Raises:
        UseAfterFree: it was freed.
        InvalidFree: it is no `Page`, or of another memory than `owner`.
    """
    live = counted_page(page, "get_page", owner)
    with live._ram.lock:
        if live._gone is None:
            home = live._home
            if type(home) is SharedBlock:
                home.count += 1
            elif isinstance(home, Block):
                live._home = SharedBlock(home)
            return
    raise recorded(
        UseAfterFree(
            "get_page was given a freed page",
            value=live.summary,
            address=live.address,
            allocated_at=known_site(live._made),
            freed_at=known_site(live._gone),
            cure="Take the reference before the free",
        )
    )


def page_count(page: object, owner: Ram | None) -> int:
    """Return the number of references to a block of pages; 0 once it is free.

    Raises:
        InvalidFree: it is no `Page`, or of another memory than `owner`.
    """
    known = counted_page(page, "page_count", owner)
    with known._ram.lock:
        if known._gone is not None:
            return 0
        return known._home.count if type(known._home) is SharedBlock else 1


def drop_shared(page: Span, order: int | None) -> bool:
    """Take one of several references away; False if there is but one left.

    The caller holds the lock.

    Args:
        page: a block of pages that is live.
        order: the order that is freed, or None for whatever it is.

    Raises:
        InvalidFree: the order is another one.
    """
    home = page._home
    if type(home) is not SharedBlock:
        return False
    if order is not None and (type(order) is not int or order != home.block.order):
        raise wrong_order(page, home.block.order, order)
    home.count -= 1
    if home.count == 1:
        page._home = home.block
    return True


def counted_page(page: object, function: str, owner: Ram | None) -> Page:
    """Return what `function` was given, if it is a `Page` of the memory of `owner`, or of any.

    Raises:
        InvalidFree: it is not.
    """
    if not isinstance(page, Page):
        raise invalid_free(f"{function} was given what is no page", page, "Pass a Page")
    if owner is not None and page._ram is not owner:
        raise invalid_free(
            f"{function} was given a page of another Memory", page, "Pass it to its own Memory"
        )
    return page


def wrong_order(span: Span, order: int, freed_as: object) -> InvalidFree:
    """Record that a block was freed as another order; return the error to raise."""
    return recorded(
        InvalidFree(
            f"a block of order {order} was freed as order {freed_as!r}",
            value=span.summary,
            address=span.address,
            allocated_at=known_site(span._made),
            cure=f"Pass order {order} to free_pages",
        )
    )
