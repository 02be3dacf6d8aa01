"""The slow path: what a memory does for requests that no zone would meet at once.

Lives here: `SlowPath`, what all requests of a memory share. Not here: one request
(`faultinject.mm.slow_request`), the order of its steps, which depends on the kernel version
(`faultinject.mm.classic_slow_path`, `faultinject.mm.modern_slow_path`), and the work of each
(`faultinject.mm.reclaim`, `faultinject.mm.compaction`, `faultinject.mm.oom`).

An injected failure never comes here. A request that must not sleep wakes kswapd, is tried
with its rights, and ends. Others block, on the virtual clock: nobody waits for them.

A memory without watermarks has no slow path until a shrinker or a task is registered.
"""

from __future__ import annotations

from collections import deque
from types import FrameType
from typing import Final

from faultinject.errors import UsageError
from faultinject.mm import classic_slow_path, modern_slow_path, tasks
from faultinject.mm.alloc_flags import WMARK_LOW
from faultinject.mm.attempt import Attempt
from faultinject.mm.compaction import DEFERRED, SKIPPED, Compaction, Outcome
from faultinject.mm.movable import HeldPages
from faultinject.mm.nofail import NofailWarnings
from faultinject.mm.oom import OomKiller
from faultinject.mm.ram import Ram
from faultinject.mm.reclaim import Reclaim
from faultinject.mm.retry_rules import RETRY_RULES
from faultinject.mm.slow_request import SlowRequest
from faultinject.mm.tasks import Task, Tasks
from faultinject.mm.virtual_clock import VirtualClock
from faultinject.mm.vm_events import vm_events
from faultinject.mm.zone import Zone
from faultinject.mm.zones import Plan, Zones

#: So many attempts are kept.
KEPT: Final = 100


class SlowPath:
    """What a memory does when it is short.

    Attributes:
        attempts: the last requests that came so far, in the order in which they ended.
        clock: the memory's virtual time.
        compaction: moves pages.
        events: counters by the names of /proc/vmstat.
        nofail: warns of requests that insist.
        oom: ends tasks.
        ram: whose lock guards all of this.
        reclaim: asks shrinkers.
        rules: of the version, or None: it has no slow path that is modelled.
        tasks: those that may be ended.
        zones: of the memory.
    """

    __slots__ = (
        "_marked",
        "attempts",
        "clock",
        "compaction",
        "events",
        "nofail",
        "oom",
        "ram",
        "reclaim",
        "rules",
        "tasks",
        "zones",
    )

    def __init__(self, ram: Ram, zones: Zones, held: HeldPages) -> None:
        version = zones.machine.version
        self.ram = ram
        self.zones = zones
        self.rules = RETRY_RULES.get(version.name)
        self.attempts: deque[Attempt] = deque(maxlen=KEPT)
        self.events = vm_events(version, zones.machine.zones)
        self.compaction = Compaction(ram, zones, held, self.events)
        modern = self.rules is not None and self.rules.modern
        self.reclaim = Reclaim(ram, zones, self.events, modern, self._compact_for_kswapd)
        self.clock = VirtualClock(ram, self.reclaim.run_kswapd)
        self.tasks = Tasks(ram)
        self.oom = OomKiller(ram, self.tasks, sum(zone.pages for zone in zones.populated))
        self.nofail = NofailWarnings(ram, version)
        self._marked = zones.machine.min_free_kbytes is not None

    def search(self, plan: Plan, order: int, gfp: int) -> int | None:
        """Take a block by the low marks; else wake kswapd, and take it by the request's rights.

        The caller holds the lock.
        """
        pfn = self.zones.take(plan, order, WMARK_LOW)
        if pfn is None:
            self.wake(plan, order, gfp)
            flags = tasks.rights(gfp, order, self.zones.machine.version)
            pfn = self.zones.take(plan, order, flags)
        return pfn

    @property
    def warns_of_nofail(self) -> bool:
        """Whether the kernel warns of ``__GFP_NOFAIL`` where it cannot insist."""
        return self.rules is not None and self.rules.modern

    def wake(self, plan: Plan, order: int, gfp: int) -> bool:
        """Wake kswapd for a request; the caller holds the lock. False if it sleeps on."""
        return self._marked and self.reclaim.wake(order, gfp, plan)

    def go(
        self, plan: Plan, order: int, gfp: int, frame: FrameType | None
    ) -> tuple[int | None, Attempt]:
        """Do what can be done for a request of `frame` that `search` could not meet.

        The caller does not hold the lock: user code runs.

        Returns:
            The block, or None, and the record of what was done.

        Raises:
            Deadlock: the kernel would go on for ever.
        """
        gfp = tasks.in_scope(gfp)
        attempt = Attempt(order, gfp, tasks.rights(gfp, order, self.zones.machine.version))
        if self.reclaim.woken is not None:
            attempt.enter("kswapd")
        began = self.clock.now
        try:
            return self._go(plan, attempt, frame), attempt
        except BaseException:
            attempt.gave_up = attempt.gave_up or "raised"
            raise
        finally:
            attempt.seconds = self.clock.now - began
            self.attempts.append(attempt)

    def _go(self, plan: Plan, attempt: Attempt, frame: FrameType | None) -> int | None:
        if self.rules is None:
            attempt.gave_up = "no-slow-path"
            return None
        if not self._marked and not self.reclaim.shrinkers and not len(self.tasks):
            attempt.gave_up = "no-reclaim"
            return None
        run = modern_slow_path.run if self.rules.modern else classic_slow_path.run
        return run(SlowRequest(self, plan, attempt, self.rules, frame))

    def kill(self, order: int, gfp: int) -> Task | None:
        """Let the OOM killer end a task; None if it refuses."""
        victim = self.oom.kill(order, gfp, self.clock.now)
        if victim is not None and "oom_kill" in self.events:
            with self.ram.lock:
                self.events["oom_kill"] += 1
        return victim

    def stalled(self, found: Outcome, *, met: bool) -> None:
        """Count that a request waited for compaction; the caller holds the lock."""
        if found.result not in (SKIPPED, DEFERRED):
            self.events["compact_stall"] += 1
            self.events["compact_success" if met else "compact_fail"] += 1

    def compact(self, name: str | None) -> int:
        """See `faultinject.mm.memory.Memory.compact`."""
        if self.rules is None or not self.rules.compaction:
            raise UsageError(
                "this kernel cannot compact memory",
                value=self.zones.machine.version.name,
                cure='Make the memory with kernel="3.6" or later',
            )
        with self.ram.lock:
            zones = [zone for zone in self.zones.populated if name in (None, zone.name)]
            if not zones:
                raise UsageError(
                    "the memory has no such zone",
                    value=name,
                    cure=f"Pass one of {', '.join(zone.name for zone in self.zones.populated)}",
                )
            return sum(self.compaction.whole(zone).moved for zone in zones)

    def _compact_for_kswapd(self, zone: Zone, order: int) -> None:
        if self.rules is not None and self.rules.compaction:
            with self.ram.lock:
                self.compaction.for_kswapd(zone, order)
