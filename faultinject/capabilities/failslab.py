"""failslab: requests to kmalloc and to kmem_caches of the model memory.

Lives here: which slab requests are eligible. Not here: the slabs (`faultinject.mm`).

Source: Linux 6.6 mm/failslab.c, __should_failslab(). The size is the cache's object
size: a kmalloc(100) asks for 128 bytes. kmalloc(0), sizes above the largest kmalloc
cache, kfree and a krealloc that stays in place never get here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FrameType
from typing import ClassVar, Final, Protocol

from faultinject.capabilities.capability import Capability, Gate
from faultinject.engine import task
from faultinject.gfp import DIRECT_RECLAIM, NOFAIL, NOWARN

SLAB_FAILSLAB: Final = 0x02000000
"""The flag of a cache that `cache_filter` lets through."""


class SlabCache(Protocol):
    """What failslab has to know of a cache."""

    @property
    def object_size(self) -> int:
        """The size of an object in bytes."""

    @property
    def flags(self) -> int:
        """SLAB_* flags."""

    @property
    def is_bootstrap(self) -> bool:
        """Whether it is the cache that holds the caches themselves."""


class Failslab(Capability):
    """kmalloc and kmem_cache_alloc return NULL."""

    name = "failslab"
    unit = "bytes"
    doc = "kmalloc() and kmem_cache.alloc() of the model memory return None."
    allocates = True
    gates: ClassVar[Mapping[str, Gate]] = {
        "ignore_gfp_reclaim": Gate(
            bool, False, True, "Exempt requests that may sleep (the kernel's ignore-gfp-wait)."
        ),
        "cache_filter": Gate(bool, False, False, "Fail only caches with SLAB_FAILSLAB."),
    }

    def should_fail(self, cache: SlabCache, gfp: int, frame: FrameType | None = None) -> bool:
        """Whether a request of one object from `cache` fails.

        Args:
            cache: where from.
            gfp: the request's flags, a plain int.
            frame: where the request comes from, if that is known already.
        """
        if not task.live:
            return False
        if cache.is_bootstrap or gfp & NOFAIL:
            return False
        setting = self.setting()
        gates = setting.gates
        if gates["ignore_gfp_reclaim"] and gfp & DIRECT_RECLAIM:
            return False
        if gates["cache_filter"] and not cache.flags & SLAB_FAILSLAB:
            return False
        return self.ask(setting, cache.object_size, frame=frame, nowarn=bool(gfp & NOWARN))


failslab: Final = Failslab()
