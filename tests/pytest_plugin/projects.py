"""Runs of pytest in a small project, with this plugin alone.

Lives here: the ways to start one: in this process, in one of its own, on a terminal.
Not here: the report that it writes (`campaigns.Campaign`), any test.
"""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import pytest_faultinject.campaign
import pytest_faultinject.error_paths  # noqa: F401 - coverage.py cannot be loaded anew
from campaigns import REPORT, Campaign, campaign_of

# The environment in which pytest loads no other plugin, and what else would change its lines.
ALONE = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_PLUGINS": "pytest_faultinject.plugin",
    "PY_COLORS": "0",
}
DISTURBING = ("CI", "BUILD_NUMBER", "PYTEST_ADDOPTS", "FORCE_COLOR", "NO_COLOR", "COLUMNS")

# No run of these tests takes as long; one that does hangs, and the test says so.
LIMIT = 60

REPORTS = (f"--fail-alloc-report=json:{REPORT}", "--fail-alloc-report=term")


def run_here(pytester: pytest.Pytester, *arguments: str) -> Campaign:
    """Run pytest in this process and read its report: quick, for options and words."""
    return campaign_of(pytester, pytester.runpytest_inprocess(*REPORTS, *arguments))


def run_apart(pytester: pytest.Pytester, *arguments: str) -> Campaign:
    """Run pytest in a process of its own and read its report."""
    result = pytester.runpytest_subprocess(*REPORTS, *arguments, timeout=LIMIT)
    return campaign_of(pytester, result)


def run_in(folder: Path, files: Mapping[str, str], *arguments: str, start: str = ".") -> Campaign:
    """Write a project into `folder` and run it: for one run that many tests look at.

    Args:
        folder: the root folder.
        files: their texts.
        arguments: of the command line.
        start: the folder below the root where pytest is started.
    """
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *REPORTS, *arguments],
        cwd=folder / start,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    result = pytest.RunResult(
        ended.returncode,
        ended.stdout.splitlines(),
        ended.stderr.splitlines(),
        time.monotonic() - started,
    )
    path = folder / start / REPORT
    assert path.exists(), ended.stdout + ended.stderr
    return Campaign(result, json.loads(path.read_text(encoding="utf-8")))


def paste(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line as if pasted into a shell in `folder`; ``python`` is this interpreter."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env=_environment() | {"PATH": os.pathsep.join(folders)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def run_on_terminal(folder: Path, *arguments: str) -> str:
    """Run pytest on a pseudo-terminal and give all that it wrote there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=folder,
        env=_environment() | {"TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        written = bytearray()
        until = time.monotonic() + LIMIT
        try:
            while select.select([ours], [], [], until - time.monotonic())[0]:
                written += os.read(ours, 65_536)
        except OSError:
            pass  # Linux says so when the other side is closed
        finally:
            os.close(ours)
            process.kill()
    return written.decode(errors="replace")


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in DISTURBING}
    return kept | ALONE
