"""mempool: a reserve of elements, so that who may sleep always gets one.

Lives here: `Mempool`. Not here: where its elements come from
(`faultinject.mm.mempool_supply`).

An element is first asked for where it comes from, quickly and silently; the reserve is
for the case that this fails. Once the reserve is empty too, a request that must not sleep
gets None, and one that may sleep waits for another thread's free. Where no other thread
could free an element, it is tried anew at once, `ROUNDS` times, and then refused as the
deadlock that it would be.

Source: Linux 6.6 mm/mempool.c.
"""

from __future__ import annotations

import threading
from collections import deque
from types import FrameType
from typing import Any, Final

from faultinject.callsite import outer_frame
from faultinject.engine.message import fail_dump
from faultinject.errors import Deadlock, DoubleFree, SpecError, UseAfterFree
from faultinject.gfp import DIRECT_RECLAIM, NOMEMALLOC, NORETRY, NOWARN, ZERO, Gfp
from faultinject.mm.bad_free import double_free, invalid_free
from faultinject.mm.kmalloc import Kmalloc, kfree
from faultinject.mm.ledger import Trace, recorded, trace_of
from faultinject.mm.mempool_supply import Supply
from faultinject.mm.page_alloc import checked_gfp
from faultinject.mm.pointer import Pointer
from faultinject.mm.span import Span

#: The size of a pool's descriptor, mempool_t, in bytes.
DESCRIPTOR: Final = 72
#: The size of one place in the reserve, in bytes.
ENTRY: Final = 8
#: How often a request is tried anew where nobody can free an element.
ROUNDS: Final = 16
#: How long a request waits for other threads, in seconds: the kernel's.
PATIENCE: Final = 5.0

_IO: Final = int(Gfp.IO)


