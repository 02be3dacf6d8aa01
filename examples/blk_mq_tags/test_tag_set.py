"""What a tag set promises, with memory and without.

Try ``pytest --fail-alloc examples/blk_mq_tags``.
"""

import errno
from collections.abc import Callable, Iterator

import pytest

import faultinject as fi
from blk_mq_tags.tag_set import TagSet
from blk_mq_tags.tags import Request


class Disk:
    """A driver that needs a list of segments for each request."""

    command_bytes = 200

    def init_request(self, request: Request) -> None:
        request.private = fi.kzalloc(512, fi.GFP_KERNEL)
        if request.private is None:
            raise OSError(errno.ENOMEM, "segments")

    def exit_request(self, request: Request) -> None:
        fi.kfree(request.private)


@pytest.fixture
def tag_set() -> Iterator[TagSet]:
    tag_set = TagSet(Disk(), queues=2, depth=64, reserved=2)
    yield tag_set
    tag_set.free()


def every_tag_works(tag_set: TagSet) -> None:
    """Assert that each queue gives out as many different tags as its depth says, and no more."""
    for queue in range(len(tag_set.queues)):
        taken = {}
        for reserved in (False, True):
            while (found := tag_set.get(queue, reserved=reserved)) is not None:
                tag, request = found
                taken[tag] = request
                request.page[request.offset : request.offset + 4] = tag.to_bytes(4, "little")
        assert set(taken) == set(range(tag_set.depth))
        for tag, request in taken.items():
            mark = bytes(request.page[request.offset : request.offset + 4])
            assert int.from_bytes(mark, "little") == tag
            tag_set.put(queue, tag)


def refusal(attempt: Callable[[], None]) -> OSError | None:
    """What `attempt` was refused with, or None if it went through."""
    try:
        attempt()
    except OSError as refused:
        return refused
    return None


@pytest.mark.parametrize("depth", [1, 31, 128])
def test_a_set_is_made_and_freed(depth: int) -> None:
    tag_set = TagSet(Disk(), queues=3, depth=depth)

    assert 1 <= tag_set.depth <= depth
    every_tag_works(tag_set)
    tag_set.free()


def test_reserved_tags_are_kept_apart(tag_set: TagSet) -> None:
    first = tag_set.get(0, reserved=True)
    assert first is not None

    tag_set.put(0, first[0])

    assert first[0] < tag_set.reserved
    every_tag_works(tag_set)


@pytest.mark.parametrize("count", [1, 4])
def test_the_number_of_queues_changes_or_stays(tag_set: TagSet, count: int) -> None:
    refused = refusal(lambda: tag_set.set_queues(count))

    assert refused is None or refused.errno == errno.ENOMEM
    assert len(tag_set.queues) == (count if refused is None else 2)
    every_tag_works(tag_set)


@pytest.mark.parametrize("depth", [3, 32, 200])
def test_the_depth_changes_or_stays(tag_set: TagSet, depth: int) -> None:
    before = tag_set.depth

    refused = refusal(lambda: tag_set.set_depth(depth))

    assert refused is None or refused.errno == errno.ENOMEM
    assert tag_set.depth == (depth if refused is None else before)
    every_tag_works(tag_set)


def test_a_set_that_was_freed_can_be_freed_again(tag_set: TagSet) -> None:
    tag_set.free()

    assert tag_set.queues == []
    tag_set.free()


@pytest.mark.parametrize(("queues", "depth"), [(0, 8), (1, 0), (1, 2)])
def test_impossible_numbers_are_refused(queues: int, depth: int) -> None:
    with pytest.raises(OSError, match="depth") as refused:
        TagSet(Disk(), queues=queues, depth=depth, reserved=2)

    assert refused.value.errno == errno.EINVAL
