"""How many `except` bodies the tests of five packages enter, alone and in a campaign.

Each package comes from the registry with its own tests. They run twice: once with the profiles
of `fail_function` that fit the package, each place once (``--fail-alloc-per=suite``) and the
recovery once more (``--fail-alloc-order=2``), and once with ``--fail-alloc``, for so many
seconds. One test is added, of a single line, which imports the package afresh: what is imported
when a module is, has been before the first test begins. The report of error paths tells what
the tests enter by themselves (``clean``) and what only faults lead to (``injected``). Tests that
fail without faults, need a server, or wait for most of a minute are left out, and listed here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "except-bodies.md"
PART = re.compile(r"(?<=stands below -->\n).*?(?=<!-- end of the table -->)", flags=re.DOTALL)

BAD = ("crashed", "hung", "corrupted", "leaked", "unraisable", "failed")

OPTIONS = ("--fail-alloc-per=suite",)
CALLS, ALLOCATIONS = "calls", "allocations"
BODIES = ("except", "except-star")
ADDED = '''"""Written by a benchmark of faultinject."""

import faultinject as fi


def test_imports():
    fi.import_afresh("{package}")
'''

# What the packages' tests import.
NEEDED = ("aiofiles", "aiosqlite", "cbor2", "covdefaults", "msgpack", "pytest-mock", "pyyaml")


@dataclass(frozen=True)
class Package:
    """One package, where its tests are, and what can go wrong for it in life."""

    name: str
    version: str
    source: str
    tests: tuple[str, ...]
    profiles: tuple[str, ...]


PACKAGES = (
    Package(
        "tinydb",
        "4.9.0",
        "tinydb",
        ("tests", "-o", "addopts="),
        ("disk", "permission", "descriptors", "imports"),
    ),
    Package(
        "diskcache",
        "5.6.3",
        "diskcache",
        (
            *("tests", "-c", os.devnull, "--rootdir=."),
            *("--ignore=tests/test_djangocache.py", "--ignore=tests/test_doctest.py"),
        ),
        ("disk", "permission", "database", "imports"),
    ),
    Package(
        "filelock",
        "3.16.1",
        "filelock",
        ("tests", "--ignore=tests/test_virtualenv.py"),
        ("disk", "permission", "descriptors", "threads", "imports"),
    ),
    Package(
        "persist-queue",
        "1.1.0",
        "persistqueue",
        (
            *("persistqueue/tests", "--ignore=persistqueue/tests/test_mysqlqueue.py"),
            "--fail-alloc-omit=persistqueue.tests",
            *("-k", "not open_close_1000 and not parallel and not concurrent"),
        ),
        ("disk", "permission", "database", "imports"),
    ),
    Package(
        "sqlitedict",
        "2.1.0",
        "sqlitedict",
        (
            *("tests", "--ignore=tests/test_autocommit.py"),
            "--deselect=tests/test_core.py::SqliteDictTerminateFailTest",
        ),
        ("disk", "permission", "database", "threads", "imports"),
    ),
)


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *arguments], check=True)


def fetch(package: Package, folder: Path) -> Path:
    """Give the folder of the package's sources, tests included."""
    pinned = f"{package.name}=={package.version}"
    found = sorted(folder.glob(f"{package.name.replace('-', '?')}-{package.version}*/"))
    if not found:
        pip("download", "--no-deps", "--no-binary=:all:", f"--dest={folder}", pinned)
        (archive,) = folder.glob(f"{package.name.replace('-', '?')}-{package.version}.tar.gz")
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
        found = sorted(folder.glob(f"{package.name.replace('-', '?')}-{package.version}*/"))
    return found[0]


def options_of(package: Package, kind: str, budget: str) -> list[str]:
    """Give what makes a campaign of one kind."""
    if kind == CALLS:
        profiles = [f"--fail-function={profile}" for profile in package.profiles]
        return [*OPTIONS, "--fail-alloc-order=2", *profiles]
    return [*OPTIONS, "--fail-alloc", f"--fail-alloc-budget={budget}"]


