"""Who holds an object: the attribute or the variable, by name.

Lives here: the way from an object back to a module, a class, an instance or a
closure. Not here: which objects are asked about (`faultinject.campaign.oracles.locks`).

The search reads every object of the process, so it is made only when something has
been found. What has no name, such as what only a running frame holds, has none here.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import (
    BuiltinFunctionType,
    CellType,
    FrameType,
    FunctionType,
    MemberDescriptorType,
    MethodType,
)
from typing import Any

from faultinject.native.places import HARNESS

# Containers between an object and its name, at most; also synchronizing objects.
_DEPTH = 4

# Modules whose instances are no holders of their own: a Condition's lock is named after
# the Condition, which is named after what it is an attribute of.
_SYNCHRONIZING = ("threading", "queue", "asyncio.locks", "asyncio.queues")

# What only runs with an object, and is nowhere that a reader could look.
_CODE = (BuiltinFunctionType, FrameType, FunctionType, MethodType)

# These take locks for themselves, and wait in them.
_PRIVATE = (*HARNESS, "_frozen_importlib", "_frozen_importlib_external", "importlib")


@contextmanager
def everything_seen(*, frozen: bool) -> Iterator[None]:
    """Inside the block the collector also shows what it was told to leave alone.

    Args:
        frozen: leave all of it alone again afterwards, as a forked child does. The count
            of frozen objects would not tell: Python 3.12 begins with some.
    """
    gc.unfreeze()
    try:
        yield
    finally:
        if frozen:
            gc.freeze()


def name_of(item: object, *, passing_over: Iterable[object] = ()) -> str | None:
    """Name what holds an object; the shortest name, or None.

    Args:
        item: the object.
        passing_over: lists of the searcher's own, which hold it only for the search.
    """
    over = frozenset(id(each) for each in passing_over)
    names = sorted(set(_names(item, _DEPTH, over)), key=lambda name: (len(name), name))
    return names[0] if names else None


def _names(item: object, depth: int, over: frozenset[int]) -> Iterator[str]:
    if depth == 0:
        return
    for holder in gc.get_referrers(item):
        if id(holder) in over or type(holder) in _CODE or isinstance(holder, type):
            continue
        if type(holder) is dict:
            yield from _names_in_dict(holder, item, depth, over)
        elif type(holder) in (list, tuple):
            yield from (f"{name}[…]" for name in _names(holder, depth - 1, over))
        elif type(holder) is CellType:
            yield from _names_in_closure(holder)
        else:
            yield from _names_in_instance(holder, item, depth, over)


def _names_in_dict(
    names: dict[Any, Any], item: object, depth: int, over: frozenset[int]
) -> Iterator[str]:
    keys = [key for key, value in list(names.items()) if value is item]
    module = sys.modules.get(names.get("__name__", ""))
    if module is not None and vars(module) is names:
        yield from (f"{module.__name__}.{key}" for key in keys if _counts(module.__name__))
        return
    is_space = False
    for owner in gc.get_referrers(names):
        if id(owner) in over or type(owner) in _CODE or type(owner) in (dict, list, tuple):
            continue
        if isinstance(owner, type):
            is_space = True
            if _counts(owner.__module__):
                yield from (f"{_of_type(owner)}.{key}" for key in keys)
        elif _attributes(owner) is names:
            is_space = True
            yield from _names_of_attributes(owner, keys, depth, over)
    if not is_space:
        yield from (f"{name}[…]" for name in _names(names, depth - 1, over))


def _names_in_instance(
    owner: object, item: object, depth: int, over: frozenset[int]
) -> Iterator[str]:
    keys = [key for key, value in (_attributes(owner) or {}).items() if value is item]
    for kind in type(owner).__mro__:
        for key, slot in list(vars(kind).items()) if "__slots__" in vars(kind) else ():
            if type(slot) is MemberDescriptorType:
                with suppress(AttributeError):  # a slot that is empty
                    if slot.__get__(owner) is item:
                        keys.append(key)
    yield from _names_of_attributes(owner, keys, depth, over)


def _names_of_attributes(
    owner: object, keys: list[str], depth: int, over: frozenset[int]
) -> Iterator[str]:
    kind = type(owner)
    if isinstance(owner, threading.Thread):
        # In 3.11 and 3.12 a thread that runs holds a lock.
        keys = [key for key in keys if key != "_tstate_lock"]
    if not keys or not _counts(kind.__module__):
        return
    if kind.__module__ in _SYNCHRONIZING:
        yield from _names(owner, depth - 1, over)
    else:
        yield from (f"{_of_type(kind)}.{key}" for key in keys)


def _names_in_closure(cell: CellType) -> Iterator[str]:
    for closure in gc.get_referrers(cell):
        if type(closure) is not tuple:
            continue
        for function in gc.get_referrers(closure):
            if type(function) is FunctionType and function.__closure__ is closure:
                index = next(i for i, each in enumerate(closure) if each is cell)
                if _counts(function.__module__):
                    variable = function.__code__.co_freevars[index]
                    yield f"{variable} in {function.__module__}.{function.__qualname__}"


def _attributes(owner: object) -> dict[str, Any] | None:
    try:
        found = object.__getattribute__(owner, "__dict__")
    except AttributeError:
        return None
    return found if type(found) is dict else None


def _of_type(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _counts(module: object) -> bool:
    return isinstance(module, str) and module.partition(".")[0] not in _PRIVATE
