"""Every case of tests/vectors/should_fail.toml, run against the C mirror of the rule."""

import tomllib
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from faultinject.native import CodeScope, Requests, core
from faultinject.prng import Prng

hook_missing = core.unavailable() is not None
pytestmark = pytest.mark.skipif(hook_missing, reason=str(core.unavailable()))
if not hook_missing:
    from faultinject.native import _hook

VECTORS = tomllib.loads(
    (Path(__file__).parent.parent / "vectors" / "should_fail.toml").read_text("utf-8")
)


@pytest.mark.parametrize("shared", [False, True], ids=["one thread", "all threads"])
@pytest.mark.parametrize("row", VECTORS["should_fail"], ids=lambda row: row["id"])
def test_the_c_rule_decides_as_the_kernel_does(row: dict, shared: bool) -> None:
    rule = _hook.Rule(
        **row["knobs"],
        marked=row.get("made_to_fail", False),
        nth=row.get("fail_nth", 0),
        shared=shared,
    )
    draws = iter(row.get("draws", [0] * len(row["calls"])))
    permitted = row.get("permitted", True)
    seen: dict[str, list[int]] = {name: [] for name in ("times", "space", "count", "nth")}
    pattern = ""

    draw = next(draws)
    for size in row["calls"]:
        decision = rule.decide(size, permitted, draw)
        if decision in ("FAIL", "SPARED"):
            draw = next(draws, 0)
        pattern += "F" if decision in ("FAIL", "FAIL_NTH") else "."
        for name, value in rule.state().items():
            seen[name].append(value)

    assert pattern == row["pattern"]
    assert {name: seen[name] for name in seen if name in row} == {
        name: row[name] for name in seen if name in row
    }


@pytest.mark.parametrize("seed", [0, 1, 7, 2**63, 2**64 - 1])
def test_the_c_rule_draws_what_the_reference_draws(seed: int) -> None:
    reference = Prng(seed)
    rule = _hook.Rule(seed=seed)

    assert [rule.roll() for _ in range(1000)] == [reference.roll() for _ in range(1000)]


@pytest.mark.parametrize("row", VECTORS["stack"], ids=lambda row: row["id"])
def test_the_c_stack_filter_answers_as_the_kernel_does(
    row: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = []
    for frame in VECTORS["frame"]:
        module = ModuleType(frame["module"])
        module.__file__ = frame["file"]
        monkeypatch.setitem(__import__("sys").modules, frame["module"], module)
        codes.append(code_at(frame["file"], frame["function"], frame["line"]))
    texts = {name: [row[name]] if name in row else [] for name in ("require", "reject")}
    scope = CodeScope.of(harness=(), filter_depth=row.get("depth", 32), **texts)
    arming = _hook.Arming(
        1, Requests.of().sizes, scope.rules, False, scope.depth, scope.filter_depth, (), (), 16
    )

    assert arming.permits(codes if row.get("frames", True) else []) == row["fails"]


def code_at(file: str, function: str, line: int) -> CodeType:
    source = (lambda: None).__code__
    return source.replace(co_filename=file, co_qualname=function, co_firstlineno=line)
