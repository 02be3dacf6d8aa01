"""What a trial costs, and whether the parent process grows with their number.

The body is generated: 500 lines, each one a kmalloc and a kfree, so that a sweep has 500
trials at the first hits. The time of one trial is the difference of two whole runs, one
with 500 trials and one with a single trial, so that start-up and census do not count.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import arguments, rss, show

LINES = 500
RUNS = 3
COUNTS = (1, 50, LINES)

BODY = "import faultinject as fi\n\n\ndef body():\n" + "".join(
    f"    fi.kfree(fi.kmalloc({16 + 16 * (line % 60)}, fi.GFP_KERNEL))\n" for line in range(LINES)
)
TEST = "from generated import body\n\n\ndef test_body():\n    body()\n"
# Tells the memory of the process in which the session ran.
CONFTEST = """\
def pytest_unconfigure(config):
    from results import rss
    print("RSS", rss())
"""


def sweep_here(trials: int) -> None:
    """Sweep the generated body; tell the seconds and the memory. Runs in a process of its own."""
    from generated import body

    import faultinject as fi

    fi.sweep(body, capabilities="failslab", max=1)  # what is imported late is imported now
    started = time.perf_counter()
    report = fi.sweep(body, capabilities="failslab", hits="first", max=trials)
    seconds = time.perf_counter() - started
    assert len(report.trials) == trials, report
    assert not report.bad, report
    print("SECONDS", seconds)
    print("RSS", rss())


def run(command: list[str], folder: Path, **environment: str) -> tuple[float, int]:
    """Run one command; give its seconds and the memory that it told at its end, in KiB."""
    search = os.pathsep.join([str(folder), str(Path(__file__).parent)])
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": search, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stdout}{done.stderr}")
    told = dict(
        line.split() for line in done.stdout.splitlines() if line.startswith(("RSS ", "SECONDS "))
    )
    return float(told.get("SECONDS", seconds)), int(told["RSS"])


def measure(folder: Path, name: str, make: object, **environment: str) -> list[object]:
    """Give one row: milliseconds for each trial, and memory after each count of trials."""
    cost, memory = [], {}
    for _ in range(RUNS):
        taken = {}
        for count in COUNTS:
            taken[count], memory[count] = run(make(count), folder, **environment)  # type: ignore[operator]
        cost.append(1000 * (taken[LINES] - taken[1]) / (LINES - 1))
    figures = [f"{statistics.median(cost):.1f}", f"{min(cost):.1f} to {max(cost):.1f}"]
    return [name, *figures, *(f"{memory[count] / 1024:.1f}" for count in COUNTS)]


def by_pytest(count: int) -> list[str]:
    """Give the command line of a campaign of so many trials."""
    options = ["--fail-alloc-spec=failslab", "--fail-alloc-hits=first", f"--fail-alloc-max={count}"]
    return ["-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *options, "test_generated.py"]


def by_sweep(count: int) -> list[str]:
    """Give the command line of a sweep of so many trials."""
    return ["-c", f"from trial_cost import sweep_here; sweep_here({count})"]


def main() -> None:
    options = arguments(__doc__ or "")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "generated.py").write_text(BODY, encoding="utf-8")
        (folder / "test_generated.py").write_text(TEST, encoding="utf-8")
        (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        (folder / "pytest.ini").write_text(
            "[pytest]\nasyncio_default_fixture_loop_scope = function\n", encoding="utf-8"
        )
        alone = {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_PLUGINS": "pytest_faultinject.plugin",
        }
        rows = [
            measure(folder, "`fi.sweep`", by_sweep),
            measure(folder, "`pytest --fail-alloc`, no other plugin", by_pytest, **alone),
            measure(folder, "`pytest --fail-alloc`, all plugins of `make test`", by_pytest),
        ]
    show(
        "Trial cost",
        "trial_cost.py",
        ["run by", "ms per trial", "range", *(f"RSS after {count}, MiB" for count in COUNTS)],
        rows,
        note=f"A body of {LINES} lines, each a `kmalloc` and a `kfree`; one forked child for each "
        f"trial, which runs the body twice. Median of {RUNS}. RSS is the parent's, at its end.",
        write=options.write,
    )


if __name__ == "__main__":
    main()
