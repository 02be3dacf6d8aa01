"""alloc_pages and its family."""

import logging
from collections.abc import Callable

import pytest

from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.engine import task
from faultinject.engine.log import injections, violations
from faultinject.errors import DoubleFree, InvalidFree, OutOfBounds, SpecError, UseAfterFree
from faultinject.gfp import GFP_ATOMIC, GFP_KERNEL, Gfp
from faultinject.mm import PAGE_SIZE, Memory, Page, Pointer, get_order
from faultinject.mm.ram import PAGE_OFFSET


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def memory() -> Memory:
    return Memory("64K")


@pytest.mark.parametrize(
    ("size", "order"), [(1, 0), (4096, 0), (4097, 1), (8192, 1), (8193, 2), (4 << 20, 10)]
)
def test_the_order_of_a_size_is_the_smallest_block_that_holds_it(size: int, order: int) -> None:
    assert get_order(size) == order


@pytest.mark.parametrize("size", [0, -1, True, "4096", 1.5])
def test_no_order_holds_an_impossible_size(size: object) -> None:
    with pytest.raises(SpecError):
        get_order(size)  # type: ignore[arg-type]


def test_a_page_knows_its_frame_order_size_and_memory(memory: Memory) -> None:
    memory.alloc_page()
    page = memory.alloc_pages(GFP_KERNEL, order=1)

    assert isinstance(page, Page)
    assert (page.pfn, page.order, len(page)) == (2, 1, 2 * PAGE_SIZE)
    assert page.address == PAGE_OFFSET + 2 * PAGE_SIZE
    assert page.memory is memory
    assert page


def test_the_bytes_of_a_page_can_be_written_and_read(memory: Memory) -> None:
    page = memory.alloc_page()
    assert page is not None

    page[0:5] = b"hello"
    page[4095] = 255
    page.data[5:7] = b"!!"

    assert page[0:7] == b"hello!!"
    assert page[4095] == 255
    assert bytes(page)[:7] == b"hello!!"
    with pytest.raises(OutOfBounds):
        page[4096]


def test_pages_come_zeroed_only_if_asked(memory: Memory) -> None:
    plain = memory.alloc_pages(GFP_KERNEL, 1)
    zeroed = memory.alloc_pages(GFP_KERNEL | Gfp.ZERO, 1)
    assert plain is not None
    assert zeroed is not None

    assert bytes(plain[0:PAGE_SIZE]) == b"\x5a" * PAGE_SIZE
    assert bytes(zeroed) == bytes(2 * PAGE_SIZE)


def test_a_large_block_is_zeroed_wholly_even_if_it_was_used() -> None:
    memory = Memory("4M")
    dirty = memory.alloc_pages(GFP_KERNEL, 10)
    assert dirty is not None
    dirty[0 : len(dirty)] = b"x" * len(dirty)
    memory.free_pages(dirty, 10)

    clean = memory.alloc_pages(GFP_KERNEL | Gfp.ZERO, 10)

    assert clean is not None
    assert bytes(clean) == bytes(4 << 20)


def test_get_free_pages_returns_a_pointer_that_free_pages_takes(memory: Memory) -> None:
    pointer = memory.get_free_pages(GFP_KERNEL | Gfp.HIGHMEM, 2)

    assert isinstance(pointer, Pointer)
    assert len(pointer) == 4 * PAGE_SIZE
    memory.free_pages(pointer, 2)
    assert memory.free_bytes == memory.size


def test_a_zeroed_page_is_zeroed(memory: Memory) -> None:
    used = memory.alloc_page()
    memory.free_page(used)

    pointer = memory.get_zeroed_page()

    assert pointer is not None
    assert bytes(pointer) == bytes(PAGE_SIZE)


