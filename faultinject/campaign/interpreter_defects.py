"""Known defects of CPython that a fault brings up in code that has done nothing wrong.

Lives here: the table, and what matches a row of it. Not here: functions in which no
request fails, because what breaks there would break everywhere (`faultinject.native.veto`).

A row matches by C functions: one of those in `fault` stands on the stack of the fault,
and, where it gives any, one of those in `crash` on the stack of the crash. Names are
those of one compiler's build as well as any other's: a static function may have been
inlined, so its caller is named beside it. Where the interpreter was stripped of its
static functions some of them are known by what points to them
(`faultinject.campaign.c_unnamed`); ``a < ? < b`` names three that follow each other, the
one in the middle without a name, and ``os_*`` any name that begins so.
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
from faultinject.campaign.c_unnamed import program

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
    *("_PyTokenizer_FromReadline", "tokenizeriter_new", "_symtable_symtable"),
)

# Functions of the standard library that the compiler stands behind.
_COMPILING: Final = (
    r"(built-in function (compile|eval|exec|symtable)|class '_tokenize\.TokenizerIter')"
)


# Where a path's __fspath__() is bound, by what is named of it in a stripped interpreter.
_BINDING_FSPATH: Final = tuple(
    f"{bound} < {between}{asks}"
    for bound in ("_PyObject_LookupSpecial", "func_descr_get", "PyMethod_New")
    for between in ("", "? < ")
    for asks in ("os_*", "_io_open", "PyUnicode_FSConverter", "PyUnicode_FSDecoder")
)

# No such object is a path: code that passes one has made a mistake of its own.
_NO_PATHS: Final = (
    "NoneType|bool|int|float|complex|list|tuple|dict|set|frozenset|bytearray|object|type"
    "|function|method|generator|MemoryError"
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
        request: what the domain and the size of the request match; "" for any.
        versions: those that have it.
    """

    reference: str
    sentence: str
    fault: tuple[str, ...]
    crash: tuple[str, ...] = ()
    error: str = ""
    request: str = ""
    versions: tuple[tuple[int, int], ...] = _ALL


KNOWN: Final = (
    Defect(
        reference="gh-152107",
        sentence="the iterator of dict.items() is released before it is tracked, because its "
        "result tuple could not be made",
        fault=("dictiter_new", "dictitems_iter"),
        crash=("dictiter_dealloc",),
    ),
    Defect(
        reference="gh-109700",
        sentence="dict.setdefault() counts an item that it could not insert",
        fault=(
            *("dict_setdefault_ref_lock_held", "PyDict_SetDefaultRef", "PyDict_SetDefault"),
            "dict_setdefault",
        ),
        versions=((3, 13),),
    ),
    Defect(
        reference="gh-121660",
        sentence="a generic alias that could not be made is marked as starred",
        fault=("Py_GenericAlias < ga_getitem",),
        crash=("ga_getitem",),
        versions=((3, 11), (3, 12)),
    ),
    Defect(
        reference="gh-150146",
        sentence="the arguments of a generic alias are used although they could not be unpacked",
        fault=("_Py_subs_parameters", "? < ga_getitem", "? < union_getitem"),
        crash=("_Py_subs_parameters", "? < ga_getitem", "? < union_getitem"),
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
        fault=(
            *("import_from", "PyUnicode_FromFormat < _PyEval_EvalFrameDefault"),
            "PyUnicode_FromFormat < ? < _PyEval_EvalFrameDefault",
        ),
        error="TypeError: expected a message argument$",
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
        fault=("PyOS_FSPath", "path_converter", *_BINDING_FSPATH),
        error=rf"TypeError: .*os\.PathLike.* not (?!({_NO_PATHS})$)",
    ),
    Defect(
        reference="unreported, data stack",
        sentence="a call for which the stack of Python frames could not grow sets no exception",
        fault=("_PyThreadState_BumpFramePointerSlow", "?"),
        request="arena (16384|32768|65536)",  # those of the allocator itself are larger
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
    request: str = "",
    under_test: Collection[str] = (),
    version: tuple[int, int] = sys.version_info[:2],
) -> Defect | None:
    """Give the known defect that a trial met, if all of it was the interpreter's own doing.

    Args:
        error: the line about what ended the run; None if a signal did.
        fault: the stack of the last fault.
        crash: that of the crash.
        request: the domain and the size of the last request that failed, as ``obj 56``.
        under_test: files of extension modules under test. Where one of them, or any
            extension that is not of the standard library, stands on a stack, nothing is
            said: its own error path may be the wrong one.
        version: of the interpreter.
    """
    if not _is_interpreters(fault, crash, under_test):
        return None
    if under_test and error is not None and error.startswith("SystemError: error return"):
        return None  # nobody says whether it was theirs
    for defect in KNOWN:
        if version not in defect.versions or not _any_on(defect.fault, fault):
            continue
        if defect.request and not re.fullmatch(defect.request, request):
            continue
        if _looks_like(defect, error) and (not defect.crash or _any_on(defect.crash, crash)):
            return defect
    return None


def suspect(
    error: str | None,
    fault: Stack,
    crash: Stack,
    *,
    under_test: Collection[str] = (),
    version: tuple[int, int] = sys.version_info[:2],
) -> list[str]:
    """Give the references of the defects that a trial may have met, for all that is named.

    Takes what `recognise` takes, where that found nothing. None is suspected where every
    function has a name, or code stands on a stack that is not the interpreter's.
    """
    if not _is_interpreters(fault, crash, under_test) or all(frame.name for frame in fault):
        return []
    if under_test and error is not None and error.startswith("SystemError: "):
        return []
    if error is None and (not crash or crash[0].name):
        return []
    found = [
        defect.reference
        for defect in KNOWN
        if version in defect.versions
        and _looks_like(defect, error)
        # Any interpreter names the compiler, so it would have been found.
        and defect.fault is not _COMPILER
        and (defect.crash or error is not None)
    ]
    return list(dict.fromkeys(found))


def _looks_like(defect: Defect, error: str | None) -> bool:
    if error is None:
        return not defect.error
    return bool(defect.error) and re.match(defect.error, error) is not None


def _is_interpreters(fault: Stack, crash: Stack, under_test: Collection[str]) -> bool:
    # A crash may begin in no file: at the end of a wrong pointer.
    involved = [*fault, *(frame for frame in crash if frame.path)]
    return bool(fault) and all(_is_own(frame, under_test) for frame in involved)


def _any_on(chains: Iterable[str], stack: Stack) -> bool:
    names = [frame.name or "?" for frame in stack]
    return any(_follow(chain.split(" < "), names) for chain in chains)


def _follow(chain: list[str], names: list[str]) -> bool:
    return any(all(map(_is_called, names[at:], chain)) for at in range(len(names) - len(chain) + 1))


def _is_called(name: str, wanted: str) -> bool:
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted


def _is_own(frame: Frame, under_test: Collection[str]) -> bool:
    """Say whether a function belongs to the interpreter or to what it is built on."""
    path = os.path.realpath(frame.path)
    if frame.path in under_test or path in under_test:
        return False
    folder, name = os.path.split(path)
    return path == program() or name.startswith(_SYSTEM) or folder == _extensions_of_stdlib()


@cache
def _extensions_of_stdlib() -> str:
    return os.path.realpath(sysconfig.get_config_var("DESTSHARED") or os.sep)
