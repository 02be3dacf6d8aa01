"""What it costs to observe error paths: the same campaign with ``--fail-alloc-cov=none`` beside.

A project is generated: a module of 100 functions, each with a handler, a ``with``, a
``finally`` and a branch for a failed allocation, and tests that call them. The two campaigns
of a pair run one after the other, in changing order; the table has the median of the ratios
of their times, which are the processor's, children included. `trial` is one of the trials
of the campaign, start-up taken off by a run with one trial per test; `clean` is a session
whose tests have no campaign; `memory` is of the session's process at its end.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from results import arguments, show

PAIRS = 3
FUNCTIONS = 100

FUNCTION = """
def work{number}(size):
    first = fi.kmalloc(size, fi.GFP_KERNEL)
    if first is None:
        return -1
    try:
        with contextlib.nullcontext():
            second = fi.kmalloc(size, fi.GFP_KERNEL)
            if second is None:
                raise MemoryError("second")
    except MemoryError:
        fi.kfree(first)
        return -2
    finally:
        total = 0
        for step in range(200):
            total += step * size
    fi.kfree(second)
    fi.kfree(first)
    return 0
"""

TESTS = """
import pytest
import busy


@pytest.mark.parametrize("start", range(0, {functions}, 10))
def test_some(start):
    for number in range(start, start + 10):
        getattr(busy, f"work{{number}}")(32)


@pytest.mark.no_fail_alloc
def test_clean():
    for _ in range(50):
        for number in range({functions}):
            getattr(busy, f"work{{number}}")(32)
"""

CONFTEST = """
def pytest_unconfigure(config):
    from results import rss
    print("RSS", rss())
"""

CAMPAIGN = ("--fail-alloc-spec=failslab", "--fail-alloc-hits=first")
UNOBSERVED = ("--fail-alloc-cov=none",)


def make_project(folder: Path) -> None:
    """Write the project."""
    functions = "".join(FUNCTION.format(number=number) for number in range(FUNCTIONS))
    (folder / "busy.py").write_text(f"import contextlib\n\nimport faultinject as fi\n{functions}")
    (folder / "test_busy.py").write_text(TESTS.format(functions=FUNCTIONS))
    (folder / "conftest.py").write_text(CONFTEST)


def run(folder: Path, *more: str) -> tuple[float, int]:
    """Run a session; give its seconds of the processor, with all its children, and KiB."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CAMPAIGN, *more]
    environment = os.environ | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_PLUGINS": "pytest_faultinject.plugin",
        "PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parent)]),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return seconds, int(ended.stdout.partition("RSS ")[2].split()[0])


def sessions(folder: Path, *more: str) -> dict[str, float]:
    """Measure what one side of a pair costs."""
    whole, memory = run(folder, "-k", "some", *more)
    little, _ = run(folder, "-k", "some", "--fail-alloc-max=1", *more)
    clean, _ = run(folder, "-k", "clean", *more)
    trials = 2 * FUNCTIONS - FUNCTIONS // 10
    return {"trial": 1000 * (whole - little) / trials, "clean": clean, "memory": memory / 1024}


def main() -> None:
    """Measure and show."""
    given = arguments(__doc__.partition("\n")[0])
    measured: dict[str, list[tuple[float, float]]] = {"trial": [], "clean": [], "memory": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_project(folder)
        run(folder)  # what is compiled is compiled now
        for pair in range(PAIRS):
            sides = {}
            for observed in (False, True) if pair % 2 else (True, False):
                sides[observed] = sessions(folder, *(() if observed else UNOBSERVED))
            for what in measured:
                measured[what].append((sides[False][what], sides[True][what]))
    words = {
        "trial": "one trial, CPU ms",
        "clean": "session without trials, CPU s",
        "memory": "RSS, MiB",
    }
    rows = []
    for what, pairs in measured.items():
        without, with_ = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(after / before for before, after in pairs)
        rows.append([words[what], f"{without:.2f}", f"{with_:.2f}", f"{ratio:.2f}"])
    show(
        "Error paths observed",
        Path(__file__).name,
        ["", "without", "observed", "observed / without"],
        rows,
        note=f"Median of {PAIRS} pairs of runs; the last column is the median of their ratios. "
        f"{FUNCTIONS} functions with 6 error paths each.",
        write=given.write,
    )


if __name__ == "__main__":
    main()
