"""Own calls: which frame a call of a function belongs to.

Lives here: `OwnCalls`, which reads the rules that say whose real allocations are under test
(`faultinject.native.places`), and asks them of live frames. Not here: the same in C, inside
an allocator (``scope.c``), and the rule for capabilities that ask Python
(`faultinject.campaign.scope`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Final, NamedTuple

from faultinject.callsite import CallSite, Pattern
from faultinject.native.places import CodeScope, Rule

# Of scope.h: kinds of rules, and what one says.
_EXACT, _PREFIX, _GLOB = range(3)
_INCLUDE, _OMIT, _STOP, _REQUIRE, _REJECT = 1, 2, 4, 8, 16
_ANY_LAST: Final = 2**31 - 1


@dataclass(slots=True)
class OwnCalls:
    """The code under test, asked of frames.

    A call belongs to the nearest frame under test; one that the harness makes on the way
    there, to nobody. Nor does one that is made inside a function of somebody else's of which
    it is known how it fails: that function fails as a whole, or not at all.

    Args:
        code: the code under test.
        known: the code of such functions, by its identity.
    """

    code: CodeScope
    known: Mapping[int, CodeType] = field(default_factory=dict, repr=False)
    # By the identity of a code object, which is kept alive: its hash is slow.
    _matching: dict[int, tuple[CodeType, list[Rule]]] = field(default_factory=dict, repr=False)
    _meanings: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._meanings = 0
        for rule in self.code.rules:
            self._meanings |= rule[1]

    def frame_under_test(self, frame: FrameType | None) -> FrameType | None:
        """Find the frame that a call belongs to; None if it is not to fail."""
        inner = frame
        for _ in range(self.code.depth):
            if frame is None:
                return None
            says = self._says(frame)
            if says & (_INCLUDE | _STOP):
                under_test = None if says & _STOP else frame
                return under_test if self._is_let_through(inner) else None
            if id(frame.f_code) in self.known:
                return None
            frame = frame.f_back
        return None

    def covers(self, site: CallSite) -> bool:
        """Say whether the code of a place is under test."""
        mine = [rule for rule in self.code.rules if _matches(rule, site.file, site.function)]
        return bool(self._weighed(mine, _Line(site.line)) & _INCLUDE)

    def _is_let_through(self, frame: FrameType | None) -> bool:
        """Ask the kernel's filters of the whole stack."""
        filters = self._meanings & (_REQUIRE | _REJECT)
        found = not filters & _REQUIRE
        depth = self.code.filter_depth if filters else 0
        while frame is not None and depth:
            says = self._says(frame)
            if says & _REJECT:
                return False
            found = found or bool(says & _REQUIRE)
            frame, depth = frame.f_back, depth - 1
        return found

    def _says(self, frame: FrameType) -> int:
        code = frame.f_code
        known = self._matching.get(id(code))
        if known is None:
            file, name = code.co_filename, code.co_qualname
            mine = [rule for rule in self.code.rules if _matches(rule, file, name)]
            known = self._matching[id(code)] = (code, mine)
        return self._weighed(known[1], frame)

    def _weighed(self, rules: Iterable[Rule], at: FrameType | _Line) -> int:
        """Say what those rules come to that mean a code, at the line where it is."""
        says = 0 if self._meanings & _INCLUDE else _INCLUDE
        added, highest = 0, -1
        for _, meaning, _, _, first, last, rank in rules:
            if (first > 0 or last != _ANY_LAST) and not first <= (at.f_lineno or 0) <= last:
                continue
            added |= meaning & (_REQUIRE | _REJECT)
            if meaning & (_INCLUDE | _OMIT | _STOP) and rank >= highest:
                highest, says = rank, meaning & (_INCLUDE | _STOP)
        return says | added


class _Line(NamedTuple):
    """A line in the place of a frame that is no more."""

    f_lineno: int


def _matches(rule: Rule, file: str, qualname: str) -> bool:
    """Say whether a rule means this code, lines left aside; see ``scope.c``."""
    kind, _, path, name, *_ = rule
    if kind == _EXACT:
        fits = file == path
    elif kind == _PREFIX:
        fits = file.startswith(path)
    else:
        glob = path if path == "*" or path.startswith("/") else f"./{path}"
        fits = Pattern(glob).matches_code("", "", file)
    return fits and (not name or qualname == name or qualname.startswith(f"{name}."))
