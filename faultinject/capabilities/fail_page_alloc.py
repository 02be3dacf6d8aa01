"""fail_page_alloc: requests for pages of the model memory.

Lives here: which page requests are eligible. Not here: the pages (`faultinject.mm`).

Source: Linux 6.6 mm/fail_page_alloc.c, __should_fail_alloc_page(). The size is in
pages, 1 << order. Large kmallocs and new slabs are page requests too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FrameType
from typing import ClassVar, Final

from faultinject.capabilities.capability import Capability, Gate
from faultinject.engine import task
from faultinject.gfp import DIRECT_RECLAIM, HIGHMEM, NOFAIL, NOWARN


class FailPageAlloc(Capability):
    """alloc_pages returns NULL."""

    name = "fail_page_alloc"
    unit = "pages"
    doc = "alloc_pages(), large kmalloc() and new slabs of the model memory get no pages."
    allocates = True
    gates: ClassVar[Mapping[str, Gate]] = {
        "ignore_gfp_reclaim": Gate(
            bool, False, True, "Exempt requests that may sleep (the kernel's ignore-gfp-wait)."
        ),
        "ignore_gfp_highmem": Gate(bool, False, True, "Exempt requests that may use high memory."),
        "min_order": Gate(int, 0, 1, "Exempt requests of a smaller order."),
    }

    def should_fail(
        self, order: int, gfp: int, frame: FrameType | None = None, retry: bool = False
    ) -> bool:
        """Whether a request of ``1 << order`` pages fails.

        Args:
            order: from 0.
            gfp: the request's flags, a plain int.
            frame: where the request comes from, if that is known already.
            retry: whether it is the fallback try of a request that has just failed.
        """
        if not task.live or gfp & NOFAIL:
            return False
        setting = self.setting()
        gates = setting.gates
        if order < gates["min_order"]:
            return False
        if gates["ignore_gfp_highmem"] and gfp & HIGHMEM:
            return False
        if gates["ignore_gfp_reclaim"] and gfp & DIRECT_RECLAIM:
            return False
        return self.ask(setting, 1 << order, frame=frame, nowarn=bool(gfp & NOWARN), retry=retry)


fail_page_alloc: Final = FailPageAlloc()
