"""Branches: what runs because an allocation call gave ``None``.

Lives here: the walk over a source, in the order in which it runs, that knows at each test
which names may hold such a ``None``. Not here: what a test says (``answers``), what a
name holds (``values``), the expressions inside statements (``choices``), all beside this
file. Loops are read once: a result that is tested at the head of the next round counts
only where it could also get there without the loop.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from faultinject.errpaths.allocators import Allocators
from faultinject.errpaths.answers import Answer, answers_of
from faultinject.errpaths.choices import Choices
from faultinject.errpaths.draft import Draft, draft_of_block, draft_of_statement
from faultinject.errpaths.imports import Imports
from faultinject.errpaths.leaving import is_error, raised_types
from faultinject.errpaths.path import PathKind
from faultinject.errpaths.patterns import bind_captures, is_catch_all, lines_of_pattern
from faultinject.errpaths.qualname import MODULE, inside
from faultinject.errpaths.scopes import (
    Scope,
    classes_of,
    has_break,
    is_generator,
    parameters_of,
)
from faultinject.errpaths.source import Source, last_line, span_of
from faultinject.errpaths.values import (
    NO_LINES,
    UNKNOWN,
    Environment,
    Evaluator,
    Function,
    Lines,
    Value,
    place_of,
)


def find_branches(source: Source, imports: Imports, allocators: Allocators) -> list[Draft]:
    """Give the branches on a failed allocation, in no order."""
    values = Evaluator(allocators, imports, classes_of(source.tree))
    while True:
        # A wrapper that is defined below its first use is known in the next round.
        known = dict(values.wrappers)
        drafts = _Reader(source, values).read()
        if values.wrappers == known:
            return drafts


@dataclass(frozen=True, slots=True)
class _End:
    """How a statement, or a block of them, ends.

    Attributes:
        left: whether what follows is never reached from it.
        missed: the allocations that have failed where what follows is reached, since
            their success left.
    """

    left: bool = False
    missed: Lines = NO_LINES


class _Reader:
    """One walk over a source.

    ``null`` is, everywhere below, the lines of the allocations that have failed where the
    walk is: empty outside of every branch that is looked for.
    """

    def __init__(self, source: Source, values: Evaluator) -> None:
        self._choices = Choices(source, values, self._defer)
        self._source = source
        self._values = values
        self._waiting: list[Scope] = []
        # The function that is read; its class body, if it is in one, has another name.
        self._node: Function | None = None
        self._env = Environment()
        self._name = MODULE

    def read(self) -> list[Draft]:
        """Read the module, then the functions in it, as they run: later."""
        self._block(self._source.tree.body, self._env, NO_LINES)
        while self._waiting:
            scope = self._waiting.pop(0)
            self._node = scope.node
            self._env = Environment(scope.outer)
            self._values.class_name = scope.class_name
            self._enter(scope.name)
            self._bind_parameters(scope.node, scope.outer)
            body = scope.node.body
            if isinstance(body, ast.expr):
                self._choices.expression(body, self._env, body.lineno)
                self._returns(self._values.value(body, self._env).none)
            else:
                self._block(body, self._env, NO_LINES)
        return self._choices.drafts

    def _enter(self, name: str) -> None:
        self._name = self._choices.function = name

    def _bind_parameters(self, node: Function, outer: Environment) -> None:
        for parameter, default in parameters_of(node.args):
            value = self._values.value(default, outer)
            annotated = self._values.instance_of(parameter.annotation)
            self._env.bind(
                parameter.arg,
                Value(gives=value.gives, function=value.function, instance=annotated),
            )

    def _defer(self, node: Function) -> None:
        """Read a function once everything around it is known."""
        name = inside(self._name, node)
        self._waiting.append(Scope(node, name, self._values.class_name, self._env))

    def _returns(self, lines: Lines) -> None:
        """The function that is read may give the ``None`` of these allocations."""
        node = self._node
        if not lines or node is None:
            return
        known = self._values.wrappers.get(node)
        if known is not None:
            self._values.wrappers[node] = known | lines
        elif not is_generator(node):
            self._values.wrappers[node] = lines

    # Blocks and statements

    def _block(self, statements: Sequence[ast.stmt], env: Environment, null: Lines) -> _End:
        left, missed = False, NO_LINES
        for index, statement in enumerate(statements):
            end = self._statement(statement, env, null)
            left = left or end.left
            if not end.missed:
                continue
            following = statements[index + 1 :]
            if following:
                self._draft(PathKind.ELSE, span_of(following[0]).line, following, end.missed)
                null |= end.missed
            if not _goes_round(statement):
                missed |= end.missed
        return _End(left, missed)

    def _statement(self, statement: ast.stmt, env: Environment, null: Lines) -> _End:
        match statement:
            case ast.If():
                return self._if(statement, env, null)
            case ast.While():
                return self._while(statement, env, null)
            case ast.For() | ast.AsyncFor():
                return self._for(statement, env, null)
            case ast.Try() | ast.TryStar():
                return self._try(statement, env, null)
            case ast.With() | ast.AsyncWith():
                return self._with(statement, env, null)
            case ast.Match():
                return _End(self._match(statement, env, null))
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(statement, env)
                return _End()
            case ast.ClassDef():
                self._class(statement, env, null)
                return _End()
        if not isinstance(statement, ast.Assert):
            for child in ast.iter_child_nodes(statement):
                if isinstance(child, ast.expr):
                    self._choices.expression(child, env, statement.lineno)
        return _End(self._simple(statement, env, null))

    def _simple(self, statement: ast.stmt, env: Environment, null: Lines) -> bool:
        values = self._values
        match statement:
            case ast.Assign():
                value = values.value(statement.value, env)
                for target in statement.targets:
                    values.assign(target, statement.value, value, env)
            case ast.AnnAssign() if statement.value is not None:
                value = values.value(statement.value, env)
                values.assign(statement.target, statement.value, value, env)
            case ast.AugAssign():
                values.assign(statement.target, None, UNKNOWN, env)
            case ast.Delete():
                for target in statement.targets:
                    values.assign(target, None, UNKNOWN, env)
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr="append"), args=[item]) as call):
                assert isinstance(call.func, ast.Attribute)
                values.add_item(call.func.value, values.value(item, env), env)
            case ast.Assert():
                self._assert(statement, env)
            case ast.Raise():
                if null:
                    self._draft_statement(PathKind.RAISE, statement, null, raised_types(statement))
                return True
            case ast.Return():
                self._return(statement, env, null)
                return True
            case ast.Continue() | ast.Break():
                return True
        return False

    def _return(self, statement: ast.Return, env: Environment, null: Lines) -> None:
        value = self._values.value(statement.value, env)
        self._returns(value.none)
        if null and (value.known_none or is_error(statement.value)):
            self._draft_statement(PathKind.ERROR_RETURN, statement, null)
            if statement.value is None or ast.unparse(statement.value) == "None":
                self._returns(null)

    def _assert(self, statement: ast.Assert, env: Environment) -> None:
        self._choices.condition(statement.test, env, statement.lineno)
        answers = answers_of(statement.test, env, self._values)
        if answers.false.lines:
            types = ("AssertionError",)
            self._draft_statement(PathKind.RAISE, statement, answers.false.lines, types)
        if statement.msg is not None:
            self._choices.expression(statement.msg, answers.false.applied(env), statement.lineno)
        env.join([answers.true.applied(env)])

    # Compound statements

    def _if(self, node: ast.If, env: Environment, null: Lines) -> _End:
        ways: list[Environment] = []
        here, missed = env, NO_LINES
        while True:  # once for each `elif`
            self._choices.condition(node.test, here, node.lineno)
            answers = answers_of(node.test, here, self._values)
            true, false = answers.true.applied(here), answers.false.applied(here)
            failed = answers.true.lines
            if failed:
                self._draft(PathKind.NONE_BRANCH, node.lineno, node.body, failed)
            if not self._block(node.body, true, null | failed).left:
                ways.append(true)
            missed |= answers.false.lines
            if not node.orelse:
                past_all_tests = not ways
                ways.append(false)
                break
            null |= self._else(node, answers.false.lines)
            if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
                node, here = node.orelse[0], false
                continue
            past_all_tests = False
            if not self._block(node.orelse, false, null).left:
                ways.append(false)
            break
        env.join(ways)
        return _End(not ways, missed if past_all_tests else NO_LINES)

    def _while(self, node: ast.While, env: Environment, null: Lines) -> _End:
        self._choices.condition(node.test, env, node.lineno)
        answers = answers_of(node.test, env, self._values)
        failed = answers.true.lines
        if failed:
            self._draft(PathKind.NONE_BRANCH, node.lineno, node.body, failed)
        body = answers.true.applied(env)
        end = self._block(node.body, body, null | failed)
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
        if has_break(node):
            env.join([env.copy(), body])
            endless = False
        else:
            # The loop ends by its test alone, whatever was done in it.
            again = answers_of(node.test, body, self._values)
            env.join([answers.false.applied(env), again.false.applied(body)])
        # What follows a loop that goes on while allocations succeed is no error path.
        missed = answers.false.lines if node.orelse else NO_LINES
        behind = self._behind_loop(node, missed if endless else missed | end.missed, env, null)
        return _End(endless or behind.left, behind.missed)

    def _for(self, node: ast.For | ast.AsyncFor, env: Environment, null: Lines) -> _End:
        self._choices.expression(node.iter, env, node.lineno)
        body = env.copy()
        self._values.bind_each(node.target, node.iter, body)
        end = self._block(node.body, body, null)
        env.join([env.copy(), body])
        return self._behind_loop(node, end.missed, env, null)

    def _behind_loop(
        self,
        node: ast.While | ast.For | ast.AsyncFor,
        missed: Lines,
        env: Environment,
        null: Lines,
    ) -> _End:
        """Read a loop's ``else``.

        Args:
            node: the loop, its body read.
            missed: the allocations that have failed when it ends without a ``break``.
            env: as it is then.
            null: as everywhere.
        """
        broken = has_break(node)
        if not node.orelse:
            return _End(False, NO_LINES if broken else missed)
        end = self._block(node.orelse, env, null | self._else(node, missed))
        return _End(end.left and not broken)

    def _else(self, node: ast.If | ast.While | ast.For | ast.AsyncFor, failed: Lines) -> Lines:
        if failed:
            above, first = last_line(node.body), node.orelse[0].lineno
            line = self._source.keyword_line("else", above, first)
            self._draft(PathKind.ELSE, line, node.orelse, failed)
        return failed

    def _try(self, node: ast.Try | ast.TryStar, env: Environment, null: Lines) -> _End:
        body = env.copy()
        ways = []
        end = self._block(node.body, body, null)
        thrown = env.copy()
        thrown.join([env, body])
        if not (self._block(node.orelse, body, null).left or end.left):
            ways.append(body)
        for handler in node.handlers:
            caught = thrown.copy()
            if handler.name:
                caught.bind(handler.name, UNKNOWN)
            if not self._block(handler.body, caught, null).left:
                ways.append(caught)
        env.join(ways or [body])
        left = self._block(node.finalbody, env, null).left or not ways
        # What follows is reached from a handler as well, success or not.
        return _End(left, NO_LINES if node.handlers else end.missed)

    def _with(self, node: ast.With | ast.AsyncWith, env: Environment, null: Lines) -> _End:
        for item in node.items:
            self._choices.expression(item.context_expr, env, node.lineno)
            if item.optional_vars is not None:
                self._values.assign(item.optional_vars, None, UNKNOWN, env)
        return self._block(node.body, env, null)

    def _match(self, node: ast.Match, env: Environment, null: Lines) -> bool:
        self._choices.expression(node.subject, env, node.lineno)
        value = self._values.value(node.subject, env)
        place = place_of(node.subject)
        ways: list[Environment] = []
        here, unanswered, refused = env, True, False
        for case in node.cases:
            inner = here.copy()
            lines = lines_of_pattern(case.pattern, node.subject, inner, self._values)
            kind = PathKind.NONE_BRANCH
            catches_all = is_catch_all(case.pattern)
            if lines:
                unanswered = unanswered and case.guard is not None
            elif catches_all and refused and unanswered:
                lines, kind = value.none, PathKind.ELSE
            bind_captures(case.pattern, value if unanswered else UNKNOWN, inner)
            refused = True
            if case.guard is not None:
                self._choices.condition(case.guard, inner, case.pattern.lineno)
                guard = answers_of(case.guard, inner, self._values)
                lines, inner = lines | guard.true.lines, guard.true.applied(inner)
            if lines:
                self._draft(kind, case.pattern.lineno, case.body, lines)
                if place is not None:
                    inner = Answer(none=frozenset({place})).applied(inner)
            elif place is not None and not (catches_all and unanswered):
                inner = Answer(good=frozenset({place})).applied(inner)
            if not self._block(case.body, inner, null | lines).left:
                ways.append(inner)
            if catches_all and case.guard is None:
                env.join(ways)
                return not ways
        past = here.copy()
        if not unanswered and place is not None:
            past = Answer(good=frozenset({place})).applied(past)
        env.join([*ways, past])
        return False

    # Definitions

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, env: Environment) -> None:
        defaults = [*node.args.defaults, *node.args.kw_defaults]
        for part in [*node.decorator_list, *defaults]:
            if part is not None:
                self._choices.expression(part, env, part.lineno)
        env.bind(node.name, Value(function=node))
        self._defer(node)

    def _class(self, node: ast.ClassDef, env: Environment, null: Lines) -> None:
        for part in [*node.decorator_list, *node.bases]:
            self._choices.expression(part, env, part.lineno)
        outer, outer_class = self._name, self._values.class_name
        self._enter(inside(outer, node))
        self._values.class_name = node.name
        self._block(node.body, Environment(env), null)
        self._values.class_name = outer_class
        self._enter(outer)
        env.bind(node.name, UNKNOWN)

    # Writing down

    def _draft(
        self, kind: PathKind, line: int, block: Sequence[ast.stmt], allocations: Lines
    ) -> None:
        self._choices.drafts.append(
            draft_of_block(self._source, self._name, kind, line, block, allocations=allocations)
        )

    def _draft_statement(
        self, kind: PathKind, statement: ast.stmt, null: Lines, types: tuple[str, ...] = ()
    ) -> None:
        self._choices.drafts.append(
            draft_of_statement(
                self._source, self._name, kind, statement, types=types, allocations=null
            )
        )


def _goes_round(statement: ast.stmt) -> bool:
    """Tell whether the success of an ``if`` begins the loop's next round."""
    return isinstance(statement, ast.If) and isinstance(statement.body[-1], ast.Continue)
