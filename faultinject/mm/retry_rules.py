"""Retries: where kernel versions differ in how long they try, and whom they kill.

Lives here: one row per version. Not here: the two ways that the rows choose from
(`faultinject.mm.classic_slow_path`, `faultinject.mm.modern_slow_path`), and who may take
how much of the reserve (`faultinject.mm.kernel_version`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from faultinject.gfp import Gfp

#: Above this order a kernel does not insist.
COSTLY_ORDER: Final = 3
#: How often reclaim without progress is retried (MAX_RECLAIM_RETRIES).
MAX_RETRIES: Final = 16

#: How long a request waits before it begins anew, in seconds: HZ/50.
CONGESTION_WAIT: Final = 0.02
#: The shortest wait, with 250 ticks a second.
TICK: Final = 0.004


class RetryRules(NamedTuple):
    """What one version does its own way.

    Attributes:
        modern: whether the ways are those since 4.7: compaction before reclaim, a limit
            to retries without progress.
        compaction: whether pages are moved at all.
        compaction_needs: the gfp flags without which a request moves none, because it
            could have to wait for I/O, or for a file system.
        repeat_ends: whether ``__GFP_REPEAT`` ends once as many pages were reclaimed as
            were asked for; else it goes on for ever.
        nofail_insists: whether ``__GFP_NOFAIL`` goes on where an order above 3 would end.
        oom_spares_low: whether nobody is killed for a zone below Normal, or for one node.
        mayfail: whether ``__GFP_RETRY_MAYFAIL`` may fail at any order, and kills nobody;
            as ``__GFP_REPEAT`` it said nothing for orders up to 3.
    """

    modern: bool
    compaction: bool
    compaction_needs: int
    repeat_ends: bool
    nofail_insists: bool
    oom_spares_low: bool
    mayfail: bool


_2_6_24: Final = RetryRules(
    modern=False,
    compaction=False,
    compaction_needs=int(Gfp.IO | Gfp.FS),
    repeat_ends=False,
    nofail_insists=False,
    oom_spares_low=False,
    mayfail=False,
)
_2_6_32: Final = _2_6_24._replace(repeat_ends=True, nofail_insists=True, oom_spares_low=True)
_3: Final = _2_6_32._replace(compaction=True)
_4_9: Final = _3._replace(modern=True)
_4_19: Final = _4_9._replace(mayfail=True, compaction_needs=int(Gfp.IO))

#: By the name of the version; others have no slow path that is modelled.
RETRY_RULES: Final = {
    "2.6.24": _2_6_24,
    "2.6.32": _2_6_32,
    "3.6": _3,
    "3.14": _3,
    "4.9": _4_9,
    "4.19": _4_19,
    "6.1": _4_19,
    "6.6": _4_19,
}
