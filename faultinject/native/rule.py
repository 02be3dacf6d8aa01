"""The rule, armed on the real interpreter.

Lives here: `RuleArming`, which hands a `FaultAttr` to its C mirror and takes its counts
back. Not here: the rule itself (`faultinject.engine.attr`, ``attr.h``), the capability
(`faultinject.capabilities`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from faultinject.engine.attr import FaultAttr
from faultinject.native import core
from faultinject.native.arming import NativeArming
from faultinject.native.places import CodeScope
from faultinject.native.requests import Requests
from faultinject.native.veto import VETOED, Veto

if TYPE_CHECKING:
    from faultinject.native import _hook

_SIGNED: Final = 2**63 - 1
_UNSIGNED: Final = 2**64 - 1


class RuleArming(NativeArming):
    """Lets a fault attribute decide about every request that counts.

    `require`, `reject` and `stacktrace_depth` of the attribute are honoured; its `verbose` is
    not, since nothing can be printed from inside an allocator. Draws begin anew with the
    attribute's seed. While armed `times`, `space`, `count` and `nth` are those of this
    object; on leaving, the first three are written back to the attribute.

    Args:
        attr: the rule. It is read on entering.
        scope: whose requests count. Without one, and without filters, frames are read only
            when a fault is about to strike: that is quicker, and requests of the harness
            then take part in the counting, but never fail.
        requests: as in `NativeArming`.
        nth: fail the nth request that counts, whatever the attribute says; 0 is off.
        marked: the task's `make_it_fail`.
        all_tasks: as in `NativeArming`.
        veto: as in `NativeArming`.
        collect: as in `NativeArming`; off, as nothing is to be repeated.

    Raises:
        UsageError: on entering, where there is a scope or filter but no call sites.
    """

    _mode: ClassVar[int] = 0
    _filtered_mode: ClassVar[int] = 1

    def __init__(
        self,
        attr: FaultAttr,
        *,
        scope: CodeScope | None = None,
        requests: Requests | None = None,
        nth: int = 0,
        marked: bool = False,
        all_tasks: bool = False,
        veto: Veto = VETOED,
        collect: bool = False,
    ) -> None:
        given = CodeScope.of() if scope is None else scope
        if attr.require or attr.reject:
            given = given.with_filters(attr.require, attr.reject, attr.stacktrace_depth)
        super().__init__(given, requests, all_tasks=all_tasks, veto=veto, collect=collect)
        self.attr: Final = attr
        self._nth = nth
        self._marked = marked
        self._times, self._space, self._count = attr.times, attr.space, attr.count

    def _make(self, hook: core.HookModule) -> _hook.Arming:
        attr = self.attr
        filtered = self.scope.filtered
        if filtered:
            core.call_site_hook()
        return self._build(
            hook,
            mode=self._filtered_mode if filtered else self._mode,
            attr=(
                min(attr.probability, _UNSIGNED),
                min(attr.interval, _UNSIGNED),
                _signed(attr.times),
                _signed(attr.space),
                attr.task_filter,
                self._marked,
                _signed(self._nth),
                attr.drawn_seed & _UNSIGNED,
                attr.count,
            ),
        )

    def _keep(self, armed: _hook.Arming) -> None:
        super()._keep(armed)
        self._nth = armed.nth
        attr = self.attr
        attr.times, attr.space, attr.count = armed.times, armed.space, armed.count

    @property
    def nth(self) -> int:
        """Requests still to come until the one that `nth` fails, with it; 0 if none."""
        return self._nth if self._armed is None else self._armed.nth

    @nth.setter
    def nth(self, value: int) -> None:
        self._nth = value
        if self._armed is not None:
            self._armed.nth = _signed(value)

    @property
    def times(self) -> int:
        """Failures left; -1 is no limit."""
        return self.attr.times if self._armed is None else self._armed.times

    @property
    def space(self) -> int:
        """Bytes left to let pass."""
        return self.attr.space if self._armed is None else self._armed.space

    @property
    def count(self) -> int:
        """Requests that `interval` has counted."""
        return self.attr.count if self._armed is None else self._armed.count


def _signed(number: int) -> int:
    return max(-_SIGNED - 1, min(number, _SIGNED))
