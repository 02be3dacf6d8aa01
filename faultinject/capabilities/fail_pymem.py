"""fail_pymem: CPython's own allocations fail, with its own ``MemoryError``.

Lives here: which requests are eligible, the knobs, and what one arming keeps. Not here:
the hook in the interpreter (`faultinject.native`), which this floor does not know: it
puts itself in as `FailPymem.core`. Source of the idea: the kernel's failslab and
fail_page_alloc, applied to the interpreter's allocator.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from threading import current_thread
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from faultinject.callsite import UNKNOWN, CallSite
from faultinject.capabilities.arming import Armed, Gate
from faultinject.capabilities.capability import Capability
from faultinject.engine import task
from faultinject.engine.attr import FaultAttr
from faultinject.engine.log import Injection, injections
from faultinject.errors import SpecError, UnavailableError

# As the kernel's SIZE_MAX: no request is larger.
NO_LIMIT: Final = 2**63 - 1


class Struck(NamedTuple):
    """One request that the hook refused: its size in bytes, and where it came from."""

    size: int
    site: CallSite | None
    domain: str
    caller: str


class PymemHook(Protocol):
    """One arming of the hook, while it lasts."""

    nth: int

    def close(self) -> Sequence[Struck]:
        """Disarm; give what was refused, oldest first."""


class PymemCore(Protocol):
    """What `faultinject.native` puts in."""

    def unavailable(self) -> str | None:
        """Say why there is no hook here, or None."""

    def unsweepable(self) -> str | None:
        """Say why call sites cannot be told apart here, or None."""

    def open(
        self, attr: FaultAttr, gates: Mapping[str, Any], *, nth: int, marked: bool, all_tasks: bool
    ) -> PymemHook:
        """Arm the hook, as the last act."""


class PymemArmed(Armed):
    """One entry of an arming of `fail_pymem`.

    The hook keeps the counts while the entry lasts: `times`, `space`, `count` and
    `injections` are those of its end. `fail_nth` counts on in the hook, and what is left
    of it comes back.

    A `MemoryError` that leaves the block gets a note that names the last refused request.
    """

    __slots__ = ("_handled", "_hook", "_nth")

    def __init__(
        self, key: object, attr: FaultAttr, gates: dict[str, Any], *, all_tasks: bool = False
    ) -> None:
        super().__init__(key, attr, gates, all_tasks=all_tasks)
        self._hook: PymemHook | None = None
        self._nth: task.FailNth | None = None
        self._handled: BaseException | None = None

    def entered(self) -> None:
        """Hook the interpreter."""
        self._nth = task.countdown() or self.countdown
        nth = self._nth.remaining if self._nth is not None else 0
        self._handled = sys.exception()
        self._hook = fail_pymem.open_hook(
            self.attr, self.gates, nth=nth, marked=task.made_to_fail(), all_tasks=self.all_tasks
        )

    def left(self) -> None:
        """Give the interpreter its own allocator back, and write down what was refused."""
        hook, self._hook = self._hook, None
        handled, self._handled = self._handled, None
        if hook is None:
            return
        struck = hook.close()
        if self._nth is not None:
            self._nth.remaining = hook.nth
        for item in struck:
            self.injections.append(
                injections.record(
                    fail_pymem.name,
                    item.size,
                    fail_pymem.unit,
                    item.site or UNKNOWN,
                    current_thread().name,
                    cause="rule" if self._nth is None else "fail_nth",
                    retry=False,
                    domain=item.domain,
                    caller=item.caller,
                )
            )
        error = sys.exception()
        # One that is handled around the block is not the block's. A campaign has its own note.
        if struck and error is not handled and injections.witness is None:
            _note(error, self.injections[-1])


def _note(error: BaseException | None, injection: Injection) -> None:
    if isinstance(error, MemoryError):
        name = injection.caller.partition(" ")[0]  # without the shared object
        named = name and "+0x" not in name
        asked = f"{injection.domain} domain, {name}" if named else f"{injection.domain} domain"
        error.add_note(
            f"faultinject: {injection.capability} refused {injection.size} {injection.unit} "
            f"({asked}) at {injection.site}"
        )


class FailPymem(Capability):
    """CPython's raw, mem and obj domains return NULL; what asked raises its MemoryError."""

    name = "fail_pymem"
    unit = "bytes"
    doc = "Any allocation of the interpreter fails for real, and it raises MemoryError."
    pervasive = True
    entry_type = PymemArmed
    gates: ClassVar[Mapping[str, Gate]] = {
        "domains": Gate(
            str, "raw|mem|obj", "raw|mem|obj", "Only requests of these domains, with | between."
        ),
        "min_size": Gate(int, 0, 0, "Exempt smaller requests, in bytes."),
        "max_size": Gate(int, NO_LIMIT, NO_LIMIT, "Exempt larger requests, in bytes."),
    }
    profiles: ClassVar[Mapping[str, Mapping[str, int | str]]] = {
        "small": {"domains": "mem|obj", "max_size": 512},
        "pages": {"domains": "pages"},
    }

    core: PymemCore | None = None

    def unavailable(self) -> str | None:
        """Why the interpreter cannot be hooked here; None if it can."""
        if self.core is None:
            return "faultinject.native is not loaded"
        return self.core.unavailable()

    def unsweepable(self) -> str | None:
        """Why no call site can be told from another here; None if it can."""
        return self.unavailable() if self.core is None else self.core.unsweepable()

    def check_gates(self, gates: Mapping[str, Any]) -> None:
        """Refuse limits that no request can be within.

        Raises:
            SpecError: min_size is above max_size.
        """
        if gates["min_size"] > gates["max_size"]:
            raise SpecError(
                "min_size is above max_size: nothing could fail",
                value=gates["min_size"],
                where=f"{self.name}, max_size={gates['max_size']}",
                cure="Give the smaller one to min_size",
            )

    def open_hook(
        self, attr: FaultAttr, gates: Mapping[str, Any], *, nth: int, marked: bool, all_tasks: bool
    ) -> PymemHook:
        """Arm the hook.

        Raises:
            UnavailableError: there is none here, with the reason.
        """
        reason = self.unavailable()
        if reason is not None or self.core is None:
            raise UnavailableError(
                "failures of Python's own memory are not available here",
                where=reason,
                cure="`faultinject list` shows what is",
                slug="unavailable",
            )
        return self.core.open(attr, gates, nth=nth, marked=marked, all_tasks=all_tasks)


fail_pymem: Final = FailPymem()
