"""What the tests of oracles share: a look at this process, to be compared with a later one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from faultinject.campaign.oracles.bundle import Bundle, Watched

Look = Callable[..., Watched]


@pytest.fixture
def look() -> Iterator[Look]:
    """Give what begins to watch this process, for the rest of the test."""
    with ExitStack() as stack:

        def begin(*names: str, shown: Callable[[str], str] = str) -> Watched:
            bundle = Bundle(frozenset(names), shown) if names else Bundle(shown=shown)
            return stack.enter_context(bundle.watching())

        yield begin
