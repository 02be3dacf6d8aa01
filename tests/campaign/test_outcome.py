"""The one name that each trial gets: the table of the design, and its order."""

from dataclasses import replace

import pytest

from faultinject.campaign.evidence import Evidence
from faultinject.campaign.outcome import Outcome, Verdict, judge

FAULT = {"capability": "failslab", "size": 8, "unit": "bytes", "site": {}}


def evidence(**known: object) -> Evidence:
    """A trial that recovered, but for what is given."""
    whole = {"phase": "done", "complete": True, "injected": [FAULT], "passed": True, **known}
    return Evidence(**whole)  # type: ignore[arg-type]


def dead(phase: str, **known: object) -> Evidence:
    """A trial whose process was gone before it could tell anything."""
    return Evidence(phase=phase, **known)  # type: ignore[arg-type]


TABLE = {
    "ended by a signal in its body": (dead("body", status="killed by SIGSEGV"), "CRASHED"),
    "left by os._exit in its set-up": (dead("setup", status="exited"), "CRASHED"),
    "ended by a signal in the clean re-run": (dead("rerun", status="killed"), "CRASHED"),
    "ended before it began": (dead("start", status="killed"), "CRASHED"),
    "hung in its body": (dead("body", hung=True), "HUNG"),
    "hung in its set-up": (dead("setup", hung=True), "HUNG"),
    "hung in its tear-down": (dead("teardown", hung=True), "HUNG"),
    "hung in an invariant": (dead("invariants", hung=True), "CORRUPTED"),
    "hung in the clean re-run": (dead("rerun", hung=True), "CORRUPTED"),
    "failed before its fault struck": (evidence(injected=[], passed=False), "DIVERGED"),
    "ended well without a fault": (evidence(injected=[]), "NOT_REACHED"),
    "broke an invariant": (evidence(broken=["ValueError"]), "CORRUPTED"),
    "broke an invariant and failed": (evidence(broken=["ValueError"], passed=False), "CORRUPTED"),
    "poisoned the re-run": (evidence(rerun_error="KeyError"), "CORRUPTED"),
    "left something behind": (evidence(leaks=["thread: worker"]), "LEAKED"),
    "left something behind and propagated": (
        evidence(leaks=["child process"], passed=False, propagated=True),
        "LEAKED",
    ),
    "lost an error": (evidence(unraisable=["KeyError (in a thread)"]), "UNRAISABLE"),
    "swallowed a wrong use of the memory": (evidence(violations=["double free"]), "FAILED"),
    "ended in another exception": (evidence(passed=False), "FAILED"),
    "let the failure through": (evidence(passed=False, propagated=True), "PROPAGATED"),
    "passed": (evidence(), "RECOVERED"),
}


@pytest.mark.parametrize("case", TABLE)
def test_a_trial_gets_the_name_of_what_it_shows(case: str) -> None:
    shown, name = TABLE[case]

    assert judge(shown) is Outcome[name]


def test_the_first_name_that_fits_wins() -> None:
    everything = Evidence(
        phase="body",
        broken=["an invariant"],
        rerun_error="KeyError",
        leaks=["thread: worker"],
        unraisable=["KeyError"],
        violations=["double free"],
    )
    # Each step takes away the reason for the name before it, and nothing else.
    steps: list[dict[str, object]] = [
        {"hung": True},
        {"hung": False},
        {"complete": True},
        {"passed": True},
        {"injected": [FAULT]},
        {"broken": []},
        {"rerun_error": None},
        {"leaks": []},
        {"unraisable": []},
        {"violations": [], "passed": False},
        {"propagated": True},
        {"passed": True},
    ]

    names = []
    for step in steps:
        everything = replace(everything, **step)  # type: ignore[arg-type]
        names.append(judge(everything).name)

    assert names == [
        "HUNG",
        "CRASHED",
        "DIVERGED",
        "NOT_REACHED",
        "CORRUPTED",
        "CORRUPTED",
        "LEAKED",
        "UNRAISABLE",
        "FAILED",
        "FAILED",
        "PROPAGATED",
        "RECOVERED",
    ]


def test_a_re_run_that_fails_says_nothing_where_the_test_cannot_be_run_twice() -> None:
    poisoned = evidence(rerun_error="KeyError")

    assert judge(poisoned, rerun_counts=False) is Outcome.RECOVERED
    assert judge(replace(poisoned, broken=["x"]), rerun_counts=False) is Outcome.CORRUPTED


@pytest.mark.parametrize("strict", [False, True])
def test_warnings_and_recoveries_are_never_bad(strict: bool) -> None:
    verdicts = {outcome: outcome.verdict(strict=strict) for outcome in Outcome}

    good = {name for name, verdict in verdicts.items() if verdict is Verdict.GOOD}
    warned = {name for name, verdict in verdicts.items() if verdict is Verdict.WARNING}
    assert good == {Outcome.RECOVERED} | (set() if strict else {Outcome.PROPAGATED})
    assert warned == {Outcome.DIVERGED, Outcome.NOT_REACHED}


def test_the_members_stand_in_the_order_of_judgement() -> None:
    names = (
        "CRASHED HUNG DIVERGED NOT_REACHED CORRUPTED LEAKED UNRAISABLE FAILED PROPAGATED RECOVERED"
    )

    assert " ".join(outcome.name for outcome in Outcome) == names


def test_evidence_survives_the_way_through_a_pipe() -> None:
    shown = evidence(leaks=["thread: worker"], error="KeyError", duration=0.25)

    again = Evidence.from_dict({**shown.as_dict(), "a later version's field": 1})

    assert again == shown
