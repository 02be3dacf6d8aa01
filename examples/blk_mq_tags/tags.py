"""The tags of one hardware queue, with a request for each in memory of its own.

Requests are small and many, so they are cut from runs of pages, the largest first. A run that
cannot be had is asked for in a smaller order, as long as one request fits.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Protocol

import faultinject as fi
from blk_mq_tags.sbitmap import Sbitmap

PAGE_BYTES = 4096
MAX_ORDER = 4
CACHE_LINE = 64
REQUEST_BYTES = 256  # what the block layer itself keeps of a request


@dataclass
class Request:
    """One request: where its bytes are, and what its driver hangs on it."""

    page: fi.Pointer
    offset: int
    private: fi.Pointer | None = None


class Driver(Protocol):
    """What a block driver brings: the size of its part, and two hooks for each request."""

    command_bytes: int

    def init_request(self, request: Request) -> None:
        """Prepare a request, once. OSError."""

    def exit_request(self, request: Request) -> None:
        """Undo `init_request`."""


def request_bytes(driver: Driver) -> int:
    """Bytes of one request with its driver's part, in whole cache lines."""
    return -(-(REQUEST_BYTES + driver.command_bytes) // CACHE_LINE) * CACHE_LINE


class Tags:
    """The tags of one hardware queue. Made whole, or not at all."""

    def __init__(self, driver: Driver, depth: int, reserved: int) -> None:
        """Allocate everything. OSError(ENOMEM), or what `init_request` raised; nothing is kept."""
        self.driver = driver
        self.depth = depth
        self.requests: list[Request] = []
        self.pages: list[tuple[fi.Pointer, int]] = []
        self.free_tags = Sbitmap(depth - reserved)
        try:
            self.reserved_tags = Sbitmap(reserved)
        except OSError:
            self.free_tags.free()
            raise
        try:
            self._alloc_requests()
        except OSError:
            self._free_requests()
            self.reserved_tags.free()
            self.free_tags.free()
            raise

    def free(self) -> None:
        self._free_requests()
        self.reserved_tags.free()
        self.free_tags.free()

    def _alloc_requests(self) -> None:
        size = request_bytes(self.driver)
        while len(self.requests) < self.depth:
            left = self.depth - len(self.requests)
            page, order = self._alloc_run(left * size, size)
            self.pages.append((page, order))
            fits = (PAGE_BYTES << order) // size
            for index in range(min(fits, left)):
                request = Request(page, index * size)
                self.driver.init_request(request)
                self.requests.append(request)

    def _alloc_run(self, wanted: int, least: int) -> tuple[fi.Pointer, int]:
        """Pages for at most `wanted` bytes, not fewer than `least`."""
        order = MAX_ORDER
        while order and wanted <= PAGE_BYTES << (order - 1):
            order -= 1
        flags = fi.GFP_NOIO | fi.Gfp.NOWARN | fi.Gfp.NORETRY | fi.Gfp.ZERO
        while order >= 0 and least <= PAGE_BYTES << order:
            page = fi.get_free_pages(flags, order)
            if page is not None:
                return page, order
            order -= 1
        raise OSError(errno.ENOMEM, "no pages for the requests")

    def _free_requests(self) -> None:
        for request in reversed(self.requests):
            self.driver.exit_request(request)
        self.requests.clear()
        for page, order in reversed(self.pages):
            fi.free_pages(page, order)
        self.pages.clear()
