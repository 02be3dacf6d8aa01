"""Reclaim: asking the shrinkers for pages, by the request itself or by kswapd.

Lives here: `Reclaim`. Not here: what a shrinker is asked for
(`faultinject.mm.shrinker`), and what follows when nothing comes of it
(`faultinject.mm.slow_path`).

User code runs without the memory's lock, as a task of PF_MEMALLOC: what it allocates may
come from every reserve, and reclaims nothing itself. What it raises ends the request.

kswapd works in the background, that is: whenever time passes on the virtual clock, in the
thread that lets it pass, unless that thread is reclaiming already.

Source: Linux 6.6 mm/vmscan.c, do_try_to_free_pages(), balance_pgdat(). Progress is pages:
an object that leaves its slab standing is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from faultinject.gfp import Gfp
from faultinject.mm import tasks
from faultinject.mm.alloc_flags import WMARK_HIGH
from faultinject.mm.ram import Ram
from faultinject.mm.shrinker import DEF_PRIORITY, Count, Scan, Shrinker
from faultinject.mm.zone import Zone
from faultinject.mm.zones import Plan, Zones

#: How many pages direct reclaim is content with (SWAP_CLUSTER_MAX).
ENOUGH: Final = 32
#: After so many runs for nothing kswapd sleeps until somebody else makes progress.
_MAX_FAILURES: Final = 16
#: More than any zone has: what a shrinker may free that does not count.
_UNKNOWN: Final = 1 << 40
_KSWAPD_RECLAIM: Final = int(Gfp.KSWAPD_RECLAIM)

Compact = Callable[[Zone, int], object]


class Reclaim:
    """The shrinkers of one memory, and its kswapd.

    Args:
        ram: whose lock guards the counters.
        zones: whose pages are wanted.
        events: the counters of /proc/vmstat.
        compact: called by kswapd for a zone that is to have a block of an order.

    Attributes:
        shrinkers: those that are registered, in that order.
        woken: the order that kswapd was woken for, or None: it sleeps.
    """

    __slots__ = (
        "_compact",
        "_events",
        "_failures",
        "_modern",
        "_ram",
        "_running",
        "_zones",
        "shrinkers",
        "woken",
    )

    def __init__(
        self, ram: Ram, zones: Zones, events: dict[str, int], modern: bool, compact: Compact
    ) -> None:
        self.shrinkers: dict[Shrinker, None] = {}
        self.woken: int | None = None
        self._ram = ram
        self._zones = zones
        self._events = events
        self._modern = modern
        self._compact = compact
        self._failures = 0
        self._running = False

    def register(
        self, scan: Scan, count: Count | None, name: str | None, seeks: int, batch: int
    ) -> Shrinker:
        """See `faultinject.mm.memory.Memory.register_shrinker`."""
        return Shrinker(self.shrinkers, scan, count, name, seeks, batch)

    def direct(self, gfp: int, plan: Plan) -> tuple[int, int]:
        """Reclaim for a request, until 32 pages were freed or all was asked for.

        Returns:
            How many objects were scanned, and how many pages that freed.
        """
        stall = f"allocstall_{list(self._zones.machine.zones)[plan.highest].lower()}"
        self._count(stall if stall in self._events else "allocstall", 1)
        scanned = freed = 0
        with tasks.memalloc_noreclaim():
            for priority in range(DEF_PRIORITY, -1, -1):
                asked, gained = self._pass(gfp, priority, "direct")
                scanned, freed = scanned + asked, freed + gained
                if freed >= ENOUGH:
                    break
        if freed:
            self._failures = 0
        return scanned, freed

    def reclaimable(self, gfp: int) -> int:
        """Estimate how many pages the shrinkers could still free: one for each object."""
        pages = 0
        with tasks.memalloc_noreclaim():
            for shrinker in list(self.shrinkers):
                found = shrinker.count(gfp)
                pages += (_UNKNOWN if shrinker.unknown else 0) if found is None else found
        return pages

    def wake(self, order: int, gfp: int, plan: Plan) -> bool:
        """Wake kswapd for a request; the caller holds the memory's lock.

        Returns:
            Whether it was woken, or was awake.
        """
        if self._modern and not gfp & _KSWAPD_RECLAIM:
            return False
        if self.woken is not None:
            self.woken = max(self.woken, order)
            return True
        if self._modern:
            if self._failures >= _MAX_FAILURES:
                return False
            if self._is_balanced(order, plan.zones, plan.highest):
                return False
        self.woken = order
        return True

    def run_kswapd(self) -> None:
        """Let kswapd do its work, if it is awake and this thread is not reclaiming."""
        if self.woken is None or tasks.is_memalloc():
            return
        with self._ram.lock:
            if self._running or self.woken is None:
                return
            order, self.woken, self._running = self.woken, None, True
        try:
            self._balance(order)
        finally:
            self._running = False

    def _balance(self, order: int) -> None:
        self._count("pageoutrun", 1)
        zones = self._zones.populated
        with tasks.memalloc_noreclaim():
            for priority in range(DEF_PRIORITY, -1, -1):
                if self._balanced(zones):
                    break
                if self._pass(int(Gfp.KERNEL), priority, "kswapd")[1]:
                    self._failures = 0
            else:
                self._failures += not self._balanced(zones)
        if order:
            for zone in zones:
                self._compact(zone, order)

    def _pass(self, gfp: int, priority: int, by: str) -> tuple[int, int]:
        """Ask each shrinker once; return the objects scanned and the pages freed."""
        before, scanned = self._free(), 0
        try:
            for shrinker in list(self.shrinkers):
                free = self._free()
                scanned += shrinker.shrink(gfp, priority)
                shrinker.unknown = self._free() > free
        finally:
            freed = max(self._free() - before, 0)
            self._count(f"pgscan_{by}", scanned)
            self._count("slabs_scanned", scanned)
            self._count(f"pgsteal_{by}", freed)
        return scanned, freed

    def _free(self) -> int:
        return sum(zone.buddy.nr_free for zone in self._zones.populated)

    def _balanced(self, zones: Sequence[Zone]) -> bool:
        with self._ram.lock:
            return self._is_balanced(0, zones, zones[-1].index)

    def _is_balanced(self, order: int, zones: Sequence[Zone], highest: int) -> bool:
        enough = any if self._modern else all
        return enough(zone.allows(order, WMARK_HIGH, highest) for zone in zones)

    def _count(self, event: str, by: int) -> None:
        with self._ram.lock:
            self._events[event] += by
