"""The OOM killer: which task ends, so that a request can be met.

Lives here: `OomKiller`, its policies and the record of its kills. Not here: the tasks
(`faultinject.mm.tasks`), and when it is run (`faultinject.mm.slow_path`).

No process of yours is ever ended. What ends is a task that was registered: its
``on_exit`` is called and gives memory back. Where there is none to kill, a kernel panics;
here the request fails, and its `Attempt` tells that the killer refused.

Source: Linux 6.6 mm/oom_kill.c, out_of_memory(), oom_badness(), for every version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from faultinject.engine.message import fail_dump
from faultinject.errors import UsageError
from faultinject.gfp import format_gfp
from faultinject.mm import tasks as current
from faultinject.mm.ram import PAGE_SIZE, Ram
from faultinject.mm.tasks import Task, Tasks, pages_of

Policy: TypeAlias = Callable[[Sequence[Task]], Task | None]

BADNESS: Final = "badness"
ALLOCATING_TASK: Final = "allocating_task"
REFUSE: Final = "refuse"
#: What may be said instead of a function.
POLICIES: Final = (BADNESS, ALLOCATING_TASK, REFUSE)


class Kill(NamedTuple):
    """One task that was killed.

    Attributes:
        task: which one.
        order: of the request that was in need.
        gfp: its flags.
        seconds: when, on the virtual clock.
    """

    task: Task
    order: int
    gfp: int
    seconds: float


class OomKiller:
    """Ends tasks of one memory.

    Attributes:
        kills: those that it ended, oldest first.
        refusals: how often there was nobody to end.
    """

    __slots__ = ("_pages", "_policy", "_ram", "_tasks", "kills", "refusals")

    def __init__(self, ram: Ram, tasks: Tasks, pages: int) -> None:
        self.kills: list[Kill] = []
        self.refusals = 0
        self._ram = ram
        self._tasks = tasks
        self._pages = pages
        self._policy: str | Policy = BADNESS

    @property
    def policy(self) -> str | Policy:
        """Whom it chooses.

        ``"badness"`` is the task with the most memory, weighed by its oom_score_adj;
        ``"allocating_task"`` is the one that asked, if it is registered (the kernel's
        oom_kill_allocating_task), else as before; ``"refuse"`` is nobody. Or a function: it
        is given the tasks that may be killed, and returns one of them or None.
        """
        return self._policy

    @policy.setter
    def policy(self, policy: str | Policy) -> None:
        if not callable(policy) and policy not in POLICIES:
            raise UsageError(
                "not a policy of the OOM killer",
                value=policy,
                cure=f"Pass one of {', '.join(POLICIES)}, or a function of the tasks",
            )
        self._policy = policy

    def badness(self, task: Task) -> int:
        """Return a task's points: its pages, and its oom_score_adj in pages."""
        return pages_of(task) + task.oom_score_adj * self._pages // 1000

    def kill(self, order: int, gfp: int, seconds: float) -> Task | None:
        """Choose a task and end it; None if there is none to choose.

        What the task's ``on_exit`` raises passes through.
        """
        victim = self._choose(self._tasks.killable())
        if victim is None:
            self.refusals += 1
            return None
        with self._ram.lock:
            if victim.victim:  # another thread was quicker
                return victim
            victim.victim = True
            self.kills.append(Kill(victim, order, gfp, seconds))
        self._log(victim, order, gfp)
        victim.leave()
        return victim

    def _choose(self, candidates: list[Task]) -> Task | None:
        if not candidates or self._policy == REFUSE:
            return None
        if callable(self._policy):
            with current.memalloc_noreclaim():
                chosen = self._policy(candidates)
            if chosen is not None and chosen not in candidates:
                raise UsageError(
                    "the policy of the OOM killer chose what it was not offered",
                    value=chosen,
                    cure="Return one of the tasks that it is given, or None",
                )
            return chosen
        asking = current.current_task()
        if self._policy == ALLOCATING_TASK and asking in candidates:
            return asking
        # The kernel keeps the last of several that are equally bad.
        return max(reversed(candidates), key=self.badness)

    def _log(self, victim: Task, order: int, gfp: int) -> None:
        asking = current.current_task()
        name, adj = (asking.name, asking.oom_score_adj) if asking else ("task", 0)
        fail_dump(
            f"{name} invoked oom-killer: gfp_mask={gfp:#x}({format_gfp(gfp)}), order={order}, "
            f"oom_score_adj={adj}\n"
            f"Out of memory: Killed process {victim.pid} ({victim.name}) "
            f"anon-rss:{victim.rss // PAGE_SIZE * (PAGE_SIZE // 1024)}kB, "
            f"oom_score_adj:{victim.oom_score_adj}",
            stack=False,
            suppressed=0,
            frame=None,
        )
