"""What the slow path did for one request: the record that reports and tests read.

Lives here: `Attempt`, and the words for how one ends. Not here: the slow path
(`faultinject.mm.slow_path`), and the text of a failure's report (`faultinject.mm.warn`).

Every request that no zone would serve at once has one, whatever comes of it. A
request that a fault was injected into has none: it never came so far.
"""

from __future__ import annotations

from typing import Final

from faultinject.gfp import format_gfp
from faultinject.mm.alloc_flags import format_alloc_flags

#: Why an attempt ended without pages: its word -> what that means.
REASONS: Final = {
    "no-reclaim": "no page could be reclaimed: the memory has neither watermarks nor shrinkers",
    "no-slow-path": "this kernel has no slow path that is modelled",
    "atomic": "the request must not sleep",
    "memalloc": "the task frees memory itself (PF_MEMALLOC)",
    "victim": "the task is a victim of the OOM killer",
    "noretry": "__GFP_NORETRY asks for one light attempt",
    "costly": "an order above 3 is not retried, and nobody is killed for it",
    "mayfail": "reclaim brings nothing more, and __GFP_RETRY_MAYFAIL kills nobody",
    "reclaimed-enough": "as many pages as were asked for have been reclaimed, but none fits",
    "lowmem": "nobody is killed for memory of a low zone",
    "this-node": "nobody is killed for memory of one certain node",
    "oom": "only the OOM killer could have helped, and it refused",
    "raised": "a shrinker, a policy of the OOM killer or the end of a task raised an exception",
    "hang": "the kernel would go on for ever",
}


class Attempt:
    """One request's way through the slow path.

    ``str()`` is one line for each stage that did something.

    Attributes:
        order: of the request.
        gfp: its flags; what `memalloc_noio` or `memalloc_nofs` forbids is taken away.
        alloc_flags: the mark and the rights by which it was last tried; `rights` names them.
        stages: what was entered, each once, in the order of the first time:
            ``"kswapd"`` (woken), ``"compaction"``, ``"reclaim"``, ``"retry"``, ``"oom"``.
        rounds: how often direct reclaim was run.
        scanned: how many objects the shrinkers were asked to free for it.
        reclaimed: how many pages that freed.
        compaction: what compaction last came to: ``"skipped"``, ``"deferred"``,
            ``"complete"`` (all was tried), ``"success"``, or None: it did not run.
        moved: how many pages compaction moved.
        retries: how often it began anew.
        seconds: how long it blocked, on the memory's virtual clock.
        victims: the names of the tasks that the OOM killer ended for it.
        oom: why the OOM killer was not run or ended nobody, or None.
        gave_up: a key of `REASONS`, or None: the request was met.
    """

    __slots__ = (
        "alloc_flags",
        "compaction",
        "gave_up",
        "gfp",
        "moved",
        "oom",
        "order",
        "reclaimed",
        "retries",
        "rounds",
        "scanned",
        "seconds",
        "stages",
        "victims",
    )

    def __init__(self, order: int, gfp: int, alloc_flags: int) -> None:
        self.order = order
        self.gfp = gfp
        self.alloc_flags = alloc_flags
        self.stages: list[str] = []
        self.rounds = 0
        self.scanned = 0
        self.reclaimed = 0
        self.compaction: str | None = None
        self.moved = 0
        self.retries = 0
        self.seconds = 0.0
        self.victims: list[str] = []
        self.oom: str | None = None
        self.gave_up: str | None = None

    @property
    def met(self) -> bool:
        """Whether the request got its pages."""
        return self.gave_up is None

    @property
    def rights(self) -> str:
        """The names of `alloc_flags`: ``ALLOC_WMARK_MIN|ALLOC_CPUSET``."""
        return format_alloc_flags(self.alloc_flags)

    @property
    def why(self) -> str | None:
        """What `gave_up` means, as a clause; None if the request was met."""
        return None if self.gave_up is None else REASONS[self.gave_up]

    def enter(self, stage: str) -> None:
        """Note that a stage was entered."""
        if stage not in self.stages:
            self.stages.append(stage)

    def __str__(self) -> str:
        lines = [f"order {self.order}, {format_gfp(self.gfp) or 'no flags'}: {self._ending()}"]
        if self.rounds:
            lines.append(
                f"reclaim: {_times(self.rounds)}, {self.scanned} objects scanned, "
                f"{self.reclaimed} pages reclaimed"
            )
        if self.compaction is not None:
            lines.append(f"compaction: {self.compaction}, {self.moved} pages moved")
        if self.victims or self.oom is not None:
            killed = f"killed {', '.join(self.victims)}" if self.victims else ""
            lines.append(f"oom: {'; '.join(filter(None, (killed, self.oom)))}")
        if self.retries or self.seconds:
            lines.append(f"began anew {_times(self.retries)}, blocked {self.seconds:.3f} s")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Attempt at order {self.order}, {format_gfp(self.gfp)}: {self._ending()}>"

    def _ending(self) -> str:
        return "met" if self.gave_up is None else f"gave up, {self.why}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
