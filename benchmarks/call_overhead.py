"""What `fail_function` costs: code none of whose calls match, and one trial.

The first table has ratios, as hook_overhead.py has: the time of a slice of work with something
armed by the mean of the slices before and after it with nothing armed, of the thread's own
time. The second has the milliseconds of a trial beside one of an allocation, by turns, each
sweep in a process of its own.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Final

from hook_overhead import seconds
from results import arguments, show

import faultinject as fi

PAIRS: Final = 30
LINES: Final = 300
RUNS: Final = 3

EVERYTHING: Final = "disk|permission|descriptors|network|process|database|threads"
DATA: Final = {"name": ["x" * 10, 1.5, {"nested": [None, True, 1234]}] * 20, "text": "y" * 50}
LINE: Final = "the quick brown fox jumps over the lazy dog " * 20


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def moved(self, by: int) -> Point:
        return Point(self.x + by, self.y + by)


def nothing() -> None:
    pass


def python_calls() -> None:
    for _ in range(10_000):
        nothing()


def c_calls() -> None:
    text = LINE
    for number in range(6_000):
        len(text)
        text.find("lazy")
        isinstance(number, int)


def methods() -> None:
    point = Point(0, 0)
    for number in range(2_500):
        point = point.moved(number)


def callbacks() -> None:
    for number in range(2_500):
        for call in (nothing, dict):
            call()
        number.bit_length()


def json_round_trip() -> None:
    for _ in range(12):
        json.loads(json.dumps(DATA))


def tokenizer() -> None:
    for _ in range(10):
        found, word = [], ""
        for character in LINE:
            if character == " ":
                found.append((word, len(word) + 1000))
                word = ""
            else:
                word += character


SLICES: Final = {
    "calls of Python": python_calls,
    "calls of C": c_calls,
    "methods": methods,
    "one place, two callables": callbacks,
    "json round trip": json_round_trip,
    "tokenizer": tokenizer,
}

ONE: Final = fi.fail_function(target="os.fsync")
ALL: Final = fi.fail_function(target=EVERYTHING)
ARMED: Final[dict[str, Callable[[], AbstractContextManager[object]]]] = {
    "nothing, as a control": nullcontext,
    "`target=os.fsync`": lambda: ONE,
    "every profile": lambda: ALL,
}

BODIES: Final = {
    "failslab": ("failslab", "    fi.kfree(fi.kmalloc({size}, fi.GFP_KERNEL))\n"),
    "fail_pymem": ("fail_pymem", "    bytes({size})\n"),
    "fail_function": ("fail_function:target=os.getpid:EPERM", "    os.getpid()\n"),
}


def ratio(work: Callable[[], None], armed: Callable[[], AbstractContextManager[object]]) -> str:
    """Give the median of the paired ratios."""
    found = []
    before = seconds(work)
    for _ in range(PAIRS):
        taken = seconds(work, armed)
        after = seconds(work)
        found.append(2 * taken / (before + after))
        before = after
    return f"{statistics.median(found):.2f}"


def sweep_here(capability: str) -> None:
    """Sweep a generated body and tell the milliseconds of a trial; in a process of its own."""
    import importlib

    spec, _ = BODIES[capability]
    body = importlib.import_module(f"{capability}_body").body
    wanted = partial(fi.sweep, body, capabilities=spec, source=f"{capability}_body", hits="first")
    wanted(max=1)  # what is imported late is imported now
    started = time.perf_counter()
    alone = wanted(max=1)
    between = time.perf_counter()
    report = wanted(max=LINES)
    taken = time.perf_counter() - between - (between - started)
    assert not report.bad, report
    print(1000 * taken / (len(report.trials) - len(alone.trials)))


def trial(folder: Path, capability: str) -> float:
    """Give the milliseconds of one trial."""
    search = os.pathsep.join([str(folder), str(Path(__file__).parent)])
    command = f"from call_overhead import sweep_here; sweep_here({capability!r})"
    done = subprocess.run(
        [sys.executable, "-c", command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return float(done.stdout)


def main() -> None:
    options = arguments(__doc__ or "")
    rows = [
        [name, *(ratio(work, armed) for work in SLICES.values())] for name, armed in ARMED.items()
    ]
    show(
        "Call overhead",
        "call_overhead.py",
        ["armed", *SLICES],
        rows,
        note="Time with `fail_function` armed and no call that matches, by time with nothing "
        f"armed: the median of {PAIRS} pairs, of the thread's own time. The first run of each "
        "slice, in which places are switched off, is not timed.",
        write=options.write,
    )
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        for name, (_, line) in BODIES.items():
            lines = "".join(line.format(size=600 + number) for number in range(LINES))
            text = f"import os\n\nimport faultinject as fi\n\n\ndef body():\n{lines}"
            (folder / f"{name}_body.py").write_text(text, encoding="utf-8")
        taken: dict[str, list[float]] = {name: [] for name in BODIES}
        for _ in range(RUNS):
            for name in BODIES:
                taken[name].append(trial(folder, name))
    show(
        "Trial cost of a call",
        "call_overhead.py",
        ["what fails", "ms per trial", "range"],
        [
            [name, f"{statistics.median(found):.1f}", f"{min(found):.1f} to {max(found):.1f}"]
            for name, found in taken.items()
        ],
        note=f"`fi.sweep` of a body of {LINES} lines, each a `kmalloc` and a `kfree`, an object, "
        f"or a call of `os.getpid`; one forked child for each trial. Median of {RUNS}, in turns.",
        write=options.write,
    )


if __name__ == "__main__":
    main()
