"""What the tests of observers share: a view of everything, and runs under it in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from faultinject.callsite import StackFilter
from faultinject.campaign.census import Census, Reached, Watch
from faultinject.campaign.scope import Scope
from faultinject.campaign.site import Identity
from faultinject.campaign.strike import PlannedFault, Strike
from faultinject.engine import observe

BOTH = ("failslab", "fail_page_alloc")


def watch(
    *,
    identity: Identity = Identity.INSTRUCTION,
    capabilities: Iterable[str] = BOTH,
    sources: Iterable[str] = (),
    filters: Mapping[str, StackFilter] | None = None,
) -> Watch:
    """Look at the model's capabilities, called from anywhere."""
    return Watch(frozenset(capabilities), Scope.parse(sources), identity, dict(filters or {}))


@contextmanager
def observed_by(observer: observe.Observer) -> Iterator[None]:
    """Put an observer in its seat within the block."""
    observe.install(observer)
    try:
        yield
    finally:
        observe.remove()


def census_of(body: Callable[[], object], view: Watch | None = None) -> list[Reached]:
    """Give what a run of `body` reaches."""
    census = Census(view or watch())
    with observed_by(census):
        body()
    return census.reached()


def strike(body: Callable[[], object], fault: PlannedFault, view: Watch | None = None) -> object:
    """Run `body` with one planned fault and give what it returns."""
    with observed_by(Strike(fault, view or watch())):
        return body()
