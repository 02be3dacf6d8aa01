"""`explain --test`: the file that it writes is run, and refuses what the log says was refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kernel_texts import MODERN, OLD, OOM, SINGLE, SLUB

from faultinject.cli import main
from faultinject.klog.as_test import as_test
from faultinject.klog.explain import explain
from faultinject.klog.reading import read_reports

ATOMIC = """\
nginx: page allocation failure: order:0, mode:0xcc0(GFP_KERNEL), nodemask=(null)
CPU: 0 PID: 9 Comm: nginx Not tainted 6.6.1 #1
Mem-Info:
Node 0 Normal free:1536kB boost:0kB min:512kB low:640kB high:768kB reserved_highatomic:2048KB \
present:65536kB managed:65536kB free_cma:0kB
lowmem_reserve[]: 0 0
Node 0 Normal: 64*4kB (UM) 0*8kB 0*16kB 0*32kB 0*64kB 2*128kB (H) 0*256kB 0*512kB 1*1024kB (M) \
0*2048kB 0*4096kB = 1536kB
"""
# Of the pages in lists with an H, all may be set aside, and then too few are left.
UNDECIDED = (
    ATOMIC.replace("reserved_highatomic:2048KB ", "")
    .replace("mode:0xcc0(GFP_KERNEL)", "mode:0x24000c0")
    .replace("6.6.1", "4.4.169")
    .replace("64*4kB (UM)", "64*4kB (UMH)")
    .replace("min:512kB low:640kB high:768kB", "min:1400kB low:1500kB high:1600kB")
    .replace("2*128kB (H)", "2*128kB (M)")
)
HOSTILE = OLD.replace("imap", 'x"""+\\"').replace("2.6.32-41-server", '2.6.32"""\\')


def written(log: str, kernel: str | None = None) -> str:
    return as_test(
        [explain(each, kernel=kernel) for each in read_reports(io.BytesIO(log.encode()))]
    )


def call(text: str) -> int:
    """Call each test of the file that is not skipped; give how many there are."""
    names: dict[str, Any] = {}
    exec(compile(text, "test_log.py", "exec"), names)
    called = 0
    for name, test in names.items():
        marks = {mark.name: mark for mark in getattr(test, "pytestmark", [])}
        if not name.startswith("test_") or "skip" in marks:
            continue
        nodes = marks["parametrize"].args[1] if "parametrize" in marks else []
        for arguments in [{"node": node} for node in nodes] or [{}]:
            test(**arguments)
            called += 1
    return called


def test_pytest_runs_the_file(tmp_path: Path) -> None:
    file = tmp_path / "test_log.py"
    file.write_text(written(OLD + MODERN + SLUB + OLD))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(file)],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.strip().splitlines()[-1].startswith("3 passed, 1 skipped")
    assert "the log has no memory figures for this report" in ran.stdout


@pytest.mark.parametrize(
    ("log", "tests"),
    [(OLD, 1), (SINGLE, 1), (MODERN, 1), (ATOMIC, 1), (OLD + SINGLE + OLD, 3), (HOSTILE, 1)],
    ids=["2.6.32", "3.2", "6.8", "set aside", "three reports", "hostile names"],
)
def test_the_file_refuses_what_the_log_says_was_refused(log: str, tests: int) -> None:
    assert call(written(log)) == tests


def test_the_file_fails_where_the_request_would_pass() -> None:
    text = written(OLD)
    assert 'watermark_rule="iterative"' in text

    with pytest.raises(AssertionError):
        call(text.replace('watermark_rule="iterative"', 'watermark_rule="modern"'))


@pytest.mark.parametrize(
    ("log", "kernel", "reason"),
    [
        (SLUB, "6.6", "the log has no memory figures for this report"),
        (OLD.replace(" Not tainted 2.6.32-41-server", ""), None, "give --kernel"),
        (OLD.replace("order:4", "order:x"), "2.6.32", "does not tell what was asked for"),
        (OLD.replace(" = 12560kB", ""), None, "the figures cannot be loaded"),
        (UNDECIDED, None, "does not decide whether the request is refused"),
        (OLD, "6.6", "by the figures of the log, which are of a later moment, the request passes"),
    ],
)
def test_a_report_without_enough_for_a_test_is_skipped_with_the_reason(
    log: str, kernel: str | None, reason: str
) -> None:
    text = written(log, kernel)

    assert "@pytest.mark.skip(reason=" in text
    assert reason in text
    assert "from_show_mem" not in text
    compile(text, "test_log.py", "exec")


def test_of_several_nodes_each_that_refuses_is_tried() -> None:
    zones = ATOMIC[ATOMIC.index("Node 0") :]
    both = ATOMIC + zones.replace("Node 0", "Node 1")

    text = written(both)

    assert '@pytest.mark.parametrize("node", [0, 1])' in text
    assert call(text) == 2


def test_the_command_writes_the_file_to_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "server.log"
    log.write_text(OLD)

    assert main(["explain", "--test", str(log)]) == 0

    assert capsys.readouterr().out == written(OLD)


def test_the_command_refuses_what_does_not_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "server.log"
    log.write_text("nothing here\n")

    assert main(["explain", "--test", "--json", str(log)]) == 2
    assert "--test prints a file of tests" in capsys.readouterr().err
    assert main(["explain", "--test", str(log)]) == 1
    assert capsys.readouterr().out == ""


def test_an_oom_report_is_tried_as_well() -> None:
    text = written(OOM)

    assert "invoked oom-killer" in text
    assert "def test_line_1" in text
    compile(text, "test_log.py", "exec")
