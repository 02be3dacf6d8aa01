"""One request in the slow path: the steps that it can take, and how long it waits.

Lives here: `SlowRequest`. Not here: the order of the steps
(`faultinject.mm.classic_slow_path`, `faultinject.mm.modern_slow_path`), and what all
requests share (`faultinject.mm.slow_path`).
"""

from __future__ import annotations

from types import FrameType
from typing import TYPE_CHECKING, Final

from faultinject.errors import Deadlock
from faultinject.gfp import NOFAIL, RETRY_MAYFAIL, Gfp, format_gfp
from faultinject.mm import tasks
from faultinject.mm.alloc_flags import NO_WATERMARKS, WMARK_HIGH, WMARK_LOW
from faultinject.mm.attempt import Attempt
from faultinject.mm.compaction import COMPLETE, SKIPPED
from faultinject.mm.ledger import recorded
from faultinject.mm.marks import NORMAL
from faultinject.mm.migrate import PAGEBLOCK_PAGES
from faultinject.mm.retry_rules import COSTLY_ORDER, MAX_RETRIES, RetryRules
from faultinject.mm.span import Shown
from faultinject.mm.zones import Plan

if TYPE_CHECKING:
    from faultinject.mm.slow_path import SlowPath

#: A request that waits longer hangs, in virtual seconds (hung_task_timeout_secs).
HUNG_AFTER: Final = 120.0
#: The longest wait, in seconds, once it is clear that nothing comes of waiting.
_LONGEST_WAIT: Final = 1.0

_FS: Final = int(Gfp.FS)
_THISNODE: Final = int(Gfp.THISNODE)

#: Why the OOM killer is not run for a request: the key of the reason -> the record's text.
_BARS: Final = {
    "costly": "not run for an order above 3",
    "mayfail": "not run for __GFP_RETRY_MAYFAIL",
    "this-node": "not run for one certain node",
    "lowmem": "not run for a zone below Normal",
}


