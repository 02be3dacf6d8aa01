"""Results of the benchmarks: a table on the terminal, and with --write in RESULTS.md.

Lives here: the form of a result and its place in the file. Not here: what is measured
(the other scripts of this folder, each one run as ``python benchmarks/NAME.py``).
"""

from __future__ import annotations

import argparse
import os
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

FILE = Path(__file__).with_name("RESULTS.md")

INTRODUCTION = """\
# Benchmarks

Each section is written by the command that stands in it, with `--write`. The figures are of
one machine at one time: compare them with others of the same section.
"""


def rss() -> int:
    """Give the memory of this process that is in use now, in KiB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.partition("VmRSS:")[2].split()[0])


def arguments(description: str) -> argparse.Namespace:
    """Read the command line that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    return parser.parse_args()


def show(
    title: str,
    script: str,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    note: str,
    write: bool,
) -> None:
    """Print a table, and write it as its own section of the file if asked.

    Args:
        title: the section's heading; a section of this name is replaced.
        script: the benchmark's file, for the command.
        header: the names of the columns.
        rows: the cells.
        note: what was measured, in a sentence or two.
        write: whether the file is changed.
    """
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
    machine = (
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    )
    command = f"python benchmarks/{script} --write"
    section = f"## {title}\n\n`{command}` on {machine}\n\n{note}\n\n{table}\n"
    print(section)
    if write:
        text = FILE.read_text(encoding="utf-8") if FILE.exists() else INTRODUCTION
        old = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
        rest = old.sub("", text).rstrip()
        FILE.write_text(f"{rest}\n\n{section}", encoding="utf-8")
