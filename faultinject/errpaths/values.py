"""Values: what a name holds at a point of the source, as far as allocations go.

Lives here: `Value` and `Environment`, and `Evaluator`, which gives the value of an
expression. Not here: what a test says about one (`faultinject.errpaths.answers`), and
the order in which a source runs (`faultinject.errpaths.branches`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from faultinject.errpaths.allocators import Allocators
from faultinject.errpaths.imports import Imports

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Lines: TypeAlias = frozenset[int]
NO_LINES: Lines = frozenset()


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of a value.

    Attributes:
        none: the lines of the allocation calls whose ``None`` it may be.
        items: the same, of the elements of a container.
        known_none: whether it is that ``None``: it has been tested.
        gives: if calling it is an allocation, the lines of those inside it; else None.
        function: the function of this source that it is.
        instance: the class of this source that it is an object of; "" if it is none.
    """

    none: Lines = NO_LINES
    items: Lines = NO_LINES
    known_none: bool = False
    gives: Lines | None = None
    function: Function | None = None
    instance: str = ""

    def __or__(self, other: Value) -> Value:
        """Give what may be either."""
        if self == other:
            return self
        gives = self.gives
        if other.gives is not None:
            gives = other.gives | (gives or NO_LINES)
        return Value(
            self.none | other.none,
            self.items | other.items,
            self.known_none and other.known_none,
            gives,
            self.function or other.function,
            self.instance or other.instance,
        )


UNKNOWN = Value()


class Environment:
    """The values of names and places (``self.ring``, ``slots[i]``) at a point of the source.

    Args:
        outer: the environment of the enclosing function, which is seen but not changed.
    """

    def __init__(self, outer: Environment | None = None) -> None:
        self._outer = outer
        self._own: dict[str, Value] = {}
        self._composed: set[str] = set()

    def get(self, place: str) -> Value | None:
        """Give the value at a place; None if nothing is known of it."""
        value = self._own.get(place)
        if value is not None or self._outer is None:
            return value
        if _root(place) in self._own:
            return None  # another object than the enclosing function's, by the same name
        return self._outer.get(place)

    def bind(self, place: str, value: Value) -> None:
        """Assign to a place; what was known of its parts and of what it indexed is gone."""
        if self._composed:
            word = re.compile(rf"\b{re.escape(place)}\b")
            for known in [known for known in self._composed if known != place]:
                if known.startswith((f"{place}.", f"{place}[")) or (
                    "[" in known and word.search(known[known.index("[") :])
                ):
                    self._composed.discard(known)
                    del self._own[known]
        self.learn(place, value)

    def learn(self, place: str, value: Value) -> None:
        """Know more of what is at a place already."""
        self._own[place] = value
        if not place.isidentifier():
            self._composed.add(place)

    def copy(self) -> Environment:
        """Give an environment that can go another way from here."""
        copy = Environment(self._outer)
        copy._own = dict(self._own)
        copy._composed = set(self._composed)
        return copy

    def join(self, ways: Iterable[Environment]) -> None:
        """Become what is known where several ways meet; nothing changes if there is none."""
        first, *others = [*ways] or [self]
        joined = dict(first._own)
        for other in others:
            for place in {*joined, *other._own}:
                here = joined.get(place) or first.get(place) or UNKNOWN
                joined[place] = here | (other.get(place) or UNKNOWN)
        self._own = joined
        self._composed = {place for place in joined if not place.isidentifier()}


