"""Run three examples' campaigns, check what they found, and replay one trial. `make demo`.

Exit status 0 only if exactly the planted bugs were found and the replay gave the same outcome.
An example that needs what this machine has not is left out, with the reason: the C extension
where none can be built, the store where calls cannot be seen.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PLANTED = ROOT / "examples" / "ring" / "planted.toml"
PLANTED_IN_C = ROOT / "examples" / "interner" / "planted.toml"
PLANTED_ON_DISK = ROOT / "examples" / "durable_store" / "planted.toml"
BAD = {"crashed", "hung", "corrupted", "leaked", "unraisable", "failed"}
REPLAY_LINE = re.compile(r"pytest .*--fail-alloc-replay=.*")

# Other installed plugins may shuffle the tests or write files; the demo looks the same everywhere.
QUIETLY = ("-p", "no:randomly", "-p", "no:cacheprovider")


class BadTrial(NamedTuple):
    """What the table and the report have in common for one bad trial."""

    test: str
    capability: str
    line: str
    hit: int
    outcome: str

    def __str__(self) -> str:
        name = self.test.rpartition("/")[2]
        where = f"{self.capability}, hit {self.hit}: {self.line}"
        return f"{self.outcome:<9}  {name}\n{'':13}{where}"


def say(text: str) -> None:
    print(text, flush=True)


def run_pytest(arguments: Sequence[str]) -> tuple[int, str]:
    """Run pytest in the project's directory, show what it prints, and return it as well."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as pytest:
        assert pytest.stdout is not None
        lines = []
        for line in pytest.stdout:
            print(f"  | {line}", end="", flush=True)
            lines.append(line)
    return pytest.returncode, "".join(lines)


def reports(file: Path) -> list[str]:
    """The options for a summary on the terminal and a JSON report for us."""
    return ["--fail-alloc-report=term", f"--fail-alloc-report=json:{file}"]


def trials_of(report: Path) -> list[tuple[str, dict[str, Any]]]:
    """Every trial of a JSON report, with its test."""
    tests = json.loads(report.read_text(encoding="utf-8"))["tests"]
    return [(test["nodeid"], trial) for test in tests for trial in test["trials"]]


def source_line(file: str, line: int) -> str:
    """The text of a call site, which says more in a table than its number."""
    return (ROOT / file).read_text(encoding="utf-8").splitlines()[line - 1].strip()


def found_in(trials: list[tuple[str, dict[str, Any]]]) -> Counter[BadTrial]:
    """The bad trials of a report, in the words of the table."""
    return Counter(
        BadTrial(
            test,
            trial["capability"],
            source_line(trial["site"]["file"], trial["site"]["line"]),
            trial["hit"],
            trial["outcome"],
        )
        for test, trial in trials
        if trial["outcome"] in BAD
    )


def planted(table: Path = PLANTED) -> Counter[BadTrial]:
    bugs = tomllib.loads(table.read_text(encoding="utf-8"))["bug"]
    return Counter(BadTrial(test=bug["test"], **trial) for bug in bugs for trial in bug["trial"])


def compare(found: Counter[BadTrial], expected: Counter[BadTrial]) -> bool:
    """Say which planted trials were found, which were not, and what else turned up."""
    for heading, trials in (
        ("Found, and planted:", found & expected),
        ("PLANTED, BUT NOT FOUND:", expected - found),
        ("FOUND, BUT NOT PLANTED:", found - expected),
    ):
        if trials:
            say(f"\n{heading}")
            for trial in sorted(trials.elements()):
                say(f"  {trial}")
    return found == expected


def replay(output: str, trials: list[tuple[str, dict[str, Any]]], scratch: Path) -> bool:
    """Paste the first replay line of `output`, and see whether the same trial ends the same way."""
    pasted = REPLAY_LINE.search(output)
    if pasted is None:
        say("\nThe output names no replay line.")
        return False
    arguments = shlex.split(pasted[0])[1:]
    say(f"\nOne of the lines above, pasted:\n\n  $ {pasted[0]}\n")
    report = scratch / "replay.json"
    run_pytest([*arguments, "--tb=short", *QUIETLY, *reports(report)])
    before = [trial for _, trial in trials if f"--fail-alloc-replay={trial['replay']}" in arguments]
    after = [trial for _, trial in trials_of(report)]
    if len(before) != 1 or len(after) != 1:
        say(f"\nThe line stands for {len(before)} trials, and {len(after)} were replayed.")
        return False
    was, now = before[0]["outcome"], after[0]["outcome"]
    say(f"\nOutcome in the campaign: {was}; in the replay: {now}.")
    return bool(was == now)


