"""References to pages."""

import pytest

from faultinject.errors import DoubleFree, InvalidFree, UseAfterFree
from faultinject.gfp import GFP_KERNEL, Gfp
from faultinject.mm import Memory, Page, get_page, page_count, page_free, put_page
from faultinject.mm.page_refs import drop_shared


@pytest.fixture
def memory() -> Memory:
    return Memory("64K")


@pytest.fixture
def page(memory: Memory) -> Page:
    page = memory.alloc_pages(GFP_KERNEL | Gfp.COMP, 1)
    assert page is not None
    return page


def test_a_block_is_free_with_its_last_reference(memory: Memory, page: Page) -> None:
    counts = [memory.page_count(page)]
    for change in (memory.get_page, memory.get_page, memory.put_page):
        change(page)
        counts.append(memory.page_count(page))
    memory.free_pages(page, 1)
    page[0] = 7
    assert memory.free_bytes < memory.size
    memory.put_page(page)

    assert counts == [1, 2, 3, 2]
    assert memory.page_count(page) == 0
    assert memory.free_bytes == memory.size
    memory.check()
    for again in (memory.put_page, lambda p: memory.free_pages(p, 1)):
        with pytest.raises(DoubleFree):
            again(page)
    with pytest.raises(UseAfterFree):
        page[0]


def test_put_page_frees_what_was_never_shared(memory: Memory, page: Page) -> None:
    memory.put_page(page)

    assert memory.free_bytes == memory.size
    memory.check()


def test_a_shared_block_is_checked_like_any_other(memory: Memory, page: Page) -> None:
    memory.get_page(page)

    for order in (0, 2, True, "1"):
        with pytest.raises(InvalidFree, match="a block of order 1 was freed as order"):
            memory.free_pages(page, order)  # type: ignore[arg-type]
    with pytest.raises(InvalidFree, match="free_pages"):
        memory.kfree(page)  # type: ignore[arg-type]
    assert memory.page_count(page) == 2
    memory.check()


def test_what_is_no_page_of_the_memory_has_no_references(memory: Memory, page: Page) -> None:
    foreign = Memory("64K").alloc_page()

    for call in (memory.get_page, memory.put_page, memory.page_count):
        for wrong in (None, 7, memory.kmalloc(8), memory.get_free_pages()):
            with pytest.raises(InvalidFree, match="what is no page"):
                call(wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidFree, match="another Memory"):
            call(foreign)  # type: ignore[arg-type]
    memory.put_page(page)
    with pytest.raises(UseAfterFree, match="get_page"):
        memory.get_page(page)


def test_a_shared_page_stays_one_leak(memory: Memory, page: Page) -> None:
    get_page(page)

    assert page_count(page) == 2
    assert [leak.size for leak in memory.leaks()] == [8192]
    put_page(page)
    put_page(page)
    assert memory.leaks() == []


def test_a_free_that_another_overtakes_is_the_last_one(
    memory: Memory, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.get_page(page)

    def overtaken(shared: Page, order: int) -> bool:
        drop_shared(shared, None)  # the other one, between the look and the lock
        return drop_shared(shared, order)

    monkeypatch.setattr(page_free, "drop_shared", overtaken)

    memory.free_pages(page, 1)

    assert memory.free_bytes == memory.size


def test_compaction_leaves_a_movable_page_that_is_shared() -> None:
    memory = Memory("64K")
    page = memory.alloc_page(GFP_KERNEL | Gfp.MOVABLE)
    assert page is not None

    memory.get_page(page)
    assert page.is_pinned  # type: ignore[attr-defined]
    memory.put_page(page)

    assert not page.is_pinned  # type: ignore[attr-defined]
    memory.free_page(page)
    assert memory.free_bytes == memory.size
