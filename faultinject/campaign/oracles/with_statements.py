"""Faults that strike a ``with`` statement itself, after which nothing left is a finding.

Lives here: the question whether a fault struck there. Not here: what was left (the
files beside), who struck (`faultinject.campaign.allocations`).

``with lock:`` calls ``lock.__exit__``, and in CPython that call allocates: where it
fails, the lock stays held. ``with TemporaryDirectory():`` leaves its folder if the
removal fails half-way. Code cannot do better than such a statement. Where the context
manager itself is under test, the fault is in its own function and not in the statement.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterable

from faultinject.callsite import CallSite


def any_in_with(sites: Iterable[CallSite]) -> bool:
    """Say whether one of these places is a ``with`` statement or what it calls at its head.

    Which of the two positions the call of ``__exit__`` has differs between versions of
    Python. A place without a column, or of a file that cannot be read, is none.
    """
    return any((site.line, site.column) in _heads(site.file) for site in sites if site.column >= 0)


def _heads(file: str) -> set[tuple[int, int]]:
    """Give where each ``with`` statement of a file and each of its expressions begin."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return set()
    heads = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.With | ast.AsyncWith):
            heads.add((node.lineno, node.col_offset))
            heads.update(
                (item.context_expr.lineno, item.context_expr.col_offset) for item in node.items
            )
    return heads
