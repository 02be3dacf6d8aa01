import threading
from collections import Counter

import pytest

from faultinject.engine.attr import Decision, FaultAttr
from faultinject.engine.scope import fail_nth, make_it_fail, no_faults
from faultinject.errors import SpecError


def quiet(**knobs: object) -> FaultAttr:
    return FaultAttr(**{"verbose": 0, **knobs})  # type: ignore[arg-type]


def test_the_defaults_are_the_kernels_and_inject_nothing() -> None:
    attr = FaultAttr()

    assert [attr.probability, attr.interval, attr.times, attr.space] == [0, 1, 1, 0]
    assert [attr.verbose, attr.task_filter, attr.stacktrace_depth] == [2, False, 32]
    assert [attr.verbose_ratelimit_interval_ms, attr.verbose_ratelimit_burst] == [0, 10]
    assert attr.require == attr.reject == ()
    assert not attr.should_fail()


@pytest.mark.parametrize(
    ("attr", "size", "why"),
    [
        (quiet(), 1, Decision.OFF),
        (quiet(probability=100, task_filter=True), 1, Decision.NOT_MARKED),
        (quiet(probability=100, times=0), 1, Decision.EXHAUSTED),
        (quiet(probability=100, require="no.such"), 1, Decision.FILTERED),
        (quiet(probability=100, space=8), 4, Decision.IN_BUDGET),
        (quiet(probability=100, interval=2), 1, Decision.OFF_BEAT),
        (quiet(probability=1, seed=0), 1, Decision.SPARED),
        (quiet(probability=100), 1, Decision.FAIL),
    ],
    ids=lambda value: value.name if isinstance(value, Decision) else "",
)
def test_a_decision_says_why(attr: FaultAttr, size: int, why: Decision) -> None:
    assert attr.decide(size, draw=lambda: 50) is why


def test_a_decision_is_true_only_if_the_call_fails() -> None:
    failing = [decision for decision in Decision if decision]

    assert failing == [Decision.FAIL, Decision.FAIL_NTH]


# Each pair (earlier, later): with both reasons present, the earlier one is given, and the
# later one has charged nothing.
def test_the_reasons_are_tested_in_the_kernels_order() -> None:
    everything = {
        "probability": 0,
        "task_filter": True,
        "times": 0,
        "require": "no.such",
        "space": 9,
        "interval": 2,
    }
    cures = [
        ("probability", 1),
        ("task_filter", False),
        ("times", -1),
        ("require", ()),
        ("space", 0),
        ("interval", 1),
    ]
    attr = quiet(**everything)
    reasons = [attr.decide(1, draw=lambda: 50)]

    for knob, value in cures:
        assert (attr.space, attr.count) in [(9, 0), (8, 0), (0, 0), (0, 1)]
        setattr(attr, knob, value)
        reasons.append(attr.decide(1, draw=lambda: 50))

    assert reasons == [
        Decision.OFF,
        Decision.NOT_MARKED,
        Decision.EXHAUSTED,
        Decision.FILTERED,
        Decision.IN_BUDGET,
        Decision.OFF_BEAT,
        Decision.SPARED,
    ]
    assert (attr.space, attr.count) == (0, 1)


def test_a_refusal_of_the_stack_filter_charges_neither_space_nor_interval() -> None:
    attr = quiet(probability=100, require="no.such", space=5, interval=2)

    attr.should_fail()

    assert (attr.space, attr.count, attr.times) == (5, 0, 1)


def test_a_call_in_the_budget_does_not_advance_the_interval_or_the_draws() -> None:
    attr = quiet(probability=100, space=5, interval=2)
    draws = Counter[str]()

    attr.decide(1, draw=lambda: draws.update(["draw"]) or 0)

    assert (attr.space, attr.count, draws.total()) == (4, 0, 0)


def test_the_draw_happens_after_the_interval() -> None:
    attr = quiet(probability=50, interval=2, times=-1)
    draws = iter([0, 99, 0])

    failed = [bool(attr.decide(1, draw=lambda: next(draws))) for _ in range(6)]

    assert failed == [False, True, False, False, False, True]


