"""The census of allocations: which call sites a run reaches, and how often.

Lives here: `Census`. Not here: which of the sites get a trial
(`faultinject.campaign.plan`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from faultinject.native import core
from faultinject.native.arming import NativeArming
from faultinject.native.places import CodeScope
from faultinject.native.requests import Requests
from faultinject.native.site import NativeSite, read_sites
from faultinject.native.veto import VETOED, Veto

if TYPE_CHECKING:
    from faultinject.native import _hook

CAPACITY: Final = 32_768
"""How many sites a census has room for."""


class Census(NativeArming):
    """Counts the requests of the code under test, and fails none.

    ::

        with Census(CodeScope.of(["mypkg"])) as census:
            body()
        census.sites

    What it finds holds for children of the same parent: take it in a forked child, and
    the strikes in other children of that parent.

    Args:
        scope: as in `NativeArming`.
        requests: as in `NativeArming`.
        all_tasks: as in `NativeArming`.
        by_caller: two C functions that ask at one instruction are two sites.
        capacity: how many sites there is room for; what finds none is counted.
        veto: as in `NativeArming`.
        collect: as in `NativeArming`.

    Raises:
        UsageError: on entering, where call sites do not work.
    """

    _mode: ClassVar[int] = 2

    def __init__(
        self,
        scope: CodeScope | None = None,
        requests: Requests | None = None,
        *,
        all_tasks: bool = False,
        by_caller: bool = False,
        capacity: int = CAPACITY,
        veto: Veto = VETOED,
        collect: bool = True,
    ) -> None:
        super().__init__(scope, requests, all_tasks=all_tasks, veto=veto, collect=collect)
        self.by_caller = by_caller
        self._capacity = capacity

    def _make(self, hook: core.HookModule) -> _hook.Arming:
        core.call_site_hook()
        return self._build(hook)

    def _keep(self, armed: _hook.Arming) -> None:
        super()._keep(armed)
        self._rows = armed.sites()

    @property
    def sites(self) -> list[NativeSite]:
        """The sites in the order in which they were first reached; once it has been left."""
        return read_sites(self._rows, by_caller=self.by_caller)

    @property
    def overflow(self) -> int:
        """Requests whose site found no room in the table."""
        return self.stats.get("overflow", 0)