def test_an_exact_allocation_gives_the_tail_back(memory: Memory) -> None:
    pointer = memory.alloc_pages_exact(5 * PAGE_SIZE - 100, GFP_KERNEL)

    assert pointer is not None
    assert len(pointer) == 5 * PAGE_SIZE - 100
    assert memory.free_bytes == memory.size - 5 * PAGE_SIZE
    memory.check()
    memory.free_pages_exact(pointer, 5 * PAGE_SIZE - 100)
    assert memory.free_bytes == memory.size
    memory.check()


def test_freeing_nothing_is_nothing(memory: Memory) -> None:
    memory.free_pages(None, 3)
    memory.free_page(None)
    memory.free_pages_exact(None, 10)

    assert memory.free_bytes == memory.size


def test_the_wrong_order_is_named_with_the_right_one_and_frees_nothing(memory: Memory) -> None:
    page = memory.alloc_pages(GFP_KERNEL, 2)

    with pytest.raises(InvalidFree, match=r"order 2 was freed as order 1") as caught:
        memory.free_pages(page, 1)

    assert "test_pages.py" in str(caught.value)
    memory.free_pages(page, 2)
    memory.check()


def test_a_second_free_names_both_places(memory: Memory) -> None:
    page = memory.alloc_page()
    memory.free_page(page)
    mark = violations.mark()

    with pytest.raises(DoubleFree) as caught:
        memory.free_page(page)

    fault = caught.value
    assert fault.allocated_at is not None
    assert fault.freed_at is not None
    assert fault.freed_at.line == fault.allocated_at.line + 1
    assert violations.since(mark) == [fault]
    memory.check()


def test_a_freed_page_cannot_be_used(memory: Memory) -> None:
    page = memory.alloc_page()
    assert page is not None
    view = page.data
    memory.free_page(page)

    with pytest.raises(UseAfterFree):
        page[0]
    with pytest.raises(ValueError, match="released"):
        view[0]


def test_pages_are_freed_by_the_call_that_fits(memory: Memory) -> None:
    exact = memory.alloc_pages_exact(PAGE_SIZE)
    page = memory.alloc_page()
    small = memory.kmalloc(8)

    for wrong, cure in [(exact, "free_pages_exact"), (small, "kfree"), (3, "Pass")]:
        with pytest.raises(InvalidFree, match=cure):
            memory.free_page(wrong)  # type: ignore[arg-type]
    for wrong in (page, small):
        with pytest.raises(InvalidFree):
            memory.free_pages_exact(wrong, PAGE_SIZE)  # type: ignore[arg-type]
    with pytest.raises(InvalidFree, match="4096 bytes was freed as 8192"):
        memory.free_pages_exact(exact, 8192)
    with pytest.raises(InvalidFree, match="free_pages"):
        memory.kfree(page)  # type: ignore[arg-type]
    memory.check()


def test_pages_of_another_memory_are_refused(memory: Memory) -> None:
    page = Memory("64K").alloc_page()

    with pytest.raises(InvalidFree, match="another Memory"):
        memory.free_page(page)


@pytest.mark.parametrize("order", [-1, True, "2", 1.0, None])
def test_an_impossible_order_is_refused(memory: Memory, order: object) -> None:
    with pytest.raises(SpecError, match="order"):
        memory.alloc_pages(GFP_KERNEL, order)  # type: ignore[arg-type]


@pytest.mark.parametrize("flags", [True, "GFP_KERNEL", None, -1, 0x200])
def test_impossible_flags_are_refused(memory: Memory, flags: object) -> None:
    for function in (memory.alloc_pages, memory.get_free_pages, memory.get_zeroed_page):
        with pytest.raises(SpecError, match="gfp"):
            function(flags)  # type: ignore[operator]
    with pytest.raises(SpecError, match="gfp"):
        memory.alloc_pages_exact(1, flags)  # type: ignore[arg-type]
    assert memory.free_bytes == memory.size


