"""The strike: one planned failure of a real allocation.

Lives here: `Strike`. Not here: which strikes are planned (`faultinject.campaign.plan`),
and the same for the model memory (`faultinject.campaign.strike`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Final

from faultinject.errors import UsageError
from faultinject.native import core
from faultinject.native.arming import NativeArming
from faultinject.native.places import CodeScope
from faultinject.native.requests import DOMAINS, Requests
from faultinject.native.site import NativeSite, caller_place
from faultinject.native.veto import VETOED

if TYPE_CHECKING:
    from faultinject.native import _hook


class Strike(NativeArming):
    """Fails the `hit`-th request at one site, and perhaps every one after it.

    Arm it with the scope, requests, veto and all_tasks of the census that found the site:
    they decide what a hit is. The site is found by content, so a site read from a
    file will do.

    Args:
        site: where. Its `domain` "" is any; its `c_caller` "" is any.
        hit: 1 for the first time that the run reaches the site.
        persistent: from this fault on every request that counts fails, at any site
            under test, until it is left.
        offsets: the instructions that the site stands for, if more than its own.
        scope: as in `NativeArming`.
        requests: as in `NativeArming`.
        all_tasks: as in `NativeArming`.
        veto: as in `NativeArming`. A hit that is vetoed hands its turn to the next.
        collect: as in `NativeArming`.

    Raises:
        UsageError: on entering, where call sites do not work; at once, if hit is below 1.
    """

    _mode: ClassVar[int] = 3
    # With an extension under test all sites go through the table, else only the target's.
    _capacity: int = 8192

    def __init__(
        self,
        site: NativeSite,
        hit: int = 1,
        *,
        persistent: bool = False,
        offsets: Iterable[int] = (),
        scope: CodeScope | None = None,
        requests: Requests | None = None,
        all_tasks: bool = False,
        veto: tuple[str, ...] = VETOED,
        collect: bool = True,
    ) -> None:
        if hit < 1:
            raise UsageError("hits count from 1", value=hit, where="hit", cure="Give 1 or more")
        super().__init__(scope, requests, all_tasks=all_tasks, veto=veto, collect=collect)
        self.site: Final = site
        self.hit: Final = hit
        self.persistent: Final = persistent
        self.offsets: Final = tuple(sorted({site.offset, *offsets}))

    def _make(self, hook: core.HookModule) -> _hook.Arming:
        core.call_site_hook()
        site = self.site
        caller = 0
        if site.c_caller:
            place = caller_place(site.c_caller)
            # An address that nothing has: the shared object is not loaded here.
            caller = (hook.address(*place) if place else 0) or 1
        domain = DOMAINS.index(site.domain) if site.domain else -1
        target = (
            site.file,
            site.function,
            site.first_line,
            self.offsets,
            domain,
            caller,
            self.hit,
            self.persistent,
        )
        return self._build(hook, target=target)

    @property
    def target_hits(self) -> int:
        """How often the site was reached, up to the strike; a persistent one counts on."""
        return self.stats.get("target_hits", 0)
