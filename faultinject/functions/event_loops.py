"""What asyncio does for itself, and not at once for whoever called it.

Lives here: which functions of asyncio those are. Not here: what becomes of the calls that
they make (`faultinject.functions.chosen`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

_WRITES = ("write", "writelines", "sendto")


def functions() -> Iterator[object]:
    """Give them, of the transports that are loaded now; none if asyncio is not.

    These are a loop's own turns, which reach the functions that it calls back through frames
    of theirs, and the writing of transports: it never fails where it is called, and what could
    not be sent is told by a later `drain`.
    """
    loops = sys.modules.get("asyncio.base_events")
    transports = sys.modules.get("asyncio.transports")
    if loops is not None:
        yield loops.BaseEventLoop.run_forever
    if transports is not None:
        for kind in _and_below(transports.WriteTransport, transports.DatagramTransport):
            yield from (held for name in _WRITES if (held := vars(kind).get(name)) is not None)


def _and_below(*kinds: type) -> Iterator[type]:
    for kind in kinds:
        yield kind
        yield from _and_below(*kind.__subclasses__())
