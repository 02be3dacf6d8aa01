"""What a kernel says of ``__GFP_NOFAIL`` where it would rather not insist.

Lives here: `NofailWarnings`, and when which version warns. Not here: that such a request
goes on (`faultinject.mm.modern_slow_path`), and the warning of one that fails after all
(`faultinject.mm.warn`).

Source: Linux mm/page_alloc.c, __alloc_pages_slowpath(): for a task that frees memory since
4.5, for an order above 3 since the checks stand together (commit 9a67f6488eca); once per boot
and place, WARN_ON_ONCE(); since 5.19 not with ``__GFP_NOWARN``, WARN_ON_ONCE_GFP() (commit
3f913fc5f974). A memory is a boot.
"""

from __future__ import annotations

from types import FrameType
from typing import Final

from faultinject.engine.message import fail_dump
from faultinject.gfp import NOWARN
from faultinject.mm.failure_text import warning
from faultinject.mm.kernel_version import KernelVersion
from faultinject.mm.ram import Ram
from faultinject.mm.retry_rules import COSTLY_ORDER
from faultinject.mm.show_mem import release_of

_MEMALLOC_SINCE: Final = (4, 5)
_COSTLY_SINCE: Final = (4, 12)
_NOWARN_COUNTS_SINCE: Final = (5, 19)


class NofailWarnings:
    """The warnings of one memory, each of which it gives once.

    Args:
        ram: whose lock guards what was said.
        version: of the kernel.
    """

    __slots__ = ("_ram", "_release", "_said", "_version")

    def __init__(self, ram: Ram, version: KernelVersion) -> None:
        self._ram = ram
        self._version = version
        self._release = release_of(version)
        self._said: set[str] = set()

    def tell(self, order: int, gfp: int, frame: FrameType | None, *, is_memalloc: bool) -> None:
        """Log what there is to say of a request that insists and has come to an end.

        Args:
            order: of the request.
            gfp: its flags.
            frame: who asked.
            is_memalloc: whether the task itself frees memory (PF_MEMALLOC).
        """
        if gfp & NOWARN and self._release >= _NOWARN_COUNTS_SINCE:
            return
        if is_memalloc and self._release >= _MEMALLOC_SINCE:
            self._once("a task that frees memory itself can only wait for others", order, frame)
        if order > COSTLY_ORDER and self._release >= _COSTLY_SINCE:
            self._once(f"no order above {COSTLY_ORDER} is meant to insist", order, frame)

    def _once(self, why: str, order: int, frame: FrameType | None) -> None:
        with self._ram.lock:
            if why in self._said:
                return
            self._said.add(why)
        lines = [
            f"faultinject: __GFP_NOFAIL, order {order}: {why}; said once for each Memory",
            *warning("__alloc_pages_slowpath", frame, self._release, self._version.name),
        ]
        fail_dump("\n".join(lines), stack=False, suppressed=0, frame=frame)
