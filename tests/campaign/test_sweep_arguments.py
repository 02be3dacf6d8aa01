"""`fi.sweep` refuses what cannot mean anything, before anything runs."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import faultinject as fi
from faultinject.campaign.outcome import Outcome
from faultinject.errors import FaultInjectError, SpecError, UsageError

TOKEN = "1|failslab|ring.py|open_ring+2.11|1|transient|open_ring"


def never() -> None:
    raise AssertionError("nothing may run")


async def coroutine() -> None: ...


def generator() -> Iterator[None]:
    yield


async def stream() -> AsyncIterator[None]:
    yield


class Later:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prep": 5}, "prep is not callable: 5"),
        ({"check": "check"}, "check is not callable: 'check'"),
        ({"capabilities": ""}, "a capability is missing"),
        ({"capabilities": []}, r"no capability is named: \[\] \(capabilities\)"),
        ({"capabilities": 5}, r"no capability is named: 5 \(capabilities\)"),
        ({"capabilities": ["failslab", 5]}, "no capability is named"),
        ({"capabilities": "failslap"}, "no such capability: 'failslap'.*failslab"),
        ({"capabilities": "failslab:interval=2"}, "interval without probability"),
        ({"capabilities": "failslab:times=-1"}, "times without probability"),
        ({"capabilities": "failslab:space=64"}, "space without probability"),
        ({"capabilities": "failslab:nth=2"}, "nth without probability"),
        ({"capabilities": "failslab:colour=1"}, "colour"),
        (
            {"capabilities": "fail_pymem:probability=9,min_size=10,max_size=5"},
            r"min_size is above max_size: nothing could fail: 10 \(fail_pymem, max_size=5\)",
        ),
        (
            {"capabilities": ["failslab", "failslab:cache_filter=1"]},
            "one capability is swept with two sets of knobs: 'failslab'",
        ),
        ({"isolation": "spoon"}, r"not a kind of isolation: 'spoon' \(isolation\).*fork"),
        ({"isolation": None}, "not a kind of isolation"),
        ({"isolation": "none", "jobs": 2}, "several jobs need a process each"),
        ({"jobs": 0}, r"jobs is not a whole number of at least 1: 0 \(sweep\(jobs="),
        ({"jobs": "2"}, "jobs is not a whole number"),
        ({"source": "no/such/folder"}, r"no such file or folder: 'no/such/folder' \(source\)"),
        ({"source": ["os", 5]}, "source is not text"),
        ({"omit": "missing.py"}, r"no such file or folder: 'missing.py' \(omit\)"),
        ({"omit": 5}, "omit is not text: 5"),
        ({"hits": "last"}, r"not a choice of hits: 'last' \(hits\)"),
        ({"hits": 0}, "not a choice of hits: 0"),
        ({"identity": "column"}, r"not an identity of call sites: 'column' \(identity\).*line"),
        ({"raises": "MemoryError"}, "raises is not an exception type: 'MemoryError'"),
        ({"raises": (OSError, int)}, "raises is not an exception type: <class 'int'>"),
        ({"raises": [OSError]}, "raises is not an exception type"),
        ({"raises": OSError()}, "raises is not an exception type"),
        ({"max": 0}, r"max is not a whole number of at least 1: 0 \(sweep\(max="),
        ({"max": True}, "max is not a whole number"),
        ({"max": 1.5}, "max is not a whole number"),
        ({"trials": 0}, "trials is not a whole number of at least 1"),
        ({"timeout": 0}, "timeout is not a number of seconds above 0: 0"),
        ({"timeout": -1.0}, "timeout is not a number"),
        ({"timeout": float("nan")}, "timeout is not a number"),
        ({"timeout": float("inf")}, "timeout is not a number"),
        ({"timeout": "5"}, "timeout is not a number"),
        ({"seed": "seven"}, "seed is not a whole number: 'seven'"),
        ({"seed": 1.0}, "seed is not a whole number"),
        ({"replay": "a token"}, r"not a replay token: 'a token' \(replay\)"),
        ({"replay": 5}, "a replay token is not text: 5"),
        ({"replay": TOKEN.replace("failslab", "failslap")}, "no such capability: 'failslap'"),
        ({"replay": "2" + TOKEN[1:]}, "a replay token of version 2"),
    ],
)
def test_an_argument_that_means_nothing_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(FaultInjectError, match=message):
        fi.sweep(never, **arguments)


@pytest.mark.parametrize("body", [None, 5, "body", object()])
def test_a_body_that_cannot_be_called_is_refused(body: Any) -> None:
    with pytest.raises(UsageError, match="body is not callable"):
        fi.sweep(body)


@pytest.mark.parametrize("role", ["body", "prep", "check"])
@pytest.mark.parametrize(
    "function",
    [coroutine, generator, stream, Later(), functools.partial(coroutine)],
    ids=["coroutine", "generator", "async generator", "object", "partial"],
)
def test_a_function_whose_call_runs_nothing_yet_is_refused(
    role: str, function: Callable[[], object]
) -> None:
    arguments: dict[str, Any] = {"body": never, role: function}

    with pytest.raises(UsageError, match=f"{role} is a coroutine or generator function.*asyncio"):
        fi.sweep(**arguments)


def test_a_wrong_spec_is_told_apart_as_a_spec_error() -> None:
    with pytest.raises(SpecError):
        fi.sweep(never, capabilities="failslab:interval=2")


def test_a_method_a_partial_and_an_object_can_be_swept() -> None:
    class Ring:
        def fill(self) -> None:
            fi.kfree(fi.kmalloc(64))

        __call__ = fill

    for body in (Ring().fill, functools.partial(Ring.fill, Ring()), Ring()):
        report = fi.sweep(body, capabilities="failslab")
        assert [trial.outcome for trial in report.trials] == [Outcome.RECOVERED]


@pytest.mark.parametrize("isolation", ["fork", "none"])
def test_a_sweep_inside_a_sweep_is_refused_with_the_reason(isolation: str) -> None:
    def inner() -> None:
        fi.kfree(fi.kmalloc(64))

    def body() -> None:
        fi.kfree(fi.kmalloc(64))
        fi.sweep(inner)

    with pytest.raises(UsageError, match=r"a campaign is already running in this process \(sweep"):
        fi.sweep(body, isolation=isolation)


def test_a_sweep_in_prep_is_no_sweep_inside_a_sweep() -> None:
    def prep() -> None:
        fi.sweep(lambda: fi.kfree(fi.kmalloc(64)), capabilities="failslab")

    report = fi.sweep(lambda: fi.kfree(fi.kmalloc(64)), prep=prep, capabilities="failslab")

    assert [trial.outcome for trial in report.trials] == [Outcome.RECOVERED]


def test_a_wrapped_coroutine_can_be_swept() -> None:
    async def main() -> None:
        fi.kfree(fi.kmalloc(64))

    report = fi.sweep(lambda: asyncio.run(main()), capabilities="failslab")

    assert [trial.outcome for trial in report.trials] == [Outcome.RECOVERED]
