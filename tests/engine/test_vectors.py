"""Every case of tests/vectors/should_fail.toml, run against the real rule."""

import logging
import tomllib
from contextlib import ExitStack
from pathlib import Path

import pytest

from faultinject.callsite import StackFilter
from faultinject.engine.attr import FaultAttr
from faultinject.engine.scope import fail_nth, make_it_fail
from faultinject.errors import SpecError

VECTORS = tomllib.loads(
    (Path(__file__).parent.parent / "vectors" / "should_fail.toml").read_text("utf-8")
)
FRAMES = [
    (frame["module"], frame["function"], frame["file"], frame["line"]) for frame in VECTORS["frame"]
]


def test_the_table_holds_every_row_of_the_dossier() -> None:
    rules = [row["id"] for row in VECTORS["should_fail"]]

    assert " ".join(rules) == "A B C D E F H I K M-unmarked M-marked M3 N O P Q"
    assert len(VECTORS["message"]) == 6
    assert len(VECTORS["boot"]) == 15
    assert len(VECTORS["stack"]) == 15
    assert len(VECTORS["gate"]) == 19


@pytest.mark.parametrize("row", VECTORS["should_fail"], ids=lambda row: row["id"])
def test_the_rule_decides_as_the_kernel_does(row: dict) -> None:
    refusal = {} if row.get("permitted", True) else {"require": "no.such.module"}
    attr = FaultAttr(**row["knobs"], **refusal, verbose=0)
    draws = iter(row.get("draws", [0] * len(row["calls"])))
    seen: dict[str, list[object]] = {name: [] for name in ("times", "space", "count", "nth")}
    pattern = ""

    with ExitStack() as stack:
        if row.get("made_to_fail"):
            stack.enter_context(make_it_fail())
        countdown = stack.enter_context(fail_nth(row["fail_nth"])) if "fail_nth" in row else None
        for size in row["calls"]:
            pattern += "F" if attr.decide(size, draw=lambda: next(draws)) else "."
            for name in ("times", "space", "count"):
                seen[name].append(getattr(attr, name))
            seen["nth"].append(countdown and countdown.remaining)

    assert pattern == row["pattern"]
    assert {name: seen[name] for name in seen if name in row} == {
        name: row[name] for name in seen if name in row
    }


@pytest.mark.parametrize("row", VECTORS["message"], ids=lambda row: row["id"])
def test_verbose_and_nowarn_decide_what_is_printed(
    row: dict, caplog: pytest.LogCaptureFixture
) -> None:
    attr = FaultAttr(**row["knobs"])

    failed = attr.decide(1, nowarn=row["nowarn"])

    records = [record for record in caplog.records if record.name == "faultinject"]
    assert failed
    assert len(records) == row["messages"]
    assert sum(record.stack_info is not None for record in records) == row["dumps"]
    assert all(record.levelno == logging.WARNING for record in records)
    assert attr.times == row["times"]


@pytest.mark.parametrize("row", VECTORS["boot"], ids=lambda row: repr(row["text"]))
def test_a_boot_string_is_read_as_the_kernel_reads_it(row: dict) -> None:
    text, *numbers = (row.get(k) for k in ("text", "interval", "probability", "space", "times"))

    if numbers[0] is None:
        with pytest.raises(SpecError):
            FaultAttr.parse(text)
        return
    attr = FaultAttr.parse(text)

    assert [attr.interval, attr.probability, attr.space, attr.times] == numbers
    assert (attr.verbose, attr.task_filter, attr.stacktrace_depth) == (2, False, 32)


@pytest.mark.parametrize("row", VECTORS["stack"], ids=lambda row: row["id"])
def test_the_stack_filter_answers_as_the_kernel_does(row: dict) -> None:
    attr = FaultAttr(
        probability=100,
        times=-1,
        require=row.get("require", ()),
        reject=row.get("reject", ()),
        stacktrace_depth=row.get("depth", 32),
    )
    stack_filter = StackFilter(attr.require, attr.reject, attr.stacktrace_depth)

    permits = stack_filter.permits_named(FRAMES if row.get("frames", True) else [])

    assert permits == row["fails"]


def _real_frames() -> dict[str, object]:
    """The three frames of the table as real functions, called one by the other."""
    space: dict[str, dict[str, object]] = {}
    inner = "ask"
    for frame in VECTORS["frame"]:
        names = {"__name__": frame["module"], "inner": space.get("inner", {}).get("call")}
        cls, _, method = frame["function"].rpartition(".")
        call = "inner(ask)" if names["inner"] else f"{inner}()"
        at = frame["line"] - (2 if cls else 1)
        head = [f"class {cls}:", f"  def {method}(self, ask):"] if cls else [f"def {method}(ask):"]
        source = "\n" * (at - len(head) + 1) + "\n".join([*head, f"   return {call}"])
        exec(compile(source, frame["file"], "exec"), names)
        names["call"] = getattr(names[cls](), method) if cls else names[method]
        space["inner"] = names
    return space["inner"]


@pytest.mark.parametrize(
    "row", [row for row in VECTORS["stack"] if row.get("frames", True)], ids=lambda row: row["id"]
)
def test_the_rule_filters_real_frames_alike(row: dict) -> None:
    outermost = _real_frames()["call"]
    # One frame more than in the table: the lambda that asks.
    depth = row.get("depth", 32)
    attr = FaultAttr(
        probability=100,
        times=-1,
        verbose=0,
        require=row.get("require", ()),
        reject=row.get("reject", ()),
        stacktrace_depth=depth + 1 if depth else 0,
    )

    failed = outermost(lambda: attr.should_fail())

    assert failed == row["fails"]
