"""What the hooks of CPython's allocators cost code that allocates much, beside other tools.

Each figure is a ratio: the time of a slice of work with something armed, divided by the mean
of the slices before and after it, with nothing armed. All run in one process, in turns, and
count the time of their thread alone, so that a busy machine changes the ratios little.
Prints "not installed" for a tool that is not there: `pip install --group bench` has memray.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, Final

from results import arguments, show

from faultinject.engine.attr import FaultAttr
from faultinject.native import Census, CodeScope, NativeSite, RuleArming, Strike, Target, core

try:
    import memray
except ImportError:
    memray = None
try:
    import _testcapi
except ImportError:
    _testcapi = None

PAIRS: Final = 80
PAIRS_OF_SLOW: Final = 15
NEVER: Final = 2**60

Armed = Callable[[], AbstractContextManager[object]]

# Code objects know only their file and their name, so that these stand for two projects.
USER: Final = "/project/user.py"
LIBRARY: Final = "/project/library.py"

LIBRARY_SOURCE: Final = """
def tokens(text):
    found, word = [], ""
    for character in text:
        if character == " ":
            found.append((word, len(word) + 1000))
            word = ""
        else:
            word += character
    return found


def from_below(frames, work, *arguments):
    return from_below(frames - 1, work, *arguments) if frames else work(*arguments)
"""

USER_SOURCE: Final = (
    LIBRARY_SOURCE
    + """
DATA = {"name": ["x" * 10, 1.5, {"nested": [None, True, 1234]}] * 20, "text": "y" * 50}
LINE = "the quick brown fox jumps over the lazy dog " * 20


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y


def json_round_trip():
    for _ in range(12):
        json.loads(json.dumps(DATA))


def object_churn():
    for number in range(2500):
        Point(number + 1000, [number])


def tokenizer():
    for _ in range(10):
        tokens(LINE)


def tokenizer_six_frames_away():
    for _ in range(10):
        library.from_below(4, library.tokens, LINE)
"""
)


def workloads() -> dict[str, Callable[[], None]]:
    """Give the slices of work, each about a millisecond."""
    library: dict[str, Any] = {}
    exec(compile(LIBRARY_SOURCE, LIBRARY, "exec"), library)
    user: dict[str, Any] = {"json": json, "library": SimpleNamespace(**library)}
    exec(compile(USER_SOURCE, USER, "exec"), user)
    return {
        "json round trip": user["json_round_trip"],
        "object churn": user["object_churn"],
        "tokenizer": user["tokenizer"],
        "tokenizer, six frames from the code under test": user["tokenizer_six_frames_away"],
    }


@contextmanager
def no_memory_after(start: int) -> Iterator[None]:
    """Count like the interpreter's own test hook, and never get there."""
    _testcapi.set_nomemory(start)
    try:
        yield
    finally:
        _testcapi.remove_mem_hooks()


@contextmanager
def traced(frames: int) -> Iterator[None]:
    tracemalloc.start(frames)
    try:
        yield
    finally:
        tracemalloc.stop()


def tracked(*, python: bool) -> AbstractContextManager[object]:
    tracker: AbstractContextManager[object] = memray.Tracker(
        destination=memray.FileDestination(os.devnull, overwrite=True),
        trace_python_allocators=python,
    )
    return tracker


def disarmed() -> AbstractContextManager[object]:
    with Census():
        pass
    return nullcontext()


def modes() -> dict[str, tuple[Armed | None, int]]:
    """Give what is armed and in how many pairs, by name; None for what is not there."""
    # An instruction that nothing has, in a function that every slice calls.
    nowhere = NativeSite(USER, "tokenizer", 1, 1, -1, 1, "obj")
    here = CodeScope.of([USER])
    tool = PAIRS_OF_SLOW
    return {
        "nothing, as a control": (nullcontext, PAIRS),
        "disarmed: after a census was left": (disarmed, PAIRS),
        "rule": (lambda: RuleArming(FaultAttr(100, interval=NEVER, times=-1)), PAIRS),
        "rule, filtered by frame": (
            lambda: RuleArming(FaultAttr(100, interval=NEVER, times=-1), scope=here),
            PAIRS,
        ),
        "census": (lambda: Census(here), PAIRS),
        "strike at a site that is not reached": (
            lambda: Strike(Target(nowhere), scope=here),
            PAIRS,
        ),
        "`_testcapi.set_nomemory`": (
            (lambda: no_memory_after(10**9)) if _testcapi else None,
            PAIRS,
        ),
        "`tracemalloc.start(1)`": (lambda: traced(1), tool),
        "`tracemalloc.start(10)`": (lambda: traced(10), tool),
        "memray, malloc alone": ((lambda: tracked(python=False)) if memray else None, tool),
        "memray, Python's allocators": ((lambda: tracked(python=True)) if memray else None, tool),
    }


def seconds(work: Callable[[], None], armed: Armed = nullcontext) -> float:
    """Time one slice. Its first run, in which tables are filled and caches warm, is not timed."""
    with armed():
        work()
        gc.collect()  # or one slice pays for what another left
        started = time.thread_time()
        work()
        return time.thread_time() - started


def ratio(work: Callable[[], None], armed: Armed | None, pairs: int) -> str:
    """Give the median of the paired ratios."""
    if armed is None:
        return "not installed"
    found = []
    before = seconds(work)
    for _ in range(pairs):
        taken = seconds(work, armed)
        after = seconds(work)
        found.append(2 * taken / (before + after))
        before = after
    return f"{statistics.median(found):.2f}"


def main() -> None:
    options = arguments(__doc__ or "")
    reason = core.why_unavailable()
    if reason is not None:
        sys.exit(f"There is nothing to measure: {reason}")
    slices = workloads()
    found = core.module()
    before = found.allocators()  # type: ignore[attr-defined]
    rows = []
    for name, (armed, pairs) in modes().items():
        rows.append([name, *(ratio(work, armed, pairs) for work in slices.values())])
        print("  ".join(rows[-1]), file=sys.stderr)
    unchanged = found.allocators() == before  # type: ignore[attr-defined]
    show(
        "Hook overhead",
        "hook_overhead.py",
        ["armed", *slices],
        rows,
        note="Time with something armed, nothing failing, by time with nothing armed: the median "
        f"of {PAIRS} pairs ({PAIRS_OF_SLOW} for tracemalloc and memray), of the thread's own time. "
        "The first run of each slice, which writes down new sites at some microseconds each, is "
        "not timed. Afterwards the allocators were "
        f"{'those of before' if unchanged else 'NOT those of before'}.",
        write=options.write,
    )


if __name__ == "__main__":
    main()
