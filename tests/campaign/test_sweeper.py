"""The order of one sweep, over a subject that is none of pytest's and none of sweep's."""

import os
from collections.abc import Callable, Iterable

import pytest

import faultinject as fi
from faultinject.campaign.armable import Armable
from faultinject.campaign.assignment import Assignment
from faultinject.campaign.budget import Budget, guess
from faultinject.campaign.evidence import RunResult
from faultinject.campaign.functions import Functions
from faultinject.campaign.isolation import Fork, Here, Isolation
from faultinject.campaign.outcome import Outcome
from faultinject.campaign.plan import Hits, Shard
from faultinject.campaign.record import TrialRecord
from faultinject.campaign.replay import parse_token
from faultinject.campaign.settings import RandomMode, Settings
from faultinject.campaign.sweeper import Sweeper
from faultinject.campaign.trial import Subject
from faultinject.campaign.turn import Turn


def loop() -> None:
    for _ in range(6):
        fi.kfree(fi.kmalloc(64))


def sweeper(
    subject: Subject | None = None,
    isolation: Isolation | None = None,
    name: str = "test_loop",
    **settings: object,
) -> Sweeper:
    chosen = Settings(**{"swept": {"failslab": {}}, "hits": Hits("all"), **settings})  # type: ignore[arg-type]
    return Sweeper(
        subject or Functions(loop, None, None),
        chosen,
        isolation or Fork(),
        name=name,
        shown=os.path.basename,
    )


def tokens(trials: Iterable[TrialRecord]) -> list[str]:
    return [trial.replay for trial in trials]


def test_progress_is_told_after_each_trial() -> None:
    told: list[tuple[int, int, int]] = []

    record = sweeper().sweep(
        progress=lambda trial, done, total: told.append((trial.hit, done, total))
    )

    assert told == [(hit, hit, 6) for hit in range(1, 7)]
    assert [trial.hit for trial in record.trials] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("isolation", [Fork(), Fork(3), Here()], ids=["fork", "jobs", "none"])
def test_an_answer_of_false_ends_the_sweep_and_the_record_says_so(isolation: Isolation) -> None:
    record = sweeper(isolation=isolation).sweep(progress=lambda trial, done, total: done < 2)

    assert (len(record.trials), record.not_run) == (2, 4)
    assert record.notes == ["stopped after 2 of 6 trials"]


RANDOM = RandomMode("failslab:probability=50", {"failslab": {"probability": 50}})


@pytest.mark.parametrize("count", [2, 4])
def test_the_shards_of_a_test_run_all_its_trials_between_them(count: int) -> None:
    arguments: dict[str, object] = {"random": (RANDOM,), "trials": 5, "seed": 1}
    whole = sweeper(**arguments).sweep()

    parts = [
        sweeper(shard=Shard(index, count), **arguments).sweep() for index in range(1, count + 1)
    ]

    assert sorted(token for part in parts for token in tokens(part.trials)) == sorted(
        tokens(whole.trials)
    )
    assert len(whole.trials) == 11
    assert [part.sites for part in parts] == [1] * count
    assert [part.not_run for part in parts] == [0] * count


def test_a_limit_holds_for_planned_and_random_trials_together() -> None:
    record = sweeper(random=(RANDOM,), trials=5, limit=8).sweep()

    assert (len(record.trials), record.not_run) == (8, 3)
    assert sum("|random|" in token for token in tokens(record.trials)) == 2


def test_each_test_draws_its_own_random_trials() -> None:
    spec = {"failslab": {"probability": 50, "times": -1}}
    arguments: dict[str, object] = {
        "swept": {},
        "random": (RandomMode("failslab:probability=50,times=-1", spec),),
        "trials": 10,
    }

    def told(name: str) -> list[tuple[Outcome, int]]:
        trials = sweeper(Functions(uneven, None, None), name=name, **arguments).sweep().trials
        return [(trial.outcome, trial.line) for trial in trials]

    assert told("test_a") == told("test_a")
    assert told("test_a") != told("test_b")


def uneven() -> None:
    first = fi.kmalloc(64)
    second = fi.kmalloc(64)
    third = fi.kmalloc(64)
    for pointer in (first, second, third):
        fi.kfree(pointer)


def test_a_token_carries_what_else_decides_how_sites_are_found() -> None:
    record = sweeper(token_options={"source": "ring"}).sweep()

    token = parse_token(record.trials[0].replay)
    assert token.options == {"source": "ring"}
    assert record.trials[0].file == os.path.basename(__file__)


class Broken:
    """Passes clean, and breaks the run around it when something is armed."""

    def __init__(self, *, before: bool) -> None:
        self._before = before
        self.armed_runs = 0

    def run(self, arm: Armable | None, mark: Callable[[str], None]) -> RunResult:
        mark("body")
        if arm is None:
            return RunResult(passed=True)
        self.armed_runs += 1
        in_census = self.armed_runs == 1
        if self._before and not in_census:
            raise LookupError("broken")
        with arm.armed():
            pointer = fi.kmalloc(64)
        if pointer is None:
            raise LookupError("broken")
        fi.kfree(pointer)
        return RunResult(passed=True)

    def explain(self) -> str:
        return ""


@pytest.mark.parametrize(("before", "outcome"), [(True, Outcome.DIVERGED), (False, Outcome.FAILED)])
def test_a_subject_that_breaks_the_run_around_it_is_judged_by_whether_its_fault_struck(
    before: bool, outcome: Outcome
) -> None:
    with fi.failslab():  # an injection that is none of the trial's
        assert fi.kmalloc(64) is None

    record = sweeper(Broken(before=before), Here()).sweep()

    (trial,) = record.trials
    assert trial.outcome is outcome
    assert trial.error == "LookupError outside the test's own phases: broken"


def test_a_second_clean_run_that_dies_is_told_apart_from_the_first() -> None:
    ran: list[int] = []

    def body() -> None:
        if ran:
            os._exit(5)
        ran.append(1)

    record = sweeper(Functions(body, None, None)).sweep()

    assert record.trials == []
    assert "the second clean run exited with status 5" in record.notes[0]


def test_a_trial_can_be_run_here_for_a_debugger() -> None:
    got: list[bool] = []

    def body() -> None:
        pointer = fi.kmalloc(64)
        got.append(pointer is not None)
        fi.kfree(pointer)

    subject = Functions(body, None, None)
    (trial,) = sweeper(subject).sweep().trials

    sweeper(subject, Here()).replay_here(parse_token(trial.replay))

    # The census twice, then the trial, in this very process.
    assert got == [True, True, False]


def test_what_trials_take_is_foreseen_and_measured_by_the_same_clean_run() -> None:
    turn = Turn(Assignment("test", budget=Budget(600.0)), "test_loop")
    subject, settings = Functions(loop, None, None), Settings({"failslab": {}})
    timed = Sweeper(subject, settings, Here(), name="test_loop", turn=turn)

    foreseen = timed.foresee(clean_seconds=0.25)
    record = timed.sweep(clean_seconds=0.25)

    assert foreseen is not None
    assert len(record.trials) == len(foreseen.aims) == 2
    assert record.guessed == 2 * guess(foreseen.seconds)
    assert 0 < record.spent < 600
