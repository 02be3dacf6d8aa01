"""Who made what is left: the code under test, or the test itself.

Lives here: the stack of a making, the words that mark what the test made, and when it is
left out. Not here: what is noted while a run lasts (the files beside), whose code is under
test (`faultinject.campaign.own_calls`).

A test that makes a folder by itself and removes it on its last line leaves it when an error
comes out of it. The code under test is not to blame for that, and could not do better. It is
for what it made itself, also where a test asked it to. Where nobody can tell, as for what was
made in another thread, the code under test counts as the maker.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import TypeAlias

from faultinject.callsite import CallSite
from faultinject.campaign.oracles.leftovers import Leftovers
from faultinject.campaign.own_calls import OwnCalls

Stack: TypeAlias = tuple[CallSite, ...]
"""Where something was made, the innermost place first; empty if that says nothing."""

Mark: TypeAlias = Callable[[str, Stack], str]
"""Adds to the name of something who made it, if that was the test."""

_OWN = " (the test's own)"

# Between these and the run there is nobody else.
_HERE = (str(Path(__file__).parent), contextlib.__file__)


class Makers:
    """Tells who made things, for one run in one thread.

    Args:
        code: gives the code under test; asked only where something is left.
    """

    def __init__(self, code: Callable[[], OwnCalls]) -> None:
        self._code = code
        self._thread = threading.get_ident()
        frame: FrameType | None = sys._getframe()
        while frame is not None and frame.f_code.co_filename.startswith(_HERE):
            frame = frame.f_back
        # It lasts as long as the run. What is beyond it may well be made from text.
        self._outermost = id(frame)

    def stack(self, frame: FrameType | None) -> Stack:
        """Give the places from `frame` outwards up to the run, to be asked about later."""
        if threading.get_ident() != self._thread:
            return ()  # whoever started this thread is on another stack
        found = []
        while frame is not None:
            code = frame.f_code
            found.append(CallSite(code.co_filename, frame.f_lineno or 0, code.co_qualname))
            frame = None if id(frame) == self._outermost else frame.f_back
        return tuple(found)

    def mark(self, name: str, stack: Stack) -> str:
        """Add to a name that the test itself made what it names, if that is certain."""
        return name + _OWN if stack and self._is_test(stack) else name

    def _is_test(self, stack: Stack) -> bool:
        code = self._code()
        # What an extension module calls has no entry of the module's on the stack, and the
        # file of code that was made from text is nobody's.
        return not code.code.extensions and not any(
            _is_made_from_text(site.file) or code.covers(site) for site in stack
        )


def unmarked(name: str, stack: Stack) -> str:
    """Add nothing: it costs nothing."""
    return name


def is_marked(name: str) -> bool:
    """Say whether the test itself made what this names."""
    return name.endswith(_OWN)


def without_marks(left: Mapping[str, int]) -> Leftovers:
    """Give what is left, whoever made it."""
    found: Leftovers = Counter()
    for name, count in left.items():
        found[name.removesuffix(_OWN)] += count
    return found


def without_the_tests_own(left: Mapping[str, int]) -> Leftovers:
    """Give what is left but for what the test itself made."""
    return Counter({name: count for name, count in left.items() if not is_marked(name)})


def are_under_test(sites: Iterable[CallSite], code: OwnCalls) -> bool:
    """Say whether each of these places is the code under test; false if there is none.

    Where a fault struck the test itself, that is what is tried.
    """
    found = [code.covers(site) for site in sites]
    return bool(found) and all(found)


def _is_made_from_text(file: str) -> bool:
    return file.startswith("<") and not file.startswith("<frozen ")
