"""Child processes that nobody waited for.

Lives here: which children there are. Not here: the child that the trial itself runs
in (`faultinject.campaign.isolation`).
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter

from faultinject.campaign.oracles.leftovers import Leftovers


class Children:
    """The children that there are now, to be compared with those that there are later."""

    def __init__(self) -> None:
        self._before = set(_child_processes())

    def left(self) -> Leftovers:
        """Count the children that there are now and were not then, ended ones as well."""
        more = sum(pid not in self._before for pid in _child_processes())
        return Counter({"child process": more}) if more else Counter()


def _child_processes() -> list[int]:
    """Give the children of every thread of this process; the kernel lists them by thread."""
    found: list[int] = []
    try:
        threads = os.listdir("/proc/self/task")
    except OSError:
        return found
    for thread in threads:
        # As bytes: the first use of a text codec would import it anew in every trial.
        with (
            contextlib.suppress(OSError),  # a thread that has just ended
            open(f"/proc/self/task/{thread}/children", "rb", buffering=0) as listing,
        ):
            found += [int(pid) for pid in listing.readall().split()]
    return found
