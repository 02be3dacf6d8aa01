"""The monitor: the interpreter itself tells which error paths run, from Python 3.12 on.

Lives here: `Monitor`, a tool of ``sys.monitoring``. Not here: with which instruction an
error path begins (`faultinject.errpaths.monitor_entries`).

The first call of each function tells whether error paths are in it. Of one that has some,
every line (and every instruction, where lines do not decide) reports once and is then
switched off, but those with which a path begins: these go on, so that a run is told apart
from those before it. Nothing is ever switched on again: that would be for all tools of the
process, coverage.py's among them, and an event allocates in the name of the code that runs.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any, Final

from faultinject.errors import UnavailableError
from faultinject.errpaths.hits import MOST, Hit
from faultinject.errpaths.monitor_entries import find_entries, function_of
from faultinject.errpaths.observe import Sources, Tell
from faultinject.errpaths.path import ErrorPath

NAME: Final = "faultinject error paths"

_Hits = dict[int, tuple[Hit, ...]]

# Those that PEP 669 gives to nobody come first, then those of rare kinds of tool; the
# debugger's and coverage's are left to them.
_TOOLS: Final = (4, 3, 5, 2)


class Monitor:
    """Notices error paths by ``sys.monitoring``, with a tool id of its own.

    Args:
        sources: whose error paths.
    """

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._tool = -1
        self._disable: object = _monitoring().DISABLE
        # By the identity of a code object, whose own hash is slow, and kept alive for it.
        self._codes: dict[int, tuple[CodeType, _Hits, _Hits]] = {}
        self._entered: set[Hit] = set()
        self._tell: Tell | None = None
        self._counts: Counter[Hit] = Counter()

    def start(self) -> None:
        """Begin; see `faultinject.errpaths.observe.Observer`."""
        monitoring = _monitoring()
        self._tool = _take_tool(monitoring)
        events = monitoring.events
        monitoring.register_callback(self._tool, events.PY_START, self._started)
        monitoring.register_callback(self._tool, events.LINE, self._ran_line)
        monitoring.register_callback(self._tool, events.INSTRUCTION, self._ran)
        monitoring.set_events(self._tool, events.PY_START)
        self._entered.update(self.sources.missed())

    def stop(self) -> None:
        """End; what was collected is kept."""
        if self._tool < 0:
            return
        monitoring = _monitoring()
        events = monitoring.events
        monitoring.set_events(self._tool, 0)
        for code, *_ in self._codes.values():
            monitoring.set_local_events(self._tool, code, 0)
        for event in (events.PY_START, events.LINE, events.INSTRUCTION):
            monitoring.register_callback(self._tool, event, None)
        monitoring.free_tool_id(self._tool)
        self._tool = -1
        self._codes.clear()

    @contextmanager
    def watching(self, tell: Tell) -> Iterator[None]:
        """Inside the block each hit is told at once."""
        self._counts.clear()
        self._tell = tell
        try:
            yield
        finally:
            self._tell = None

    def entered(self) -> set[Hit]:
        """Give what this process has entered outside of such blocks."""
        return set(self._entered)

    def _started(self, code: CodeType, offset: int) -> object:
        if id(code) not in self._codes:
            found = self.sources.of(code.co_filename)
            if found is not None and found.paths:
                self._observe(code, found.paths)
        return self._disable

    def _observe(self, code: CodeType, paths: tuple[ErrorPath, ...]) -> None:
        entries, hit = find_entries(code, paths), self.sources.hit
        lines, offsets = (
            {at: tuple(hit(path) for path in begun) for at, begun in found.items()}
            for found in (entries.lines, entries.offsets)
        )
        self._codes[id(code)] = (code, lines, offsets)
        if code.co_qualname == function_of(code):
            # The compiler has left nothing of these that could be noticed.
            known = entries.paths
            lost = (path for path in paths if path.function == code.co_qualname)
            self._note([hit(path, sure=False) for path in lost if path.key not in known])
        events = _monitoring().events
        wanted = (events.LINE if lines else 0) | (events.INSTRUCTION if offsets else 0)
        if wanted:
            _monitoring().set_local_events(self._tool, code, wanted)

    def _ran_line(self, code: CodeType, line: int) -> object:
        known = self._codes.get(id(code))
        return self._disable if known is None else self._noted(known[1].get(line))

    def _ran(self, code: CodeType, offset: int) -> object:
        known = self._codes.get(id(code))
        return self._disable if known is None else self._noted(known[2].get(offset))

    def _noted(self, hits: tuple[Hit, ...] | None) -> object:
        if hits is None:
            return self._disable
        self._note(hits)
        return None

    def _note(self, hits: Iterable[Hit]) -> None:
        tell = self._tell
        if tell is None:
            self._entered.update(hits)
            return
        for hit in hits:
            self._counts[hit] += 1
            if self._counts[hit] <= MOST:
                tell(str(hit))


def _monitoring() -> Any:
    # By another way for a type checker, which looks at the oldest version alone.
    return getattr(sys, "monitoring")  # noqa: B009


def _take_tool(monitoring: Any) -> int:
    """Take a free tool id.

    Raises:
        UnavailableError: there is none.
    """
    for tool in _TOOLS:
        if monitoring.get_tool(tool) is None:
            monitoring.use_tool_id(tool, NAME)
            return tool
    raise UnavailableError(
        "error paths cannot be observed: other tools have every id of sys.monitoring",
        value=[monitoring.get_tool(tool) for tool in sorted(_TOOLS)],
        cure="Switch one of them off, or ask for no report of error paths",
        slug="no-monitoring-tool",
    )
