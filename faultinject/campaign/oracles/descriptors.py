"""File descriptors that nobody closed.

Lives here: what is open, by kind. Not here: names of files that are left
(`faultinject.campaign.oracles.temporary`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from os.path import basename

from faultinject.campaign.oracles.leftovers import Leftovers, without_numbers

_DELETED = " (deleted)"  # how the kernel marks a file that has no name any more


class Descriptors:
    """The descriptors that are open now, to be compared with those that are open later.

    Args:
        shape_of: gives a path's name without the random part that `tempfile` chose, or
            None where it chose none.
    """

    def __init__(self, shape_of: Callable[[str], str | None]) -> None:
        self._shape_of = shape_of
        self._before = _open_descriptors()

    def left(self) -> Leftovers:
        """Count by kind: one that was closed and opened anew is no leftover."""
        now = _open_descriptors()
        if now == self._before:
            return Counter()
        kinds = Counter(self._kind_of(target) for target in now.values())
        kinds.subtract(self._kind_of(target) for target in self._before.values())
        return Counter({f"file descriptor: {kind}": more for kind, more in (+kinds).items()})

    def _kind_of(self, target: str) -> str:
        """Name what a descriptor stands for, without what differs from run to run."""
        shape = self._shape_of(target.removesuffix(_DELETED))
        if shape is not None:
            return shape
        return without_numbers(target.partition(":")[0] if ":" in target else basename(target))


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
