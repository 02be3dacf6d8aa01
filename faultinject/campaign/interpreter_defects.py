"""Known defects of CPython that a fault brings up in code that has done nothing wrong.

Lives here: the table, and what matches a row of it. Not here: functions in which no
request fails, because what breaks there would break everywhere (`faultinject.native.veto`).

A row matches by C functions: one of those in `fault` stands on the stack of the fault,
and, where it gives any, one of those in `crash` on the stack of the crash. Names are
those of one compiler's build as well as any other's: a static function may have been
inlined, so its caller is named beside it. Where the interpreter was stripped of its
static functions, ``a < ? < b`` names the three that follow each other, the one in the
middle without a name.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from faultinject.campaign.c_stacks import Frame, Stack

_ALL: Final = ((3, 11), (3, 12), (3, 13))

# What the interpreter is made of and built on, by the beginnings of their files' names.
_SYSTEM: Final = (
    *("libpython", "libc.so", "libc-", "libm.so", "libpthread", "libgcc_s"),
    *("ld-linux", "ld-musl", "[vdso]"),
)

# Where the compiler begins. No request fails below it in code under test: what Python
# code an exec() runs has an evaluation of its own.
_COMPILER: Final = (
    *("_PyAST_Compile", "Py_CompileStringObject", "PyRun_StringFlags"),
    *("_PyPegen_run_parser_from_string", "_Py_SymtableStringObjectFlags"),
    *("_PyTokenizer_FromReadline", "tokenizeriter_new"),
)

# Functions of the standard library that the compiler stands behind.
_COMPILING: Final = (
    r"(built-in function (compile|eval|exec|symtable)|class '_tokenize\.TokenizerIter')"
)


def _says_nothing(what: str) -> str:
    """Give the pattern for a C function that fails without an exception.

    Only some ways to call it know its name.
    """
    return rf"SystemError: (<{what}> returned NULL without|error return without exception set)"


@dataclass(frozen=True, slots=True)
class Defect:
    """One defect of CPython.

    Attributes:
        reference: the issue in CPython's tracker, or that there is none.
        sentence: what goes wrong, without the full stop.
        fault: functions that asked for what they did not get.
        crash: functions in which the process dies; empty if it may be anywhere later.
        error: what the line about the error matches; "" for a crash.
        versions: those that have it.
    """

    reference: str
    sentence: str
    fault: tuple[str, ...]
    crash: tuple[str, ...] = ()
    error: str = ""
    versions: tuple[tuple[int, int], ...] = _ALL


KNOWN: Final = (
    Defect(
        reference="gh-152107",
        sentence="the iterator of dict.items() is released before it is tracked, because its "
        "result tuple could not be made",
        fault=("dictiter_new", "dictitems_iter", "PyTuple_Pack < ? < PyObject_GetIter"),
        crash=("dictiter_dealloc", "? < PyObject_GetIter", "? < ? < PyObject_GetIter"),
    ),
    Defect(
        reference="gh-109700",
        sentence="dict.setdefault() counts an item that it could not insert",
        fault=("dict_setdefault_ref_lock_held", "PyDict_SetDefaultRef", "PyDict_SetDefault"),
        versions=((3, 13),),
    ),
    Defect(
        reference="gh-121660",
        sentence="a generic alias that could not be made is marked as starred",
        fault=("Py_GenericAlias < ga_getitem", "Py_GenericAlias < ? < _PyEval_EvalFrameDefault"),
        crash=("ga_getitem", "? < _PyEval_EvalFrameDefault"),
        versions=((3, 11), (3, 12)),
    ),
    Defect(
        reference="gh-150146",
        sentence="the arguments of a generic alias are used although they could not be unpacked",
        fault=("_Py_subs_parameters",),
        crash=("_Py_subs_parameters",),
    ),
    Defect(
        reference="gh-148731",
        sentence="the iterator of an ElementTree element is released before it is filled in, "
        "because its stack could not be made",
        fault=("create_elementiter", "_elementtree_Element_iter", "_elementtree_Element_itertext"),
        crash=("elementiter_dealloc",),
    ),
    Defect(
        reference="gh-151112",
        sentence="the compiler releases the parts of a code object twice; any later use of "
        "their memory may crash",
        fault=("assemble", "_PyAssemble_MakeCodeObject"),
    ),
    Defect(
        reference="gh-151763",
        sentence="the parser or the compiler goes on without what it could not get",
        fault=_COMPILER,
    ),
    Defect(
        reference="gh-151968",
        sentence="the parser or the compiler fails and sets no exception",
        fault=_COMPILER,
        error=_says_nothing(_COMPILING),
    ),
    Defect(
        reference="gh-151968",
        sentence="the parser finds wrong syntax where it lacked memory",
        fault=_COMPILER,
        error="SyntaxError: ",
    ),
    Defect(
        reference="bpo-29849",
        sentence="`from … import` of a name that is missing fails with a TypeError, because "
        "the message could not be made",
        fault=("import_from", "PyUnicode_FromFormat < _PyEval_EvalFrameDefault"),
        error="TypeError: expected a message argument",
    ),
    Defect(
        reference="unreported, csv",
        sentence="a default of csv.Dialect that could not be made counts as one that is missing",
        fault=("dialect_new",),
        error="TypeError: lineterminator must be set",
    ),
    Defect(
        reference="unreported, __fspath__",
        sentence="a path's __fspath__() that could not be bound counts as one that is missing",
        fault=("_PyObject_LookupSpecial", "PyOS_FSPath", "path_converter", "PyMethod_New < ?"),
        error=r"TypeError: .*os\.PathLike",
    ),
    Defect(
        reference="unreported, data stack",
        sentence="a call for which the stack of Python frames could not grow sets no exception",
        fault=("_PyThreadState_BumpFramePointerSlow",),
        error="SystemError: .* without",
        versions=((3, 11),),
    ),
    # The veto keeps requests of these two from failing, where it finds the functions.
    Defect(
        reference="gh-122752",
        sentence="a function that could not be made releases its code object once too often",
        fault=("PyFunction_New", "PyFunction_NewWithQualName", "_PyFunction_FromConstructor"),
        versions=((3, 12), (3, 13)),
    ),
    Defect(
        reference="gh-151763",
        sentence="an exception is dropped, because the frame for its traceback could not be made",
        fault=("_PyFrame_MakeAndSetFrameObject", "_PyFrame_New_NoTrack", "PyTraceBack_Here"),
        error=_says_nothing(".*"),
    ),
)


def recognise(
    error: str | None,
    fault: Stack,
    crash: Stack,
    *,
    under_test: Collection[str] = (),
    version: tuple[int, int] = sys.version_info[:2],
) -> Defect | None:
    """Give the known defect that a trial met, if all of it was the interpreter's own doing.

    Args:
        error: the line about what ended the run; None if a signal did.
        fault: the stack of the last fault.
        crash: that of the crash.
        under_test: files of extension modules under test. Where one of them, or any
            extension that is not of the standard library, stands on a stack, nothing is
            said: its own error path may be the wrong one.
        version: of the interpreter.
    """
    # A crash may begin in no file: at the end of a wrong pointer.
    involved = [*fault, *(frame for frame in crash if frame.path)]
    if not fault or not all(_is_own(frame, under_test) for frame in involved):
        return None
    if under_test and error is not None and error.startswith("SystemError: error return"):
        return None  # nobody says whether it was theirs
    for defect in KNOWN:
        if version not in defect.versions or not _any_on(defect.fault, fault):
            continue
        if error is None:
            matches = not defect.error and (not defect.crash or _any_on(defect.crash, crash))
        else:
            matches = bool(defect.error) and re.match(defect.error, error) is not None
        if matches:
            return defect
    return None


def _any_on(chains: Iterable[str], stack: Stack) -> bool:
    names = [frame.name or "?" for frame in stack]
    return any(_follow(chain.split(" < "), names) for chain in chains)


def _follow(chain: list[str], names: list[str]) -> bool:
    return any(names[at : at + len(chain)] == chain for at in range(len(names)))


def _is_own(frame: Frame, under_test: Collection[str]) -> bool:
    """Say whether a function belongs to the interpreter or to what it is built on."""
    path = frame.path
    if path in under_test:
        return False
    folder, name = os.path.split(path)
    return path == _program() or name.startswith(_SYSTEM) or folder == _extensions_of_stdlib()


@cache
def _program() -> str:
    return os.path.realpath(sys.executable)


@cache
def _extensions_of_stdlib() -> str:
    return os.path.realpath(sysconfig.get_config_var("DESTSHARED") or os.sep)
