"""Which zones a kernel was built with, told from those that its text shows."""

from __future__ import annotations

import pytest

from faultinject.mm.built_zones import built_with


@pytest.mark.parametrize(
    ("seen", "size", "first", "count"),
    [
        ({"DMA", "DMA32", "Normal"}, 4, ("DMA", "DMA32", "Normal", "Movable"), 1),
        ({"Normal"}, 2, ("Normal", "Movable"), 1),
        # A kernel with HighMem would show it, so Device is likelier.
        ({"DMA32", "Normal"}, 5, ("DMA", "DMA32", "Normal", "Movable", "Device"), 3),
        ({"DMA", "Normal", "HighMem"}, 4, ("DMA", "Normal", "HighMem", "Movable"), 1),
    ],
)
def test_the_likeliest_set_that_fits_comes_first(
    seen: set[str], size: int, first: tuple[str, ...], count: int
) -> None:
    found = built_with(frozenset(seen), size)

    assert (found[0], len(found)) == (first, count)


@pytest.mark.parametrize(("seen", "size"), [({"DMA"}, 2), ({"DMA"}, 9), ({"Strange"}, 3)])
def test_what_fits_no_kernel_has_no_answer(seen: set[str], size: int) -> None:
    assert built_with(frozenset(seen), size) == ()
