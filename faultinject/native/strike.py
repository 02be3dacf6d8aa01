"""The strike: planned failures of real allocations.

Lives here: `Strike` and its `Target`. Not here: which strikes are planned
(`faultinject.campaign.plan`), and the same for the model memory
(`faultinject.campaign.strike`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from faultinject.errors import UsageError
from faultinject.native import core
from faultinject.native.arming import NativeArming
from faultinject.native.census import CAPACITY
from faultinject.native.places import CodeScope
from faultinject.native.requests import DOMAINS, Requests
from faultinject.native.site import NativeSite, caller_place, read_sites
from faultinject.native.veto import VETOED, Veto

if TYPE_CHECKING:
    from faultinject.native import _hook


class Target(NamedTuple):
    """One request that is to fail.

    Attributes:
        site: where. Its `domain` "" is any; its `c_caller` "" is any.
        hit: 1 for the first time that the run reaches the site.
        persistent: from this fault on every request that counts fails, at any site under
            test, until the strike is left.
        offsets: the instructions that the site stands for, if more than its own.
    """

    site: NativeSite
    hit: int = 1
    persistent: bool = False
    offsets: tuple[int, ...] = ()

    def as_plain(self, hook: core.HookModule) -> _hook._Target:
        """Give what the C module reads."""
        site = self.site
        caller = 0
        if site.c_caller:
            place = caller_place(site.c_caller)
            # An address that nothing has: the shared object is not loaded here.
            caller = (hook.address(*place) if place else 0) or 1
        return (
            site.file,
            site.function,
            site.first_line,
            tuple(sorted({site.offset, *self.offsets})),
            DOMAINS.index(site.domain) if site.domain else -1,
            caller,
            self.hit,
            self.persistent,
        )


class Strike(NativeArming):
    """Fails one request, or two, and perhaps every one after it.

    Arm it with the scope, requests, veto and all_tasks of the census that found the site:
    they decide what a hit is. A site is found by content, so one read from a file will do.

    Args:
        targets: one or two. Each counts its hits from the start, whatever the other does.
        counts: count all requests as well, as a `Census` does.
        by_caller: as in `Census`.
        scope: as in `NativeArming`.
        requests: as in `NativeArming`.
        all_tasks: as in `NativeArming`.
        veto: as in `NativeArming`. A hit that is vetoed hands its turn to the next.
        collect: as in `NativeArming`.

    Raises:
        UsageError: on entering, where call sites do not work; at once, if a hit is below 1
            or there are not one or two targets.
    """

    _mode: ClassVar[int] = 3
    # With an extension under test all sites go through the table, else only the targets'.
    _capacity: int = 8192

    def __init__(
        self,
        *targets: Target,
        counts: bool = False,
        by_caller: bool = False,
        scope: CodeScope | None = None,
        requests: Requests | None = None,
        all_tasks: bool = False,
        veto: Veto = VETOED,
        collect: bool = True,
    ) -> None:
        if len(targets) not in (1, 2):
            raise UsageError(
                "a strike has one target or two", value=len(targets), cure="Give one or two"
            )
        for target in targets:
            if target.hit < 1:
                raise UsageError(
                    "hits count from 1", value=target.hit, where="hit", cure="Give 1 or more"
                )
        super().__init__(scope, requests, all_tasks=all_tasks, veto=veto, collect=collect)
        self.targets: Final = targets
        self.counts: Final = counts
        self.by_caller: Final = by_caller
        if counts:
            self._capacity = CAPACITY
        self._progress: list[tuple[int, bool]] = []

    def _make(self, hook: core.HookModule) -> _hook.Arming:
        core.call_site_hook()
        targets = tuple(target.as_plain(hook) for target in self.targets)
        return self._build(hook, targets=targets, counts=self.counts)

    def _keep(self, armed: _hook.Arming) -> None:
        super()._keep(armed)
        self._progress = armed.targets()
        if self.counts:
            self._rows = armed.sites()

    @property
    def progress(self) -> list[tuple[int, bool]]:
        """How often each target was reached, and whether it has struck; once it has been left.

        Hits count on after a strike as long as anything may still fail.
        """
        return list(self._progress)

    @property
    def sites(self) -> list[NativeSite]:
        """What was counted, as in `Census`; once it has been left."""
        return read_sites(self._rows, by_caller=self.by_caller)
