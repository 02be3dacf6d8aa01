"""The seat of a campaign: one observer that sees every eligible call.

Lives here: the protocol and the seat. Not here: the observers (`faultinject.campaign`)
and the one place that asks them (`faultinject.capabilities.capability`).
"""

from __future__ import annotations

from types import FrameType
from typing import Protocol

from faultinject.engine import task
from faultinject.errors import UsageError


class Observer(Protocol):
    """What a census or a trial implements."""

    def eligible_call(
        self, capability: str, size: int, frame: FrameType | None, retry: bool
    ) -> bool:
        """See one call that passed its capability's gates; true makes it fail.

        Called from every thread, never inside `no_faults`, before `fail_nth` and the
        rule. Must be quick, and must not allocate from the model memory.

        Args:
            capability: the capability's name.
            size: the size, in the capability's unit.
            frame: the nearest frame outside faultinject. Not to be kept.
            retry: whether this is the fallback try of the request before it, which a
                trial counts as the same hit.
        """
        ...


current: Observer | None = None
"""The observer that is installed. Read it as ``observe.current``."""


def install(observer: Observer) -> None:
    """Let `observer` see every eligible call of the process, until `remove`.

    Raises:
        UsageError: another one is installed; campaigns do not nest.
    """
    global current
    with task.lock:
        if current is not None:
            raise UsageError(
                "a campaign is already running in this process",
                value=current,
                cure="End it first: sweeps and trials do not nest",
                slug="observer-installed",
            )
        current = observer
        task.change_live(1)


def remove() -> None:
    """Take the observer out; nothing happens if there is none."""
    global current
    with task.lock:
        if current is not None:
            current = None
            task.change_live(-1)
