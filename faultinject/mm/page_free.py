"""The way back of whole pages: free_pages and free_pages_exact, with their checks.

Not here: how pages are taken (`faultinject.mm.page_alloc`), and merging
(`faultinject.mm.buddy`).
"""

from __future__ import annotations

from types import FrameType

from faultinject.errors import InvalidFree
from faultinject.mm.bad_free import double_free, invalid_free
from faultinject.mm.ledger import NOWHERE, known_site, recorded, trace_of
from faultinject.mm.page import Page
from faultinject.mm.page_alloc import Block
from faultinject.mm.pointer import Pointer
from faultinject.mm.ram import PAGE_SHIFT, PAGE_SIZE, Ram
from faultinject.mm.span import Home, Span


def free_pages(span: object, order: int, frame: FrameType | None, owner: Ram | None) -> None:
    """Give back what alloc_pages or get_free_pages returned; None is a no-op.

    Args:
        span: a `Page` or a `Pointer`.
        order: the order that was asked for.
        frame: who frees.
        owner: the only memory that may take it, or None for its own.

    Raises:
        DoubleFree: it was freed before.
        InvalidFree: it is something else, of another order, or of another memory.
    """
    if span is None:
        return
    if type(span) is Page and (owner is None or owner is span._ram):
        home: Home = span._home
    else:
        home = _block_of(span, "free_pages", owner)
    assert isinstance(span, Span)
    assert isinstance(home, Block)
    if type(order) is not int or order != home.order:
        if span._gone is None:
            raise recorded(
                InvalidFree(
                    f"a block of order {home.order} was freed as order {order!r}",
                    value=span.summary,
                    address=span.address,
                    allocated_at=known_site(span._made),
                    cure=f"Pass order {home.order} to free_pages",
                )
            )
        raise double_free(span)
    ram = span._ram
    with ram.lock:
        first = span._gone is None
        if first:
            span._gone = (frame.f_code, frame.f_lasti, frame.f_globals) if frame else NOWHERE
            del ram.live[span._offset]
            if span._view is not None:
                span._revoke_view(poison=True)
            home.allocator.blocks.free(span._offset >> PAGE_SHIFT, order)
    if not first:
        raise double_free(span)


def free_pages_exact(span: object, size: int, frame: FrameType | None, owner: Ram | None) -> None:
    """Give back what alloc_pages_exact returned, page by page; None is a no-op.

    Raises:
        DoubleFree: it was freed before.
        InvalidFree: it is something else, of another number of pages, or of another memory.
    """
    if span is None:
        return
    home = _block_of(span, "free_pages_exact", owner)
    assert isinstance(span, Span)
    plain = isinstance(size, int) and not isinstance(size, bool)
    if span._gone is None and (not plain or -(-size // PAGE_SIZE) != home.pages):
        raise recorded(
            InvalidFree(
                f"an exact allocation of {len(span)} bytes was freed as {size!r} bytes",
                value=span.summary,
                address=span.address,
                allocated_at=known_site(span._made),
                cure=f"Pass size {len(span)} to free_pages_exact",
            )
        )
    _retire(span, home, frame)


def free_large(pointer: Pointer, home: Block, frame: FrameType | None) -> None:
    """Give back the pages of a large kmalloc.

    Raises:
        DoubleFree: it was freed before.
    """
    _retire(pointer, home, frame)


def _retire(span: Span, home: Block, frame: FrameType | None) -> None:
    ram = span._ram
    with ram.lock:
        first = span._gone is None
        if first:
            span._gone = trace_of(frame)
            del ram.live[span._offset]
            span._revoke_view(poison=True)
            pfn = span._offset >> PAGE_SHIFT
            if home.pages == 1 << home.order:
                home.allocator.blocks.free(pfn, home.order)
            else:
                home.allocator.blocks.free_range(pfn, pfn + home.pages)
    if not first:
        raise double_free(span)


def _block_of(span: object, function: str, owner: Ram | None) -> Block:
    if not isinstance(span, Span):
        raise invalid_free(
            f"{function} was given what is no page", span, "Pass what the allocation returned"
        )
    home = getattr(span, "_home", None)  # ZERO_SIZE_PTR has none
    if not isinstance(home, Block) or home.freed_by != function:
        freed_by = home.freed_by if isinstance(home, Block) else "kfree"
        raise invalid_free(
            f"{function} was given what another call must free", span, f"Free it with {freed_by}"
        )
    if owner is not None and span._ram is not owner:
        raise invalid_free(
            f"{function} was given an object of another Memory", span, "Free it in its own Memory"
        )
    return home
