"""Migrate types and pageblocks: which allocations share a stretch of memory.

Lives here: the vocabulary. Not here: the free lists that are kept by it
(`faultinject.mm.buddy`).

A pageblock is a stretch of 2 MiB whose free pages are meant for one type of
allocation, so that pages that cannot move do not lie everywhere. The type
belongs to the whole pageblock, free and used pages alike, and it changes when
another type runs out and takes the pageblock over.

Source: Linux include/linux/mmzone.h; mm/page_alloc.c, fallbacks[].
"""

from __future__ import annotations

from typing import Final

UNMOVABLE: Final = 0
MOVABLE: Final = 1
RECLAIMABLE: Final = 2
#: Set aside for requests of several pages that must not sleep.
HIGHATOMIC: Final = 3

#: All types, in the kernel's order since 4.4.
TYPES: Final = (UNMOVABLE, MOVABLE, RECLAIMABLE, HIGHATOMIC)
#: How show_mem prints each type.
LETTERS: Final = "UMEH"

#: Whose free blocks a request of each type takes when its own type has none, in order.
FALLBACKS: Final = {
    UNMOVABLE: (RECLAIMABLE, MOVABLE),
    MOVABLE: (RECLAIMABLE, UNMOVABLE),
    RECLAIMABLE: (UNMOVABLE, MOVABLE),
}

#: The order of a pageblock (x86-64: a huge page).
PAGEBLOCK_ORDER: Final = 9
PAGEBLOCK_PAGES: Final = 1 << PAGEBLOCK_ORDER

#: A smaller memory, in pages, is not grouped: everything in it is unmovable.
GROUPED_FROM: Final = PAGEBLOCK_PAGES * 5
