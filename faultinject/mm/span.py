"""A stretch of model memory: every access is checked for bounds and for life.

Lives here: `Span`, what `faultinject.mm.pointer.Pointer` and
`faultinject.mm.page.Page` have in common, and `Home`, what a span belongs to.
Not here: allocating and freeing (`faultinject.mm.slab`,
`faultinject.mm.page_alloc`).

Source of the checks: what KASAN reports in the kernel, and at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from operator import index
from typing import TYPE_CHECKING, ClassVar, NoReturn, SupportsIndex, TypeAlias, overload

from faultinject.errors import OutOfBounds, UsageError, UseAfterFree
from faultinject.mm.ledger import Trace, known_site, recorded, site_of_trace
from faultinject.mm.ram import PAGE_OFFSET, POISON_FREE, POISON_LIMIT, Ram

if TYPE_CHECKING:
    from faultinject.mm.memory import Memory

BytesLike: TypeAlias = bytes | bytearray | memoryview


class Home:
    """What a span was cut from, and so what takes it back.

    Attributes:
        kind: as in `faultinject.mm.ledger.LiveObject.kind`.
        shared: whether there are more references to the span than one.
    """

    __slots__ = ("kind",)
    shared: ClassVar[bool] = False

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Span:
    """Some bytes of a model memory, from its allocation to its free.

    ``span[i]`` and ``span[a:b]`` read, assignment writes. Nothing is clamped: a
    negative index, an index or a slice past the requested size is `OutOfBounds`,
    and any access after the free is `UseAfterFree`. A slice is assigned exactly
    as many bytes as it has. A span is true, whatever its size, and equal only to
    itself. It cannot be copied: take ``bytes(span)``.
    """

    __slots__ = ("_gone", "_home", "_made", "_offset", "_ram", "_size", "_view")

    def __init__(self, ram: Ram, offset: int, size: int, home: Home, made: Trace) -> None:
        self._ram = ram
        self._offset = offset
        self._size = size
        self._home = home
        self._made = made
        self._gone: Trace | None = None  # the free's trace, once there was one
        self._view: memoryview | None = None

    @property
    def address(self) -> int:
        """The address of the first byte, also after the free."""
        return PAGE_OFFSET + self._offset

    @property
    def summary(self) -> str:
        """Address, size and kind, for messages; a text does not keep the span alive."""
        return Shown(f"{self.address:#x}, {self._size} bytes, {self._home.kind}")

    @property
    def memory(self) -> Memory:
        """The memory that it came from, and that takes it back."""
        return self._ram.memory

    @property
    def data(self) -> memoryview:
        """A writable view of the requested bytes; the same object each time.

        A free releases it, and so does a ``krealloc``: Python's own ValueError
        follows on use. Views that were sliced from it are out of reach of that;
        they show the kernel's poison 0x6b after a free.

        Raises:
            UseAfterFree: it was freed.
        """
        with self._ram.lock:
            if self._gone is not None:
                self._refuse_dead("the data was taken")
            if self._view is None:
                start = self._offset
                self._view = memoryview(self._ram.bytes)[start : start + self._size]
            return self._view

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        # Else `if not p:` would take an object of 0 bytes for NULL.
        return True

    def __bytes__(self) -> bytes:
        if self._gone is not None:
            self._refuse_dead("the bytes were read")
        start = self._offset
        return self._ram.bytes[start : start + self._size]

    def __iter__(self) -> Iterator[int]:
        return iter(bytes(self))

    @overload
    def __getitem__(self, key: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    def __getitem__(self, key: SupportsIndex | slice) -> int | bytes:
        if self._gone is not None:
            self._refuse_dead(f"{_shown(key)} was read")
        if isinstance(key, slice):
            start, stop = self._range(key, "read")
            return self._ram.bytes[self._offset + start : self._offset + stop]
        at = index(key)
        if not 0 <= at < self._size:
            self._refuse_bounds(key, "read")
        return self._ram.bytes[self._offset + at]

    @overload
    def __setitem__(self, key: SupportsIndex, value: int) -> None: ...
    @overload
    def __setitem__(self, key: slice, value: BytesLike) -> None: ...
    def __setitem__(self, key: SupportsIndex | slice, value: int | BytesLike) -> None:
        if self._gone is not None:
            self._refuse_dead(f"{_shown(key)} was written")
        if isinstance(key, slice):
            start, stop = self._range(key, "written")
            content = _content(value)
            if len(content) != stop - start:
                raise UsageError(
                    f"{len(content)} bytes do not fit a slice of {stop - start}",
                    value=Shown(_shown(key)),
                    cure="Assign exactly as many bytes as the slice has",
                )
            self._ram.bytes[self._offset + start : self._offset + stop] = content
            return
        at = index(key)
        if not 0 <= at < self._size:
            self._refuse_bounds(key, "written")
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
            raise UsageError("not a byte", value=value, cure="Assign an int of 0 to 255")
        self._ram.bytes[self._offset + at] = value

    def __repr__(self) -> str:
        name = type(self).__name__
        if self._gone is None:
            state = f"allocated at {site_of_trace(self._made)}"
        else:
            state = f"freed at {site_of_trace(self._gone)}"
        return f"<{name} {self.address:#x}, {self._size} bytes, {self._home.kind}, {state}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        # A second pointer to the same bytes would be freed behind the ledger's back.
        raise TypeError(
            f"a {type(self).__name__} cannot be copied or pickled; take bytes(p) instead"
        )

    def _range(self, key: slice, deed: str) -> tuple[int, int]:
        if key.step is not None and index(key.step) != 1:
            raise UsageError(
                "a slice of model memory has a step",
                value=Shown(_shown(key)),
                cure="Read without a step, and slice the bytes",
            )
        start = 0 if key.start is None else index(key.start)
        stop = self._size if key.stop is None else index(key.stop)
        if not 0 <= start <= stop <= self._size:
            self._refuse_bounds(key, deed)
        return start, stop

    def _refuse_bounds(self, key: SupportsIndex | slice, deed: str) -> NoReturn:
        raise recorded(
            OutOfBounds(
                f"{_shown(key)} of {self._size} bytes was {deed}",
                value=self.summary,
                address=self.address,
                allocated_at=known_site(self._made),
                cure="Stay within the size that was requested",
            )
        )

    def _refuse_dead(self, deed: str) -> NoReturn:
        raise recorded(
            UseAfterFree(
                f"{deed} after the free",
                value=self.summary,
                address=self.address,
                allocated_at=known_site(self._made),
                freed_at=known_site(self._gone),
                cure="Do not keep the pointer after the free",
            )
        )

    def _revoke_view(self, *, poison: bool) -> None:
        """Release `data`, if it was taken. The caller holds the lock."""
        view = self._view
        if view is None:
            return
        self._view = None
        if poison:
            # Slices of the view cannot be released; let them show that they are stale.
            length = min(self._size, POISON_LIMIT)
            view[:length] = POISON_FREE * length
        # An array that was built on the view cannot be taken away from its owner.
        with contextlib.suppress(BufferError):
            view.release()


class Shown(str):
    """A text that is the value to show: printed without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _shown(key: object) -> str:
    if isinstance(key, slice):
        start = "" if key.start is None else key.start
        stop = "" if key.stop is None else key.stop
        return f"[{start}:{stop}]" if key.step is None else f"[{start}:{stop}:{key.step}]"
    return f"[{key!r}]"


def _content(value: object) -> bytes:
    if isinstance(value, Span):
        return bytes(value)
    if isinstance(value, int):
        raise UsageError("a slice was assigned an int", value=value, cure="Assign bytes")
    try:
        return memoryview(value).tobytes()  # type: ignore[arg-type]  # refused below
    except TypeError as error:
        raise UsageError(
            "a slice was assigned what is not bytes", value=value, cure="Assign bytes"
        ) from error
