"""The ledger: what is allocated, from where, and what was done wrongly with it.

Lives here: the traces that allocations and frees leave, `LiveObject`, and the
recording of faults. The table of live spans itself is `faultinject.mm.ram.Ram.live`,
because it is written on every allocation. What is known of a freed object lives
on its span, so that history does not grow.
"""

from __future__ import annotations

from types import CodeType, FrameType
from typing import Any, Final, TypeAlias, TypeVar

from faultinject.callsite import CallSite, site_of_key
from faultinject.engine.log import violations
from faultinject.errors import MemoryFault

Trace: TypeAlias = tuple[CodeType, int, dict[str, Any]]
"""A caller as code, instruction offset and globals; decoded only for reports."""


def _nowhere() -> None:
    """Stand for callers that are not known."""


#: The trace of a call that has no frame outside faultinject.
NOWHERE: Final[Trace] = (_nowhere.__code__, -1, {})

_UNKNOWN_SITE: Final = CallSite("<unknown>", 0, "<unknown>")

Fault = TypeVar("Fault", bound=MemoryFault)


def trace_of(frame: FrameType | None) -> Trace:
    """Keep a caller without keeping its frame and variables alive."""
    if frame is None:
        return NOWHERE
    return (frame.f_code, frame.f_lasti, frame.f_globals)


def site_of_trace(trace: Trace) -> CallSite:
    """Decode a trace; a caller that was not known has the file ``<unknown>``."""
    if trace is NOWHERE:
        return _UNKNOWN_SITE
    code, lasti, names = trace
    module = names.get("__name__")
    return site_of_key((code, lasti), module if isinstance(module, str) else "")


def known_site(trace: Trace | None) -> CallSite | None:
    """Decode a trace; None if there is nothing to tell."""
    return None if trace is None or trace is NOWHERE else site_of_trace(trace)


def recorded(fault: Fault) -> Fault:
    """Put `fault` into the log of violations and return it, to be raised.

    A fault counts even if the code under test swallows the exception.
    """
    violations.append(fault)
    return fault


class LiveObject:
    """An object of the model memory that is still allocated.

    Attributes:
        address: of its first byte.
        size: the bytes that were requested.
        kind: ``kmalloc``, ``kmem_cache:<name>`` or ``pages``.
    """

    __slots__ = ("_trace", "address", "kind", "size")

    def __init__(self, address: int, size: int, kind: str, trace: Trace) -> None:
        self.address: Final = address
        self.size: Final = size
        self.kind: Final = kind
        self._trace: Final = trace

    @property
    def site(self) -> CallSite:
        """Where it was allocated."""
        return site_of_trace(self._trace)

    def __str__(self) -> str:
        return f"{self.size} bytes ({self.kind}) at {self.address:#x}, allocated at {self.site}"

    def __repr__(self) -> str:
        return f"<LiveObject {self}>"
