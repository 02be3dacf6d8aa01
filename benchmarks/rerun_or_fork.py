"""The loop that runs everything again for each fault, against one child for each fault.

The loop is that of SQLite's, curl's and pyfailmalloc's tests: set up, fail the n-th request of
the body, and go on with n + 1 until the body passes. It pays for the set-up every time. In one
process, whatever a fault breaks stays broken, and a crash ends it all; in a fresh process for
each fault it also pays for the start of Python and for the heap. The fork server sets up once
and forks a child for each fault. All fail the same requests, one of each of the body's lines.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from results import arguments, show

import faultinject as fi
from faultinject.engine.attr import FaultAttr
from faultinject.native import Requests, RuleArming, why_unavailable

LINES: Final = 60
LEAST: Final = 600  # bytes: smaller requests are no fault points here
RUNS: Final = 3
FRESH: Final = 10  # faults that are tried in a fresh process

BODY: Final = "def body():\n" + "".join(f"    bytes({LEAST + line})\n" for line in range(LINES))

# Milliseconds of set-up, MiB of heap.
CASES: Final = ((0, 0), (50, 0), (200, 0), (0, 300))


def set_up(milliseconds: int) -> None:
    """Wait: what a set-up does makes no difference here, and a busy machine less so."""
    time.sleep(milliseconds / 1000)


def rerun(body: Callable[[], object], milliseconds: int) -> int:
    """Fail the n-th request until there is none; how many there were."""
    wanted = Requests.of(min_size=LEAST)
    nth = 0
    while True:
        nth += 1
        set_up(milliseconds)
        try:
            with RuleArming(FaultAttr(), requests=wanted, nth=nth) as armed:
                body()
        except MemoryError:
            continue
        if armed.nth == 0:
            raise AssertionError(f"fault {nth} was swallowed")
        return nth - 1


def fail_nth_here(nth: int, milliseconds: int, mebibytes: int) -> None:
    """Make one run of the loop. In a process of its own."""
    body = import_module("fork_body").body
    heap = heap_of(mebibytes)
    set_up(milliseconds)
    try:
        with RuleArming(FaultAttr(), requests=Requests.of(min_size=LEAST), nth=nth):
            body()
    except MemoryError:
        del heap
        return
    raise AssertionError(f"fault {nth} was swallowed")


def fresh(milliseconds: int, mebibytes: int) -> float:
    """Give the seconds of one fault in a fresh process: so many that the loop need not end."""
    started = time.perf_counter()
    for nth in range(1, FRESH + 1):
        call = f"from rerun_or_fork import *; fail_nth_here({nth}, {milliseconds}, {mebibytes})"
        path = f"import sys; sys.path[:] = {sys.path!r}\n"
        subprocess.run([sys.executable, "-c", path + call], check=True)
    return (time.perf_counter() - started) / FRESH


def heap_of(mebibytes: int) -> list[bytes]:
    return [bytes(1000) for _ in range(mebibytes << 10)]


def fork(body: Callable[[], object], milliseconds: int, **settings: Any) -> int:
    """Sweep; how many trials there were."""
    set_up(milliseconds)
    spec = f"fail_pymem:min_size={LEAST}"
    report = fi.sweep(body, capabilities=spec, source=["fork_body"], hits="first", **settings)
    assert not report.bad, report
    return len(report.trials)


def measure_here(milliseconds: int, mebibytes: int) -> None:
    """Tell the seconds that each way takes for a fault. Runs in a process of its own."""
    print(fresh(milliseconds, mebibytes))
    body = import_module("fork_body").body
    heap = heap_of(mebibytes)
    ways: list[Callable[[], int]] = [
        lambda: rerun(body, milliseconds),
        lambda: fork(body, milliseconds, jobs=1),
        lambda: fork(body, milliseconds, jobs=2),
    ]
    for way in ways:
        started = time.perf_counter()
        found = way()
        assert found == LINES, found
        print((time.perf_counter() - started) / LINES)
    del heap


def measure(milliseconds: int, mebibytes: int, folder: str) -> list[float]:
    """Give the medians of what `measure_here` tells, in milliseconds."""
    code = f"import sys; sys.path[:0] = [{folder!r}, {str(Path(__file__).parent)!r}]\n"
    code += f"from rerun_or_fork import measure_here; measure_here({milliseconds}, {mebibytes})"
    told = []
    for _ in range(RUNS):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        told.append([1000 * float(line) for line in done.stdout.split()])
    return [statistics.median(column) for column in zip(*told, strict=True)]


def main() -> None:
    options = arguments(__doc__ or "")
    reason = why_unavailable()
    if reason is not None:
        sys.exit(f"There is nothing to measure: {reason}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "fork_body.py").write_text(BODY, encoding="utf-8")
        for milliseconds, mebibytes in CASES:
            fresh_one, loop, forked, two = measure(milliseconds, mebibytes, folder)
            case = f"{milliseconds} ms" + (f", {mebibytes} MiB of heap" if mebibytes else "")
            each = [f"{taken:.1f}" for taken in (fresh_one, loop, forked, two)]
            rows.append([case, *each, f"{fresh_one / forked:.1f}", f"{loop / forked:.2f}"])
            print(*rows[-1], file=sys.stderr)
    show(
        "Rerun or fork",
        "rerun_or_fork.py",
        [
            "set-up",
            "rerun, fresh process",
            "rerun, one process",
            "`fi.sweep`",
            "`fi.sweep(jobs=2)`",
            "fresh / sweep",
            "one / sweep",
        ],
        rows,
        note=f"Milliseconds for each fault: the whole campaign of {LINES} faults divided by their "
        f"number; of the fresh processes, of the first {FRESH}. `fi.sweep` includes its census, "
        "its oracles, and a second, clean run of the body in each child; the loops have none of "
        f"these. Median of {RUNS}.",
        write=options.write,
    )


if __name__ == "__main__":
    main()
