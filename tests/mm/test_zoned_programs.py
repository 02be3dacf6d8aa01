"""Random programs on machines with zones: each answer is foretold from the state before it."""

import pytest
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
from faultinject.errors import SpecError
from faultinject.gfp import GFP_ATOMIC, GFP_KERNEL, GFP_NOWAIT, Gfp
from faultinject.mm import Memory, Page, Pressure, Zone
from faultinject.mm.migrate import HIGHATOMIC, MOVABLE, UNMOVABLE
from faultinject.mm.span import Span
from faultinject.mm.watermark import check

ORDER_OF_ZONES = ["DMA", "DMA32", "Normal", "HighMem", "Movable"]
REQUESTS = [GFP_KERNEL, GFP_NOWAIT, GFP_ATOMIC, GFP_KERNEL | Gfp.HIGH, GFP_KERNEL | Gfp.MEMALLOC]
PLACES = [0, Gfp.DMA, Gfp.DMA32, Gfp.HIGHMEM, Gfp.MOVABLE, Gfp.HIGHMEM | Gfp.MOVABLE]
PAGE_COUNTS = st.one_of(st.just(0), st.integers(40, 1200))


def rights(gfp: int, order: int) -> dict[str, bool]:
    """The rights below the low mark, by the text of the rules for 6.6."""
    atomic = not gfp & Gfp.DIRECT_RECLAIM
    return {
        "high": bool(gfp & Gfp.HIGH),
        "harder": atomic,
        "highatomic": atomic and order > 0,
    }


