"""Threads that a fork of this process would be without.

Lives here: which ones count. Not here: what is done then (`faultinject.campaign.sweep`,
`pytest_faultinject.isolations`), threads that a trial leaves behind
(`faultinject.campaign.oracles.threads`).
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Set as AbstractSet

# The code under test asks nothing of the threads of these.
_HARNESS = frozenset(
    {
        *("execnet", "xdist", "pytest_timeout", "pytest_rerunfailures"),
        *("faultinject", "pytest_faultinject"),
    }
)

# A thread that is about to end gets a moment.
_PATIENCE = 0.1


def missing_in_a_fork(known: AbstractSet[threading.Thread] = frozenset()) -> list[str]:
    """Name the threads that run beside this one and the main thread.

    Those of the harness do not count: of pytest-xdist, -timeout and -rerunfailures, our own.

    Args:
        known: these do not count either.
    """
    until = time.monotonic() + _PATIENCE
    passed_over = {*known, threading.current_thread(), threading.main_thread()}
    while True:
        found = [
            thread
            for thread in threading.enumerate()
            if thread not in passed_over and thread.is_alive() and not _is_harness(thread)
        ]
        if not found or time.monotonic() > until:
            return sorted(thread.name for thread in found)
        time.sleep(0.002)


def _is_harness(thread: threading.Thread) -> bool:
    called = getattr(thread, "function", None) or getattr(thread, "_target", None)
    modules = [str(getattr(called, "__module__", "")), type(thread).__module__]
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        modules.append(str(frame.f_globals.get("__name__", "")))
        frame = frame.f_back
    return any(module.partition(".")[0] in _HARNESS for module in modules)
