"""Hits: one time that a run entered an error path, also as a line of text.

Lives here: `Hit`. As text it fits into whatever a trial leaves behind, even if its process
dies in the next moment. Not here: how a hit is noticed (`faultinject.errpaths.observe`),
what it means (`faultinject.errpaths.links`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

_SURE, _UNSURE, _BETWEEN = "+", "?", "::"

MOST: Final = 200
"""Of one error path, in one run, so many hits are told."""


class Hit(NamedTuple):
    """One time that a run entered an error path.

    Attributes:
        file: the file, as reports show it.
        key: the path within it, as `ErrorPath.key` has it.
        sure: False if all that is known is that a line ran that it shares with others.
    """

    file: str
    key: str
    sure: bool = True

    def __str__(self) -> str:
        return f"{_SURE if self.sure else _UNSURE}{self.file}{_BETWEEN}{self.key}"

    @classmethod
    def parse(cls, text: str) -> Hit:
        """Read what `str` gave."""
        # A key holds no "::", a file may.
        file, _, key = text[1:].rpartition(_BETWEEN)
        return cls(file, key, text[:1] == _SURE)
