"""What was injected, and what the code under test did wrong with the model memory.

Lives here: the `Injection` record and two process-wide logs, `injections` and
`violations`. Not here: the kernel's messages (`faultinject.engine.message`), and
verdicts about them (`faultinject.campaign`).

An injected failure is recognised by this log, never by the type of an exception.
Reset: ``injections.clear()``, ``violations.clear()``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar, overload

from faultinject.callsite import CallSite
from faultinject.engine import task
from faultinject.errors import MemoryFault

KEPT: Final = 1000
"""How many records a log keeps; older ones are dropped, but still counted."""

Record = TypeVar("Record")


class Injection(NamedTuple):
    """One call that was made to fail.

    Attributes:
        number: the how manieth of the process, from 1.
        capability: the capability's name.
        size: the size of the call, in `unit`.
        unit: "bytes", "pages", …
        site: the nearest place outside faultinject, without its column;
            `faultinject.callsite.UNKNOWN` if there is none.
        thread: the thread's name.
        cause: what decided: "rule", "fail_nth" or "campaign".
        retry: whether it was the fallback try of a request that had failed already.
        domain: which of the interpreter's allocators refused; "" if none of them.
        caller: the C function that asked, where it is known; of `fail_function` what was
            called, and what it failed with.
    """

    number: int
    capability: str
    size: int
    unit: str
    site: CallSite
    thread: str
    cause: str = "rule"
    retry: bool = False
    domain: str = ""
    caller: str = ""

    def __str__(self) -> str:
        what = self.caller if self.unit == "calls" else f"{self.size} {self.unit}"
        return f"{self.capability} of {what} at {self.site}"


class BoundedLog(Generic[Record]):
    """The last 1000 records, oldest first, and the number of all there ever were.

    Safe to write from many threads. Iterating goes over a copy.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._records: deque[Record] = deque(maxlen=kept)
        self._total = 0

    @property
    def total(self) -> int:
        """How many records were ever added; neither dropping nor `clear` lowers it."""
        return self._total

    def append(self, record: Record) -> None:
        """Add a record."""
        with task.lock:
            self._total += 1
            self._records.append(record)

    def mark(self) -> int:
        """Name this moment, for `since`."""
        return self._total

    def since(self, mark: int) -> list[Record]:
        """The records that were added after `mark`, as far as they are kept."""
        with task.lock:
            new = min(self._total - mark, len(self._records))
            return list(self._records)[len(self._records) - new :] if new > 0 else []

    def clear(self) -> None:
        """Forget the records. `total` and marks stay as they are."""
        with task.lock:
            self._records.clear()

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        with task.lock:
            return iter(list(self._records))

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        with task.lock:
            return list(self._records)[index]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} kept of {self._total}>"


class InjectionLog(BoundedLog[Injection]):
    """The injections of the process; each gets its number here.

    Attributes:
        witness: told of each one before the code under test meets it; None for nobody.
    """

    def __init__(self, kept: int = KEPT) -> None:
        super().__init__(kept)
        self.witness: Callable[[Injection], None] | None = None

    def record(
        self,
        capability: str,
        size: int,
        unit: str,
        site: CallSite,
        thread: str,
        *,
        cause: str,
        retry: bool,
        domain: str = "",
        caller: str = "",
    ) -> Injection:
        """Number an injection and keep it."""
        with task.lock:
            number = self._total + 1
            injection = Injection(
                number, capability, size, unit, site, thread, cause, retry, domain, caller
            )
            self.append(injection)
        if self.witness is not None:
            self.witness(injection)
        return injection


injections: Final = InjectionLog()
"""Every injection of the process."""

violations: Final[BoundedLog[MemoryFault]] = BoundedLog()
"""Every wrong use of the model memory, put here before it is raised."""
