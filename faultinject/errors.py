"""What faultinject itself raises, and how it words a refusal.

Lives here: the exceptions of the package. Not here: the failures that are
injected. Those are never exceptions of ours: the model memory returns ``None``
and the interpreter raises its own ``MemoryError``, as in production.

Every message has one shape: what happened, the value, the place, what to do,
and a slug that ``docs/messages.md`` explains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from faultinject.callsite import CallSite


class FaultInjectError(Exception):
    """Anything that faultinject refuses or finds wrong.

    Args:
        what: what happened, in a few words without a full stop.
        value: the value at fault; shown by ``repr`` unless it is a ``str`` subclass
            that was made for showing. Leave it out where there is none.
        where: the place: an option's name, a call site, a position in a text.
        cure: what the reader can do now, one sentence without a full stop.
        slug: the message's name in ``docs/messages.md``.
    """

    slug: ClassVar[str] = "faultinject"

    def __init__(
        self,
        what: str,
        *,
        value: object = None,
        where: str | None = None,
        cure: str | None = None,
        slug: str | None = None,
    ) -> None:
        self.what = what
        self.value = value
        self.where = where
        self.cure = cure
        self.name = slug or type(self).slug
        super().__init__(self._text())

    def _text(self) -> str:
        text = f"faultinject: {self.what}"
        if self.value is not None:
            text += f": {self.value!r}"
        if self.where:
            text += f" ({self.where})"
        text += "."
        if self.cure:
            text += f" {self.cure}."
        return f"{text} [{self.name}]"


class UsageError(FaultInjectError, ValueError):
    """The package was called in a way that cannot mean anything."""

    slug = "usage"


class SpecError(UsageError):
    """A knob, or a text that spells knobs, is wrong.

    Raised before anything is armed, so that a typing error never looks like a
    test that passed.
    """

    slug = "spec"


class CapabilityError(UsageError):
    """A capability is unknown, registered twice, or cannot be loaded."""

    slug = "capability"


class UnavailableError(FaultInjectError, RuntimeError):
    """What was asked for does not exist on this machine or interpreter."""

    slug = "unavailable"


class MemoryFault(FaultInjectError):
    """The code under test used the model memory wrongly.

    This is a bug of the code under test, never an injected failure. What KASAN
    and kmemleak report in the kernel, in short.

    Attributes:
        address: the address that was used, or ``None`` where there is none.
        allocated_at: where the object was allocated, if that is known.
        freed_at: where it was freed, if it was.
    """

    slug = "memory-fault"

    def __init__(
        self,
        what: str,
        *,
        value: object = None,
        address: int | None = None,
        allocated_at: CallSite | None = None,
        freed_at: CallSite | None = None,
        cure: str | None = None,
    ) -> None:
        self.address = address
        self.allocated_at = allocated_at
        self.freed_at = freed_at
        places = []
        if allocated_at is not None:
            places.append(f"allocated at {allocated_at}")
        if freed_at is not None:
            places.append(f"freed at {freed_at}")
        super().__init__(what, value=value, where="; ".join(places) or None, cure=cure)


class OutOfBounds(MemoryFault):
    """An access before the start or past the requested size of an object."""

    slug = "out-of-bounds"


class UseAfterFree(MemoryFault):
    """An access to an object that has been freed."""

    slug = "use-after-free"


class DoubleFree(MemoryFault):
    """An object was freed a second time."""

    slug = "double-free"


class InvalidFree(MemoryFault):
    """Something was freed that this call, cache or memory never gave out."""

    slug = "invalid-free"


class LeakedObjects(MemoryFault):
    """Objects are still allocated where none may be, as in a cache that is destroyed."""

    slug = "leaked-objects"


class Deadlock(MemoryFault):
    """A call waits for memory that nobody is left to give back; in the kernel it hangs."""

    slug = "deadlock"