class Mempool:
    """A pool that keeps elements in reserve, made by ``mempool_create`` and its likes.

    Attributes:
        min_nr: how many elements the reserve is to have.
    """

    __slots__ = (
        "_array",
        "_descriptor",
        "_heap",
        "_made",
        "_ram",
        "_reserve",
        "_supply",
        "_users",
        "_waiters",
        "min_nr",
    )

    def __init__(self, heap: Kmalloc, supply: Supply, descriptor: Pointer, made: Trace) -> None:
        self.min_nr = 0
        self._heap = heap
        self._ram = heap.pages.ram
        self._supply = supply
        self._descriptor = descriptor
        self._array: Pointer | None = None
        self._made = made
        self._reserve: list[Any] = []  # its end is handed out first
        self._users: set[int] = set()  # threads, by identity
        self._waiters: deque[threading.Event] = deque()

    @property
    def curr_nr(self) -> int:
        """How many elements the reserve has."""
        return len(self._reserve)

    @property
    def destroyed(self) -> bool:
        """Whether the pool has ended."""
        return self._descriptor._gone is not None

    def alloc(self, gfp: int = Gfp.KERNEL) -> Any:
        """Return an element; None only if `gfp` forbids to sleep.

        The contents are not zeroed: an element of the reserve is as it was freed.

        Raises:
            SpecError: `gfp` is not an int or has unknown bits.
            UseAfterFree: the pool was destroyed.
            Deadlock: the request may sleep, the reserve is empty, and nobody is there
                who could free an element.
        """
        frame = outer_frame()
        gfp = checked_gfp(gfp)
        self._refuse_dead("asked for an element")
        self._users.add(threading.get_ident())
        if gfp & ZERO:
            _log(
                "WARNING: mempool_alloc with __GFP_ZERO: elements of the reserve are not zeroed",
                frame,
            )
        patient = gfp | NOMEMALLOC | NORETRY | NOWARN
        asked = patient & ~(DIRECT_RECLAIM | _IO)
        rounds = 0
        while True:
            element = self._supply.alloc(asked, self._supply.data)
            if element is None:
                element = self._take(frame)
            if element is not None:
                return element
            if asked != patient:
                asked = patient
            elif not gfp & DIRECT_RECLAIM:
                return None
            elif rounds < ROUNDS:
                rounds = self._wait(rounds)
            else:
                self._refuse_wait()

    def free(self, element: object) -> None:
        """Give an element back: to the reserve, as long as that is not full. None is a no-op.

        Raises:
            DoubleFree: it was freed before.
            InvalidFree: it is no element of this pool.
            UseAfterFree: the pool was destroyed.
        """
        if element is None:
            return
        frame = outer_frame()
        self._refuse_dead("given an element")
        self._users.add(threading.get_ident())
        supply = self._supply
        if supply.is_mine is not None and not supply.is_mine(element):
            raise invalid_free(
                "a mempool was given an element that is not its own",
                element,
                "Free an element to the pool that it came from",
            )
        with self._ram.lock:
            if isinstance(element, Span) and element._gone is not None:
                raise double_free(element)
            # What is no span has no life of its own to look at.
            if not supply.length and any(kept is element for kept in self._reserve):
                raise recorded(
                    DoubleFree("freed a second time", value=element, cure="Free an element once")
                )
            is_kept = len(self._reserve) < self.min_nr
            if is_kept:
                self._keep(element, frame)
        if not is_kept:
            supply.free(element, supply.data)

    def resize(self, min_nr: int) -> bool:
        """Make the reserve larger or smaller; False if there is no memory for its array.

        A larger reserve is filled as far as elements can be had; what is missing comes
        with the next frees.

        Raises:
            SpecError: `min_nr` is not an int of 1 or more.
            UseAfterFree: the pool was destroyed.
        """
        frame = outer_frame()
        self._refuse_dead("resized")
        if isinstance(min_nr, bool) or not isinstance(min_nr, int) or min_nr < 1:
            raise SpecError("not a number of elements", value=min_nr, cure="Pass 1 or more")
        if min_nr > self.min_nr:
            array = self._heap.alloc(min_nr * ENTRY, Gfp.KERNEL, frame)
            if array is None:
                return False
            self._own(array, frame)
        with self._ram.lock:
            self.min_nr = min_nr
        self._fill(Gfp.KERNEL)
        while True:
            with self._ram.lock:
                if len(self._reserve) <= self.min_nr:
                    return True
                surplus = self._reserve.pop()
            self._supply.free(surplus, self._supply.data)

    def destroy(self) -> None:
        """End the pool and free its reserve; elements that are in use stay what they are.

        Raises:
            DoubleFree: it was destroyed before.
        """
        frame = outer_frame()
        with self._ram.lock:
            dead = self.destroyed
            if not dead:
                kfree(self._descriptor, frame, None)
            reserve, self._reserve = self._reserve, []
        if dead:
            raise recorded(
                DoubleFree("a mempool was destroyed a second time", cure="Destroy a pool once")
            )
        self._own(None, frame)
        for element in reserve:
            self._supply.free(element, self._supply.data)

    def __repr__(self) -> str:
        state = "destroyed" if self.destroyed else f"{self.curr_nr} of {self.min_nr} in reserve"
        return f"<Mempool, {state}>"

    def _fill(self, gfp: int) -> bool:
        """Bring the reserve to `min_nr`; False if an element cannot be had."""
        while len(self._reserve) < self.min_nr:
            element = self._supply.alloc(int(gfp), self._supply.data)
            if element is None:
                return False
            with self._ram.lock:
                self._reserve.append(element)
        return True

    def _keep(self, element: Any, frame: FrameType | None) -> None:
        """Put an element into the reserve. The caller holds the lock."""
        length = self._supply.length
        if length:
            # Who still has the old one is told of a use after the free.
            old: Span = element
            old._gone = trace_of(frame)
            old._revoke_view(poison=True)
            element = type(old)(old._ram, old._offset, length, old._home, self._made)
            self._ram.live[old._offset] = element
        self._reserve.append(element)
        if self._waiters:
            self._waiters.popleft().set()

    def _take(self, frame: FrameType | None) -> Any:
        with self._ram.lock:
            element = self._reserve.pop() if self._reserve else None
            if isinstance(element, Span):
                element._made = trace_of(frame)
        return element

    def _wait(self, rounds: int) -> int:
        """Wait until another thread frees an element; return the number of rounds so far."""
        if not self._has_company():
            return rounds + 1
        freed = threading.Event()
        with self._ram.lock:
            if self._reserve:
                return 0
            self._waiters.append(freed)
        if freed.wait(PATIENCE):
            return 0
        with self._ram.lock:
            if freed in self._waiters:
                self._waiters.remove(freed)
        return ROUNDS

    def _has_company(self) -> bool:
        """Tell whether another thread might free an element.

        Daemons often have nothing to do with it: they count once they have used the pool.
        """
        me = threading.get_ident()
        return any(
            thread.ident != me and (not thread.daemon or thread.ident in self._users)
            for thread in threading.enumerate()
        )

    def _own(self, array: Pointer | None, frame: FrameType | None) -> None:
        """Replace the array of the reserve."""
        old, self._array = self._array, array
        if array is not None and len(array):
            self._ram.claim(array._offset)
        if old is not None and len(old):
            self._ram.disclaim(old._offset)
            kfree(old, frame, None)

    def _refuse_dead(self, deed: str) -> None:
        if self.destroyed:
            raise recorded(
                UseAfterFree(
                    f"a destroyed mempool was {deed}", cure="Destroy a pool after its last use"
                )
            )

    def _refuse_wait(self) -> None:
        raise recorded(
            Deadlock(
                f"mempool_alloc waits for an element, of which none is in reserve; {self.min_nr} "
                "should be, and nobody is there to free one",
                cure="Free elements before asking for more, or make the reserve larger",
            )
        )


def create_mempool(
    heap: Kmalloc, min_nr: int, supply: Supply, frame: FrameType | None
) -> Mempool | None:
    """Make a pool and fill its reserve; None if memory is short, and nothing is kept then.

    Raises:
        SpecError: `min_nr` is not an int of 0 or more.
    """
    if isinstance(min_nr, bool) or not isinstance(min_nr, int) or min_nr < 0:
        raise SpecError("not a number of elements", value=min_nr, cure="Pass 0 or more")
    for call in (supply.alloc, supply.free):
        if not callable(call):
            raise SpecError(
                "a mempool's function cannot be called", value=call, cure="Pass a function"
            )
    descriptor = heap.alloc(DESCRIPTOR, Gfp.KERNEL | ZERO, frame)
    if descriptor is None:
        return None
    pool = Mempool(heap, supply, descriptor, trace_of(frame))
    is_full = False
    try:
        array = heap.alloc(min_nr * ENTRY, Gfp.KERNEL, frame)
        if array is not None:
            pool._own(array, frame)
            pool.min_nr = min_nr
            is_full = pool._fill(Gfp.KERNEL)
    finally:
        if not is_full:
            pool.destroy()
    return pool if is_full else None


def _log(text: str, frame: FrameType | None) -> None:
    fail_dump(text, stack=False, suppressed=0, frame=frame)