def test_the_interval_keeps_its_phase_through_a_change_of_knobs() -> None:
    attr = quiet(probability=100, interval=3, times=-1)
    first = [attr.should_fail() for _ in range(2)]

    attr.interval = 3
    attr.probability = 100

    assert [*first, attr.should_fail()] == [False, False, True]


@pytest.mark.parametrize("space", [-3, 0, 1])
def test_space_not_above_the_size_is_as_none(space: int) -> None:
    attr = quiet(probability=100, space=space)

    assert attr.should_fail(1)
    assert attr.space == space


def test_negative_times_other_than_minus_one_go_down_for_ever() -> None:
    attr = quiet(probability=100, times=-5)

    failed = [attr.should_fail() for _ in range(3)]

    assert failed == [True] * 3
    assert attr.times == -8


def test_fail_nth_reads_nothing_else_and_still_takes_from_times() -> None:
    attr = quiet(times=3, space=50, interval=7)

    with fail_nth(2):
        decisions = [attr.decide(1) for _ in range(3)]

    assert decisions == [Decision.COUNTED, Decision.FAIL_NTH, Decision.OFF]
    assert (attr.times, attr.space, attr.count) == (2, 50, 0)


def test_fail_nth_holds_back_the_rule_until_it_has_fired() -> None:
    attr = quiet(probability=100, times=-1)

    with fail_nth(3):
        failed = [attr.should_fail() for _ in range(5)]

    assert failed == [False, False, True, True, True]


def test_inside_no_faults_nothing_fails_and_nothing_is_charged() -> None:
    attr = quiet(probability=100, space=5)

    with fail_nth(1) as countdown, no_faults():
        failed = attr.should_fail(1)

    assert not failed
    assert (attr.space, countdown.remaining) == (5, 1)


def test_task_filter_fails_marked_stretches_only() -> None:
    attr = quiet(probability=100, times=-1, task_filter=True)

    before = attr.should_fail()
    with make_it_fail():
        inside = attr.should_fail()
    after = attr.should_fail()

    assert [before, inside, after] == [False, True, False]


def test_the_same_seed_gives_the_same_failures() -> None:
    runs = [
        [attr.should_fail() for _ in range(200)]
        for attr in (quiet(probability=30, times=-1, seed=7) for _ in range(2))
    ]

    assert runs[0] == runs[1]
    assert 20 < sum(runs[0]) < 100


def test_different_seeds_give_different_failures() -> None:
    runs = [
        [attr.should_fail() for _ in range(200)]
        for attr in (quiet(probability=30, times=-1, seed=seed) for seed in (7, 8))
    ]

    assert runs[0] != runs[1]


def test_a_random_seed_is_named_so_that_the_run_can_be_repeated() -> None:
    first = quiet(probability=50, times=-1)
    failures = [first.should_fail() for _ in range(100)]

    again = quiet(probability=50, times=-1, seed=first.drawn_seed)

    assert first.seed is None
    assert [again.should_fail() for _ in range(100)] == failures


def test_setting_the_seed_starts_the_draws_anew() -> None:
    attr = quiet(probability=50, times=-1, seed=3)
    first = [attr.should_fail() for _ in range(50)]

    attr.seed = 3

    assert [attr.should_fail() for _ in range(50)] == first


def test_a_copy_has_the_knobs_and_begins_anew() -> None:
    attr = quiet(probability=50, interval=2, times=-1, seed=3, name="x", require="a.b")
    first = [attr.should_fail() for _ in range(9)]

    twin = attr.copy()

    assert twin == attr
    assert (twin.name, twin.count) == ("x", 0)
    twin.require = attr.require = ()
    assert first == [False] * 9
    twin.times = 4
    assert attr.times == -1


def test_attributes_are_equal_if_their_knobs_are() -> None:
    assert FaultAttr(name="x") == FaultAttr(name="y")
    assert FaultAttr(times=2) != FaultAttr()
    assert FaultAttr() != "interval=1"


def test_a_live_attribute_has_no_hash() -> None:
    with pytest.raises(TypeError):
        hash(FaultAttr())


