"""The zones that a kernel was built with, told from the text of one that ran.

Lives here: `built_with`. Not here: the zones of a memory (`faultinject.mm.zone_layout`).

A lowmem_reserve (a protection, in zoneinfo) has one number for each zone that the kernel was
built with, while logs and older files show only the zones that have pages. What fits both
is looked for.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import Final

from faultinject.mm.marks import HIGHMEM, MOVABLE, NORMAL, ZONES

#: Memory of devices, from which no ordinary request is met; the model has no such zone.
DEVICE: Final = "Device"
#: From the lowest to the highest. A request may use its highest zone and those below.
NAMES: Final = (*ZONES, DEVICE)

# Every kernel since 2.6.23 has these two.
_ALWAYS: Final = frozenset({NORMAL, MOVABLE})


@lru_cache(maxsize=64)
def built_with(seen: frozenset[str], size: int) -> tuple[tuple[str, ...], ...]:
    """Give each set of zones that a kernel may have been built with, the likeliest first.

    Args:
        seen: the zones that the text shows.
        size: how many it was built with.
    """
    shown = _ALWAYS | seen
    optional = [name for name in NAMES if name not in shown]
    more = size - len(shown)
    chosen = combinations(optional, more) if more >= 0 and shown.issubset(NAMES) else ()
    # A kernel of 32 bits that has HighMem shows it.
    likely = sorted(chosen, key=lambda names: HIGHMEM in names)
    return tuple(tuple(name for name in NAMES if name in shown | set(names)) for names in likely)
