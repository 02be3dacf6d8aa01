"""Objects of the model memory that nobody freed.

Lives here: what is live in every memory, by kind, size and place. Not here: the
memory itself (`faultinject.mm`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from faultinject.campaign.oracles.leftovers import Leftovers
from faultinject.mm import memory as mm_memory


class ModelObjects:
    """The objects that are live now, to be compared with those that are live later.

    Args:
        shown: gives a source file's name as reports show it.
    """

    def __init__(self, shown: Callable[[str], str]) -> None:
        self._shown = shown
        self._before = {key for key, _ in self._live()}

    def left(self) -> Leftovers:
        """Name each object that is live now and was not then."""
        return Counter(name for key, name in self._live() if key not in self._before)

    def _live(self) -> Iterator[tuple[tuple[int, int, str], str]]:
        for memory in list(mm_memory.all_memories()):
            for item in memory.leaks():
                site = item.site
                place = f"{self._shown(site.file)}:{site.line} in {site.function}"
                name = f"{item.kind} of {item.size} bytes, allocated at {place}"
                yield (id(memory), item.address, name), name
