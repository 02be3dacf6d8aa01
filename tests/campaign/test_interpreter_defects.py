"""Defects of CPython: each row of the table is met for real, and nobody else is let off.

A row that this version of the interpreter does not have is skipped.
"""

from __future__ import annotations

import csv
import ctypes
import gc
import io
import os
import pickle
import platform
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

import faultinject as fi
from faultinject.campaign import allocations, c_unnamed
from faultinject.campaign.c_stacks import in_a_line, read_stack
from faultinject.campaign.evidence import Evidence
from faultinject.campaign.interpreter_defects import KNOWN, Defect, recognise
from faultinject.campaign.judge import Judge
from faultinject.campaign.outcome import Outcome
from faultinject.campaign.record import TrialRecord
from faultinject.campaign.sweep import SweepReport
from faultinject.native import call_sites_unavailable

pytestmark = pytest.mark.skipif(
    call_sites_unavailable() is not None, reason=f"no call sites: {call_sites_unavailable()}"
)

VERSION = sys.version_info[:2]

T = TypeVar("T")
ELEMENT = ET.Element("a")


def iterate_items() -> None:
    for _ in {"a": 1}.items():
        pass


def set_defaults() -> None:
    numbers: dict[int, int] = {}
    for number in range(20):
        numbers.setdefault(number, number)


def make_an_alias() -> object:
    return list[T][int]


def iterate_an_element() -> None:
    bytes([255] * 47)  # what is released here is what the iterator is made of, unfilled
    list(ELEMENT.iter())


def compile_a_line() -> None:
    compile("x = f'{y}'", "<line>", "exec")


def compile_a_name() -> None:
    try:  # noqa: SIM105 - suppress() would ask for memory as well
        compile("y", "<line>", "eval")
    except MemoryError:
        pass


def use_memory() -> None:
    """Use what was released twice, with nothing armed."""
    for _ in range(30):
        compile("x = [y for y in z if y]", "<line>", "exec")
    made = [[(number, str(number)) for number in range(100)] for _ in range(30)]
    made.clear()
    gc.collect()


def import_what_is_missing() -> None:
    try:  # noqa: SIM105 - suppress() would ask for memory as well
        from os import nothing_of_the_kind  # type: ignore[attr-defined]  # noqa: F401
    except ImportError:
        pass


HERE = Path(__file__)


def write_rows() -> None:
    csv.writer(io.StringIO())


def descend(depth: int) -> int:
    return descend(depth - 1) if depth else 0


def look_at_paths() -> None:
    os.fspath(HERE)
    os.stat(HERE)


def go_deep() -> None:
    descend(700)


def make_functions() -> None:
    def make() -> Callable[[int], list[int]]:
        return lambda number: [number]

    try:  # noqa: SIM105 - suppress() would ask for memory as well
        make()
    except MemoryError:
        pass
    for _ in range(20):
        make()(1)


def look_up(numbers: dict[str, int]) -> int:
    return numbers["missing"]


def handle_an_error() -> None:
    try:  # noqa: SIM105 - suppress() would ask for memory as well
        look_up({})
    except KeyError:
        pass


@dataclass
class Case:
    """What meets a defect: a body, and how it is swept."""

    body: Callable[[], object]
    spec: str = "fail_pymem"
    check: Callable[[], object] | None = None
    vetoed: bool = False  # nothing would fail there, but for the test
    chance: bool = False  # what comes of memory released twice depends on all that went before


CASES = {
    "gh-152107": Case(iterate_items),
    "gh-109700": Case(set_defaults),
    "gh-121660": Case(make_an_alias),
    "gh-150146": Case(make_an_alias),
    "gh-148731": Case(iterate_an_element),
    "gh-151112": Case(compile_a_name, check=use_memory, chance=True),
    "gh-151763": Case(compile_a_line),
    "gh-151968": Case(compile_a_line),
    "bpo-29849": Case(import_what_is_missing),
    "unreported, csv": Case(write_rows),
    "unreported, __fspath__": Case(look_at_paths),
    "unreported, data stack": Case(go_deep, "fail_pymem:profile=pages"),
    "gh-122752": Case(make_functions, vetoed=True),
    "gh-151763, vetoed": Case(handle_an_error, vetoed=True),
}


