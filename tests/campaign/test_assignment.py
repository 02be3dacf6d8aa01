"""Which test tries what: each alone, each call site once, and what a budget is spent on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultinject.campaign.aim import Aim, aims_at
from faultinject.campaign.assignment import Assignment
from faultinject.campaign.budget import OVERHEAD, Budget
from faultinject.campaign.census import Reached
from faultinject.campaign.forecast import Foreseen, from_plain, to_plain
from faultinject.campaign.history import History
from faultinject.campaign.plan import Hits, Shard
from faultinject.campaign.record import BUDGET_SPENT, TestRecord
from faultinject.campaign.site import Site
from faultinject.campaign.turn import Turn


def aim(name: str, hit: str = "1") -> Aim:
    return Aim("failslab", Site("ring.py", name, 1, 1), hit)


def drawn(test: str, number: int) -> Aim:
    return Aim("failslab:probability=10", None, str(number), test=test)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Suite:
    """A run of tests that reach call sites by name, without anything that runs.

    Args:
        tests: for each test the seconds of its body and what it reaches.
        seconds: of the budget; each trial takes one.
    """

    def __init__(
        self,
        tests: dict[str, tuple[float, str]],
        *,
        per: str = "suite",
        seconds: float | None = None,
        history: History | None = None,
        shard: Shard | None = None,
        looks_ahead: bool = True,
        pace: float | None = None,
    ) -> None:
        pace = pace if history is None else history.pace
        self.tests = {
            test: Foreseen(body, len(names.split()), tuple(aim(name) for name in names.split()))
            for test, (body, names) in tests.items()
        }
        self.clock = Clock()
        self.records: dict[str, TestRecord] = {}
        self.censuses: list[str] = []
        self.assignment = Assignment(
            per,
            list(tests),
            forecast=self.tests if looks_ahead else None,
            budget=None if seconds is None else Budget(seconds, self.clock, pace=pace),
            history=history,
            shard=shard,
        )

    def run(
        self, *, reach: dict[str, str] | None = None, fail: Iterable[str] = (), limit: int = 99
    ) -> dict[str, list[str]]:
        """Run all tests but those that `fail` by themselves; give what each one tried.

        Args:
            reach: what a test's own census sees, where that is not what was foreseen.
            fail: tests that get no turn.
            limit: of trials per test.
        """
        tried = {}
        for test in self.tests:
            if test in fail:
                continue
            turn = Turn(self.assignment, test)
            if not turn.is_wanted:
                self.records[test] = turn.skip()
                continue
            self.censuses.append(test)
            aims = list(self.tests[test].aims)
            if reach and test in reach:
                aims = [aim(name) for name in reach[test].split()]
            tried[test] = self._try(turn, aims, test, limit)
        return {test: names for test, names in tried.items() if names}

    def _try(self, turn: object, aims: Sequence[Aim], test: str, limit: int) -> list[str]:
        record = self.records[test] = TestRecord(test, sites=len(aims))
        chosen = turn.choose(aims, limit)  # type: ignore[attr-defined]
        done = []
        with turn.spending(self.tests[test].seconds):  # type: ignore[attr-defined]
            for position in range(len(chosen)):
                if not turn.goes_on():  # type: ignore[attr-defined]
                    break
                self.clock.now += 1.0
                done.append(position)
        turn.finish(record, done)  # type: ignore[attr-defined]
        return [aims[chosen[position]].site.function for position in done]  # type: ignore[union-attr]

    def history_after(self, history: History | None = None) -> History:
        history = history or History()
        history.add_run(list(self.records.values()))
        return history


THREE = {"slow": (2.0, "a b c"), "quick": (0.1, "b c"), "other": (0.5, "a d"), "bare": (0.0, "")}


def test_by_itself_each_test_tries_all_that_it_reaches() -> None:
    suite = Suite(THREE, per="test", looks_ahead=False)

    tried = suite.run()

    assert tried == {"slow": ["a", "b", "c"], "quick": ["b", "c"], "other": ["a", "d"]}
    assert all((r.elsewhere, r.not_run) == (0, 0) for r in suite.records.values())


def test_each_call_site_is_tried_once_in_the_quickest_test_that_reaches_it() -> None:
    suite = Suite(THREE)

    tried = suite.run()

    assert tried == {"quick": ["b", "c"], "other": ["a", "d"]}
    assert suite.censuses == ["quick", "other"]  # a test with nothing of its own costs nothing
    assert {test: record.elsewhere for test, record in suite.records.items()} == {
        "slow": 3,
        "quick": 0,
        "other": 0,
        "bare": 0,
    }
    assert suite.records["slow"].sites == 3
    assert suite.assignment.untried() == 0


def test_a_test_that_is_hardly_quicker_is_not_the_quicker_one() -> None:
    about_the_same = {"first": (0.0109, "a"), "second": (0.0102, "a"), "third": (0.0008, "b")}

    assert Suite(about_the_same).run() == {"first": ["a"], "third": ["b"]}
    assert Suite({**about_the_same, "third": (0.005, "a b")}).run() == {"third": ["a", "b"]}


def test_the_last_hit_is_another_aim_than_the_first_whatever_its_number() -> None:
    def offered(hits: int) -> list[Aim]:
        site = Reached("failslab", Site("ring.py", "a", 1, 1), hits)
        return [found for found, _ in aims_at([site], Hits("ends"), persistent=False)]

    assert [item.hit for item in offered(1)] == ["1"]
    assert offered(3) == offered(7)
    assert [item.hit for item in offered(3)] == ["1", "last"]


def test_a_persistent_fault_is_another_aim() -> None:
    site = [Reached("failslab", Site("ring.py", "a", 1, 1), 1)]

    (transient, fault), (persistent, other) = (
        aims_at(site, Hits("first"), persistent=persistent)[0] for persistent in (False, True)
    )

    assert transient != persistent
    assert transient.content() != persistent.content()
    assert (fault.persistent, other.persistent) == (False, True)


@pytest.mark.parametrize("why", ["fails by itself", "does not reach it"])
def test_what_the_quickest_test_did_not_try_the_next_one_tries(why: str) -> None:
    suite = Suite({"quick": (0.1, "a"), "slow": (3.0, "a b"), "slower": (4.0, "a")})

    if why == "fails by itself":
        tried = suite.run(fail=["quick"])
    else:
        tried = suite.run(reach={"quick": ""})

    assert tried == {"slow": ["a", "b"]}
    assert suite.assignment.untried() == 0


def test_what_no_later_test_reaches_either_is_counted() -> None:
    suite = Suite({"slow": (3.0, "a b"), "quick": (0.1, "a")})

    tried = suite.run(reach={"quick": ""})

    assert tried == {"slow": ["b"]}
    assert suite.assignment.untried() == 1


def test_what_was_not_foreseen_is_tried_in_the_first_test_that_reaches_it() -> None:
    suite = Suite({"one": (1.0, "a"), "two": (1.0, "b"), "three": (1.0, "c")})

    tried = suite.run(reach={"two": "b new", "three": "c new"})

    assert tried == {"one": ["a"], "two": ["b", "new"], "three": ["c"]}
    assert suite.records["three"].elsewhere == 1


def test_without_a_forecast_the_first_test_that_reaches_a_call_site_tries_it() -> None:
    suite = Suite(THREE, looks_ahead=False)

    assert suite.run() == {"slow": ["a", "b", "c"], "other": ["d"]}
    assert suite.records["quick"].elsewhere == 2
    assert suite.assignment.untried() == 0


def test_what_the_limit_leaves_out_a_later_test_tries() -> None:
    suite = Suite({"quick": (0.1, "a b"), "slow": (1.0, "b c")})

    tried = suite.run(limit=1)

    assert tried == {"quick": ["a"], "slow": ["b"]}
    assert (suite.records["quick"].elsewhere, suite.records["quick"].not_run) == (1, 0)
    assert (suite.records["slow"].elsewhere, suite.records["slow"].not_run) == (0, 1)
    assert suite.assignment.untried() == 0  # it is counted where it was left out


def test_a_random_trial_belongs_to_its_own_test() -> None:
    assignment = Assignment("suite", ["one", "two"])

    for test in ("one", "two"):
        turn = Turn(assignment, test)
        aims = [aim("a"), drawn(test, 0), drawn(test, 1)]
        chosen = turn.choose(aims, None)
        turn.finish(TestRecord(test), range(len(chosen)))

        assert chosen == ([0, 1, 2] if test == "one" else [1, 2])


@given(
    hits=st.lists(st.integers(1, 4), max_size=12),
    count=st.integers(1, 6),
    test=st.text(max_size=20),
)
def test_the_shards_divide_one_tests_trials_evenly(hits: list[int], count: int, test: str) -> None:
    reached = [
        Reached("failslab", Site("ring.py", "open", 1, line), n) for line, n in enumerate(hits)
    ]
    aims = [found for found, _ in aims_at(reached, Hits("all"), persistent=False)]

    parts = [
        Assignment("test", shard=Shard(index, count)).choose(test, aims, None)
        for index in range(1, count + 1)
    ]

    assert sorted(number for part in parts for number in part.aims) == list(range(len(aims)))
    assert max(len(part.aims) for part in parts) - min(len(part.aims) for part in parts) <= 1
    assert all((part.elsewhere, part.over_limit) == (0, 0) for part in parts)


@given(bodies=st.lists(st.floats(0, 9), min_size=4, max_size=4), count=st.integers(2, 4))
def test_machines_on_which_other_tests_are_quick_still_try_each_call_site_once(
    bodies: list[float], count: int
) -> None:
    names = ["a b c", "b c d", "c d e", "a e f"]
    tried: list[str] = []

    for index in range(1, count + 1):
        turned = bodies[index % 4 :] + bodies[: index % 4]  # each machine has its own times
        tests = {f"t{n}": (body, names[n]) for n, body in enumerate(turned)}
        suite = Suite(tests, shard=Shard(index, count))
        tried += [name for part in suite.run().values() for name in part]
        assert suite.assignment.untried() == 0

    assert sorted(tried) == list("abcdef")


def test_a_budget_is_spent_on_what_was_not_tried_in_this_run_first() -> None:
    tests = {"one": (0.0, "a b"), "two": (0.0, "a b c"), "three": (0.0, "a b d")}
    suite = Suite(tests, per="test", seconds=4.0, pace=1.0 / OVERHEAD)

    tried = suite.run()

    assert tried == {"one": ["a", "b"], "two": ["c"], "three": ["d"]}
    assert {test: record.over_budget for test, record in suite.records.items()} == {
        "one": 0,
        "two": 2,
        "three": 2,
    }
    assert all(r.over_budget == r.not_run for r in suite.records.values())


@pytest.mark.parametrize("looks_ahead", [True, False])
@pytest.mark.parametrize("per", ["test", "suite"])
def test_runs_with_a_budget_go_through_everything_one_after_the_other(
    per: str, looks_ahead: bool
) -> None:
    tests = {"one": (0.0, "a b c d"), "two": (0.0, "c d e"), "three": (0.0, "f g")}
    history: History | None = None
    runs: list[list[str]] = []

    for _ in range(4):
        suite = Suite(tests, per=per, seconds=2.0, history=history, looks_ahead=looks_ahead)
        runs.append([name for names in suite.run().values() for name in names])
        plain = suite.history_after(history).as_plain()
        history = History.from_plain(plain)

    assert [len(names) for names in runs] == [2, 2, 2, 2]
    # All of them before any comes again, in the order of what was tried longest ago.
    assert sorted(runs[0] + runs[1] + runs[2]) == list("abcdef")
    assert "g" in runs[3]
    if looks_ahead:
        assert set(runs[3]) - {"g"} <= set(runs[0])


def test_a_trial_that_takes_longer_than_thought_leaves_time_for_what_is_more_urgent() -> None:
    tests = {"one": (0.0, "a b c d e f g h"), "two": (0.0, "i j"), "three": (0.0, "k")}
    history = History()
    history.add_run([TestRecord("one", tried=[aim(name).content() for name in "abcdefgh"])])
    suite = Suite(tests, per="test", seconds=5.0, history=history)

    tried = suite.run()

    assert tried["two"] + tried["three"] == ["i", "j", "k"]
    assert len(tried["one"]) <= 2  # the first one showed what they take


def test_a_machine_that_is_slower_than_last_time_still_gets_on() -> None:
    retried, new = [f"a{n}" for n in range(40)], [f"b{n}" for n in range(10)]
    tests = {"one": (0.0, " ".join(retried)), "two": (0.0, " ".join(new))}
    history = History()
    quick = [aim(name).content() for name in retried]
    history.add_run([TestRecord("one", tried=quick, spent=10.0, guessed=40 * OVERHEAD)])
    suite = Suite(tests, per="test", seconds=20.0, history=history)  # then 0.25 s, now 1 s

    tried = suite.run()

    assert len(tried["two"]) >= 9


def test_of_what_was_never_tried_the_quickest_comes_first() -> None:
    suite = Suite({"slow": (9.0, "a b"), "quick": (0.0, "c d")}, seconds=3.0, pace=1.0 / OVERHEAD)

    assert suite.run() == {"quick": ["c", "d"]}
    assert suite.records["slow"].over_budget == 2


def test_a_trial_that_takes_longer_than_the_whole_budget_is_tried_alone() -> None:
    suite = Suite({"slow": (9.0, "a b"), "slower": (9.1, "c")}, seconds=0.5, pace=1.0)

    assert suite.run() == {"slow": ["a"]}


def test_of_several_tests_the_one_comes_first_that_tried_it_longest_ago() -> None:
    tests = {"one": (0.0, "a"), "two": (0.0, "a"), "three": (0.0, "a")}
    history: History | None = None
    order = []

    for _ in range(3):
        suite = Suite(tests, per="test", seconds=1.0, history=history)
        order += list(suite.run())
        history = suite.history_after(history)

    assert sorted(order) == ["one", "three", "two"]


def test_when_the_budget_is_spent_no_other_test_is_looked_at() -> None:
    suite = Suite({"one": (0.0, "a b"), "two": (0.0, "c")}, seconds=1.0, looks_ahead=False)

    assert suite.run() == {"one": ["a"]}
    assert suite.censuses == ["one"]
    assert suite.records["one"].over_budget == 1
    assert suite.records["two"].baseline == BUDGET_SPENT


def test_a_foreseen_test_that_the_budget_has_no_time_for_says_how_much_is_left_out() -> None:
    suite = Suite({"one": (0.0, "a b"), "two": (0.0, "c d")}, seconds=2.0)

    suite.run()

    two = suite.records["two"]
    assert (two.baseline, two.sites, two.not_run, two.over_budget) == ("passed", 2, 2, 2)
    assert suite.assignment.untried() == 0


def test_trials_cost_what_they_have_cost_so_far() -> None:
    clock = Clock()
    budget = Budget(100.0, clock)

    before = budget.cost(1.0)
    with budget.spending():
        clock.now += 10 * before * 3
    for _ in range(10):
        budget.learn(1.0)

    assert before == OVERHEAD + 2.0
    assert budget.cost(1.0) == pytest.approx(3 * before)
    assert budget.left == pytest.approx(100.0 - 30 * before)
    assert not budget.is_spent


def test_time_in_a_block_counts_while_it_passes() -> None:
    clock = Clock()
    budget = Budget(5.0, clock)
    clock.now = 3.0  # the tests' own time is not the budget's

    with budget.spending():
        clock.now += 5.0
        assert budget.is_spent
    assert budget.left == 0.0


def test_a_forecast_survives_a_pipe() -> None:
    site = Site("ring.py", "open", 1, 4, 7, 0, 12, "obj", "list_append")
    forecast = {
        "one": Foreseen(0.5, 1, (Aim("fail_pymem", site, "last", persistent=True),)),
        "two": Foreseen(0.1, 0, (drawn("two", 3),)),
    }

    assert from_plain(to_plain(forecast)) == forecast


def test_an_edit_elsewhere_in_the_file_does_not_make_a_call_site_look_new() -> None:
    before = Aim("failslab", Site("/p/ring.py", "open", 10, 14, 4), "1")
    after = Aim("failslab", Site("/p/ring.py", "open", 30, 34, 4), "1")
    other = Aim("failslab", Site("/p/ring.py", "open", 30, 35, 4), "1")

    assert before.content() == after.content() != other.content()
    assert before.content(lambda file: "ring.py").startswith("failslab|ring.py|open+4")


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {},
        {"version": 99, "runs": 1},
        {"version": 1, "runs": 1, "aims": [["a", 1]], "tests": {"t": [[5, 1]]}},
        {"version": 1, "runs": "many", "aims": [], "tests": {}},
    ],
)
def test_a_history_that_cannot_be_read_is_an_empty_one(plain: object) -> None:
    history = History.from_plain(plain)

    assert (history.runs, history.last("a"), history.last_in("t", "a")) == (0, 0, 0)


def test_a_history_forgets_what_nobody_has_tried_for_very_long() -> None:
    history = History()
    history.add_run([TestRecord("t", tried=["old"])])

    for _ in range(200):
        history.add_run([TestRecord("t", tried=["a"])])

    kept = History.from_plain(history.as_plain())
    assert (kept.last("old"), kept.last("a"), kept.last_in("t", "a")) == (0, 201, 201)