class ZonedPrograms(RuleBasedStateMachine):
    """Allocates and frees under pressure, by one watermark rule."""

    watermark_rule = "modern"
    things = Bundle("things")
    pressures = Bundle("pressures")

    @initialize(
        pages=st.tuples(PAGE_COUNTS, PAGE_COUNTS, st.integers(600, 2600), PAGE_COUNTS, PAGE_COUNTS),
        min_free_pages=st.integers(0, 300),
    )
    def boot(self, pages: tuple[int, ...], min_free_pages: int) -> None:
        self.memory = Memory(
            zones={
                name: each * 4096
                for name, each in zip(ORDER_OF_ZONES, pages, strict=True)
                if each or name in {"DMA", "HighMem"}
            },
            watermark_rule=self.watermark_rule,
            min_free_kbytes=4 * min_free_pages,
        )
        self.content: dict[Span, bytes] = {}
        self.held: set[Pressure] = set()
        self.mark = violations.mark()

    def in_order(self, gfp: int) -> list[Zone]:
        """The zones that the bits of a request allow, in the order of the fallback."""
        place = gfp & (Gfp.DMA | Gfp.DMA32 | Gfp.HIGHMEM)
        highest = {Gfp.DMA: "DMA", Gfp.DMA32: "DMA32", Gfp.HIGHMEM: "HighMem"}.get(place, "Normal")
        if highest == "HighMem" and gfp & Gfp.MOVABLE:
            highest = "Movable"
        configured = list(self.memory._pages.zones.machine.zones)
        if highest not in configured:
            highest = "Normal"
        self.highest = configured.index(highest)
        allowed = ORDER_OF_ZONES[: ORDER_OF_ZONES.index(highest) + 1]
        return [zone for name, zone in reversed(self.memory.zones.items()) if name in allowed]

    def foretold(self, gfp: int, order: int) -> Zone | None:
        zones = self.in_order(gfp)
        for mark, has in (("low", {}), ("min", rights(gfp, order))):
            for zone in zones:
                free = gfp & Gfp.MEMALLOC and mark == "min"
                reserve = zone.lowmem_reserve[self.highest]
                if not free and not check(zone, order, mark=mark, lowmem_reserve=reserve, **has):
                    continue
                usable = (
                    zone.buddy.lists if has.get("highatomic") else zone.buddy.lists[:HIGHATOMIC]
                )
                if any(lists.largest() >= order for lists in usable):
                    return zone
        return None

    def keep(self, thing: Span | None) -> object:
        if thing is None:
            return multiple()
        thing[0:1] = bytes([len(self.content) % 251])
        self.content[thing] = bytes(thing[0:1])
        return thing

    @rule(
        target=things,
        base=st.sampled_from(REQUESTS),
        place=st.sampled_from(PLACES),
        order=st.one_of(st.integers(0, 3), st.integers(0, 10)),
    )
    def pages(self, base: int, place: int, order: int) -> object:
        gfp = base | place | Gfp.NOWARN
        zone = self.foretold(gfp, order)
        before = {name: each.free for name, each in self.memory.zones.items()}

        page = self.memory.alloc_pages(gfp, order)

        if zone is None and page is not None:
            # Nobody gives pages back here, so it can only have moved some.
            assert gfp & Gfp.DIRECT_RECLAIM
            assert self.memory.attempts[-1].met
            assert self.memory.attempts[-1].compaction == "success"
            zone = next(each for each in self.in_order(gfp) if each.holds(page.pfn))
        if zone is None:
            assert page is None
        else:
            assert isinstance(page, Page)
            assert zone.holds(page.pfn)
            assert zone.free == before.pop(zone.name) - (1 << order)
            if base == GFP_KERNEL and self.watermark_rule != "direct":
                kept = zone.min + zone.lowmem_reserve[self.highest]
                assert zone.free + 1 > kept
        assert all(self.memory.zones[name].free == free for name, free in before.items())
        return self.keep(page)

    @rule(target=things, size=st.integers(1, 40_000), gfp=st.sampled_from(REQUESTS[:3]))
    def kmalloc(self, size: int, gfp: int) -> object:
        return self.keep(self.memory.kmalloc(size, gfp | Gfp.NOWARN))

    @rule(target=things, size=st.integers(1, 60_000))
    def exact(self, size: int) -> object:
        return self.keep(self.memory.alloc_pages_exact(size, GFP_ATOMIC | Gfp.NOWARN))

    @rule(order=st.integers(0, 3))
    def injected(self, order: int) -> None:
        with fail_page_alloc(times=-1, verbose=0):
            assert self.memory.alloc_pages(GFP_KERNEL, order) is None

    @rule(place=st.sampled_from([Gfp.DMA | Gfp.HIGHMEM, Gfp.DMA32 | Gfp.DMA]))
    def contradiction(self, place: int) -> None:
        with pytest.raises(SpecError):
            self.memory.alloc_pages(GFP_KERNEL | place)

    @rule(thing=consumes(things))
    def free(self, thing: Span) -> None:
        if thing in self.content:
            assert bytes(thing[0:1]) == self.content.pop(thing)
            self.give_back(thing)

    def give_back(self, thing: Span) -> None:
        freed_by = getattr(thing._home, "freed_by", "kfree")
        if freed_by == "free_pages":
            self.memory.free_pages(thing, thing.order)  # type: ignore[attr-defined, arg-type]
        elif freed_by == "free_pages_exact":
            self.memory.free_pages_exact(thing, len(thing))  # type: ignore[arg-type]
        else:
            self.memory.kfree(thing)  # type: ignore[arg-type]

    @rule(
        target=pressures,
        leave=st.sampled_from(["min", "low", "high", 0, 200 * 4096]),
        movable=st.booleans(),
    )
    def consume(self, leave: str | int, movable: bool) -> object:
        if isinstance(leave, int):
            leave = min(leave, self.memory.free_bytes)
        pressure = self.memory.consume(leave=leave, movable=movable)
        if isinstance(leave, int):
            assert self.memory.free_bytes == leave
        else:
            assert all(
                zone.free <= getattr(zone, str(leave)) or not pressure.size
                for zone in self.memory.zones.values()
            )
        self.held.add(pressure)
        return pressure

    @rule(target=pressures, order=st.integers(1, 10), movable=st.booleans())
    def fragment(self, order: int, movable: bool) -> object:
        pressure = self.memory.fragment(order, movable=movable)
        assert not any(sum(zone.blocks()[order:]) for zone in self.memory.zones.values())
        self.held.add(pressure)
        return pressure

    @rule(pressure=consumes(pressures))
    def release(self, pressure: Pressure) -> None:
        pressure.release()
        self.held.discard(pressure)

    @rule(kind=st.sampled_from([UNMOVABLE, MOVABLE]))
    def unreserve(self, kind: int) -> None:
        for zone in self.memory.zones.values():
            self.memory._pages.zones.unreserve(zone, kind)

    @rule(pages=st.sampled_from([0, 0, 50]))
    def boost(self, pages: int) -> None:
        self.memory._pages.zones.set_boost(self.memory.zones["Normal"], pages)

    @rule()
    def shrink(self) -> None:
        self.memory.shrink()

    @rule(zone=st.sampled_from([None, "Normal"]))
    def compact(self, zone: str | None) -> None:
        before = {name: each.free for name, each in self.memory.zones.items()}
        self.memory.compact(zone)
        assert {name: each.free for name, each in self.memory.zones.items()} == before

    @rule(seconds=st.sampled_from([0.0, 1.0]))
    def kswapd(self, seconds: float) -> None:
        self.memory.clock.advance(seconds)

    @invariant()
    def the_model_agrees_with_itself(self) -> None:
        self.memory.check()
        assert len(self.memory.leaks()) == len(self.content)
        assert all(bytes(thing[0:1]) == content for thing, content in self.content.items())
        assert violations.since(self.mark) == []
        if self.watermark_rule != "modern":
            assert not any(zone.reserved_highatomic for zone in self.memory.zones.values())

    def teardown(self) -> None:
        if not hasattr(self, "memory"):
            return
        for thing in list(self.content):
            self.give_back(thing)
        for pressure in self.held:
            pressure.release()
        self.memory.shrink()
        self.memory.check()
        assert self.memory.free_bytes == self.memory.size


class IterativePrograms(ZonedPrograms):
    """By the rule of 2.6.24 to 3.14."""

    watermark_rule = "iterative"


class DirectPrograms(ZonedPrograms):
    """By the rule that the iterative one was meant to be."""

    watermark_rule = "direct"


OFTEN = settings(max_examples=40, stateful_step_count=30, deadline=None)
ZonedPrograms.TestCase.settings = OFTEN
IterativePrograms.TestCase.settings = OFTEN
DirectPrograms.TestCase.settings = OFTEN
TestModernPrograms = ZonedPrograms.TestCase
TestIterativePrograms = IterativePrograms.TestCase
TestDirectPrograms = DirectPrograms.TestCase
