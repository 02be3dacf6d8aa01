"""Functions of every kind for tests that make their calls fail."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator


def plain(given: int = 0, *, named: int = 0) -> int:
    return given + named + 1


class Thing:
    def __init__(self, value: int = 0) -> None:
        self.value = value

    def method(self, given: int = 0) -> int:
        return self.value + given

    @classmethod
    def made(cls) -> Thing:
        return cls(7)

    @staticmethod
    def free() -> int:
        return 8


class Heir(Thing):
    pass


async def coroutine() -> int:
    return 5


def generator() -> Iterator[int]:
    yield 1
    yield 2


async def async_generator() -> AsyncIterator[int]:
    yield 1


def sends(data: bytes) -> int:
    """Write to a pipe and give how much of it arrived."""
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
        return len(os.read(reading, 100))
    finally:
        os.close(reading)
        os.close(writing)


def lists_or_asks() -> None:
    try:
        os.listdir("/")
    except OSError:
        os.getpid()