def name_of(defect: Defect) -> str:
    vetoed = "_PyFrame_New_NoTrack" in defect.fault
    return f"{defect.reference}, vetoed" if vetoed else defect.reference


class UnvetoedCensus(allocations.NativeCensus):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{**settings, "veto": ()})


class UnvetoedStrike(allocations.NativeStrike):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{**settings, "veto": ()})


Judged = list[tuple[Evidence, TrialRecord]]

# The trials of a body are the same for every row that it meets.
SWEPT: dict[str, tuple[SweepReport, Judged]] = {}


def sweep(case: Case, patch: pytest.MonkeyPatch) -> tuple[SweepReport, Judged]:
    """Fail each request of a body once; give the bad trials with their evidence as well."""
    name = case.body.__name__
    if name in SWEPT:
        return SWEPT[name]
    judged: Judged = []
    in_c = Judge._in_c

    def looking_on(self: Judge, evidence: Evidence, trial: TrialRecord) -> list[str]:
        judged.append((evidence, trial))
        return in_c(self, evidence, trial)

    patch.setattr(Judge, "_in_c", looking_on)
    if case.vetoed:
        patch.setattr(allocations, "NativeCensus", UnvetoedCensus)
        patch.setattr(allocations, "NativeStrike", UnvetoedStrike)
    case.body()  # what it asks for once and for all is there already
    report = fi.sweep(
        case.body,
        check=case.check,
        capabilities=case.spec,
        source=__file__,
        hits="all",
        oracles="none",
        isolation="fork",
    )
    SWEPT[name] = report, judged
    return report, judged


def sweep_until_met(defect: Defect) -> SweepReport:
    """Sweep in fresh interpreters, each with another order of its sets, until one meets a defect.

    In one interpreter every sweep starts from the same memory and ends alike.
    """
    code = (
        f"import pickle, sys; sys.path.insert(0, {str(HERE.parent)!r})\n"
        "import pytest, test_interpreter_defects as here\n"
        f"case = here.CASES[{name_of(defect)!r}]\n"
        "with pytest.MonkeyPatch.context() as patch:\n"
        "    report, _ = here.sweep(case, patch)\n"
        "sys.stdout.buffer.write(pickle.dumps(report))\n"
    )
    for seed in range(12):
        swept = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            timeout=60,
        )
        report: SweepReport = pickle.loads(swept.stdout)
        if any(trial.interpreter == defect.reference for trial in report.trials):
            break
    return report


@pytest.mark.parametrize("defect", KNOWN, ids=lambda row: f"{name_of(row)} {row.sentence[:30]}")
def test_the_defect_is_met_and_fails_no_run(
    defect: Defect, monkeypatch: pytest.MonkeyPatch
) -> None:
    if VERSION not in defect.versions:
        pytest.skip(f"CPython {VERSION[0]}.{VERSION[1]} does not have this defect")

    case = CASES[name_of(defect)]
    report = sweep_until_met(defect) if case.chance else sweep(case, monkeypatch)[0]
    met = [trial for trial in report.trials if trial.interpreter == defect.reference]

    assert any(defect.sentence in trial.details[0] for trial in met)
    assert {trial.outcome for trial in met} <= {Outcome.CRASHED, Outcome.FAILED}
    assert report.bad == []
    (line,) = (line for line in str(report).splitlines() if "of CPython itself" in line)
    assert defect.reference in line


def test_every_case_belongs_to_a_row() -> None:
    assert {name_of(defect) for defect in KNOWN} == set(CASES)


def crash() -> None:
    try:
        bytes(1000)
    except MemoryError:
        ctypes.string_at(0)


