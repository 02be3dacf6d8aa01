"""The sweeper: census, plan and trials of one subject, judged and recorded.

Lives here: the order of one sweep. Not here: what is swept (a `Subject`), where
its trials run (an `Isolation`), and the public ``sweep`` function
(`faultinject.campaign.sweep`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import takewhile
from typing import Any

from faultinject.campaign import allocations
from faultinject.campaign.allocations import code_scope
from faultinject.campaign.armable import Armable, Armables
from faultinject.campaign.assignment import Assignment
from faultinject.campaign.census import Reached, count_sites, from_plain
from faultinject.campaign.chains import Beyond
from faultinject.campaign.forecast import Foreseen
from faultinject.campaign.isolation import Ended, Isolation, Mark
from faultinject.campaign.judge import Judge
from faultinject.campaign.limits import address_space, peak_growth
from faultinject.campaign.offers import Offers, Trial
from faultinject.campaign.oracles.bundle import Bundle
from faultinject.campaign.order import CALLS, REACH, Errand, Order
from faultinject.campaign.record import TestRecord, TrialRecord, say_idle
from faultinject.campaign.replay import (
    PlannedToken,
    RandomToken,
    Token,
    find,
    parse_token,
)
from faultinject.campaign.settings import Settings
from faultinject.campaign.strike import PlannedFault
from faultinject.campaign.told import evidence_of, last_line
from faultinject.campaign.trial import (
    Baseline,
    ColdMemory,
    Subject,
    broken_conduct,
    conduct,
    take_census,
)
from faultinject.campaign.turn import Turn
from faultinject.campaign.witness import Watched, Witness
from faultinject.capabilities import registry
from faultinject.engine.log import injections

# Told after each trial: the record, how many are done, how many there are.
# An answer of False ends the sweep.
Progress = Callable[[TrialRecord, int, int], object]


class Sweeper:
    """Sweeps one subject.

    Args:
        subject: what is run.
        settings: how it is swept.
        isolation: where each run happens.
        name: the subject's name: a pytest node id, or a function's name.
        shown: gives a source file's name as reports show it.
        turn: its part of a run of many subjects; None if it is the only one.
        witness: tells which error paths its runs enter, if anybody wants to know.

    Attributes:
        record: of the sweep that runs or ran last; of one that is interrupted what there is.
    """

    def __init__(
        self,
        subject: Subject,
        settings: Settings,
        isolation: Isolation,
        *,
        name: str,
        shown: Callable[[str], str] = str,
        turn: Turn | None = None,
        witness: Witness | None = None,
    ) -> None:
        self._subject = subject
        self._settings = settings
        self._isolation = isolation
        self._name = name
        self._shown = shown
        self._armables = Armables(settings)
        self._offers = Offers(settings, self._armables, name=name, shown=shown)
        self._judge = Judge(settings, extensions=self._armables.extensions, shown=shown)
        self._memory = ColdMemory()
        self._is_settled = False
        self._oracles = Bundle(settings.oracles, shown, lambda: code_scope(settings, {}))
        self._turn = turn or Turn(Assignment("test", shard=settings.shard), name)
        self._witness = witness
        self.record = TestRecord(name)

    def foresee(self, *, clean_seconds: float = 0.0) -> Foreseen | None:
        """Take the census alone; None if there can be no trial."""
        baseline = self._take_census(TestRecord(self._name), clean_seconds)
        if baseline is None:
            return None
        reached = self._meant(from_plain(baseline.reached))
        aims = tuple(aim for aim, _ in self._offers.behind(reached))
        return Foreseen(clean_seconds, count_sites(reached), aims)

    def sweep(self, *, clean_seconds: float = 0.0, progress: Progress | None = None) -> TestRecord:
        """Take the census, run every planned trial, judge each one.

        Args:
            clean_seconds: what the body took when it last ran clean, for the
                census's own time limit.
            progress: told after each trial.
        """
        record = self.record = TestRecord(self._name)
        baseline = self._take_census(record, clean_seconds)
        if baseline is None:
            return record
        reached = self._meant(from_plain(baseline.reached))
        record.sites = count_sites(reached)
        trials = self._plan(reached)
        beyond = Beyond(baseline.reached) if self._settings.order > 1 else None
        done = self._run(record, baseline, trials, progress, clean_seconds, beyond)
        self._turn.finish(record, done)
        if beyond is not None and len(done) == len(trials):
            faults = beyond.faults(self._offers.hits, self._unmeant(reached))
            later = self._turn.choose_later(record, faults)
            limit = self._settings.limit
            kept = later if limit is None else later[: max(0, limit - len(done))]
            chosen = [self._offers.trial(fault) for _, fault in kept]
            tried = self._run(record, baseline, chosen, progress, clean_seconds)
            self._turn.finish_later(record, [aim for aim, _ in later], tried)
        record.notes += say_idle(record.trials)
        return record

    def replay(
        self, *tokens: Token, clean_seconds: float = 0.0, progress: Progress | None = None
    ) -> TestRecord:
        """Run the trials that tokens name; those that come to the same only once."""
        record = self.record = TestRecord(self._name)
        baseline = self._take_census(record, clean_seconds)
        if baseline is None:
            return record
        reached = from_plain(baseline.reached)
        record.sites = count_sites(reached)
        found = (self._trial_of(record, token, reached, baseline) for token in tokens)
        trials = {str(trial[2]): trial for trial in found if trial is not None}
        done = self._run(record, baseline, list(trials.values()), progress, clean_seconds)
        record.not_run = len(trials) - len(done)
        record.over_budget = record.not_run if self._turn.ran_out else 0
        return record

    def replay_here(self, token: Token, mark: Mark = lambda phase: None) -> None:
        """Run a token's trial in this process, unjudged, for a debugger."""
        survey = self._armables.survey()
        baseline = take_census(self._subject, survey, mark, self._memory, self._oracles)
        reached = from_plain(baseline.reached)
        trial = self._trial_of(TestRecord(self._name), token, reached, baseline)
        if trial is not None:
            self._subject.run(trial[1], mark)

    def _take_census(self, record: TestRecord, clean_seconds: float) -> Baseline | None:
        self._oracles.look_ahead()
        limit = self._settings.time_limit(clean_seconds)
        (ended,) = self._isolation.run([Errand(self._census, Order())], timeout=limit)
        if ended.payload is None:
            if ended.phase != "rerun" or ended.status == "":
                record.baseline = f"the clean census run {ended.status}"
                record.notes.append(
                    f"no trial was run: {record.baseline} {last_line(ended.output)}".rstrip()
                )
                return None
            # The first run was fine; only the second one took the process down.
            record.baseline = f"the second clean run {ended.status}"
            record.notes.append(f"no trial was run: {record.baseline}")
            return None
        baseline = Baseline(**ended.payload)
        if baseline.passed and self._armables.survey_of_calls() is not None:
            self._add_calls(record, baseline, limit)
        if not baseline.passed:
            # Without an end to wait for, nobody has run it before: see `fi.sweep`.
            again = "" if clean_seconds == math.inf else "when run again "
            record.baseline = f"failed {again}without a fault: {baseline.error}"
            record.notes.append(f"no trial was run: the test {record.baseline}")
            return None
        record.entered = list(dict.fromkeys(baseline.entered))
        record.runs_twice = baseline.runs_twice
        if not baseline.runs_twice:
            record.notes.append(
                "the test cannot be run twice in one process, so no trial was run again"
            )
        return baseline

    def _add_calls(self, record: TestRecord, baseline: Baseline, limit: float) -> None:
        """Take the census of calls in a run of its own."""
        errand = Errand(self._census_of_calls, Order(part=CALLS))
        (ended,) = self._isolation.run([errand], timeout=limit)
        found = None if ended.payload is None else Baseline(**ended.payload)
        if found is not None and found.passed:
            baseline.reached += found.reached
            return
        why = ended.status if found is None else f"failed: {found.error}"
        record.notes.append(
            f"no call of a function was tried: the clean run that counts them {why}"
        )

    def errand(self, order: Order) -> Errand:
        """Give the task that another process's sweeper of the same subject has in mind.

        The first time, this process becomes what a fork of it would be.
        """
        if not self._is_settled:
            self._is_settled = True
            self._oracles.settle()
        # A fork finds one that is made already, and is no part of its limit.
        self._memory = ColdMemory()
        if order.baseline is None:
            return Errand(self._census_of_calls if order.part == CALLS else self._census, order)
        baseline = Baseline(**order.baseline)
        if order.fault is not None:
            arm = self._armables.fault(order.fault, counts=order.part == REACH)
        else:
            token = parse_token(order.token)
            trial = self._trial_of(TestRecord(self._name), token, [], baseline)
            assert trial is not None
            arm = trial[1]
        return self._errand(baseline, (order.fault, arm, order.token))

    def _census(self, mark: Mark) -> dict[str, Any]:
        before = address_space()
        subject = Watched(self._subject, self._witness)
        baseline = take_census(subject, self._armables.survey(), mark, self._memory, self._oracles)
        baseline.entered = subject.entered
        baseline.grown = peak_growth(before)
        return baseline.as_plain()

    def _census_of_calls(self, mark: Mark) -> dict[str, Any]:
        survey = self._armables.survey_of_calls()
        assert survey is not None
        subject, memory = self._subject, self._memory
        return take_census(subject, survey, mark, memory, self._oracles, again=False).as_plain()

    def _meant(self, reached: list[Reached]) -> list[Reached]:
        unmeant = self._unmeant(reached)
        return [item for item in reached if item.capability not in unmeant]

    def _unmeant(self, reached: Iterable[Reached]) -> frozenset[str]:
        """Leave real allocations out of kernel-style code, unless somebody names them."""
        modelled = any(registry.get(item.capability).allocates for item in reached)
        return frozenset({allocations.NAME} if self._settings.by_default and modelled else ())

    def _plan(self, reached: Iterable[Reached]) -> list[Trial]:
        offers = self._offers.behind(reached)
        chosen = self._turn.choose([aim for aim, _ in offers], self._settings.limit)
        return [self._offers.trial(offers[number][1]) for number in chosen]

    def _trial_of(
        self, record: TestRecord, token: Token, reached: list[Reached], baseline: Baseline
    ) -> Trial | None:
        if isinstance(token, RandomToken):
            for mode in self._settings.random:
                if mode.spec == token.spec:
                    return self._offers.random(mode, token.seed, token.number)
            record.notes.append(f"the test is not tried with the token's SPEC {token.spec!r}")
            return None
        fault = self._fault_of(record, token, reached, baseline)
        return None if fault is None else self._offers.trial(fault)

    def _fault_of(
        self, record: TestRecord, token: PlannedToken, reached: list[Reached], baseline: Baseline
    ) -> PlannedFault | None:
        before = None
        if token.after is not None:
            before = self._fault_of(record, token.after, reached, baseline)
            if before is None:
                return None
            reached = self._reached_after(before, baseline)
        shown = {item.site.file: self._shown(item.site.file) for item in reached}
        found = find(token, reached, shown)
        if found is None:
            record.notes.append(
                f"the token's call site ({token.file} in {token.function}) is not reached "
                f"by a {'clean run' if before is None else 'trial of the first fault'} any more; "
                "run the campaign again"
            )
            return None
        if token.hit > found.hits:
            record.notes.append(
                f"the token wants hit {token.hit} of its call site, "
                f"a clean run has {found.hits} now"
            )
            return None
        if found.moved:
            record.notes.append(found.moved)
        return replace(found.fault, after=before)

    def _reached_after(self, fault: PlannedFault, baseline: Baseline) -> list[Reached]:
        """Give what is reached where a fault has struck, by trying it."""
        arm = self._armables.fault(fault, counts=True)
        errand = self._errand(baseline, (fault, arm, ""), part=REACH)
        limit = self._settings.time_limit(baseline.duration)
        (ended,) = self._isolation.run([errand], timeout=limit)
        return from_plain(evidence_of(ended, baseline).reached)

    def _run(
        self,
        record: TestRecord,
        baseline: Baseline,
        trials: list[Trial],
        progress: Progress | None,
        clean_seconds: float,
        beyond: Beyond | None = None,
    ) -> list[int]:
        """Run trials as long as there is time; give the positions of those that were run."""
        limit = self._settings.time_limit(baseline.duration)
        tasks = (
            self._errand(baseline, (fault, arm, str(token)))
            for fault, arm, token in takewhile(lambda _: self._turn.goes_on(), trials)
        )
        done: dict[int, TrialRecord] = {}
        runs: Iterator[Ended] = self._isolation.run(
            tasks, timeout=limit, memory=self._settings.memory_limit(baseline.grown)
        )
        try:
            with self._turn.spending(clean_seconds):
                for ended in runs:
                    fault, _, token = trials[ended.index]
                    evidence = evidence_of(ended, baseline)
                    if beyond is not None and fault is not None:
                        beyond.add(fault, evidence.reached)
                    trial = self._judge.record(evidence, fault, token, baseline)
                    done[ended.index] = trial
                    if progress is not None and progress(trial, len(done), len(trials)) is False:
                        record.notes.append(f"stopped after {len(done)} of {len(trials)} trials")
                        break
        except BaseException:  # an interruption: what is known by now is worth telling
            record.notes.append(f"interrupted after {len(done)} of {len(trials)} trials")
            record.not_run += len(trials) - len(done)
            raise
        finally:
            record.trials += [done[index] for index in sorted(done)]
            close = getattr(runs, "close", None)
            if close is not None:
                close()
        return sorted(done)

    def _errand(
        self,
        baseline: Baseline,
        trial: tuple[PlannedFault | None, Armable, str],
        *,
        part: str = "",
    ) -> Errand:
        fault, arm, token = trial

        def conducted(mark: Mark) -> dict[str, Any]:
            before = injections.mark()
            subject = Watched(self._subject, self._witness)
            try:
                evidence = conduct(
                    subject,
                    arm,
                    baseline,
                    mark,
                    self._memory,
                    self._oracles,
                    strict=self._settings.strict,
                    token=token,
                )
            except Exception as error:  # the code under test broke the run around it
                evidence = broken_conduct(error, before)
            evidence.entered = subject.entered
            return evidence.as_dict()

        # What the census reached is long, and no trial's business.
        known = replace(baseline, reached=[], entered=[]).as_plain()
        return Errand(conducted, Order(token, fault, known, part))
