"""The plan: which hits of a call site are failed, and on which machine.

Lives here: the choice of hits, and the split over machines. Not here: which test
tries what (`faultinject.campaign.assignment`), what a trial does (``.trial``).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from faultinject.errors import UsageError


@dataclass(frozen=True, slots=True)
class Hits:
    """Which hits of a site are failed: ``first``, ``ends``, ``all`` or the first N.

    ``ends`` is the first and the last hit: bugs that only strike at a later hit
    are common, and the middle ones rarely differ from the last.
    """

    text: str

    @classmethod
    def parse(cls, text: str | int, *, option: str = "hits") -> Hits:
        """Read the option's value.

        Raises:
            UsageError: neither a word of the three nor a whole number of at least 1.
        """
        spelled = str(text).strip()
        if spelled in ("first", "ends", "all") or (
            spelled.isascii() and spelled.isdigit() and int(spelled) >= 1
        ):
            return cls(spelled)
        raise UsageError(
            "not a choice of hits",
            value=text,
            where=option,
            cure="Use first, ends, all, or a whole number of at least 1",
        )

    def of(self, hits: int) -> Sequence[int]:
        """Give the hits to fail of a site that is hit `hits` times, ascending."""
        if self.text == "first":
            return (1,)
        if self.text == "ends":
            return (1,) if hits == 1 else (1, hits)
        if self.text == "all":
            return range(1, hits + 1)
        return range(1, min(hits, int(self.text)) + 1)


@dataclass(frozen=True, slots=True)
class Shard:
    """One machine's part of every test's trials: part `index` of `count`, from 1."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str, *, option: str = "shard") -> Shard:
        """Read ``I/N``.

        Raises:
            UsageError: not two whole numbers with 1 <= I <= N.
        """
        first, slash, second = text.strip().partition("/")
        if slash and first.isascii() and second.isascii() and first.isdigit() and second.isdigit():
            shard = cls(int(first), int(second))
            if 1 <= shard.index <= shard.count:
                return shard
        raise UsageError(
            "not a shard",
            value=text,
            where=option,
            cure="Use I/N with whole numbers, 1 <= I <= N, such as 2/4",
        )

    def takes(self, test: str, position: int) -> bool:
        """Say whether trial number `position` of `test` belongs to this shard.

        The test's name shifts the start, so that many small tests spread evenly.
        """
        return (zlib.crc32(test.encode()) + position) % self.count == self.index - 1
