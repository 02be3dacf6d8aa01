"""States in which a call can have an error at all.

Lives here: the conditions that rows of profiles may name. A file that is open for reading
never says that the disk is full. Not here: the rows (`faultinject.functions.profiles`), and
how a call's arguments are known (`faultinject.functions.watch`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

from faultinject.functions.imports import is_guarded
from faultinject.functions.watch import Call

_READING_SQL: Final = ("BEGIN", "EXPLAIN", "SELECT", "VALUES")
_WRITING_FLAGS: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def _writing(call: Call) -> bool:
    writable = getattr(call.first, "writable", None)
    try:
        return writable is None or bool(writable())
    except ValueError:  # the file is closed: the call says so itself
        return False


def _path(call: Call) -> bool:
    return not isinstance(call.first, int)  # a descriptor is open already


def _creating(call: Call) -> bool:
    # All that open files have the mode second, a method after the object.
    second = call.arguments[1] if len(call.arguments) > 1 else None
    mode = call.named.get("mode", call.named.get("flags", second))
    if not _path(call) or mode is None:
        return False
    if isinstance(mode, int):
        return bool(mode & _WRITING_FLAGS)
    return not isinstance(mode, str) or not set("wax+").isdisjoint(mode)


def _timeout(call: Call) -> bool:
    if "timeout" in call.named:
        return call.named["timeout"] is not None
    limit = getattr(call.first, "gettimeout", None)
    if limit is not None:
        return bool(limit())
    # It stands last: `communicate` has its input before it. On 3.11 defaults are given as well.
    return isinstance(call.arguments[-1] if call.arguments else None, int | float)


def _raising(call: Call) -> bool:
    second = call.arguments[1] if len(call.arguments) > 1 else False
    return not call.named.get("ignore_errors", second)


def _changing(call: Call) -> bool:
    sql = call.named.get("sql", call.arguments[1] if len(call.arguments) > 1 else None)
    words = sql.split(None, 1) if isinstance(sql, str) else []
    return not words or words[0].upper() not in _READING_SQL


def _guarded(call: Call) -> bool:
    return is_guarded(call.frame)


CONDITIONS: Final[Mapping[str, Callable[[Call], bool]]] = {
    "writing": _writing,
    "path": _path,
    "creating": _creating,
    "changing": _changing,
    "guarded": _guarded,
    "timeout": _timeout,
    "raising": _raising,
}
"""By name."""
