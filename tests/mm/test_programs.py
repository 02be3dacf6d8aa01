"""Random programs over the whole model: no overlap, no loss, bytes stay as written."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.capabilities.failslab import failslab
from faultinject.engine.log import violations
from faultinject.gfp import GFP_KERNEL, Gfp
from faultinject.mm import ZERO_SIZE_PTR, KmemCache, Memory
from faultinject.mm.span import Span

QUIET = GFP_KERNEL | Gfp.NOWARN
SIZES = st.one_of(st.integers(0, 300), st.integers(0, 20_000), st.sampled_from([8192, 8193, 65536]))


class Programs(RuleBasedStateMachine):
    """Allocates, writes, resizes and frees, with and without faults."""

    things = Bundle("things")

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory("1M")
        self.caches: list[KmemCache] = [
            self.memory.kmem_cache_create("small", 40),
            self.memory.kmem_cache_create("odd", 1111, 64),
            self.memory.kmem_cache_create("large", 30_000),
        ]
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

    @rule(target=things, which=st.integers(0, 2))
    def cache_alloc(self, which: int) -> object:
        return self.keep(self.caches[which].alloc(QUIET))

    @rule(target=things, order=st.integers(0, 4), as_page=st.booleans())
    def pages(self, order: int, as_page: bool) -> object:
        call = self.memory.alloc_pages if as_page else self.memory.get_free_pages
        return self.keep(call(QUIET, order))

    @rule(target=things, size=st.integers(1, 40_000))
    def pages_exact(self, size: int) -> object:
        return self.keep(self.memory.alloc_pages_exact(size, QUIET))

    @rule(size=SIZES)
    def injected(self, size: int) -> None:
        with failslab(times=-1, verbose=0), fail_page_alloc(times=-1, verbose=0):
            assert self.memory.kmalloc(size, QUIET) in {None, ZERO_SIZE_PTR}
            assert self.memory.alloc_pages(QUIET, 2) is None

    @rule(thing=things)
    def rewrite(self, thing: Span) -> None:
        if thing in self.content:
            self.write(thing)

    @rule(target=things, thing=consumes(things), size=st.integers(1, 20_000))
    def krealloc(self, thing: Span, size: int) -> object:
        home = thing._home.kind
        if thing not in self.content:
            return multiple()
        if home == "pages":
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

    def give_back(self, thing: Span) -> None:
        home = thing._home
        freed_by = getattr(home, "freed_by", "kfree")
        if freed_by == "free_pages":
            self.memory.free_pages(thing, home.order)  # type: ignore[arg-type, attr-defined]
        elif freed_by == "free_pages_exact":
            self.memory.free_pages_exact(thing, len(thing))  # type: ignore[arg-type]
        else:
            self.memory.kfree(thing)  # type: ignore[arg-type]

    @rule()
    def shrink(self) -> None:
        self.memory.shrink()

    @invariant()
    def the_model_agrees_with_itself(self) -> None:
        self.memory.check()
        assert len(self.memory.leaks()) == len(self.content)
        for thing, content in self.content.items():
            assert bytes(thing) == content
        assert violations.since(self.mark) == []

    def teardown(self) -> None:
        for thing in list(self.content):
            self.give_back(thing)
        for cache in self.caches:
            cache.destroy()
        self.memory.shrink()
        self.memory.check()
        assert self.memory.zones["Normal"].buddy.by_order() == {8: [0]}


Programs.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPrograms = Programs.TestCase
