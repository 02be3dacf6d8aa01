"""Which calls are allocations: the model's by name, wrappers of the same file, and a user's own."""

from __future__ import annotations

from textwrap import dedent
from typing import get_type_hints

import pytest

import faultinject.mm
from faultinject.errpaths.allocators import ALLOCATORS, CACHE_ALLOCATORS
from faultinject.errpaths.find import find_paths
from faultinject.mm import functions, kmem_cache, pool_functions


def allocations(source: str, *allocators: str) -> list[tuple[int, ...]]:
    """The lines of the allocations behind each path of a source that begins at line 1."""
    found = find_paths(dedent(source), "m.py", allocators=allocators)
    assert found.unreadable is None
    return [path.allocations for path in found.paths]


def can_be_none(function: object) -> bool:
    return type(None) in getattr(get_type_hints(function).get("return"), "__args__", ())


def test_the_models_calls_that_give_none_are_all_known() -> None:
    public = {
        name: call
        for module in (functions, pool_functions)
        for name, call in vars(module).items()
        if name in faultinject.mm.__all__
    }
    known = {name for name, call in public.items() if callable(call) and can_be_none(call)}

    # An element can be anything, so its type does not tell.
    assert known | {"mempool_alloc"} == ALLOCATORS


def test_the_caches_calls_that_give_none_are_all_known() -> None:
    methods = {
        name: method
        for name, method in vars(kmem_cache.KmemCache).items()
        if callable(method) and not name.startswith("_")
    }

    assert {name for name, call in methods.items() if can_be_none(call)} == CACHE_ALLOCATORS


CALLS = {
    "the package": "import faultinject\nx = faultinject.kmalloc(8)",
    "under a short name": "import faultinject as fi\nx = fi.kzalloc(8)",
    "by its module": "import faultinject.mm.functions\nx = faultinject.mm.functions.kmalloc(8)",
    "by a module that was imported": "from faultinject import mm\nx = mm.alloc_pages(0, 1)",
    "the name": "from faultinject import kmalloc\nx = kmalloc(8)",
    "another name": "from faultinject import kmalloc as get\nx = get(8)",
    "everything": "from faultinject import *\nx = kmalloc(8)",
    "a memory's method": "from faultinject import Memory as M\nx = M().kmalloc(8)",
    "an attribute's method": "import a\nx = a.b.memory.krealloc(None, 8)",
    "an element's method": "import a\nx = a[0].kmalloc(8)",
    "a method under another name": "import faultinject as fi\nget = fi.kmalloc; x = get(8)",
    "some arguments given": (
        "import faultinject as fi, functools\nx = functools.partial(fi.kmalloc, 8)()"
    ),
    "cast": "from typing import cast\nx = cast(P, mem.kmalloc(8))",
    "a cache": "c = mem.kmem_cache_create('n', 8)\nx = c.alloc()",
    "a cache in an attribute": "self.c = fi.kmem_cache_create('n', 8)\nx = o.c.alloc_bulk(0, 3)",
    "a cache without a name": "import a\nx = mem.kmem_cache_create('n', 8).alloc()",
    "a cache that is annotated": "c: 'fi.KmemCache | None'\nx = c.alloc()",
    "a pool": "p = mem.mempool_create_slab_pool(2, c)\nx = p.alloc()",
    "a pool that is annotated": "p: fi.Mempool\nx = p.alloc()",
    "inside a function": "def f(): import faultinject as fi\nx = fi.kmalloc(8)",
}


@pytest.mark.parametrize("source", CALLS.values(), ids=CALLS)
def test_an_allocation_is_known_however_it_is_reached(source: str) -> None:
    assert allocations(f"{source}\nif x is None:\n    a()\n") == [(2,)]


