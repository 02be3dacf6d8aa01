"""What the plugin costs a run of pytest that does not use it.

Pairs of runs of one empty test, one with the plugin loaded and no flag and one with
``-p no:faultinject``, in turns; the figure is the median of the differences.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import arguments, show

PAIRS = 25
LOADED: list[str] = []
NOT_LOADED = ["-p", "no:faultinject"]


def run(folder: Path, options: list[str]) -> tuple[float, float]:
    """Give the milliseconds of one run, by the clock and of the processor."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    started = time.perf_counter()
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{command} ended with status {child.returncode}")
    return 1000 * seconds, 1000 * (usage.ru_utime + usage.ru_stime)


def main() -> None:
    options = arguments(__doc__ or "")
    wall, processor, whole = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_empty.py").write_text("def test_empty():\n    pass\n", encoding="utf-8")
        (folder / "pytest.ini").write_text(
            "[pytest]\nasyncio_default_fixture_loop_scope = function\n", encoding="utf-8"
        )
        run(folder, LOADED)
        run(folder, NOT_LOADED)
        for number in range(PAIRS):
            # The second of a pair may find the machine in another state than the first.
            order = (LOADED, NOT_LOADED) if number % 2 else (NOT_LOADED, LOADED)
            times = {bool(chosen): run(folder, chosen) for chosen in order}
            wall.append(times[False][0] - times[True][0])
            processor.append(times[False][1] - times[True][1])
            whole.append(times[True][0])
    show(
        "Import time",
        "import_time.py",
        ["", "median difference, ms", "middle half, ms"],
        [
            ["by the clock", f"{statistics.median(wall):.1f}", middle_half(wall)],
            ["of the processor", f"{statistics.median(processor):.1f}", middle_half(processor)],
        ],
        note=f"pytest on one empty test, plugin loaded without its flag, less the same with "
        f"`-p no:faultinject` (which takes {statistics.median(whole):.0f} ms); {PAIRS} pairs.",
        write=options.write,
    )


def middle_half(figures: list[float]) -> str:
    first, _, last = statistics.quantiles(figures, n=4)
    return f"{first:.1f} to {last:.1f}"


if __name__ == "__main__":
    main()
