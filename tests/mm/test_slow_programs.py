"""Random programs on a machine that is short: reclaim, compaction, kills, by every rule."""

from contextlib import ExitStack

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.engine.log import violations
from faultinject.errors import Deadlock
from faultinject.gfp import GFP_ATOMIC, GFP_KERNEL, GFP_NOIO, Gfp
from faultinject.mm import Memory, Page, Pressure, ShrinkControl, Task
from faultinject.mm.attempt import REASONS
from faultinject.mm.retry_rules import RETRY_RULES
from faultinject.mm.span import Span
from faultinject.mm.tasks import memalloc_noreclaim

BASES = st.sampled_from([GFP_KERNEL, GFP_KERNEL, GFP_KERNEL, GFP_NOIO, GFP_ATOMIC])
MODIFIERS = st.sampled_from(
    [0, 0, 0, Gfp.NORETRY, Gfp.RETRY_MAYFAIL, Gfp.NOFAIL, Gfp.MEMALLOC, Gfp.THISNODE, Gfp.HIGH]
)
PLACES = st.sampled_from([0, Gfp.DMA, Gfp.MOVABLE, Gfp.MOVABLE, Gfp.RECLAIMABLE])
ORDERS = st.one_of(st.just(0), st.integers(0, 3), st.integers(0, 10))