def place_of(node: ast.expr | None) -> str | None:
    """Spell a name, an attribute or an element of a place; None if it is no place."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.NamedExpr):
        return node.target.id
    if isinstance(node, ast.Attribute):
        holder = place_of(node.value)
        return None if holder is None else f"{holder}.{node.attr}"
    if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Slice):
        holder = place_of(node.value)
        return None if holder is None else f"{holder}[{ast.unparse(node.slice)}]"
    return None


def _root(place: str) -> str:
    return re.split(r"[.\[]", place, maxsplit=1)[0]


class Evaluator:
    """Gives the values of expressions.

    Attributes:
        wrappers: the functions of this source whose result may be the ``None`` of an
            allocation, with the lines of those. The walk over the source adds to it.
        class_name: the class whose methods ``self`` has at present; "" outside of one.
    """

    def __init__(
        self, allocators: Allocators, imports: Imports, classes: Mapping[str, ast.ClassDef]
    ) -> None:
        self.wrappers: dict[Function, Lines] = {}
        self.class_name = ""
        self._allocators = allocators
        self._imports = imports
        self._classes = classes

    def value(self, node: ast.expr | None, env: Environment) -> Value:
        """Give the value of an expression."""
        match node:
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self._value_at(node, env)
            case ast.Call():
                return self._value_of_call(node, env)
            case ast.Await() | ast.NamedExpr() | ast.Starred():
                return self.value(node.value, env)
            case ast.IfExp():
                return self._value_of_conditional(node, env)
            case ast.BoolOp():
                values = [self.value(operand, env) for operand in node.values]
                if isinstance(node.op, ast.Or):
                    return values[-1]
                joined = values[0]
                for value in values[1:]:
                    joined |= value
                return joined
            case ast.List() | ast.Tuple() | ast.Set():
                lines = [self.value(element, env).none for element in node.elts]
                return Value(items=NO_LINES.union(*lines))
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                return Value(items=self.value(node.elt, self.inside(node, env)).none)
            case ast.Lambda():
                return Value(function=node)
        return UNKNOWN

    def inside(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, env: Environment
    ) -> Environment:
        """Give the environment in a comprehension, its targets bound."""
        inner = env.copy()
        for generator in node.generators:
            self.bind_each(generator.target, generator.iter, inner)
        return inner

    def bind_each(self, target: ast.expr, container: ast.expr, env: Environment) -> None:
        """Bind the target of a loop over a container."""
        if (
            isinstance(container, ast.Call)
            and isinstance(container.func, ast.Name)
            and container.func.id == "enumerate"
            and container.args
            and isinstance(target, ast.Tuple)
            and len(target.elts) == 2
        ):
            self.assign(target.elts[0], None, UNKNOWN, env)
            target, container = target.elts[1], container.args[0]
        self.assign(target, None, Value(none=self.value(container, env).items), env)

    def assign(
        self, target: ast.expr, node: ast.expr | None, value: Value, env: Environment
    ) -> None:
        """Bind a target, which may be a tuple, to `value`, the value of `node`."""
        if isinstance(target, ast.Starred):
            self.assign(target.value, None, Value(items=value.items), env)
        elif isinstance(target, ast.Tuple | ast.List):
            elements = node.elts if isinstance(node, ast.Tuple | ast.List) else []
            for index, inner in enumerate(target.elts):
                if len(elements) == len(target.elts):
                    self.assign(inner, elements[index], self.value(elements[index], env), env)
                else:
                    self.assign(inner, None, Value(value.items, value.items), env)
        else:
            place = place_of(target)
            if place is not None:
                env.bind(place, value)
            if isinstance(target, ast.Subscript):
                self.add_item(target.value, value, env)

    def add_item(self, container: ast.expr, value: Value, env: Environment) -> None:
        """Know of one more element of a container."""
        place = place_of(container)
        if place is not None and value.none:
            known = env.get(place) or UNKNOWN
            env.learn(place, replace(known, items=known.items | value.none))

    def gives(self, function: ast.expr, env: Environment) -> Lines | None:
        """Tell whether calling `function` is an allocation: the lines inside it, or None."""
        value = self._value_at(function, env)
        if value.gives is not None:
            return value.gives
        return self.wrappers.get(value.function) if value.function is not None else None

    def _value_at(self, node: ast.expr, env: Environment) -> Value:
        place = place_of(node)
        known = env.get(place) if place is not None else None
        if known is not None:
            return known
        if isinstance(node, ast.Attribute):
            method = self._method(self._class_of(node.value, env), node.attr)
            if method is not None:
                return Value(function=method)
        if isinstance(node, ast.Subscript):
            return Value(none=self._value_at(node.value, env).items)
        if self._allocators.named(node) or self._allocators.is_of_cache(node):
            return Value(gives=NO_LINES)
        return self.value(node, env) if isinstance(node, ast.Call) else UNKNOWN

    def _value_of_conditional(self, node: ast.IfExp, env: Environment) -> Value:
        # `p if p is not None else q`: what is tested is not given where it is None.
        tested = {place_of(part) for part in ast.walk(node.test) if isinstance(part, ast.expr)}
        joined = UNKNOWN
        for way in (node.body, node.orelse):
            value = self.value(way, env)
            place = place_of(way)
            joined |= replace(value, none=NO_LINES) if place and place in tested else value
        return joined

    def _value_of_call(self, node: ast.Call, env: Environment) -> Value:
        inside = self.gives(node.func, env)
        if inside is not None:
            return Value(none=inside | {node.lineno})
        full = self._imports.full_name(node.func) or ""
        if full == "typing.cast" and len(node.args) == 2:
            return self.value(node.args[1], env)
        if full == "functools.partial" and node.args:
            return Value(gives=self.gives(node.args[0], env))
        if full in {"list", "tuple", "reversed", "set"} and len(node.args) == 1:
            return Value(items=self.value(node.args[0], env).items)
        return Value(instance=self.instance_of(node.func))

    def instance_of(self, node: ast.expr | None) -> str:
        """Name the class of this source that an expression names; "" if it names none."""
        return node.id if isinstance(node, ast.Name) and node.id in self._classes else ""

    def _class_of(self, holder: ast.expr, env: Environment) -> str:
        """Name the class of this source whose method is meant, or ""."""
        if isinstance(holder, ast.Name):
            if holder.id in {"self", "cls"}:
                return self.class_name
            if holder.id in self._classes:
                return holder.id
        return self.value(holder, env).instance

    def _method(self, class_name: str, name: str) -> Function | None:
        seen: set[str] = set()
        waiting = [class_name]
        while waiting:
            current = waiting.pop(0)
            definition = self._classes.get(current)
            if definition is None or current in seen:
                continue
            seen.add(current)
            for statement in definition.body:
                if (
                    isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef)
                    and statement.name == name
                ):
                    return statement
            waiting.extend(base.id for base in definition.bases if isinstance(base, ast.Name))
        return None
