"""The hook as the core of `fail_pymem`, and the hook specification that announces it.

Lives here: the bridge from the capability's knobs to an arming of the C module. Not
here: the knobs (`faultinject.capabilities.fail_pymem`), the arming
(`faultinject.native.rule`). Importing this file is what gives `fail_pymem` its core.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from faultinject.callsite import CallSite
from faultinject.capabilities.capability import Capability
from faultinject.capabilities.fail_pymem import FailPymem, Struck, fail_pymem
from faultinject.capabilities.hookspecs import hookimpl
from faultinject.engine import task
from faultinject.engine.attr import FaultAttr
from faultinject.native import core
from faultinject.native.requests import PROFILES, Requests
from faultinject.native.rule import RuleArming
from faultinject.native.site import NativeSite

__all__ = ["Core", "RuleHook", "fail_pymem", "faultinject_capabilities", "requests_of"]


class RuleHook:
    """One arming of the hook by the rule."""

    def __init__(self, arming: RuleArming) -> None:
        self._arming = arming

    @property
    def nth(self) -> int:
        """What is left of the countdown."""
        return self._arming.nth

    @nth.setter
    def nth(self, value: int) -> None:
        self._arming.nth = value

    def close(self) -> Sequence[Struck]:
        """Disarm; give what was refused, oldest first."""
        self._arming.__exit__(None, None, None)
        return [
            Struck(event.size, _place(event.site), event.domain, event.c_caller)
            for event in self._arming.events
        ]


class Core:
    """The C module, as the capability sees it."""

    def unavailable(self) -> str | None:
        """Say why there is no hook here, or None."""
        return core.why_unavailable()

    def unsweepable(self) -> str | None:
        """Say why call sites cannot be told apart here, or None."""
        return core.call_sites_unavailable()

    def open(
        self, attr: FaultAttr, gates: Mapping[str, Any], *, nth: int, marked: bool, all_tasks: bool
    ) -> RuleHook:
        """Arm the hook, as the last act.

        Raises:
            SpecError: ``domains`` names something that is none.
            UsageError: another thread has the hook.
        """
        arming = RuleArming(
            attr, requests=requests_of(gates), nth=nth, marked=marked, all_tasks=all_tasks
        )
        hook = RuleHook(arming)
        arming.__enter__()
        return hook


def requests_of(gates: Mapping[str, Any]) -> Requests:
    """Give the requests that a setting's gates let through.

    Raises:
        SpecError: ``domains`` names something that is none.
    """
    domains = str(gates["domains"])
    if domains in PROFILES:
        return Requests.profile(domains)
    return Requests.of(domains, min_size=gates["min_size"], max_size=gates["max_size"])


def _place(site: NativeSite | None) -> CallSite | None:
    if site is None:
        return None
    return CallSite(site.file, site.line, site.function, "", site.column, site.first_line)


def _pause(begins: bool) -> None:
    """Pause the hook while any `no_faults` is in force: it cannot ask whose it is."""
    hook = core.loaded()
    if hook is not None:
        hook.pause(begins)


FailPymem.core = Core()
task.exempted = _pause


@hookimpl
def faultinject_capabilities() -> Iterable[Capability]:
    """Announce `fail_pymem`."""
    return [fail_pymem]
