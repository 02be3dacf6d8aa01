"""A demo that uses the capability: a board with eight lines, and a lamp on two of them."""

from __future__ import annotations

import errno
import sys

from fail_gpio_request import fail_gpio_request

LINES = 8
_taken: set[int] = set()


def gpio_request(line: int) -> int:
    """Take a line: 0, or a negative error number."""
    # The call site is whoever asks for the line, not this function.
    if fail_gpio_request.should_fail(line, sys._getframe(1)):
        return -errno.EBUSY
    if line in _taken or not 0 <= line < LINES:
        return -errno.EBUSY
    _taken.add(line)
    return 0


def gpio_free(line: int) -> None:
    """Give a line back."""
    _taken.discard(line)


def taken() -> list[int]:
    """The lines that are taken now."""
    return sorted(_taken)


def open_lamp(power: int, colour: int) -> int:
    """Take both lines of a lamp, or none: 0, or a negative error number."""
    error = gpio_request(power)
    if error:
        return error
    error = gpio_request(colour)
    if error:
        gpio_free(power)
    return error
