"""The slow path since 4.7: compaction before reclaim, and an end to fruitless rounds.

Lives here: the order of the steps. Not here: the steps
(`faultinject.mm.slow_request`), and the way before
(`faultinject.mm.classic_slow_path`).

Source: Linux 6.6 mm/page_alloc.c, __alloc_pages_slowpath(), should_reclaim_retry(),
should_compact_retry(), __alloc_pages_may_oom().
"""

from __future__ import annotations

from typing import Final

from faultinject.gfp import DIRECT_RECLAIM, NOFAIL, NOMEMALLOC, NORETRY, RETRY_MAYFAIL
from faultinject.mm import tasks
from faultinject.mm.alloc_flags import MIN_RESERVE, NO_WATERMARKS, OOM
from faultinject.mm.compaction import ASYNC, DEFERRED, SKIPPED, SUCCESS, SYNC_FULL, SYNC_LIGHT
from faultinject.mm.migrate import MOVABLE
from faultinject.mm.retry_rules import MAX_RETRIES, TICK
from faultinject.mm.slow_request import SlowRequest

# From 4.19 on a victim gets a part of the reserve, before all of it.
_OF_VICTIMS: Final = OOM | NO_WATERMARKS


class _Course:
    """How far a request has come.

    Attributes:
        loops: rounds of reclaim without progress, one after the other.
        compactions: rounds of compaction that led to nothing.
        priority: of the next compaction.
    """

    __slots__ = ("compactions", "loops", "priority")

    def __init__(self) -> None:
        self.loops = 0
        self.compactions = 0
        self.priority = SYNC_LIGHT


def run(request: SlowRequest) -> int | None:
    """Return the page frame of a block; None if the request gives up, which it notes."""
    course = _Course()
    pfn, reason = _compact_first(request, course)
    while pfn is None:
        if reason is None:
            pfn, reason, freed = _round(request, course)
            if pfn is None and reason is None:
                request.wait(TICK, progress=freed)
                pfn = request.again()
            continue
        if not request.gfp & NOFAIL or not request.gfp & DIRECT_RECLAIM:
            request.give_up(reason)
            return None
        request.warn_of_nofail()
        pfn = request.take(request.attempt.alloc_flags | MIN_RESERVE)
        if pfn is None:
            reason = None
            request.wait(TICK, progress=False)
            pfn = request.again()
    return pfn


def _compact_first(request: SlowRequest, course: _Course) -> tuple[int | None, str | None]:
    """Try compaction before reclaim, where that is the likelier help."""
    gfp = request.gfp
    unmovable = request.order > 0 and request.plan.kind != MOVABLE
    ignores_marks = request.attempt.alloc_flags & _OF_VICTIMS
    if not gfp & DIRECT_RECLAIM or not (request.costly or unmovable) or ignores_marks:
        return None, None
    pfn = request.compact(ASYNC)
    if pfn is None and request.costly and gfp & NORETRY:
        if request.attempt.compaction in (SKIPPED, DEFERRED):
            return None, "noretry"
        course.priority = ASYNC
    return pfn, None


def _round(request: SlowRequest, course: _Course) -> tuple[int | None, str | None, bool]:
    """Reclaim, compact, and see whether to go on.

    Returns:
        A block; or None and why the request ends; or None, None: it begins anew. Last,
        whether there was progress.
    """
    gfp = request.gfp
    if not gfp & DIRECT_RECLAIM:
        return None, "atomic", False
    if tasks.is_memalloc():
        return None, "memalloc", False
    freed, pfn = request.reclaim()
    if pfn is None:
        pfn = request.compact(course.priority)
    if pfn is not None:
        return pfn, None, True
    if gfp & NORETRY:
        return None, "noretry", False
    if request.costly and not gfp & RETRY_MAYFAIL:
        return None, "costly", False
    if _reclaims_on(request, course, freed) or (freed and _compacts_on(request, course)):
        return None, None, bool(freed)
    killed = len(request.attempt.victims)
    pfn, reason = request.kill()
    if pfn is not None:
        return pfn, None, True
    # A task that has only now become a victim has its rights still to come.
    if tasks.is_victim() and (request.attempt.alloc_flags & _OF_VICTIMS or gfp & NOMEMALLOC):
        return None, "victim", False
    if reason == "oom" and gfp & NOFAIL:
        reason = None
    if reason is None:
        course.loops = 0
        if gfp & NOFAIL:
            pfn = request.take(NO_WATERMARKS)
    return pfn, reason, len(request.attempt.victims) > killed


def _reclaims_on(request: SlowRequest, course: _Course, freed: int) -> bool:
    course.loops = 0 if freed and not request.costly else course.loops + 1
    if course.loops > MAX_RETRIES:
        # Before anybody is killed, what is set aside for atomic requests goes.
        return request.unreserve(force=True)
    return request.may_gain()


def _compacts_on(request: SlowRequest, course: _Course) -> bool:
    result = request.attempt.compaction
    if result is None:
        return False
    if result == SKIPPED:
        return request.may_compact()
    if result == SUCCESS:
        course.compactions += 1
        if course.compactions <= (MAX_RETRIES // 4 if request.costly else MAX_RETRIES):
            return True
    if course.priority > (SYNC_LIGHT if request.costly else SYNC_FULL):
        course.priority -= 1
        course.compactions = 0
        return True
    return False
