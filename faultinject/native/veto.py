"""Functions of CPython that do not survive an allocation failure inside them.

Lives here: their names, and what goes wrong in each. Not here: the walk of the C
stack that looks for them (``cstack.c``), and the labels for what goes wrong elsewhere
(`faultinject.campaign.interpreter_defects`).

A request is vetoed if one of them stands between it and the innermost evaluation of
Python code: it neither counts nor fails, and is counted as vetoed. Names that a
version does not export are passed over; static functions cannot be named, with one
exception that is found out by trial. The interpreter's own loop has no name either:
before 3.13 a cell that a starting function cannot make leaks all of its arguments, so
that request is vetoed as well (``frame_compat.h``). So is, from 3.12 on, what a function
asks for at its RESUME: that prepares it for tools that monitor it.
"""

from __future__ import annotations

from typing import Final, TypeAlias

_TRACEBACK: Final = "the traceback loses the line at fault, or the pending exception is dropped"
_FUNCTION: Final = "MAKE_FUNCTION releases the code object once too often; a later use crashes"

REASONS: Final[dict[str, str]] = {
    "PyTraceBack_Here": _TRACEBACK,
    "_PyTraceBack_FromFrame": _TRACEBACK,
    "PyErr_NormalizeException": _TRACEBACK,
    "_PyErr_NormalizeException": _TRACEBACK,
    "_PyErr_SetObject": _TRACEBACK,
    "PyErr_SetObject": _TRACEBACK,
    # Not exported: the C module finds it out when it is loaded.
    "_PyFrame_New_NoTrack": _TRACEBACK,
    "PyFunction_New": _FUNCTION,
    "PyFunction_NewWithQualName": _FUNCTION,
    "_PyFunction_FromConstructor": _FUNCTION,
}
"""What goes wrong in each function, by its name."""

Veto: TypeAlias = tuple[str | int, ...]
"""C functions, each by its name or its address."""

VETOED: Final[Veto] = tuple(REASONS)
"""The veto that is on by default."""
