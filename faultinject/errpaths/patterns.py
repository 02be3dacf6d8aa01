"""Patterns: what a ``case`` says about the result of an allocation call."""

from __future__ import annotations

import ast

from faultinject.errpaths.values import (
    NO_LINES,
    UNKNOWN,
    Environment,
    Evaluator,
    Lines,
    Value,
)


def lines_of_pattern(
    pattern: ast.pattern, subject: ast.expr | None, env: Environment, values: Evaluator
) -> Lines:
    """Give the allocation calls whose ``None`` a pattern asks for.

    Args:
        pattern: of one ``case``.
        subject: what it is matched with; the elements of a tuple are known apart.
        env: where the subject is evaluated.
        values: evaluates it.
    """
    match pattern:
        case ast.MatchSingleton(value=None):
            return values.value(subject, env).none
        case ast.MatchOr(patterns=alternatives):
            lines = [lines_of_pattern(one, subject, env, values) for one in alternatives]
            return NO_LINES.union(*lines)
        case ast.MatchAs(pattern=ast.pattern() as inner):
            return lines_of_pattern(inner, subject, env, values)
        case ast.MatchSequence(patterns=parts) if isinstance(subject, ast.Tuple | ast.List):
            if len(parts) == len(subject.elts):
                pairs = zip(parts, subject.elts, strict=True)
                lines = [lines_of_pattern(part, one, env, values) for part, one in pairs]
                return NO_LINES.union(*lines)
    return NO_LINES


def bind_captures(pattern: ast.pattern, value: Value, env: Environment) -> None:
    """Bind the names that a pattern captures; `value` is what is left for it to match."""
    for node in ast.walk(pattern):
        if isinstance(node, ast.MatchAs | ast.MatchStar) and node.name is not None:
            env.bind(node.name, value if node is pattern else UNKNOWN)


def is_catch_all(pattern: ast.pattern) -> bool:
    """Tell whether a pattern matches everything: ``case _`` or ``case name``."""
    return isinstance(pattern, ast.MatchAs) and pattern.pattern is None
