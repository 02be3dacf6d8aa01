"""One run of prep, body and check under observation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from faultinject.campaign.evidence import RunResult
from faultinject.campaign.functions import Functions


class Arm:
    """Says when the body is armed."""

    def __init__(self) -> None:
        self.on = False

    @contextmanager
    def armed(self) -> Iterator[None]:
        self.on = True
        try:
            yield
        finally:
            self.on = False

    def begin(self) -> None: ...


def run(
    body: Callable[..., object],
    prep: Callable[[], object] | None = None,
    check: Callable[..., object] | None = None,
    raises: tuple[type[BaseException], ...] = (),
) -> tuple[RunResult, list[str], str]:
    """Give the result of one armed run, its phases, and its traceback."""
    functions = Functions(body, prep, check, raises=raises)
    phases: list[str] = []
    result = functions.run(Arm(), phases.append)
    return result, phases, functions.explain()


def fail(error: BaseException) -> Callable[..., None]:
    def failing(*given: object) -> None:
        raise error

    return failing


def test_the_body_alone_is_armed() -> None:
    arm, seen = Arm(), []

    def look() -> None:
        seen.append(arm.on)

    functions = Functions(look, look, look)
    functions.run(arm, lambda phase: None)
    functions.run(None, lambda phase: None)

    assert seen == [False, True, False] + [False] * 3


def test_phases_are_told_as_they_begin() -> None:
    result, phases, text = run(lambda: None)

    assert phases == ["setup", "body", "invariants"]
    assert (result.passed, result.error, result.broken, text) == (True, None, [], "")


def test_a_body_that_ends_in_the_failure_is_checked_all_the_same() -> None:
    checked: list[int] = []

    result, phases, text = run(fail(MemoryError("full")), check=lambda: checked.append(1))

    assert checked == [1]
    assert phases[-1] == "invariants"
    assert (result.passed, result.propagated) == (False, True)
    assert result.error == "MemoryError: full"
    assert "in failing" in text


def test_a_preparation_that_fails_ends_the_run() -> None:
    ran: list[int] = []

    result, phases, _ = run(lambda: ran.append(1), prep=fail(LookupError()), check=fail(KeyError()))

    assert (ran, phases) == ([], ["setup"])
    assert (result.passed, result.propagated, result.broken) == (False, False, [])
    assert result.error == "LookupError"


@pytest.mark.parametrize(
    "error", [KeyError("broken"), MemoryError(), SystemExit(1), KeyboardInterrupt()]
)
def test_whatever_a_check_raises_is_a_broken_invariant(error: BaseException) -> None:
    result, _, text = run(lambda: None, check=fail(error))

    assert len(result.broken) == 1
    assert result.broken[0] == result.error
    assert (result.passed, result.propagated) == (False, False)
    assert type(error).__name__ in text


def test_a_broken_invariant_does_not_hide_what_ended_the_body() -> None:
    result, _, text = run(fail(MemoryError("first")), check=fail(MemoryError("second")))

    assert result.error == "MemoryError: first"
    assert result.broken == ["MemoryError: second"]
    assert "first" in text


@pytest.mark.parametrize("given", [0, "", [], ("a", "b")])
def test_anything_but_none_is_passed_on_as_one_argument(given: object) -> None:
    seen: list[tuple[object, ...]] = []

    run(lambda *given: seen.append(given), lambda: given, lambda *given: seen.append(given))

    assert seen == [(given,), (given,)]


def test_nothing_is_passed_on_where_nothing_was_prepared() -> None:
    seen: list[tuple[object, ...]] = []

    run(lambda *given: seen.append(given), lambda: None)

    assert seen == [()]


def test_the_traceback_is_rendered_once_and_then_let_go() -> None:
    functions = Functions(fail(KeyError("bug")), None, None)
    functions.run(Arm(), lambda phase: None)

    first = functions.explain()
    again = functions.explain()
    functions.run(None, lambda phase: None)

    assert "KeyError: 'bug'" in first
    assert again == first == functions.explain()


def test_a_declared_type_is_propagated() -> None:
    assert run(fail(KeyError()), raises=(LookupError,))[0].propagated
    assert not run(fail(KeyError()))[0].propagated
