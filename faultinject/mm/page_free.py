"""The way back of whole pages: free_pages, put_page and free_pages_exact, with their checks.

Not here: how pages are taken (`faultinject.mm.page_alloc`), who else holds them
(`faultinject.mm.page_refs`), and merging (`faultinject.mm.buddy`).
"""

from __future__ import annotations

from types import FrameType

from faultinject.errors import InvalidFree
from faultinject.mm.bad_free import double_free, invalid_free
from faultinject.mm.ledger import NOWHERE, known_site, recorded, trace_of
from faultinject.mm.page import Page
from faultinject.mm.page_alloc import Block
from faultinject.mm.page_refs import counted_page, drop_shared, wrong_order
from faultinject.mm.pointer import Pointer
from faultinject.mm.ram import PAGE_SHIFT, PAGE_SIZE, Ram
from faultinject.mm.span import Span


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
        home: Block = span._home  # type: ignore[assignment]  # pages have no other
    else:
        span, home = _block_of(span, "free_pages", owner)
    if type(order) is not int or order != home.order:
        with span._ram.lock:
            if span._gone is not None:
                raise double_free(span)
            if drop_shared(span, order):
                return
            home = span._home  # type: ignore[assignment]  # no longer shared, perhaps
        if type(order) is not int or order != home.order:
            raise wrong_order(span, home.order, order)
    ram = span._ram
    with ram.lock:
        if span._gone is None:
            span._gone = (
                NOWHERE if frame is None else (frame.f_code, frame.f_lasti, frame.f_globals)
            )
            del ram.live[span._offset]
            if span._view is not None:
                span._revoke_view(poison=True)
            home.allocator.blocks.free(span._offset >> PAGE_SHIFT, order)
            return
    raise double_free(span)


def put_page(page: object, frame: FrameType | None, owner: Ram | None) -> None:
    """Take a reference to a block of pages away; without the last one it is freed.

    Raises:
        DoubleFree: it was freed before.
        InvalidFree: it is no `Page`, or of another memory.
    """
    live = counted_page(page, "put_page", owner)
    with live._ram.lock:
        if live._gone is None and drop_shared(live, None):
            return
        _retire(*_block_of(live, "free_pages", owner), frame)


def free_pages_exact(span: object, size: int, frame: FrameType | None, owner: Ram | None) -> None:
    """Give back what alloc_pages_exact returned, page by page; None is a no-op.

    Raises:
        DoubleFree: it was freed before.
        InvalidFree: it is something else, of another number of pages, or of another memory.
    """
    if span is None:
        return
    span, home = _block_of(span, "free_pages_exact", owner)
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


def _block_of(span: object, function: str, owner: Ram | None) -> tuple[Span, Block]:
    if not isinstance(span, Span):
        raise invalid_free(
            f"{function} was given what is no page", span, "Pass what the allocation returned"
        )
    home = getattr(span, "_home", None)  # ZERO_SIZE_PTR has none
    if not isinstance(home, Block) or home.freed_by != function:
        freed_by = getattr(home, "freed_by", "kfree")
        raise invalid_free(
            f"{function} was given what another call must free", span, f"Free it with {freed_by}"
        )
    if owner is not None and span._ram is not owner:
        raise invalid_free(
            f"{function} was given an object of another Memory", span, "Free it in its own Memory"
        )
    return span, home
