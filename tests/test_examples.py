"""The examples run, and a campaign finds in them what their own words say: no more, no less."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
STRATEGIES = ("top", "order", "pool", "later")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def run_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments)


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", EXAMPLES / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_passes_while_nothing_fails() -> None:
    ended = run_pytest("examples")

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_demo_finds_exactly_the_planted_bugs_and_replays_one() -> None:
    ended = run("examples/demo.py")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "THE BUGS ARE PLANTED" in ended.stdout
    assert ended.stdout.endswith(
        "demo: exactly the planted bugs were found, and the replay reproduced its trial\n"
    )
    totals = " ".join(line for line in ended.stdout.splitlines() if " trials: " in line)
    for outcome in ("recovered", "propagated", "leaked", "failed", "corrupted"):
        assert f" {outcome}" in totals


def test_the_demo_refuses_a_campaign_that_found_too_little_or_too_much(
    demo: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = demo.planted()
    first = next(iter(planted))
    other = first._replace(outcome="hung")

    assert demo.compare(planted, planted)
    assert not demo.compare(planted - Counter([first]), planted)
    assert not demo.compare(planted + Counter([other]), planted)
    assert "PLANTED, BUT NOT FOUND:" in capsys.readouterr().out


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_wrong_driver_differs_from_its_right_twin_in_a_few_lines(strategy: str) -> None:
    right, wrong = (
        (EXAMPLES / "ring" / side / f"{strategy}.py").read_text(encoding="utf-8").splitlines()
        for side in ("right", "wrong")
    )

    def code(lines: list[str]) -> Counter[str]:
        start = next(i for i, line in enumerate(lines) if line.startswith(("import", "from")))
        return Counter(lines[start:])

    only_right, only_wrong = code(right) - code(wrong), code(wrong) - code(right)

    assert only_right or only_wrong
    assert only_right.total() + only_wrong.total() <= 6


def test_the_first_fault_is_found_in_eight_lines() -> None:
    lines = (EXAMPLES / "first_fault" / "test_first_fault.py").read_text(encoding="utf-8")
    written = [line for line in lines.splitlines() if line.strip()]

    ended = run_pytest("--fail-alloc", "examples/first_fault")

    assert len(written) <= 8
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "--fail-alloc-replay=" in ended.stdout


@pytest.mark.parametrize("port", ["e1000_ring", "blk_mq_tags"])
def test_a_port_of_a_real_subsystem_holds_under_every_fault(port: str) -> None:
    ended = run_pytest("--fail-alloc-spec=failslab;fail_page_alloc", f"examples/{port}")

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_store_that_keeps_its_promise_holds_under_every_error_of_a_disk() -> None:
    ended = run_pytest("--fail-function=disk", "examples/durable_store", "-k", "right")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " trials: " in ended.stdout