def test_an_order_above_ten_is_none_with_one_warning(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    assert memory.alloc_pages(GFP_KERNEL, 11) is None
    assert memory.alloc_pages(GFP_KERNEL | Gfp.NOWARN, 11) is None

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "order:11" in caplog.text


def test_an_exhausted_memory_says_so_in_the_kernels_words(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    mark = injections.mark()

    assert memory.alloc_pages(0x40DC0, 5) is None

    (message,) = caplog.messages
    assert message.splitlines()[1] == (
        "MainThread: page allocation failure: order:5, "
        "mode:0x40dc0(GFP_KERNEL|__GFP_COMP|__GFP_ZERO), "
        "nodemask=(null),cpuset=/,mems_allowed=0"
    )
    assert caplog.records[0].filename == "test_pages.py"
    assert injections.since(mark) == []


def test_an_injected_failure_is_silent_but_recorded(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    mark = injections.mark()

    with fail_page_alloc(verbose=0):
        assert memory.alloc_pages(GFP_ATOMIC, 2) is None

    assert caplog.messages == []
    (injection,) = injections.since(mark)
    assert (injection.capability, injection.size) == ("fail_page_alloc", 4)
    assert injection.site is not None
    assert injection.site.function == "test_an_injected_failure_is_silent_but_recorded"
    assert memory.free_bytes == memory.size


def test_the_failure_report_is_limited_to_one_in_ten_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    memory = Memory("64K", clock=clock)

    for now in (100.0, 105.0, 110.0, 110.1):
        clock.now = now
        assert memory.alloc_pages(GFP_KERNEL, 5) is None

    assert [message.partition(",")[0] for message in caplog.messages] == [
        "faultinject: memory is exhausted",
        "warn_alloc: 2 callbacks suppressed",
        "faultinject: memory is exhausted",
    ]


def test_nowarn_silences_the_failure_report(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    assert memory.alloc_pages(GFP_KERNEL | Gfp.NOWARN, 5) is None

    assert caplog.messages == []


def test_an_exact_allocation_of_nothing_is_none_with_a_warning(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    assert memory.alloc_pages_exact(0) is None
    assert len(caplog.messages) == 1
    with pytest.raises(SpecError):
        memory.alloc_pages_exact(-1)


def test_every_call_of_the_family_can_be_made_to_fail(memory: Memory) -> None:
    calls = [
        lambda: memory.alloc_page(),
        lambda: memory.alloc_pages(GFP_KERNEL, 1),
        lambda: memory.get_free_pages(GFP_KERNEL, 1),
        lambda: memory.get_zeroed_page(),
        lambda: memory.alloc_pages_exact(100),
    ]

    with fail_page_alloc(times=-1, verbose=0) as armed:
        assert [call() for call in calls] == [None] * len(calls)

    assert [injection.size for injection in armed.injections] == [1, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("call", "seen"),
    [
        (lambda memory, gfp: memory.alloc_pages(gfp), 0x40CC2),
        (lambda memory, gfp: memory.get_free_pages(gfp), 0x40CC0),
        (lambda memory, gfp: memory.get_zeroed_page(gfp), 0x40DC0),
        (lambda memory, gfp: memory.alloc_pages_exact(10, gfp), 0xCC0),
        (lambda memory, gfp: memory.kmalloc(9000, gfp & ~Gfp.COMP & ~Gfp.HIGHMEM), 0x40CC0),
        (lambda memory, gfp: memory.kzalloc(9000, GFP_KERNEL), 0x40DC0),
    ],
    ids=["pages", "free pages", "zeroed page", "exact", "large kmalloc", "large kzalloc"],
)
def test_each_call_asks_with_the_flags_that_the_kernel_would_pass_on(
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[Memory, int], object],
    seen: int,
) -> None:
    flags: list[int] = []

    class Gate:
        def should_fail(self, order: int, gfp: int, *rest: object) -> bool:
            flags.append(gfp)
            return True

    monkeypatch.setattr(task, "live", 1)
    monkeypatch.setattr("faultinject.mm.page_alloc.fail_page_alloc", Gate())

    assert call(memory, GFP_KERNEL | Gfp.HIGHMEM | Gfp.COMP) is None

    assert flags == [seen]
