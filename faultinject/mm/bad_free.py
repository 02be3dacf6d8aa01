"""The errors of a wrong free, each recorded before it is raised.

Not here: who finds them (`faultinject.mm.page_free`, `faultinject.mm.slab`,
`faultinject.mm.kmalloc`).
"""

from __future__ import annotations

from faultinject.errors import DoubleFree, InvalidFree
from faultinject.mm.ledger import known_site, recorded
from faultinject.mm.span import Span


def double_free(span: Span) -> DoubleFree:
    """Record that `span` was freed a second time; return the error to raise."""
    return recorded(
        DoubleFree(
            "freed a second time",
            value=span.summary,
            address=span.address,
            allocated_at=known_site(span._made),
            freed_at=known_site(span._gone),
            cure="Free an object once",
        )
    )


def invalid_free(what: str, span: object, cure: str) -> InvalidFree:
    """Record a free of what cannot be freed so; return the error to raise."""
    if isinstance(span, Span):
        return recorded(
            InvalidFree(
                what,
                value=span.summary,
                address=span.address,
                allocated_at=known_site(span._made),
                freed_at=known_site(span._gone),
                cure=cure,
            )
        )
    return recorded(InvalidFree(what, value=span, cure=cure))
