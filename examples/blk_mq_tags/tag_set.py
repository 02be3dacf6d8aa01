"""The tag set of a device: the tags of all its hardware queues."""

from __future__ import annotations

import errno

from blk_mq_tags.tags import Driver, Request, Tags

MIN_TAGS = 1
MAX_DEPTH = 10240


class TagSet:
    """All queues have the same depth, which may be less than was asked for."""

    def __init__(self, driver: Driver, *, queues: int, depth: int, reserved: int = 0) -> None:
        """Allocate the set, with half the depth, a quarter and so on if memory is short.

        OSError(EINVAL) for impossible numbers, OSError(ENOMEM) if even the smallest depth
        cannot be had; nothing is kept then.
        """
        if queues < 1 or not reserved + MIN_TAGS <= depth:
            raise OSError(errno.EINVAL, f"{queues} queues of depth {depth}, {reserved} reserved")
        self.driver = driver
        self.reserved = reserved
        self.depth = min(depth, MAX_DEPTH)
        while True:
            try:
                self.queues = self._alloc_queues(queues)
            except OSError as error:
                if error.errno != errno.ENOMEM or self.depth // 2 < reserved + MIN_TAGS:
                    raise
                self.depth //= 2
            else:
                return

    def free(self) -> None:
        """Give everything back. A second time is no error."""
        self._free_queues(self.queues)

    def get(self, queue: int, *, reserved: bool = False) -> tuple[int, Request] | None:
        """A free tag of a queue, with its request. None if all are in use."""
        tags = self.queues[queue]
        number = (tags.reserved_tags if reserved else tags.free_tags).get()
        if number is None:
            return None
        tag = number if reserved else number + self.reserved
        return tag, tags.requests[tag]

    def put(self, queue: int, tag: int) -> None:
        """Give a tag back."""
        tags = self.queues[queue]
        if tag < self.reserved:
            tags.reserved_tags.put(tag)
        else:
            tags.free_tags.put(tag - self.reserved)

    def set_queues(self, count: int) -> None:
        """Use another number of queues, none of which may be busy.

        OSError(ENOMEM): the queues that there were are as they were.
        """
        if count < 1:
            raise OSError(errno.EINVAL, f"{count} queues")
        self.queues += self._alloc_queues(count - len(self.queues))
        self._free_queues(self.queues[count:])
        del self.queues[count:]

    def set_depth(self, depth: int) -> None:
        """Use another depth; no queue may be busy. OSError(ENOMEM): the depth stays."""
        if not self.reserved + MIN_TAGS <= depth <= MAX_DEPTH:
            raise OSError(errno.EINVAL, f"depth {depth}")
        before, self.depth = self.depth, depth
        try:
            queues = self._alloc_queues(len(self.queues))
        except OSError:
            self.depth = before
            raise
        self._free_queues(self.queues)
        self.queues = queues

    def _alloc_queues(self, count: int) -> list[Tags]:
        """Tags for `count` queues of the present depth, or none. OSError."""
        queues: list[Tags] = []
        try:
            for _ in range(count):
                queues.append(Tags(self.driver, self.depth, self.reserved))
        except OSError:
            self._free_queues(queues)
            raise
        return queues

    @staticmethod
    def _free_queues(queues: list[Tags]) -> None:
        for tags in reversed(queues):
            tags.free()
        queues.clear()
