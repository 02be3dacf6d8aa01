"""How many `except` bodies the tests of five packages enter, alone and in a campaign.

Each package comes from the registry with its own tests, which run once: with ``--fail-alloc``
and the profiles of `fail_function` that fit the package, each place once
(``--fail-alloc-per=suite``). The report of error paths tells what the tests enter by
themselves (``clean``) and what only faults lead to (``injected``). Tests that fail without
faults, need a server, or wait for most of a minute are left out, and listed here.
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
        ("disk", "permission", "descriptors"),
    ),
    Package(
        "diskcache",
        "5.6.3",
        "diskcache",
        (
            *("tests", "-c", os.devnull, "--rootdir=."),
            *("--ignore=tests/test_djangocache.py", "--ignore=tests/test_doctest.py"),
        ),
        ("disk", "permission", "database"),
    ),
    Package(
        "filelock",
        "3.16.1",
        "filelock",
        ("tests", "--ignore=tests/test_virtualenv.py"),
        ("disk", "permission", "descriptors", "threads"),
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
        ("disk", "permission", "database"),
    ),
    Package(
        "sqlitedict",
        "2.1.0",
        "sqlitedict",
        (
            *("tests", "--ignore=tests/test_autocommit.py"),
            "--deselect=tests/test_core.py::SqliteDictTerminateFailTest",
        ),
        ("disk", "permission", "database", "threads"),
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


def campaign(package: Package, sources: Path, needed: Path, options: list[str]) -> Any:
    """Run the package's tests; give the report."""
    report = needed.parent / f"{package.name}.json"
    report.unlink(missing_ok=True)
    paths = [ROOT, ROOT / "pytest_plugin", sources, sources / "src", needed]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly"]
    command += [*package.tests, "--tb=no", f"--fail-alloc-source={package.source}"]
    command += [f"--fail-function={profile}" for profile in package.profiles]
    command += ["--fail-alloc-per=suite", f"--fail-alloc-report=json:{report}", *options]
    environment = {
        name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")
    }
    subprocess.run(
        command,
        cwd=sources,
        env={**environment, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        stdin=subprocess.DEVNULL,
        stdout=(needed.parent / f"{package.name}.log").open("w"),
        stderr=subprocess.STDOUT,
        check=False,
    )
    return json.loads(report.read_text(encoding="utf-8"))


def reached(report: Any, kinds: tuple[str, ...]) -> Counter[str]:
    """Count the error paths of some kinds, all if none is named, by how they were reached."""
    return Counter(
        path["reached"]
        for file in report["error_paths"]["files"]
        for path in file["paths"]
        if not kinds or path["kind"] in kinds
    )


def row(package: Package, report: Any, seconds: float) -> tuple[list[str], float, float]:
    """Give a line of the table, and the gain in points: of bodies, and of all error paths."""
    cells = [f"{package.name} {package.version}"]
    gains = []
    for kinds in (("except", "except-star"), ()):
        found = reached(report, kinds)
        total = found["clean"] + found["injected"] + found["never"]
        both = found["clean"] + found["injected"]
        gains.append(100 * found["injected"] / total)
        cells += [f"{found['clean']} of {total}", f"{both} of {total}", f"{gains[-1]:+.0f}"]
    outcomes = Counter(trial["outcome"] for test in report["tests"] for trial in test["trials"])
    bad = sum(outcomes[name] for name in BAD)
    cells += [", ".join(package.profiles), f"{outcomes.total()}, {bad} bad", f"{seconds:.0f} s"]
    return cells, gains[0], gains[1]


HEADER = ["package", "`except` bodies: suite alone", "with faults", "points"]
HEADER += ["all error paths: suite alone", "with faults", "points", "profiles", "trials", "time"]


def as_markdown(rows: list[list[str]], gains: list[tuple[float, float]], options: list[str]) -> str:
    lines = [HEADER, ["---"] * len(HEADER), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    bodies, paths = (sum(column) / len(gains) for column in zip(*gains, strict=True))
    said = " ".join(["--fail-function=...", "--fail-alloc-per=suite", *options])
    return (
        f"\n{table}\n\nMean: {bodies:+.0f} points of the bodies, {paths:+.0f} of all error paths. "
        f"Python {platform.python_version()}, {os.cpu_count()} cores, `{said}`.\n\n"
    )


def main() -> None:
    """Measure, and write the page if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", metavar="PACKAGE", nargs="*", help="these only; default: all")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    parser.add_argument("--folder", type=Path, help="keep what is fetched there, and use it again")
    parser.add_argument("--budget", metavar="SECONDS", help="for the trials of each package")
    parser.add_argument("--calls-only", action="store_true", help="without --fail-alloc")
    asked = parser.parse_args()
    options = [] if asked.calls_only else ["--fail-alloc"]
    if asked.budget:
        options.append(f"--fail-alloc-budget={asked.budget}")
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
            begun = time.perf_counter()
            report = campaign(package, sources, needed, options)
            cells, *gain = row(package, report, time.perf_counter() - begun)
            print(" | ".join(cells), flush=True)
            rows.append(cells)
            gains.append((gain[0], gain[1]))
    text = as_markdown(rows, gains, options)
    print(text)
    if asked.write:
        PAGE.write_text(PART.sub(lambda _: text, PAGE.read_text("utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
