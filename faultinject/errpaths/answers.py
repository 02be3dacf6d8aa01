"""Answers: what it means for a test to come out true or false.

Lives here: `answers_of`, which reads a condition, with ``and``, ``or`` and ``not``, for
what it says about the results of allocation calls. A name that is tested for truth is
taken for a pointer: objects that were allocated are true.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, replace

from faultinject.errpaths.values import (
    NO_LINES,
    UNKNOWN,
    Environment,
    Evaluator,
    Lines,
    place_of,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one outcome of a test says.

    Attributes:
        lines: the allocation calls whose ``None`` can be why it came out like that.
        good: the places that hold no ``None`` then.
        none: the places that hold one for certain.
    """

    lines: Lines = NO_LINES
    good: frozenset[str] = frozenset()
    none: frozenset[str] = frozenset()

    def applied(self, env: Environment) -> Environment:
        """Give a copy of an environment in which the test came out like that."""
        way = env.copy()
        for place in self.good:
            way.learn(place, replace(way.get(place) or UNKNOWN, none=NO_LINES, known_none=False))
        for place in self.none:
            way.learn(place, replace(way.get(place) or UNKNOWN, known_none=True))
        return way


@dataclass(frozen=True, slots=True)
class Answers:
    """What both outcomes of a test say."""

    true: Answer = Answer()
    false: Answer = Answer()

    def swapped(self) -> Answers:
        """Give the answers of the opposite test."""
        return Answers(self.false, self.true)


NOTHING = Answers()


def answers_of(test: ast.expr, env: Environment, values: Evaluator) -> Answers:
    """Read a test whose named expressions have been bound in `env`."""
    match test:
        case ast.UnaryOp(op=ast.Not()):
            return answers_of(test.operand, env, values).swapped()
        case ast.BoolOp():
            return _answers_of_operands(test, env, values)
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            return _answers_of_comparison(left, operator, right, env, values)
        case ast.Call(func=ast.Name(id="bool"), args=[argument]):
            return answers_of(argument, env, values)
        case ast.Call(func=ast.Name(id="any" | "all" as name), args=[argument]):
            return _answers_over_items(name, argument, env, values)
    return _is_none(test, env, values).swapped()


def _is_none(node: ast.expr, env: Environment, values: Evaluator) -> Answers:
    lines = values.value(node, env).none
    if not lines:
        return NOTHING
    place = place_of(node)
    places = frozenset() if place is None else frozenset({place})
    return Answers(Answer(lines, none=places), Answer(good=places))


def _answers_of_operands(test: ast.BoolOp, env: Environment, values: Evaluator) -> Answers:
    answers = [answers_of(operand, env, values) for operand in test.values]
    if isinstance(test.op, ast.And):
        return Answers(_all(a.true for a in answers), _one([a.false for a in answers]))
    return Answers(_one([a.true for a in answers]), _all(a.false for a in answers))


def _all(answers: Iterable[Answer]) -> Answer:
    """Every operand came out like that."""
    joined = Answer()
    for answer in answers:
        joined = Answer(
            joined.lines | answer.lines, joined.good | answer.good, joined.none | answer.none
        )
    return joined


def _one(answers: list[Answer]) -> Answer:
    """At least one operand did; which, nobody knows."""
    return Answer(
        NO_LINES.union(*(answer.lines for answer in answers)),
        frozenset.intersection(*(answer.good for answer in answers)),
        frozenset.intersection(*(answer.none for answer in answers)),
    )


def _answers_of_comparison(
    left: ast.expr, operator: ast.cmpop, right: ast.expr, env: Environment, values: Evaluator
) -> Answers:
    if isinstance(operator, ast.In | ast.NotIn) and _means_none(left):
        found = Answers(true=Answer(values.value(right, env).items))
        return found if isinstance(operator, ast.In) else found.swapped()
    if _means_none(left):
        left, right = right, left
    if not _means_none(right):
        return NOTHING
    answers = _is_none(left, env, values)
    if isinstance(operator, ast.Is | ast.Eq):
        return answers
    return answers.swapped() if isinstance(operator, ast.IsNot | ast.NotEq) else NOTHING


def _answers_over_items(
    name: str, argument: ast.expr, env: Environment, values: Evaluator
) -> Answers:
    if isinstance(argument, ast.GeneratorExp | ast.ListComp):
        each = answers_of(argument.elt, values.inside(argument, env), values)
        lines = each.true.lines if name == "any" else each.false.lines
    else:
        lines = values.value(argument, env).items if name == "all" else NO_LINES
    found = Answers(true=Answer(lines))
    return found if name == "any" else found.swapped()


def _means_none(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return node.value is None
    name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
    return name == "NULL"
