"""Allocators: which calls give ``None`` when an allocation fails, as far as names tell.

Lives here: the model memory's calls by name, and what a user adds to them. Not here: the
functions of a source that hand such a ``None`` on (`faultinject.errpaths.values`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Final

from faultinject.errpaths.imports import Imports
from faultinject.errpaths.source import Source

ALLOCATORS: Final = frozenset(
    {
        "alloc_page",
        "alloc_pages",
        "alloc_pages_exact",
        "get_free_pages",
        "get_zeroed_page",
        "kcalloc",
        "kmalloc",
        "kmalloc_array",
        "kmem_cache_alloc",
        "kmem_cache_alloc_bulk",
        "kmem_cache_zalloc",
        "kmemdup",
        "krealloc",
        "krealloc_array",
        "kstrdup",
        "kvcalloc",
        "kvmalloc",
        "kvmalloc_array",
        "kvzalloc",
        "kzalloc",
        "mempool_alloc",
        "mempool_create",
        "mempool_create_kmalloc_pool",
        "mempool_create_page_pool",
        "mempool_create_slab_pool",
        "vmalloc",
        "vzalloc",
    }
)
"""The model memory's calls that give ``None``, as functions and as methods of a ``Memory``."""

CACHE_ALLOCATORS: Final = frozenset({"alloc", "alloc_bulk"})
"""Those of a ``KmemCache`` or ``Mempool``; too common as names to stand for themselves."""

_CACHE_MAKERS: Final = frozenset(
    {
        "kmem_cache_create",
        "mempool_create",
        "mempool_create_kmalloc_pool",
        "mempool_create_page_pool",
        "mempool_create_slab_pool",
    }
)
_CACHE_TYPES: Final = frozenset({"KmemCache", "Mempool"})


class Allocators:
    """Tells by name whether a call is an allocation.

    Args:
        imports: the imports of the source.
        source: read for the names of its kmem_caches and mempools.
        extra: more allocators: a bare name (``take``) is one on whatever object it is
            called, a dotted one (``mypkg.pool.take`` or ``mypkg.pool:take``) is that
            function, by whatever import it is reached.
    """

    def __init__(self, imports: Imports, source: Source, extra: Iterable[str] = ()) -> None:
        self._imports = imports
        more = {name.replace(":", ".") for name in extra}
        self._dotted = {name for name in more if "." in name}
        self._bare = ALLOCATORS | (more - self._dotted)
        named = any(name in source.text for name in _CACHE_MAKERS | _CACHE_TYPES)
        self._caches = frozenset(_caches_of(source.tree) if named else ())

    def named(self, function: ast.expr) -> bool:
        """Tell whether an expression names a function that allocates."""
        full = self._imports.full_name(function)
        if full is not None:
            return full in self._dotted or full.rpartition(".")[2] in self._bare
        return isinstance(function, ast.Attribute) and function.attr in self._bare

    def is_of_cache(self, function: ast.expr) -> bool:
        """Tell whether an expression names ``alloc`` of what this source knows as a cache."""
        if not isinstance(function, ast.Attribute) or function.attr not in CACHE_ALLOCATORS:
            return False
        holder = function.value
        return _last_name(holder) in self._caches or _makes_cache(holder)


def mention_allocators(text: str, extra: Iterable[str] = ()) -> bool:
    """Tell whether a source can have an allocation call at all."""
    names = {re.split(r"[.:]", name)[-1] for name in extra}
    names |= ALLOCATORS | _CACHE_MAKERS | _CACHE_TYPES
    return re.search(rf"\b(?:{'|'.join(map(re.escape, names))})\b", text) is not None


def _caches_of(tree: ast.Module) -> Iterable[str]:
    """Give the names of what holds a cache: variables, attributes and parameters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _makes_cache(node.value):
            for target in node.targets:
                yield _last_name(target)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and (
            (node.value is not None and _makes_cache(node.value))
            or (isinstance(node, ast.AnnAssign) and _means_cache(node.annotation))
        ):
            yield _last_name(node.target)
        elif isinstance(node, ast.arg) and node.annotation is not None:
            if _means_cache(node.annotation):
                yield node.arg
        elif (
            isinstance(node, ast.withitem)
            and node.optional_vars is not None
            and _makes_cache(node.context_expr)
        ):
            yield _last_name(node.optional_vars)


def _makes_cache(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _last_name(node.func) in _CACHE_MAKERS


def _means_cache(annotation: ast.expr) -> bool:
    return any(
        _last_name(node) in _CACHE_TYPES
        or (
            isinstance(node, ast.Constant) and any(name in str(node.value) for name in _CACHE_TYPES)
        )
        for node in ast.walk(annotation)
    )


def _last_name(node: ast.AST) -> str:
    """Give ``c`` for ``a.b.c``; "" for what has no name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