def test_a_crash_that_nobody_knows_is_bad_and_told_with_both_stacks() -> None:
    report = fi.sweep(
        crash, capabilities="fail_pymem:min_size=1000", source=__file__, isolation="fork"
    )

    (trial,) = report.bad
    assert (trial.outcome, trial.interpreter) == (Outcome.CRASHED, "")
    of_crash, of_fault = trial.details
    assert of_crash.startswith("C stack of the crash: ")
    assert " < string_at < " in of_crash
    assert of_fault.startswith("C stack of the fault: ")
    assert of_fault.endswith("_PyEval_EvalFrameDefault")
    assert "_hook" not in of_fault
    assert "in crash" in trial.text
    assert "faultinject: " not in trial.text


def test_a_crash_without_a_fault_of_its_own_has_one_stack() -> None:
    def body() -> None:
        if fi.kmalloc(64) is None:
            ctypes.string_at(0)

    report = fi.sweep(body, capabilities="failslab", isolation="fork")

    (trial,) = report.bad
    (of_crash,) = trial.details
    assert of_crash.startswith("C stack of the crash: ")


def answer_wrongly() -> None:
    try:
        compile("x = y", "<line>", "exec")
    except (MemoryError, SystemError, SyntaxError):
        raise KeyError("wrong") from None


def test_a_wrong_answer_to_the_defect_is_the_users_own() -> None:
    report = fi.sweep(
        answer_wrongly,
        capabilities="fail_pymem",
        source=__file__,
        hits="all",
        oracles="none",
        isolation="fork",
    )

    failed = [trial for trial in report.trials if trial.outcome is Outcome.FAILED]
    assert failed
    assert all(trial.bad for trial in failed)


def leave_a_descriptor() -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    compile("y", "<line>", "eval")
    os.close(descriptor)


def test_what_is_left_behind_is_the_users_own_whatever_the_error_was() -> None:
    report = fi.sweep(
        leave_a_descriptor,
        capabilities="fail_pymem:min_size=1000",  # the tokenizer's state, among others
        source=__file__,
        hits="all",
        oracles="descriptors",
        isolation="fork",
    )

    silent = [trial for trial in report.trials if (trial.error or "").startswith("SystemError")]
    assert silent
    assert {(trial.outcome, trial.bad) for trial in silent} == {(Outcome.LEAKED, True)}


def recognised(evidence: Evidence, trial: TrialRecord) -> tuple[Defect | None, str]:
    """Judge a trial's stacks again, by the names that its files have now."""
    fault, crash = read_stack(evidence.fault_stack), read_stack(evidence.crash_stack)
    error = None if crash else evidence.error
    met = recognise(error, fault, crash, request=f"{trial.domain} {trial.size}")
    return met, f"{in_a_line(fault)}; {in_a_line(crash)}"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="parts of functions are not found")
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.vetoed])
def test_a_stripped_interpreter_is_known_as_well(
    name: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    rows = [defect for defect in KNOWN if name_of(defect) == name]
    if VERSION not in rows[0].versions:
        pytest.skip(f"CPython {VERSION[0]}.{VERSION[1]} does not have this defect")
    _, judged = sweep(CASES[name], monkeypatch)
    found = [(evidence, trial) for evidence, trial in judged if trial.interpreter]

    request.getfixturevalue("stripped")
    again = [recognised(evidence, trial) for evidence, trial in found]

    assert found
    assert [stacks for met, stacks in again if met is None] == []


def test_a_defect_that_cannot_be_told_for_want_of_names_is_bad_and_may_be_cpythons(
    stripped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c_unnamed, "_pointed_to", dict)

    report = fi.sweep(
        iterate_items, capabilities="fail_pymem", source=__file__, hits="all", isolation="fork"
    )

    crashed = [trial for trial in report.trials if trial.outcome is Outcome.CRASHED]
    assert crashed
    for trial in crashed:
        assert trial.bad
        said, *stacks = trial.details
        assert said.startswith("may be a defect of CPython itself (gh-152107")
        assert len(stacks) == 2