def campaign(package: Package, sources: Path, needed: Path, kind: str, budget: str) -> None:
    """Run the package's tests, and leave the report and the seconds that it took."""
    added = sources / package.tests[0] / "test_import_afresh.py"
    added.write_text(ADDED.format(package=package.source), encoding="utf-8")
    report = report_of(package, needed, kind)
    report.unlink(missing_ok=True)
    paths = [ROOT, ROOT / "pytest_plugin", sources, sources / "src", needed]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly"]
    command += [*package.tests, "--tb=no", f"--fail-alloc-source={package.source}"]
    command += [f"--fail-alloc-report=json:{report}", *options_of(package, kind, budget)]
    environment = {
        name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")
    }
    begun = time.perf_counter()
    subprocess.run(
        command,
        cwd=sources,
        env={**environment, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        stdin=subprocess.DEVNULL,
        stdout=report.with_suffix(".log").open("w"),
        stderr=subprocess.STDOUT,
        check=False,
    )
    report.with_suffix(".seconds").write_text(f"{time.perf_counter() - begun:.0f}")


def report_of(package: Package, needed: Path, kind: str) -> Path:
    return needed.parent / f"{package.name}-{kind}.json"


class Measured:
    """What came out of one campaign."""

    def __init__(self, report: Path) -> None:
        self._report: Any = json.loads(report.read_text(encoding="utf-8"))
        self.seconds = int(report.with_suffix(".seconds").read_text())
        outcomes = Counter(
            trial["outcome"] for test in self._report["tests"] for trial in test["trials"]
        )
        self.trials = outcomes.total()
        self.bad = sum(outcomes[name] for name in BAD)

    def paths(self, how: tuple[str, ...], kinds: tuple[str, ...] = ()) -> set[tuple[str, int, str]]:
        """Give the error paths of some kinds, all if none is named, that were reached so."""
        return {
            (file["file"], path["line"], path["kind"])
            for file in self._report["error_paths"]["files"]
            for path in file["paths"]
            if path["reached"] in how and (not kinds or path["kind"] in kinds)
        }


def row(package: Package, measured: dict[str, Measured]) -> tuple[list[str], list[float]]:
    """Give a line of the table, and the gain in points: of bodies, and of all error paths."""
    calls, both = measured[CALLS], list(measured.values())
    cells, gains = [f"{package.name} {package.version}"], []
    for kinds in (BODIES, ()):
        every = calls.paths(("clean", "injected", "never"), kinds)
        alone = calls.paths(("clean",), kinds)
        found = [each.paths(("clean", "injected"), kinds) for each in both]
        entered = set().union(*found) & every
        gains.append(100 * (len(entered) - len(alone)) / len(every))
        cells += [f"{len(alone)} of {len(every)}", str(len(found[0] | alone)), str(len(entered))]
        cells.append(f"{gains[-1]:+.0f}")
    cells.append(", ".join(package.profiles))
    cells.append(
        "; ".join(f"{each.trials} {kind}, {each.bad} bad" for kind, each in measured.items())
    )
    return [*cells, f"{sum(each.seconds for each in both)} s"], gains


HEADER = ["package", "`except` bodies: suite alone", "calls fail", "and allocations", "points"]
HEADER += ["all error paths: suite alone", "calls fail", "and allocations", "points"]
HEADER += ["profiles", "trials", "time"]


def as_markdown(rows: list[list[str]], gains: list[list[float]]) -> str:
    lines = [HEADER, ["---"] * len(HEADER), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    bodies, paths = (sum(column) / len(gains) for column in zip(*gains, strict=True))
    return (
        f"\n{table}\n\nMean: {bodies:+.0f} points of the bodies, {paths:+.0f} of all error paths. "
        f"Python {platform.python_version()}, {os.cpu_count()} cores.\n\n"
    )


def main() -> None:
    """Measure, and write the page if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", metavar="PACKAGE", nargs="*", help="these only; default: all")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    parser.add_argument("--folder", type=Path, help="keep what is fetched there, and use it again")
    parser.add_argument("--reuse", action="store_true", help="and the reports that are there")
    parser.add_argument("--only", choices=(CALLS, ALLOCATIONS), help="run these campaigns alone")
    parser.add_argument(
        "--budget", metavar="SECONDS", default="150", help="for the allocations of each package"
    )
    asked = parser.parse_args()
    rows, gains = [], []
    with tempfile.TemporaryDirectory() as scratch:
        folder = (asked.folder or Path(scratch)).resolve()
        needed = folder / "needed"
        if not needed.is_dir():
            pip("install", f"--target={needed}", "--no-deps", *NEEDED)
        for package in PACKAGES:
            if asked.packages and package.name not in asked.packages:
                continue
            sources = fetch(package, folder)
            measured = {}
            for kind in (CALLS, ALLOCATIONS):
                report = report_of(package, needed, kind)
                if asked.only in (None, kind) and not (asked.reuse and report.exists()):
                    campaign(package, sources, needed, kind, asked.budget)
                if report.exists():
                    measured[kind] = Measured(report)
            if CALLS not in measured:
                continue
            cells, gain = row(package, measured)
            print(" | ".join(cells), flush=True)
            rows.append(cells)
            gains.append(gain)
    if not rows:
        return
    text = as_markdown(rows, gains)
    print(text)
    if asked.write:
        PAGE.write_text(PART.sub(lambda _: text, PAGE.read_text("utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
