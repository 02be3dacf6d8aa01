"""Seeded draws that a C mirror can repeat bit for bit.

Lives here: `Prng`, the stream of draws of one fault attribute, and `derive`,
which makes independent seeds for parts of a campaign. Not here: who draws, and
when (`faultinject.engine.attr`).

Source: splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", 2014), the public-domain constants of Sebastiano Vigna.
"""

from __future__ import annotations

import os
from typing import Final

_MASK: Final = (1 << 64) - 1
_STEP: Final = 0x9E3779B97F4A7C15
# The largest multiple of 100 that fits into 32 bits: draws from here on are thrown away.
_FAIR_LIMIT: Final = (1 << 32) - (1 << 32) % 100


class Prng:
    """A stream of numbers that its seed decides.

    `next` is splitmix64, with all arithmetic modulo 2**64::

        state += 0x9E3779B97F4A7C15
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB
        return z ^ (z >> 31)

    `roll` takes the upper 32 bits of `next`, again until they are below
    4294967200, and returns the remainder modulo 100. Each of 0..99 is equally
    likely.

    Args:
        seed: any integer; only its lowest 64 bits count.
    """

    __slots__ = ("_state", "seed")

    def __init__(self, seed: int) -> None:
        self.seed: Final = seed
        self._state = seed & _MASK

    def next(self) -> int:
        """Draw a number of 64 bits."""
        self._state = (self._state + _STEP) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def roll(self) -> int:
        """Draw a number from 0 to 99, each equally likely."""
        while True:
            drawn = self.next() >> 32
            if drawn < _FAIR_LIMIT:
                return drawn % 100

    def __repr__(self) -> str:
        return f"Prng({self.seed})"


def fresh_seed() -> int:
    """Make a seed of 32 bits that nobody can foresee; short enough to be retyped."""
    return int.from_bytes(os.urandom(4), "little")


def derive(seed: int, *parts: int | str) -> int:
    """Make the seed of a part of something that is seeded as a whole.

    The same arguments give the same seed on every machine and Python version; the
    order of parts counts, and so does the border between them: ``"ab", "c"`` and
    ``"a", "bc"`` differ, as do ``1`` and ``"1"``.

    Args:
        seed: the seed of the whole.
        parts: what names the part, such as a test's node id and a trial's number.

    Returns:
        64 bits of the BLAKE2b digest of the arguments.
    """
    from hashlib import blake2b  # slow to import, and rarely needed

    digest = blake2b(digest_size=8)
    for part in (seed, *parts):
        kind, text = ("i", str(part)) if isinstance(part, int) else ("s", part)
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(f"{kind}{len(encoded)}:".encode("ascii"))
        digest.update(encoded)
    return int.from_bytes(digest.digest(), "little")