def test_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(FaultAttr(50, times=-1)) == "FaultAttr(probability=50, times=-1)"


@pytest.mark.parametrize("knob", ["probability", "interval", "times", "space", "verbose", "seed"])
@pytest.mark.parametrize("value", [True, "1", 1.0, b"1", [1]])
def test_a_number_of_another_type_is_refused_by_name(knob: str, value: object) -> None:
    with pytest.raises(SpecError) as caught:
        FaultAttr(**{knob: value})  # type: ignore[arg-type]

    assert knob in str(caught.value)
    assert repr(value) in str(caught.value)


def test_none_is_a_seed_and_nothing_else() -> None:
    with pytest.raises(SpecError, match="times is not a whole number: None"):
        FaultAttr(times=None)  # type: ignore[arg-type]

    assert FaultAttr(seed=None).seed is None


@pytest.mark.parametrize("value", [1, 0, "Y", None])
def test_a_flag_is_a_bool(value: object) -> None:
    with pytest.raises(SpecError, match="task_filter is not true or false"):
        FaultAttr(task_filter=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "knobs", [{"times": -5}, {"space": -3}, {"probability": 150}, {"require": "matches.nothing"}]
)
def test_ranges_are_not_checked(knobs: dict) -> None:
    assert FaultAttr(**knobs)


@pytest.mark.parametrize("knob", ["probability", "interval", "verbose", "stacktrace_depth"])
def test_what_has_no_sign_in_the_kernel_takes_none(knob: str) -> None:
    with pytest.raises(SpecError, match=f"{knob} is not a whole number from 0: -1"):
        FaultAttr(**{knob: -1})


def test_a_depth_is_cut_to_32_as_in_the_kernel() -> None:
    assert FaultAttr(stacktrace_depth=100).stacktrace_depth == 32


@pytest.mark.parametrize("value", [5, b"x", {"a": 1}, [5], None, ""])
def test_patterns_are_text(value: object) -> None:
    with pytest.raises(SpecError):
        FaultAttr(require=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["a.b|src/*.py", ["a.b", "src/*.py"], iter(("a.b", "src/*.py"))])
def test_patterns_are_one_text_or_several(value: object) -> None:
    assert FaultAttr(reject=value).reject == ("a.b", "src/*.py")  # type: ignore[arg-type]


def test_an_assignment_is_checked_like_an_argument() -> None:
    attr = FaultAttr()

    with pytest.raises(SpecError, match="times"):
        attr.times = "2"  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        attr.tims = 2  # type: ignore[attr-defined]

    assert attr.times == 1


def test_require_can_be_changed_between_calls() -> None:
    attr = quiet(probability=100, times=-1, require="no.such")
    before = attr.should_fail()

    attr.require = __name__

    assert [before, attr.should_fail()] == [False, True]


def test_100_times_under_8_threads_are_exactly_100_failures() -> None:
    attr = quiet(probability=100, times=100)
    failures = [0] * 8
    start = threading.Barrier(8)

    def run(index: int) -> None:
        start.wait()
        failures[index] = sum(attr.should_fail() for _ in range(400))

    threads = [threading.Thread(target=run, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(failures) == 100
    assert attr.times == 0


def test_the_last_of_times_can_be_taken_while_the_stack_is_looked_at() -> None:
    class Slow(FaultAttr):
        __slots__ = ()

        def _permits(self, frame: object) -> bool:
            self.times = 0  # what another thread does meanwhile
            return True

    attr = Slow(100, times=1, space=9, verbose=0)

    assert attr.decide(1) is Decision.EXHAUSTED
    assert (attr.times, attr.space) == (0, 9)


def test_an_interval_under_8_threads_counts_every_call_once() -> None:
    attr = quiet(probability=100, times=-1, interval=3)
    failures = [0] * 8
    start = threading.Barrier(8)

    def run(index: int) -> None:
        start.wait()
        failures[index] = sum(attr.should_fail() for _ in range(300))

    threads = [threading.Thread(target=run, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (attr.count, sum(failures)) == (2400, 800)
