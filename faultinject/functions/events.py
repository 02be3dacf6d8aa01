"""Events: how calls are seen, by the interpreter's own means.

Lives here: ``sys.monitoring`` with a tool id of its own, from Python 3.12 on; on 3.11 the
profile function for what is written in C, and the evaluation of frames (PEP 523) for what is
written in Python. None is a trace function, so that coverage.py and debuggers keep theirs.
Not here: what is done with a call (`faultinject.functions.watch`).

On 3.12 and later a place that calls the same other thing again and again is switched off; on
3.11 every call reports, but only while something is watched.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MethodDescriptorType,
    WrapperDescriptorType,
)
from typing import Any, Final

from faultinject.errors import UnavailableError
from faultinject.functions.hook import hook, monitoring, why_unavailable
from faultinject.functions.target import Target

NAME: Final = "faultinject calls"

_MONITORS: Final = sys.version_info >= (3, 12)

# Those that PEP 669 gives to nobody come first, then those of rare kinds of tool; the
# debugger's and coverage's are left to them.
_TOOLS: Final = (3, 4, 5, 2)

# What the profile function and the evaluation of frames tell of.
_TOLD: Final = (
    FunctionType,
    BuiltinFunctionType,
    MethodDescriptorType,
    ClassMethodDescriptorType,
)

_tool = -1
_was_used = False


def refuse_if_taken() -> None:
    """Refuse where calls cannot be seen.

    Raises:
        UnavailableError: with the reason.
    """
    reason = why_unavailable()
    if reason is not None:
        raise UnavailableError(
            "calls cannot be seen here",
            where=reason,
            cure="`faultinject list` shows what is available",
            slug="unavailable",
        )
    if _MONITORS:
        if _tool < 0 and _free_tool() is None:
            raise UnavailableError(
                "calls cannot be seen: other tools have every id of sys.monitoring",
                value=[monitoring().get_tool(tool) for tool in sorted(_TOOLS)],
                cure="Switch one of them off",
                slug="no-monitoring-tool",
            )
    elif _hook().is_evaluated():
        raise UnavailableError(
            "calls cannot be seen: another tool evaluates the frames of Python code",
            where="PEP 523; a debugger, or a compiler that works while the program runs",
            cure="Switch it off, or use Python 3.12 or later",
            slug="profiler-running",
        )
    elif not _hook().is_profiling() and sys.getprofile() is not None:
        raise UnavailableError(
            "calls cannot be seen: a profiler is running",
            value=sys.getprofile(),
            where="sys.setprofile; Python 3.11 has one seat for it",
            cure="Switch it off, or use Python 3.12 or later",
            slug="profiler-running",
        )


def disable() -> object:
    """Give what a callback answers where it wants to hear no more of a place."""
    return monitoring().DISABLE if _MONITORS else None


def untold(callables: Iterable[object]) -> Iterator[object]:
    """Give those of whose calls no event tells, or not always.

    These are functions of Python, of which 3.12.1 does not tell where arguments are unpacked;
    on 3.11 all that is neither a function nor a method, such as classes.
    """
    for called in callables:
        if isinstance(called, FunctionType) if _MONITORS else not isinstance(called, _TOLD):
            yield called


def iterables(targets: Iterable[Target]) -> Iterator[tuple[type, object]]:
    """Give the C types of which the next item is watched: ``for line in file`` is no call."""
    for target in targets:
        method = target.callable
        if isinstance(method, WrapperDescriptorType) and method.__name__ == "__next__":
            yield target.owner or method.__objclass__, method


def start(targets: Iterable[Target]) -> None:
    """See calls, in every thread; again with other targets if that has begun."""
    if _MONITORS:
        _start_monitoring()
    else:
        _hook().start_profile()
        threading.setprofile(_enter_thread)
        if any(isinstance(target.callable, FunctionType) for target in targets):
            _hook().start_evaluating()


def stop() -> None:
    """See no calls any more."""
    if _MONITORS:
        _stop_monitoring()
    else:
        threading.setprofile(None)
        _hook().stop_profile()
        _hook().stop_evaluating()


# -- 3.12 and later ----------------------------------------------------------------------


def _start_monitoring() -> None:
    global _tool, _was_used
    of_python = monitoring()
    if _tool >= 0 or _was_used:
        # Places that are switched off stay so for good, and may call one of these now. Other
        # tools hear once more of theirs, and switch them off again.
        of_python.restart_events()
    _was_used = True
    if _tool >= 0:
        return
    tool = _free_tool()
    assert tool is not None
    of_python.use_tool_id(tool, NAME)
    _tool = tool
    of_python.register_callback(tool, of_python.events.CALL, hook.on_call)
    of_python.set_events(tool, of_python.events.CALL)


def _stop_monitoring() -> None:
    global _tool
    if _tool < 0:
        return
    of_python, tool = monitoring(), _tool
    _tool = -1
    of_python.set_events(tool, 0)
    of_python.register_callback(tool, of_python.events.CALL, None)
    of_python.free_tool_id(tool)


def _free_tool() -> int | None:
    of_python = monitoring()
    return next((tool for tool in _TOOLS if of_python.get_tool(tool) is None), None)


# -- 3.11 --------------------------------------------------------------------------------


def _hook() -> Any:
    return hook


def _enter_thread(*event: object) -> None:
    """Take the place of this function in a thread that has just begun."""
    _hook().profile_this_thread()
