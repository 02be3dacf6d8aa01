"""File descriptors that nobody closed.

Lives here: what is open, by kind. Not here: names of files that are left
(`faultinject.campaign.oracles.temporary`).
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from os.path import basename

from faultinject.campaign.oracles.leftovers import Leftovers, without_numbers
from faultinject.campaign.oracles.makers import Mark, Stack, unmarked

_DELETED = " (deleted)"  # how the kernel marks a file that has no name any more


class Descriptors:
    """The descriptors that are open now, to be compared with those that are open later.

    Args:
        shape_of: gives a path's name without the random part that `tempfile` chose, or
            None where it chose none.
        made_at: gives where `tempfile` made the file of a path; nothing for others.
        piped_at: gives where a child was started that a descriptor leads to; nothing for
            others.
    """

    def __init__(
        self,
        shape_of: Callable[[str], str | None],
        made_at: Callable[[str], Stack],
        piped_at: Callable[[int], Stack],
    ) -> None:
        self._shape_of = shape_of
        self._made_at = made_at
        self._piped_at = piped_at
        self._before = _open_descriptors()

    def left(self, mark: Mark = unmarked) -> Leftovers:
        """Count by kind: one that was closed and opened anew is no leftover."""
        now = _open_descriptors()
        if now == self._before:
            return Counter()
        kinds = Counter(self._names(now, mark))
        kinds.subtract(self._names(self._before, mark))
        return +kinds

    def _names(self, opened: Mapping[int, str], mark: Mark) -> Iterator[str]:
        known: set[str] = set()
        for number, target in opened.items():
            name = f"file descriptor: {self._kind_of(target)}"
            yield name if mark is unmarked else mark(name, self._stack(number, target, known))

    def _stack(self, number: int, target: str, known: set[str]) -> Stack:
        """Give where a descriptor was opened, as far as that is certain.

        Args:
            number: the descriptor.
            target: what it stands for.
            known: paths of temporary files of which a descriptor was met.
        """
        path = target.removesuffix(_DELETED)
        stack = self._made_at(path)
        if not stack:
            return self._piped_at(number)
        if path in known or not _is_of_mkstemp(number):
            return ()
        known.add(path)  # `tempfile` opens a file once
        return stack

    def _kind_of(self, target: str) -> str:
        """Name what a descriptor stands for, without what differs from run to run."""
        shape = self._shape_of(target.removesuffix(_DELETED))
        if shape is not None:
            return shape
        return without_numbers(target.partition(":")[0] if ":" in target else basename(target))


def _is_of_mkstemp(number: int) -> bool:
    """Say whether a descriptor is open as `tempfile` opens files, and hardly anybody else."""
    return bool(fcntl.fcntl(number, fcntl.F_GETFL) & os.O_NOFOLLOW)


def _open_descriptors() -> dict[int, str]:
    """Give each open descriptor with what it stands for."""
    found = {}
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return {}
    for text in numbers:
        try:
            found[int(text)] = os.readlink(f"/proc/self/fd/{text}")
        except OSError:
            continue  # the descriptor of the listing itself
    return found
