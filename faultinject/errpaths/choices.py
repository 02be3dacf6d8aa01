"""Choices: the expressions that run, or not, because an allocation call gave ``None``.

Lives here: ``x if p is not None else y``, ``p is None and …``, ``p or …``, wherever they
stand in a statement, and the binding of ``:=``. Not here: the statements
(`faultinject.errpaths.branches`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from faultinject.errpaths.answers import answers_of
from faultinject.errpaths.draft import Draft, draft_of_expression
from faultinject.errpaths.path import PathKind
from faultinject.errpaths.qualname import MODULE
from faultinject.errpaths.scopes import parameters_of
from faultinject.errpaths.source import Source, span_of
from faultinject.errpaths.values import Environment, Evaluator, Lines

_Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp


class Choices:
    """Reads expressions in the order in which they run.

    Args:
        source: the source that they stand in.
        values: evaluates them.
        defer: is given every lambda, whose body runs later.

    Attributes:
        drafts: what was found.
        function: the name of the function that is read.
    """

    def __init__(
        self, source: Source, values: Evaluator, defer: Callable[[ast.Lambda], None]
    ) -> None:
        self.drafts: list[Draft] = []
        self.function = MODULE
        self._source = source
        self._values = values
        self._defer = defer

    def expression(self, root: ast.AST, env: Environment, within: int) -> None:
        """Read an expression whose value is used.

        Args:
            root: the expression.
            env: bound are the names that it gives a value.
            within: the line of the statement that it stands in.
        """
        # Not recursive but at choices: a long sum is a deep tree.
        waiting = [root]
        while waiting:
            node = waiting.pop()
            match node:
                case ast.Name() | ast.Constant():
                    pass
                case ast.NamedExpr():
                    self.expression(node.value, env, within)
                    env.bind(node.target.id, self._values.value(node.value, env))
                case ast.IfExp():
                    self._conditional(node, env, within)
                case ast.BoolOp():
                    self._operands(node, env, within, always=True)
                case ast.Lambda():
                    for _, default in parameters_of(node.args):
                        if default is not None:
                            self.expression(default, env, within)
                    self._defer(node)
                case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                    self._comprehension(node, env, within)
                case _:
                    waiting.extend(reversed(list(ast.iter_child_nodes(node))))

    def condition(self, test: ast.expr, env: Environment, within: int) -> None:
        """Read a test, of which only the outcome is used."""
        if isinstance(test, ast.BoolOp):
            self._operands(test, env, within, always=False)
        elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self.condition(test.operand, env, within)
        else:
            self.expression(test, env, within)

    def _conditional(self, node: ast.IfExp, env: Environment, within: int) -> None:
        self.condition(node.test, env, within)
        answers = answers_of(node.test, env, self._values)
        for way, answer, kind in (
            (node.body, answers.true, PathKind.NONE_BRANCH),
            (node.orelse, answers.false, PathKind.ELSE),
        ):
            if answer.lines:
                # A conditional expression as a whole has the place where its first part begins.
                decidable = way is not node.body
                self._draft(kind, way, way, within, answer.lines, decidable=decidable)
            self.expression(way, answer.applied(env), within)

    def _operands(self, node: ast.BoolOp, env: Environment, within: int, *, always: bool) -> None:
        """Read the operands of ``and`` and ``or``.

        In a test, those behind the deciding one count only where they do something:
        ``p is None or q is None`` is one question and no path.
        """
        read = self.expression if always else self.condition
        for index, operand in enumerate(node.values):
            read(operand, env, within)
            answers = answers_of(operand, env, self._values)
            going_on = answers.true if isinstance(node.op, ast.And) else answers.false
            rest = node.values[index + 1 :]
            if going_on.lines and rest and (always or _does_something(rest)):
                self._draft(PathKind.NONE_BRANCH, rest[0], rest[-1], within, going_on.lines)

    def _comprehension(self, node: _Comprehension, env: Environment, within: int) -> None:
        inner = env.copy()
        for generator in node.generators:
            self.expression(generator.iter, inner, within)
            self._values.bind_each(generator.target, generator.iter, inner)
            for test in generator.ifs:
                self.condition(test, inner, within)
                inner = answers_of(test, inner, self._values).true.applied(inner)
        if isinstance(node, ast.DictComp):
            self.expression(node.key, inner, within)
            self.expression(node.value, inner, within)
        else:
            self.expression(node.elt, inner, within)

    def _draft(
        self,
        kind: PathKind,
        first: ast.expr,
        last: ast.expr,
        within: int,
        lines: Lines,
        *,
        decidable: bool = True,
    ) -> None:
        draft = draft_of_expression(
            self._source, self.function, kind, span_of(first, last), within, lines
        )
        self.drafts.append(replace(draft, by_line=draft.by_line and decidable))


def _does_something(operands: Sequence[ast.expr]) -> bool:
    doing = ast.Call | ast.Await | ast.NamedExpr
    return any(isinstance(node, doing) for one in operands for node in ast.walk(one))
