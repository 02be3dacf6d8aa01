"""A bitmap that hands out numbers: the tags of one hardware queue."""

from __future__ import annotations

import errno

import faultinject as fi

WORD_BYTES = 8
BITS = WORD_BYTES * 8


class Sbitmap:
    """Numbers from 0 to `depth` - 1, each free or taken."""

    def __init__(self, depth: int) -> None:
        """Allocate the words. OSError(ENOMEM); a bitmap of depth 0 needs none."""
        self.depth = depth
        words = fi.kcalloc(-(-depth // BITS), WORD_BYTES, fi.GFP_NOIO)
        if words is None:
            raise OSError(errno.ENOMEM, f"a bitmap of {depth} bits")
        self.words = words

    def get(self) -> int | None:
        """Take the lowest free number. None if all are taken."""
        for number in range(self.depth):
            byte, bit = divmod(number, 8)
            value: int = self.words[byte]
            if not value >> bit & 1:
                self.words[byte] = value | 1 << bit
                return number
        return None

    def put(self, number: int) -> None:
        """Give a number back."""
        byte, bit = divmod(number, 8)
        assert self.words[byte] >> bit & 1, f"tag {number} is not in use"
        self.words[byte] &= ~(1 << bit) & 0xFF

    def free(self) -> None:
        fi.kfree(self.words)
