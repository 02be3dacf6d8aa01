"""What a trial costs, and whether the parent process grows with their number.

Two bodies are generated: 500 lines, each one a kmalloc and a kfree of the model memory, or
each one an object of CPython's own, so that a sweep has 500 trials at the first hits. The
time of one trial is the difference of two whole runs, one with 500 trials and one with a
single trial, so that start-up and census do not count. A trial runs the body twice, with the
fault and once more without: that time is the body's own, and is taken off in a column.
"""

from __future__ import annotations

import os
import resource
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

MODEL = "import faultinject as fi\n\n\ndef body():\n" + "".join(
    f"    fi.kfree(fi.kmalloc({16 + 16 * (line % 60)}, fi.GFP_KERNEL))\n" for line in range(LINES)
)
REAL = "def body():\n" + "".join(f"    bytes({600 + line})\n" for line in range(LINES))
BODIES = {"failslab": ("model_body", MODEL), "fail_pymem": ("real_body", REAL)}
# Tells the memory of the process in which the session ran.
CONFTEST = """\
def pytest_unconfigure(config):
    from results import rss
    print("RSS", rss())
"""


def sweep_here(capability: str, trials: int) -> None:
    """Sweep the generated body; tell the seconds and the memory. Runs in a process of its own."""
    import importlib

    import faultinject as fi

    name, _ = BODIES[capability]
    body = importlib.import_module(name).body
    wanted = {"capabilities": capability, "source": name, "hits": "first"}
    fi.sweep(body, **wanted, max=1)  # what is imported late is imported now
    started = time.perf_counter()
    report = fi.sweep(body, **wanted, max=trials)
    seconds = time.perf_counter() - started
    assert len(report.trials) == trials, report
    assert not report.bad, report
    print("SECONDS", seconds)
    print("RSS", rss())


def time_body(capability: str) -> None:
    """Tell the seconds of one run of the body, with nothing armed, in a process of its own."""
    import importlib

    body = importlib.import_module(BODIES[capability][0]).body
    taken = []
    for _ in range(50):
        started = time.perf_counter()
        body()
        taken.append(time.perf_counter() - started)
    print("SECONDS", statistics.median(taken))
    print("RSS", rss())


def run(command: list[str], folder: Path, **environment: str) -> tuple[float, float, int]:
    """Run one command.

    Returns:
        its seconds by the clock; those of the processor, with all its children; and the
        memory that it told at its end, in KiB.
    """
    search = os.pathsep.join([str(folder), str(Path(__file__).parent)])
    started, used = time.perf_counter(), processor_seconds()
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
    used = processor_seconds() - used
    return float(told.get("SECONDS", seconds)), used, int(told["RSS"])


def processor_seconds() -> float:
    """Give what the children of this process, and theirs, have used that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def bare_fork() -> float:
    """Give the milliseconds of a fork and a wait with nothing between, in a small process."""
    taken = []
    for _ in range(200):
        started = time.perf_counter()
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        taken.append(time.perf_counter() - started)
    return 1000 * statistics.median(taken)


def measure(
    folder: Path, name: str, make: object, capability: str, **environment: str
) -> list[object]:
    """Give one row: milliseconds for each trial, and memory after each count of trials."""
    own, _, _ = run(["-c", f"from trial_cost import time_body; time_body({capability!r})"], folder)
    cost, work, memory = [], [], {}
    for _ in range(RUNS):
        taken, used = {}, {}
        for count in COUNTS:
            command = make(capability, count)  # type: ignore[operator]
            taken[count], used[count], memory[count] = run(command, folder, **environment)
        cost.append(1000 * (taken[LINES] - taken[1]) / (LINES - 1))
        work.append(1000 * (used[LINES] - used[1]) / (LINES - 1))
    figures = [
        f"{statistics.median(cost):.1f}",
        f"{min(cost):.1f} to {max(cost):.1f}",
        f"{statistics.median(cost) - 2000 * own:.1f}",
        f"{statistics.median(work):.1f}",
    ]
    return [name, *figures, *(f"{memory[count] / 1024:.1f}" for count in COUNTS)]


def by_pytest(capability: str, count: int) -> list[str]:
    """Give the command line of a campaign of so many trials."""
    name, _ = BODIES[capability]
    options = [
        f"--fail-alloc-spec={capability}",
        f"--fail-alloc-source={name}",
        "--fail-alloc-hits=first",
        f"--fail-alloc-max={count}",
    ]
    return ["-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *options, f"test_{name}.py"]


def by_sweep(capability: str, count: int) -> list[str]:
    """Give the command line of a sweep of so many trials."""
    return ["-c", f"from trial_cost import sweep_here; sweep_here({capability!r}, {count})"]


def main() -> None:
    options = arguments(__doc__ or "")
    rows = []
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        for name, text in BODIES.values():
            (folder / f"{name}.py").write_text(text, encoding="utf-8")
            (folder / f"test_{name}.py").write_text(
                f"from {name} import body\n\n\ndef test_body():\n    body()\n", encoding="utf-8"
            )
        (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        (folder / "pytest.ini").write_text(
            "[pytest]\nasyncio_default_fixture_loop_scope = function\n", encoding="utf-8"
        )
        alone = {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_PLUGINS": "pytest_faultinject.plugin",
        }
        for capability in BODIES:
            for name, make, environment in (
                ("`fi.sweep`", by_sweep, {}),
                ("`pytest --fail-alloc`, no other plugin", by_pytest, alone),
                ("`pytest --fail-alloc`, all plugins of `make test`", by_pytest, {}),
            ):
                row = measure(folder, f"{capability}, {name}", make, capability, **environment)
                print(*row, file=sys.stderr)
                rows.append(row)
    counts = [f"RSS after {count}, MiB" for count in COUNTS]
    show(
        "Trial cost",
        "trial_cost.py",
        ["run by", "ms per trial", "range", "beyond the body's own", "of the processor", *counts],
        rows,
        note=f"A body of {LINES} lines, each a `kmalloc` and a `kfree` (failslab) or an object "
        "(fail_pymem); one forked child for each trial, which runs the body twice. The body's "
        "own time is twice that of a run with nothing armed. "
        f"Median of {RUNS}. A bare fork and wait takes {bare_fork():.1f} ms here. "
        "RSS is the parent's, at its end.",
        write=options.write,
    )


if __name__ == "__main__":
    main()
