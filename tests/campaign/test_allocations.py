"""Real allocations in a sweep: found, failed one by one, and judged."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import faultinject as fi
from faultinject.campaign.replay import parse_token
from faultinject.native import call_sites_unavailable

pytestmark = pytest.mark.skipif(
    call_sites_unavailable() is not None, reason=f"no call sites: {call_sites_unavailable()}"
)

HERE = __file__


class Cache:
    """Counts before it allocates: the bug that is planted here."""

    def __init__(self) -> None:
        self.items: dict[str, list[int]] = {}
        self.count = 0

    def put(self, key: str, value: int) -> None:
        self.count += 1
        self.items[key] = [value] * 3

    def put_well(self, key: str, value: int) -> None:
        self.items[key] = [value] * 3
        self.count += 1


def counted(cache: Cache) -> None:
    assert cache.count == len(cache.items)


def fill(cache: Cache) -> None:
    for number in (1000, 1001, 1002):
        cache.put("k%d" % number, number)  # noqa: UP031 - an f-string allocates otherwise


def fill_well(cache: Cache) -> None:
    for number in (1000, 1001, 1002):
        cache.put_well("k%d" % number, number)  # noqa: UP031


def swept(body: Any, **arguments: Any) -> fi.SweepReport:
    return fi.sweep(body, Cache, counted, capabilities="fail_pymem", source=[HERE], **arguments)


def test_every_line_that_allocates_fails_and_the_one_that_is_wrong_is_named() -> None:
    report = swept(fill)

    bad = {(trial.function, trial.outcome.value) for trial in report.bad}
    assert bad == {("Cache.put", "corrupted")}
    assert {trial.function for trial in report.trials} == {"Cache.put", "fill"}


def test_the_same_in_the_right_order_holds_under_every_fault() -> None:
    report = swept(fill_well)

    assert report.trials
    assert {trial.outcome.value for trial in report.trials} == {"propagated"}


def test_a_trial_tells_what_was_refused_and_its_traceback_says_so() -> None:
    trial = swept(fill).bad[0]

    assert trial.size > 0
    assert trial.unit == "bytes"
    assert trial.domain in ("obj", "mem")
    assert f"faultinject: fail_pymem refused {trial.size} bytes" in trial.text
    assert trial.replay in trial.text


def test_every_token_is_replayed_to_the_same_end() -> None:
    report = swept(fill)

    for trial in report.trials:
        again = swept(fill, replay=trial.replay)
        assert [item.outcome for item in again.trials] == [trial.outcome]
        assert again.trials[0].replay == trial.replay


def test_a_token_of_another_interpreter_finds_the_nearest_instruction() -> None:
    token = swept(fill).bad[0].replay
    at = parse_token(token).at  # type: ignore[union-attr]

    again = swept(fill, replay=token.replace(f"#{at}", f"#{at + 4000}"))

    assert [trial.outcome.value for trial in again.trials] == ["corrupted"]
    assert "has moved" in again.record.notes[0]


def test_a_line_is_one_site_and_its_instructions_are_several() -> None:
    by_line = swept(fill, identity="line")
    by_instruction = swept(fill)
    by_caller = swept(fill, identity="site")

    places = [(trial.line, trial.hit) for trial in by_line.trials]
    assert len(places) == len(set(places))
    assert by_line.sites < by_instruction.sites <= by_caller.sites
    assert all(parse_token(trial.replay).caller for trial in by_caller.trials)  # type: ignore[union-attr]


def test_a_fault_that_persists_fails_what_comes_after_it_as_well() -> None:
    seen: list[str] = []

    def twice() -> None:
        for size in (100_000, 200_000):
            try:
                bytes(size)
            except MemoryError:
                seen.append("refused")
        if seen == ["refused"]:
            raise ValueError

    knobs = {"capabilities": "fail_pymem:min_size=50000", "source": [HERE], "hits": "first"}
    once = fi.sweep(twice, seen.clear, **knobs)  # type: ignore[arg-type]
    lasting = fi.sweep(twice, seen.clear, persistent=True, **knobs)  # type: ignore[arg-type]

    assert [trial.outcome.value for trial in once.trials] == ["failed"]
    assert [trial.outcome.value for trial in lasting.trials] == ["recovered"]


def test_a_profile_narrows_the_requests() -> None:
    def large_and_small() -> tuple[bytes, list[int]]:
        return bytes(100_000), [1, 2, 3]

    lines = {
        profile: fi.sweep(
            large_and_small, capabilities=f"fail_pymem:profile={profile}", source=[HERE]
        )
        for profile in ("small", "pages")
    }

    assert all(trial.size <= 512 for trial in lines["small"].trials)
    assert all(trial.size > 512 for trial in lines["pages"].trials)
    assert lines["small"].trials
    assert lines["pages"].trials


def test_what_a_library_allocates_belongs_to_the_line_that_calls_it() -> None:
    def parse() -> Any:
        import json

        return json.loads('{"a": [1, 2, "three"]}')

    report = fi.sweep(parse, capabilities="fail_pymem")

    assert {trial.function.rpartition(".")[2] for trial in report.trials} == {"parse"}


def test_a_named_library_has_call_sites_of_its_own() -> None:
    def parse() -> Any:
        import json

        return json.loads('{"a": [1, 2, "three"]}')

    report = fi.sweep(parse, capabilities="fail_pymem", source=["json"])

    assert all(trial.file.endswith(("decoder.py", "__init__.py")) for trial in report.trials)
    assert report.trials


def test_other_threads_of_the_body_fail_too() -> None:
    def work() -> None:
        bytes(100_000)

    def in_a_thread() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    report = fi.sweep(in_a_thread, capabilities="fail_pymem:min_size=50000", source=[HERE])

    assert [trial.outcome.value for trial in report.trials] == ["unraisable"]


def test_hits_count_through_every_run_of_the_line() -> None:
    def thrice() -> None:
        for size in (60_000, 70_000, 80_000):
            bytes(size)

    report = fi.sweep(thrice, capabilities="fail_pymem:min_size=50000", source=[HERE], hits="all")

    assert [(trial.hit, trial.size // 10_000) for trial in report.trials] == [
        (1, 6),
        (2, 7),
        (3, 8),
    ]


def test_random_faults_stay_within_the_code_under_test() -> None:
    report = fi.sweep(
        fill,
        Cache,
        counted,
        capabilities="fail_pymem:probability=30",
        source=[HERE],
        trials=12,
        seed=7,
    )

    struck = [trial for trial in report.trials if trial.file]
    assert struck
    assert {trial.function for trial in struck} <= {"Cache.put", "fill"}


def test_kernel_style_code_fails_at_the_models_requests_unless_the_others_are_named() -> None:
    def body() -> None:
        pointer = fi.kmalloc(64)
        taken = [1000, 2000]
        if pointer is not None:
            fi.kfree(pointer)
        taken.append(3000)

    by_default = fi.sweep(body, source=[HERE])
    named = fi.sweep(body, capabilities=["failslab", "fail_pymem"], source=[HERE])

    assert "fail_pymem" not in {trial.capability for trial in by_default.trials}
    assert {trial.capability for trial in named.trials} == {"failslab", "fail_pymem"}


def test_code_that_asks_no_model_fails_at_its_real_allocations_by_default() -> None:
    report = fi.sweep(fill, Cache, counted, source=[HERE])

    assert {trial.capability for trial in report.trials} == {"fail_pymem"}
