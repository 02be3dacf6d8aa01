"""The events of the slow path, counted under the names of /proc/vmstat.

Lives here: which names a version has. Not here: who counts them
(`faultinject.mm.slow_path` and what it calls), and the text of the file.

Reclaim means shrinkers here, so what they free counts as ``pgsteal``, and what they are
asked for as ``pgscan`` and as ``slabs_scanned``. Before 4.8 a kernel counted both by zone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from faultinject.mm.kernel_version import VERSIONS, KernelVersion

_ALWAYS: Final = ("pgscan_direct", "pgscan_kswapd", "pgsteal_direct", "pgsteal_kswapd")
_OTHER: Final = ("slabs_scanned", "pageoutrun")
_COMPACTION: Final = (
    "compact_migrate_scanned",
    "compact_free_scanned",
    "compact_isolated",
    "compact_stall",
    "compact_fail",
    "compact_success",
    "pgmigrate_success",
)


def vm_events(version: KernelVersion, zones: Iterable[str]) -> dict[str, int]:
    """Return every counter that a version has, at 0.

    Args:
        version: of the kernel.
        zones: the names of the configured zones, from the lowest.
    """
    names = [*_ALWAYS, *_OTHER]
    if _since(version, "4.19"):
        names += [f"allocstall_{zone.lower()}" for zone in zones]
    else:
        names.append("allocstall")
    if _since(version, "3.6"):
        names += _COMPACTION
    if _since(version, "4.9"):
        names.append("compact_daemon_wake")
    if _since(version, "4.19"):
        names.append("oom_kill")
    return dict.fromkeys(names, 0)


def _since(version: KernelVersion, first: str) -> bool:
    names = list(VERSIONS)
    return version.name in names and names.index(version.name) >= names.index(first)
