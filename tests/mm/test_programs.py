"""Random programs over the whole API: no overlap, no loss, bytes stay as written."""

from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.capabilities.failslab import failslab
from faultinject.engine.log import violations
from faultinject.gfp import GFP_ATOMIC, GFP_KERNEL, Gfp
from faultinject.mm import PAGE_SIZE, ZERO_SIZE_PTR, KmemCache, Memory, Mempool, Page
from faultinject.mm.span import Span

QUIET = GFP_KERNEL | Gfp.NOWARN
SIZES = st.one_of(st.integers(0, 300), st.integers(0, 20_000), st.sampled_from([8192, 8193, 65536]))


class Programs(RuleBasedStateMachine):
    """Allocates, writes, resizes, shares and frees, with and without faults."""

    machine: ClassVar[dict[str, Any]] = {"size": "1M"}
    things = Bundle("things")

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory(**self.machine)
        self.at_first = self.memory.buddyinfo()
        self.caches: list[KmemCache] = [
            self.memory.kmem_cache_create("small", 40),
            self.memory.kmem_cache_create("odd", 1111, 64),
            self.memory.kmem_cache_create("large", 30_000),
        ]
        self.pools = [
            pool
            for pool in (
                self.memory.mempool_create_slab_pool(2, self.caches[1]),
                self.memory.mempool_create_kmalloc_pool(1, 300),
                self.memory.mempool_create_page_pool(1, 1),
            )
            if pool is not None
        ]
        self.pool_of: dict[Span, Mempool] = {}
        self.references: dict[Span, int] = {}
        self.content: dict[Span, bytes] = {}
        self.mark = violations.mark()
        self.stamp = 0

    def keep(self, thing: Span | None) -> object:
        if thing is None or thing is ZERO_SIZE_PTR:
            return multiple()
        self.write(thing)
        return thing

    def write(self, thing: Span) -> None:
        self.stamp = self.stamp % 255 + 1
        thing[:] = bytes([self.stamp]) * len(thing)
        self.content[thing] = bytes(thing)

    @rule(target=things, size=SIZES, zero=st.booleans())
    def kmalloc(self, size: int, zero: bool) -> object:
        thing = self.memory.kmalloc(size, QUIET | Gfp.ZERO if zero else QUIET)
        if zero and thing is not None:
            assert bytes(thing) == bytes(size)
        return self.keep(thing)

    @rule(target=things, size=st.integers(1, 200_000), zero=st.booleans(), kv=st.booleans())
    def vmalloc(self, size: int, zero: bool, kv: bool) -> object:
        call = self.memory.kvmalloc if kv else self.memory.vmalloc
        thing = call(size, QUIET | Gfp.ZERO if zero else QUIET)
        if zero and thing is not None:
            assert bytes(thing) == bytes(size)
        return self.keep(thing)

    @rule(target=things, which=st.integers(0, 2))
    def cache_alloc(self, which: int) -> object:
        return self.keep(self.caches[which].alloc(QUIET))

    @rule(target=things, which=st.integers(0, 2), count=st.integers(0, 9))
    def bulk_alloc(self, which: int, count: int) -> object:
        before = len(self.memory.leaks())
        objects = self.caches[which].alloc_bulk(QUIET, count)
        if objects is None:
            assert len(self.memory.leaks()) == before
            return multiple()
        assert len(objects) == count
        return multiple(*(self.keep(thing) for thing in objects))

    @rule(target=things, which=st.integers(0, 2), faulty=st.booleans(), sleepy=st.booleans())
    def pool_alloc(self, which: int, faulty: bool, sleepy: bool) -> object:
        if which >= len(self.pools):
            return multiple()
        pool = self.pools[which]
        reserve = pool.curr_nr
        sleepy = sleepy and reserve > 0  # else it might wait for ever
        times = -1 if faulty else 0
        with failslab(times=times, verbose=0), fail_page_alloc(times=times, verbose=0):
            thing = pool.alloc(GFP_KERNEL if sleepy else GFP_ATOMIC)
        if faulty:
            assert pool.curr_nr == max(reserve - 1, 0)
        if thing is None:
            assert reserve == 0
            assert not sleepy
            return multiple()
        self.pool_of[thing] = pool
        return self.keep(thing)

    @rule(which=st.integers(0, 2), min_nr=st.integers(1, 4))
    def pool_resize(self, which: int, min_nr: int) -> None:
        if which < len(self.pools) and self.pools[which].resize(min_nr):
            assert self.pools[which].curr_nr <= self.pools[which].min_nr == min_nr

    @rule(target=things, order=st.integers(0, 4), as_page=st.booleans(), movable=st.booleans())
    def pages(self, order: int, as_page: bool, movable: bool) -> object:
        call = self.memory.alloc_pages if as_page else self.memory.get_free_pages
        return self.keep(call(QUIET | Gfp.MOVABLE if movable else QUIET, order))

    @rule(target=things, size=st.integers(1, 40_000))
    def pages_exact(self, size: int) -> object:
        return self.keep(self.memory.alloc_pages_exact(size, QUIET))

    @rule(thing=things)
    def get_page(self, thing: Span) -> None:
        if thing in self.content and thing not in self.pool_of and isinstance(thing, Page):
            self.memory.get_page(thing)
            self.references[thing] = self.references.get(thing, 1) + 1
            assert self.memory.page_count(thing) == self.references[thing]

    @rule(size=SIZES)
    def injected(self, size: int) -> None:
        # Until 2.0 even kmalloc(0) was a block.
        nothing = {None} if self.memory.kernel == "2.0" else {None, ZERO_SIZE_PTR}
        with failslab(times=-1, verbose=0), fail_page_alloc(times=-1, verbose=0):
            assert self.memory.kmalloc(size, QUIET) in nothing
            assert self.memory.alloc_pages(QUIET, 2) is None
            assert self.memory.vmalloc(size + 1, QUIET) is None

    @rule(thing=things)
    def rewrite(self, thing: Span) -> None:
        if thing in self.content:
            self.write(thing)

    @rule(target=things, thing=consumes(things), size=st.integers(1, 20_000))
    def krealloc(self, thing: Span, size: int) -> object:
        if thing not in self.content:
            return multiple()
        if thing in self.pool_of or thing._home.kind in {"pages", "vmalloc"}:
            return thing
        before = self.content[thing]
        new = self.memory.krealloc(thing, size, QUIET)  # type: ignore[arg-type]
        if new is None:
            assert bytes(thing) == before
            return thing
        kept = min(len(before), size)
        assert new[0:kept] == before[:kept]
        del self.content[thing]
        self.write(new)
        return new

    @rule(thing=consumes(things))
    def free(self, thing: Span) -> None:
        if thing in self.content:
            assert bytes(thing) == self.content.pop(thing)
            self.give_back(thing)

    @rule(things=st.lists(consumes(things), max_size=5))
    def free_bulk(self, things: list[Span]) -> None:
        for thing in things:
            self.free(thing)

    def give_back(self, thing: Span) -> None:
        home = thing._home
        freed_by = getattr(home, "freed_by", "kfree")
        if thing in self.pool_of:
            self.pool_of.pop(thing).free(thing)
        elif freed_by == "free_pages":
            order = (len(thing) // PAGE_SIZE).bit_length() - 1
            for turn in range(self.references.pop(thing, 1)):
                if turn % 2:
                    self.memory.put_page(thing)  # type: ignore[arg-type]
                else:
                    self.memory.free_pages(thing, order)  # type: ignore[arg-type]
        elif freed_by == "free_pages_exact":
            self.memory.free_pages_exact(thing, len(thing))  # type: ignore[arg-type]
        else:
            self.memory.kvfree(thing)  # type: ignore[arg-type]

    @rule()
    def shrink(self) -> None:
        self.memory.shrink()

    @invariant()
    def the_model_agrees_with_itself(self) -> None:
        self.memory.check()
        reserved = sum(pool.curr_nr + 1 for pool in self.pools)
        leaks = self.memory.leaks()
        assert len(leaks) == len(self.content) + reserved
        assert {leak.address for leak in leaks} >= {thing.address for thing in self.content}
        for thing, content in self.content.items():
            assert bytes(thing) == content
        assert violations.since(self.mark) == []

    def teardown(self) -> None:
        for thing in list(self.content):
            self.give_back(thing)
        for pool in self.pools:
            pool.destroy()
        for cache in self.caches:
            cache.destroy()
        self.memory.shrink()
        self.memory.check()
        assert self.memory.leaks() == []
        assert self.memory.free_bytes == self.memory.size
        assert self.memory.buddyinfo() == self.at_first


ZONES = {"DMA": 128 * PAGE_SIZE, "Normal": 200 * PAGE_SIZE}


class IterativePrograms(Programs):
    """By the rule of 2.6.24 to 3.14."""

    machine: ClassVar[dict[str, Any]] = {"zones": ZONES, "watermark_rule": "iterative"}


class DirectPrograms(Programs):
    """By the rule that the iterative one was meant to be."""

    machine: ClassVar[dict[str, Any]] = {"zones": ZONES, "watermark_rule": "direct"}


class ModernPrograms(Programs):
    """By the rule of 4.4 and later."""

    machine: ClassVar[dict[str, Any]] = {"zones": ZONES, "watermark_rule": "modern"}


class OldPrograms(Programs):
    """With the slow path of 2.6.24."""

    machine: ClassVar[dict[str, Any]] = {"zones": ZONES, "kernel": "2.6.24"}


class BucketPrograms(Programs):
    """With the kmalloc of 2.0."""

    machine: ClassVar[dict[str, Any]] = {"size": "1M", "kernel": "2.0"}


OFTEN = settings(max_examples=30, stateful_step_count=40, deadline=None)
Programs.TestCase.settings = OFTEN
IterativePrograms.TestCase.settings = OFTEN
DirectPrograms.TestCase.settings = OFTEN
ModernPrograms.TestCase.settings = OFTEN
OldPrograms.TestCase.settings = OFTEN
BucketPrograms.TestCase.settings = OFTEN
TestPrograms = Programs.TestCase
TestIterativePrograms = IterativePrograms.TestCase
TestDirectPrograms = DirectPrograms.TestCase
TestModernPrograms = ModernPrograms.TestCase
TestOldPrograms = OldPrograms.TestCase
TestBucketPrograms = BucketPrograms.TestCase