class SlowPrograms(RuleBasedStateMachine):
    """Uses a small memory up, with caches and tasks that can give some of it back."""

    watermark_rule = "modern"
    things = Bundle("things")
    pressures = Bundle("pressures")
    tasks = Bundle("tasks")

    @initialize(
        target=pressures,
        dma=st.sampled_from([0, 300]),
        normal=st.sampled_from([700, 2600]),
        min_free_pages=st.integers(0, 100),
        kernel=st.sampled_from(list(RETRY_RULES)),
        policy=st.sampled_from(["badness", "allocating_task", "refuse"]),
        fragmented=st.booleans(),
        spare=st.sampled_from([30, 0, 200]),
    )
    def boot(
        self,
        dma: int,
        normal: int,
        min_free_pages: int,
        kernel: str,
        policy: str,
        fragmented: bool,
        spare: int,
    ) -> object:
        self.memory = Memory(
            zones={"DMA": dma * 4096, "Normal": normal * 4096},
            kernel=kernel,
            watermark_rule=self.watermark_rule,
            min_free_kbytes=4 * min_free_pages,
        )
        self.memory.oom.policy = policy
        self.content: dict[Span, bytes] = {}
        self.held: set[Pressure]
        self.ends = ExitStack()  # tasks that are running
        self.mark = violations.mark()
        # Short of memory from the beginning, and in such a way that something can be done.
        self.held = {self.memory.consume(40 * 4096, movable=True)}
        if fragmented:
            self.held.add(self.memory.fragment(2, movable=True))
        low = sum(zone.low for zone in self.memory.zones.values())
        self.held.add(
            self.memory.consume(
                leave=min(self.memory.free_bytes, (low + spare) * 4096), movable=True
            )
        )
        return multiple(*sorted(self.held, key=lambda each: each.size))

    def keep(self, thing: Span | None) -> object:
        if thing is None:
            return multiple()
        end = min(len(thing), 4096)
        thing[0:end] = bytes([len(self.content) % 251]) * end
        self.content[thing] = bytes(thing[0:1])
        return thing

    @rule(target=things, base=BASES, modifier=MODIFIERS, place=PLACES, order=ORDERS)
    def pages(self, base: int, modifier: int, place: int, order: int) -> object:
        gfp = base | modifier | place | Gfp.NOWARN
        seen, now = len(self.memory.attempts), self.memory.clock.now
        try:
            page = self.memory.alloc_pages(gfp, order)
        except Deadlock:
            assert self.memory.attempts[-1].gave_up == "hang"
            assert gfp & Gfp.DIRECT_RECLAIM
            del violations.since(self.mark)[:]
            self.mark = violations.mark()
            return multiple()

        if page is None:
            assert self.memory.attempts[-1].gave_up in REASONS
            kernel_insists = gfp & Gfp.NOFAIL and not gfp & (Gfp.NORETRY | Gfp.THISNODE)
            assert not (kernel_insists and gfp & Gfp.DIRECT_RECLAIM and order <= 3)
        else:
            zone = next(z for z in self.memory.zones.values() if z.holds(page.pfn))
            plain = base == GFP_KERNEL and modifier in (0, Gfp.NORETRY, Gfp.RETRY_MAYFAIL)
            if plain and self.watermark_rule != "direct" and not self.victims_run():
                assert zone.free + 1 > zone.min
            assert zone.name == "DMA" or not place & Gfp.DMA or "DMA" not in self.memory.zones
        if not gfp & Gfp.DIRECT_RECLAIM:
            assert self.memory.clock.now == now
            assert page is None or len(self.memory.attempts) == seen
        return self.keep(page)

    def victims_run(self) -> bool:
        return any(task._running and task.victim for task in self.memory.tasks)

    @rule(target=things, size=st.integers(1, 40_000))
    def kmalloc(self, size: int) -> object:
        return self.keep(self.memory.kmalloc(size, GFP_KERNEL | Gfp.NORETRY | Gfp.NOWARN))

    @rule(order=st.integers(0, 3))
    def injected(self, order: int) -> None:
        before = self.memory.vmstat(), self.memory.clock.now, len(self.memory.attempts)
        with fail_page_alloc(times=-1, verbose=0):
            assert self.memory.alloc_pages(GFP_KERNEL, order) is None
        assert (self.memory.vmstat(), self.memory.clock.now, len(self.memory.attempts)) == before

    @rule(thing=consumes(things))
    def free(self, thing: Span) -> None:
        if thing in self.content:
            del self.content[thing]
            self.give_back(thing)

    def give_back(self, thing: Span) -> None:
        if isinstance(thing, Page):
            self.memory.free_pages(thing, thing.order)
        else:
            self.memory.kfree(thing)  # type: ignore[arg-type]

    @rule(thing=things)
    def pin(self, thing: Span) -> None:
        if thing in self.content:
            assert thing.data[0:1] == self.content[thing]

    @rule(
        target=pressures,
        leave=st.sampled_from(["min", "low", 0, 100 * 4096]),
        movable=st.booleans(),
    )
    def consume(self, leave: str | int, movable: bool) -> Pressure:
        if isinstance(leave, int):
            leave = min(leave, self.memory.free_bytes)
        pressure = self.memory.consume(leave=leave, movable=movable)
        self.held.add(pressure)
        return pressure

    @rule(target=pressures, order=st.integers(1, 6), movable=st.booleans())
    def fragment(self, order: int, movable: bool) -> Pressure:
        pressure = self.memory.fragment(order, movable=movable)
        self.held.add(pressure)
        return pressure

    @rule(pressure=consumes(pressures))
    def release(self, pressure: Pressure) -> None:
        pressure.release()

    @rule(pressure=pressures, late=st.integers(0, 40), counts=st.booleans())
    def register_shrinker(self, pressure: Pressure, late: int, counts: bool) -> None:
        calls = [0]

        def scan(sc: ShrinkControl) -> int:
            calls[0] += 1
            pages = pressure.size // 4096
            if calls[0] > late:
                note = self.memory.kmalloc(32, GFP_KERNEL | Gfp.NOWARN)
                pressure.release()
                self.memory.kfree(note)
                shrinker.unregister()
            return pages

        shrinker = self.memory.register_shrinker(
            scan, (lambda sc: pressure.size // 4096) if counts else None
        )

    @rule(target=tasks, pressure=pressures, adj=st.sampled_from([0, 0, -1000, 500]))
    def task(self, pressure: Pressure, adj: int) -> Task:
        return self.memory.tasks.add(
            "task", rss=lambda: pressure.size, on_exit=pressure.release, oom_score_adj=adj
        )

    @rule(task=tasks)
    def run(self, task: Task) -> None:
        self.ends.close()
        self.ends.enter_context(task.running())

    @rule()
    def run_nothing(self) -> None:
        self.ends.close()

    @rule(order=st.integers(0, 3))
    def memalloc(self, order: int) -> None:
        now = self.memory.clock.now
        with memalloc_noreclaim():
            page = self.memory.alloc_pages(GFP_KERNEL | Gfp.NOWARN, order)
        assert self.memory.clock.now == now
        if page is not None:
            self.memory.free_pages(page, order)

    @rule(seconds=st.sampled_from([0.0, 0.5]))
    def advance(self, seconds: float) -> None:
        self.memory.clock.advance(seconds)

    @rule()
    def compact(self) -> None:
        if RETRY_RULES[self.memory.kernel].compaction:
            free, held = self.memory.free_bytes, sum(each.size for each in self.held)
            self.memory.compact()
            assert self.memory.free_bytes == free
            assert sum(each.size for each in self.held) == held

    @invariant()
    def the_model_agrees_with_itself(self) -> None:
        self.memory.check()
        assert len(self.memory.leaks()) == len(self.content)
        for thing, content in self.content.items():
            assert thing[0:1] == content
            assert thing[min(len(thing), 4096) - 1] == content[0]
        held = {pfn: order for each in self.held for pfn, order in each.blocks.items()}
        assert held == self.memory._pages.held
        owners = self.memory._pages.held.owners
        assert all(pfn in owner.blocks and owner.movable for pfn, owner in owners.items())
        assert violations.since(self.mark) == []

    @invariant()
    def killed_tasks_are_gone_or_running(self) -> None:
        for kill in self.memory.oom.kills:
            assert kill.task.exited or kill.task._running
            assert kill.task.oom_score_adj != -1000

    def teardown(self) -> None:
        if not hasattr(self, "memory"):
            return
        self.ends.close()
        for thing in list(self.content):
            self.give_back(thing)
        for pressure in self.held:
            pressure.release()
        self.memory.shrink()
        self.memory.check()
        assert self.memory.free_bytes == self.memory.size


class IterativeSlowPrograms(SlowPrograms):
    """By the rule of 2.6.24 to 3.14."""

    watermark_rule = "iterative"


class DirectSlowPrograms(SlowPrograms):
    """By the rule that the iterative one was meant to be."""

    watermark_rule = "direct"


OFTEN = settings(max_examples=40, stateful_step_count=30, deadline=None)
SlowPrograms.TestCase.settings = OFTEN
IterativeSlowPrograms.TestCase.settings = OFTEN
DirectSlowPrograms.TestCase.settings = OFTEN
TestModernSlowPrograms = SlowPrograms.TestCase
TestIterativeSlowPrograms = IterativeSlowPrograms.TestCase
TestDirectSlowPrograms = DirectSlowPrograms.TestCase