class SlowRequest:
    """A request that the free lists could not meet.

    Attributes:
        attempt: what was done for it.
        costly: whether its order is one that a kernel does not insist on.
        gfp: its flags.
        order: of the pages.
        plan: which zones it may use.
        rules: of the kernel version.
    """

    __slots__ = (
        "_exhausted",
        "_frame",
        "_fruitless",
        "_path",
        "_waited",
        "attempt",
        "costly",
        "gfp",
        "order",
        "plan",
        "rules",
    )

    def __init__(
        self,
        path: SlowPath,
        plan: Plan,
        attempt: Attempt,
        rules: RetryRules,
        frame: FrameType | None,
    ) -> None:
        self.plan = plan
        self.attempt = attempt
        self.order = attempt.order
        self.gfp = attempt.gfp
        self.costly = attempt.order > COSTLY_ORDER
        self.rules = rules
        self._path = path
        self._frame = frame
        self._waited = 0.0
        self._fruitless = 0
        # The state in which compaction tried everything, and at which priority.
        self._exhausted: tuple[int, ...] = ()

    def take(self, flags: int) -> int | None:
        """Take a block by certain alloc_flags."""
        with self._path.ram.lock:
            return self._path.zones.take(self.plan, self.order, flags)

    def restart(self) -> int | None:
        """Take a block as if the request had just come."""
        pfn = self.take(WMARK_LOW)
        return self.again() if pfn is None else pfn

    def again(self, extra: int = 0) -> int | None:
        """Wake kswapd, and take a block by the request's rights, as they are now.

        `extra` are alloc_flags that are added to them.
        """
        version = self._path.zones.machine.version
        self.attempt.alloc_flags = tasks.rights(self.gfp, self.order, version) | extra
        with self._path.ram.lock:
            if self._path.wake(self.plan, self.order, self.gfp):
                self.attempt.enter("kswapd")
        return self.take(self.attempt.alloc_flags)

    def reclaim(self) -> tuple[int, int | None]:
        """Reclaim, and try again if that freed anything.

        Returns:
            How many pages were freed, and the block, if there was one then.
        """
        attempt = self.attempt
        attempt.enter("reclaim")
        attempt.rounds += 1
        scanned, freed = self._path.reclaim.direct(self.gfp, self.plan)
        attempt.scanned += scanned
        attempt.reclaimed += freed
        if not freed:
            return 0, None
        pfn = self.take(attempt.alloc_flags)
        if pfn is None and self.unreserve(force=False):
            pfn = self.take(attempt.alloc_flags)
        return freed, pfn

    def unreserve(self, *, force: bool) -> bool:
        """Give a pageblock that is set aside for atomic requests up; the last one by force."""
        zones = self._path.zones
        with self._path.ram.lock:
            return any(
                zones.unreserve(zone, self.plan.kind)
                for zone in self.plan.zones
                if zone.reserved_highatomic > (0 if force else PAGEBLOCK_PAGES)
            )

    def compact(self, priority: int) -> int | None:
        """Move pages until there is a block, and take it."""
        attempt, path = self.attempt, self._path
        if not self.order:
            return None
        attempt.enter("compaction")
        if ~self.gfp & self.rules.compaction_needs:
            attempt.compaction = SKIPPED
            return None
        with path.ram.lock:
            state = (priority, attempt.moved, *(zone.free for zone in self.plan.zones))
            if state == self._exhausted:
                return None
            found = path.compaction.for_request(
                self.plan, self.order, attempt.alloc_flags & ~NO_WATERMARKS, priority
            )
            attempt.compaction = found.result
            attempt.moved += found.moved
            pfn = path.zones.take(self.plan, self.order, attempt.alloc_flags)
            if found.result == COMPLETE:
                self._exhausted = (priority, attempt.moved, *state[2:])
            path.stalled(found, met=pfn is not None)
        return pfn

    def may_gain(self) -> bool:
        """Whether some zone would do if all that can be reclaimed were free."""
        reclaimable = self._path.reclaim.reclaimable(self.gfp)
        flags = self.attempt.alloc_flags & ~NO_WATERMARKS
        with self._path.ram.lock:
            return any(
                zone.allows(self.order, flags, self.plan.highest, spare=reclaimable)
                for zone in self.plan.zones
            )

    def may_compact(self) -> bool:
        """Whether pages could be moved if all that can be reclaimed were free."""
        reclaimable = self._path.reclaim.reclaimable(self.gfp)
        flags = self.attempt.alloc_flags & ~NO_WATERMARKS
        is_suitable = self._path.compaction.is_suitable
        with self._path.ram.lock:
            return any(
                is_suitable(zone, self.order, flags, self.plan.highest, spare=reclaimable)
                for zone in self.plan.zones
            )

    def kill(self) -> tuple[int | None, str | None]:
        """Let the OOM killer end a task.

        Returns:
            A block, if there is one by now; else None, and why the request can go no
            further that way: a key of `faultinject.mm.attempt.REASONS`, or None.
        """
        attempt = self.attempt
        attempt.enter("oom")
        # By the high mark: only if somebody else has freed a lot meanwhile.
        pfn = self.take(WMARK_HIGH)
        if pfn is not None:
            return pfn, None
        bar = self._oom_bar()
        if bar is not None:
            attempt.oom = _BARS[bar]
            return None, bar
        if not self.gfp & _FS:
            attempt.oom = "not run without __GFP_FS"
            return None, None
        if tasks.is_victim():
            attempt.oom = "the task is a victim itself"
            return None, None
        victim = self._path.kill(self.order, self.gfp)
        if victim is None:
            attempt.oom = "refused, there is no task to kill"
            return None, "oom"
        attempt.victims.append(victim.name)
        return None, None

    def _oom_bar(self) -> str | None:
        if not self.rules.modern and self.gfp & NOFAIL and self.rules.nofail_insists:
            return None
        if self.rules.mayfail and self.gfp & RETRY_MAYFAIL:
            return "mayfail"
        if self.costly:
            return "costly"
        if not self.rules.oom_spares_low:
            return None
        if self.gfp & _THISNODE:
            return "this-node"
        configured = list(self._path.zones.machine.zones)
        return "lowmem" if self.plan.highest < configured.index(NORMAL) else None

    def wait(self, seconds: float, *, progress: bool) -> None:
        """Let time pass before the request begins anew.

        A kernel would do the same thing over and over. Here, once it has done so 16 times
        without progress, each wait is twice the one before.

        Raises:
            Deadlock: it has waited for two minutes.
        """
        self.attempt.enter("retry")
        self.attempt.retries += 1
        self._fruitless = 0 if progress else self._fruitless + 1
        doubled = max(self._fruitless - MAX_RETRIES, 0)
        seconds = min(seconds * (1 << min(doubled, 16)), max(seconds, _LONGEST_WAIT))
        self._waited += seconds
        if self._waited > HUNG_AFTER:
            self._hang()
        self._path.clock.advance(seconds)

    def warn_of_nofail(self) -> None:
        """Let the kernel warn of a request that insists where it had better not."""
        is_memalloc = tasks.is_memalloc()
        self._path.nofail.tell(self.order, self.gfp, self._frame, is_memalloc=is_memalloc)

    def give_up(self, reason: str) -> None:
        """End without pages; `reason` is a key of `faultinject.mm.attempt.REASONS`."""
        self.attempt.gave_up = reason

    def _hang(self) -> None:
        self.attempt.gave_up = "hang"
        raise recorded(
            Deadlock(
                f"the kernel would hang here: a request of order {self.order} that never gives "
                f"up has waited {HUNG_AFTER:.0f} seconds of virtual time",
                value=Shown(format_gfp(self.gfp)),
                cure="Register a shrinker or a task that gives memory back, or let the request "
                "fail (__GFP_NORETRY)",
            )
        )
