"""The slow path of 2.6.24 to 3.14: reclaim, kill, wait a moment, begin anew.

Lives here: the order of the steps. Not here: the steps
(`faultinject.mm.slow_request`), and the way since 4.7
(`faultinject.mm.modern_slow_path`).

Nothing counts the rounds: a request of order 3 or less goes on until it is met.

Source: Linux mm/page_alloc.c, __alloc_pages() of 2.6.24, __alloc_pages_slowpath() of
2.6.32 to 3.14.
"""

from __future__ import annotations

from typing import Final

from faultinject.gfp import DIRECT_RECLAIM, NOFAIL, NOMEMALLOC, NORETRY, RETRY_MAYFAIL, Gfp
from faultinject.mm import tasks
from faultinject.mm.compaction import ASYNC, SYNC_LIGHT
from faultinject.mm.retry_rules import CONGESTION_WAIT, TICK
from faultinject.mm.slow_request import SlowRequest

_FS: Final = int(Gfp.FS)


def run(request: SlowRequest) -> int | None:
    """Return the page frame of a block; None if the request gives up, which it notes."""
    gfp = request.gfp
    priority = ASYNC
    while True:
        reason = _ends_at_once(request)
        if reason is not None:
            if reason == "atomic" or not gfp & NOFAIL or gfp & NOMEMALLOC:
                request.give_up(reason)
                return None
            request.wait(CONGESTION_WAIT, progress=False)
            pfn = request.again()
            if pfn is not None:
                return pfn
            continue
        if request.rules.compaction:
            pfn = request.compact(priority)
            if pfn is not None:
                return pfn
            priority = SYNC_LIGHT
        freed, pfn = request.reclaim()
        if pfn is not None:
            return pfn
        if not freed and gfp & _FS and not gfp & NORETRY:
            pfn, reason = request.kill()
            if pfn is not None:
                return pfn
            if reason is not None and not (reason == "oom" and gfp & NOFAIL):
                request.give_up(reason)
                return None
            request.wait(TICK, progress=reason is None)
            pfn = request.restart()
        else:
            reason = _ends(request)
            if reason is not None:
                return _last_try(request, reason)
            request.wait(CONGESTION_WAIT, progress=bool(freed))
            pfn = request.again()
        if pfn is not None:
            return pfn


def _ends_at_once(request: SlowRequest) -> str | None:
    if not request.gfp & DIRECT_RECLAIM:
        return "atomic"
    if tasks.is_memalloc():
        return "memalloc"
    return "victim" if tasks.is_victim() else None


def _ends(request: SlowRequest) -> str | None:
    """Tell why a request is not begun anew, or None."""
    gfp, rules = request.gfp, request.rules
    if gfp & NORETRY:
        return "noretry"
    if not request.costly or gfp & NOFAIL:
        return None
    if not gfp & RETRY_MAYFAIL:  # then it was called __GFP_REPEAT
        return "costly"
    if rules.repeat_ends and request.attempt.reclaimed >= 1 << request.order:
        return "reclaimed-enough"
    return None


def _last_try(request: SlowRequest, reason: str) -> int | None:
    pfn = request.compact(SYNC_LIGHT) if request.rules.compaction else None
    if pfn is None:
        request.give_up(reason)
    return pfn