def ring(scratch: Path) -> bool:
    """Run the campaign on the driver; whether it and one replay gave what they should."""
    say(
        "The receive ring of a network driver, written four ways, each of them right in\n"
        "examples/ring/right and wrong in examples/ring/wrong. THE BUGS ARE PLANTED: this\n"
        "run is meant to show failures. Without faultinject every test passes. Now each\n"
        "allocation fails in turn, one per trial:\n"
    )
    report = scratch / "ring.json"
    say("  $ pytest --fail-alloc-spec='failslab;fail_page_alloc' --tb=short examples/ring\n")
    options = ["--fail-alloc-spec=failslab;fail_page_alloc", "--tb=short"]
    _, output = run_pytest([*options, "examples/ring", *QUIETLY, *reports(report)])
    if not report.exists():
        say("\ndemo: the campaign did not come to an end; there is no report")
        return False
    trials = trials_of(report)
    as_planted = compare(found_in(trials), planted())
    as_before = replay(output, trials, scratch)
    say(tally(trials))
    if not as_planted:
        say("demo: NOT what was planted")
    if not as_before:
        say("demo: the replay did not reproduce")
    return as_planted and as_before


def why_no_extension() -> str:
    """Why the second campaign cannot run here; "" if it can."""
    from faultinject.native import call_sites_unavailable

    sys.path.insert(0, str(PLANTED_IN_C.parent))
    from building import build

    return call_sites_unavailable() or build()


def interner(scratch: Path) -> bool:
    """Run the campaign on the C extension, whose requests to Python's allocator fail for real."""
    say(
        "\nA C extension, examples/interner, built right and with bugs PLANTED in it. Now each\n"
        "request that it makes of CPython's own allocator fails in turn. One of them crashes\n"
        "the interpreter, in a process of its own:\n"
    )
    reason = why_no_extension()
    if reason:
        say(f"demo: the C extension is left out: {reason}")
        return True
    report = scratch / "interner.json"
    options = [
        "--fail-alloc-spec=fail_pymem",
        "--fail-alloc-source=interner_right",
        "--fail-alloc-source=interner_wrong",
        "--tb=no",
    ]
    say(f"  $ pytest {' '.join(options)} examples/interner\n")
    run_pytest([*options, "examples/interner", *QUIETLY, *reports(report)])
    if not report.exists():
        say("\ndemo: the campaign did not come to an end; there is no report")
        return False
    trials = trials_of(report)
    # As a set: how many requests PyList_New() makes depends on what CPython has at hand.
    as_planted = compare(Counter(set(found_in(trials))), planted(PLANTED_IN_C))
    say(tally(trials))
    if not as_planted:
        say("demo: NOT what was planted in the C extension")
    return as_planted


def durable_store(scratch: Path) -> bool:
    """Run the campaign on the store, whose calls fail as they would on a full or broken disk."""
    from faultinject.functions.capability import fail_function

    say(
        "\nA store in a file, examples/durable_store, right and with bugs PLANTED in it. Now each\n"
        "call of open, write, fsync, replace, ... fails in turn, as on a full or broken disk:\n"
    )
    reason = fail_function.unavailable()
    if reason:
        say(f"demo: the store is left out: {reason}")
        return True
    report = scratch / "durable_store.json"
    options = ["--fail-function=disk", "--fail-function-max-errors=1", "--tb=no"]
    say(f"  $ pytest {' '.join(options)} examples/durable_store\n")
    run_pytest([*options, "examples/durable_store", *QUIETLY, *reports(report)])
    if not report.exists():
        say("\ndemo: the campaign did not come to an end; there is no report")
        return False
    trials = trials_of(report)
    as_planted = compare(found_in(trials), planted(PLANTED_ON_DISK))
    say(tally(trials))
    if not as_planted:
        say("demo: NOT what was planted in the store")
    return as_planted


def our_server() -> bool:
    """Reproduce a server's failure from its log: the refusal explained, and met again."""
    say(
        "\nA kernel log, examples/our_server: why the server's allocation failed, and the same\n"
        "refusal in a memory that has the state of the log:\n"
    )
    say("  $ python examples/our_server/reproduce.py\n")
    ran = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "our_server" / "reproduce.py")],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    print("".join(f"  | {line}\n" for line in ran.stdout.splitlines()), end="", flush=True)
    if ran.returncode != 0:
        say(f"\ndemo: the server's failure was NOT reproduced\n{ran.stderr}")
    return ran.returncode == 0


def tally(trials: list[tuple[str, dict[str, Any]]]) -> str:
    outcomes = Counter(trial["outcome"] for _, trial in trials)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    return f"\n{len(trials)} trials: {counts}."


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="faultinject-demo-") as name:
        passed = [campaign(Path(name)) for campaign in (ring, interner, durable_store)]
        passed.append(our_server())
    if all(passed):
        say("demo: exactly the planted bugs were found, and the replay reproduced its trial")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