NO_CALLS = {
    "a function of this file": "def kmalloc(n): return b(n)\nx = kmalloc(8)",
    "another's under the name": "from a import b as kmalloc\nx = kmalloc(8)",
    "a free": "import faultinject as fi\nx = fi.kfree(kmalloc)",
    "alloc of no cache": "c = fi.kmem_cache_create('n', 8)\nx = d.alloc()",
    "the function, not called": "import faultinject as fi\nx = fi.kmalloc",
}


@pytest.mark.parametrize("source", NO_CALLS.values(), ids=NO_CALLS)
def test_what_only_looks_like_an_allocation_is_none(source: str) -> None:
    assert allocations(f"{source}\nif x is None:\n    a()\n") == []


WRAPPERS = {
    "a function": (
        "def get(): return kmalloc(8)\nx = get()\nif x is None:\n    a()\n",
        [(1, 2)],
    ),
    "a function below, of a function below": (
        "def f():\n    x = get()\n    if x is None:\n        a()\n"
        "def get(): return got()\ndef got():\n    p = kmalloc(8)\n    return p\n",
        [(2, 5, 7)],
    ),
    "a function that checked": (
        "def get():\n    p = kmalloc(8)\n    if p is None:\n        raise A\n    return p\n"
        "x = get()\nif x is None:\n    a()\n",
        [(2,), (2,)],
    ),
    "a function that makes its own None of it": (
        "def get():\n    p = kmalloc(8)\n    if p is None:\n        return None\n"
        "    return Buffer(p)\nif (x := get()) is None:\n    a()\n",
        [(2,), (2,), (2, 6)],
    ),
    "a lambda": ("get = lambda: kmalloc(8)\nx = get() or a()\n", [(1, 2)]),
    "a generator's result is no result": (
        "def get():\n    yield 1\n    return kmalloc(8)\nx = get() or a()\n",
        [],
    ),
    "a method": (
        "class C:\n    def get(self): return kmalloc(8)\n    def use(self):\n"
        "        return self.get() or a()\n",
        [(2, 4)],
    ),
    "a method of the class above": (
        "class B:\n    def get(self): return kmalloc(8)\nclass C(B):\n"
        "    def use(self): return self.get() or a()\n",
        [(2, 4)],
    ),
    "a method of an object": (
        "class C:\n    def get(self): return kmalloc(8)\nc = C()\nx = c.get() or a()\n"
        "def f(d: C): return d.get() or b()\n",
        [(2, 4), (2, 5)],
    ),
    "a method of the same name in another class": (
        "class C:\n    def get(self): return kmalloc(8)\nclass D:\n    def get(self): pass\n"
        "d = D()\nx = d.get() or a()\n",
        [],
    ),
    "a default": ("def f(get=kmalloc): return get(8) or a()\n", [(1,)]),
    "functions that call each other": (
        "def f(): return g()\ndef g(): return f() or kmalloc(8)\nx = f() or a()\n",
        [(1, 2), (1, 2, 3)],
    ),
}


@pytest.mark.parametrize(("source", "expected"), WRAPPERS.values(), ids=WRAPPERS)
def test_a_function_that_hands_the_none_on_is_an_allocation(
    source: str, expected: list[tuple[int, ...]]
) -> None:
    assert allocations(source) == expected


EXTRA = "import pool\nfrom pool.slow import take as get\n\nx = {call}\nif x is None:\n    a()\n"


@pytest.mark.parametrize(
    ("allocator", "call", "found"),
    [
        ("take", "pool.take()", True),
        ("take", "anything.at.all().take()", True),
        ("take", "get()", True),
        ("pool.take", "pool.take()", True),
        ("pool:take", "pool.take()", True),
        ("pool.slow.take", "get()", True),
        ("pool.take", "get()", False),
        ("pool.take", "other.take()", False),
        ("take", "pool.retake()", False),
    ],
)
def test_a_user_can_name_more_allocators(allocator: str, call: str, found: bool) -> None:
    assert allocations(EXTRA.format(call=call), allocator) == [(4,)] * found
