"""Imports: what the names of a source stand for, as far as its imports say.

Nothing is imported. An import counts for the whole file, wherever it stands.
"""

from __future__ import annotations

import ast

from faultinject.errpaths.source import statements_in


class Imports:
    """The names that a module's import statements bind."""

    def __init__(self, tree: ast.Module) -> None:
        self._full: dict[str, str] = {}
        waiting: list[ast.AST] = [tree]
        while waiting:
            node = waiting.pop()
            waiting.extend(statements_in(node))
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.asname:
                        self._full[alias.asname] = alias.name
                    else:
                        first = alias.name.partition(".")[0]
                        self._full[first] = first
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                prefix = module if module.endswith(".") else f"{module}."
                for alias in node.names:
                    self._full[alias.asname or alias.name] = prefix + alias.name

    def full_name(self, node: ast.expr) -> str | None:
        """Resolve ``a.b.c`` to a full dotted name; None if it is no such chain.

        A name that is not imported stands for itself.
        """
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        parts.append(self._full.get(node.id, node.id))
        return ".".join(reversed(parts))
