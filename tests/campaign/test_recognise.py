"""Which stacks and errors are a defect of CPython's, and which are the user's own.

The stacks are made up here; those of real faults are in ``test_interpreter_defects.py``.
"""

from __future__ import annotations

import os

import pytest

from faultinject.campaign.c_stacks import Frame, Stack
from faultinject.campaign.c_unnamed import program
from faultinject.campaign.interpreter_defects import Defect, recognise, suspect


def own(*names: str) -> Stack:
    """Give a stack of functions of the interpreter."""
    return tuple(Frame(program(), 64, name) for name in names)


ITEMS = own("PyTuple_Pack", "dictitems_iter", "PyObject_GetIter", "_PyEval_EvalFrameDefault")
RELEASED = own("dictiter_dealloc", "dictitems_iter", "PyObject_GetIter")


def test_the_stacks_decide() -> None:
    met = recognise(None, ITEMS, RELEASED, version=(3, 11))

    assert met is not None
    assert met.reference == "gh-152107"
    assert recognise(None, ITEMS, own("somewhere"), version=(3, 11)) is None
    assert recognise(None, own("somewhere"), RELEASED, version=(3, 11)) is None
    assert recognise(None, (), RELEASED, version=(3, 11)) is None


def test_a_version_without_the_defect_does_not_have_it() -> None:
    assert recognise(None, ITEMS, RELEASED, version=(3, 99)) is None


@pytest.mark.parametrize("on", ["the fault's stack", "the crash's stack"])
@pytest.mark.parametrize("path", ["/site-packages/mine.so", ""], ids=["an extension", "no file"])
def test_an_extension_on_a_stack_makes_it_the_users_own(on: str, path: str) -> None:
    foreign = Frame(path, 64, "mine")
    fault, crash = ITEMS, RELEASED
    if on == "the fault's stack":
        fault = (*fault[:2], foreign, *fault[2:])
    else:
        crash = (foreign, *crash)

    met = recognise(None, fault, crash, version=(3, 11))

    # A wrong pointer leads into no file: that may be the crash, but not the fault.
    assert (met is not None) == (on == "the crash's stack" and not path)


def test_a_module_of_the_standard_library_is_the_interpreters_unless_it_is_under_test() -> None:
    import _elementtree

    path = os.path.realpath(getattr(_elementtree, "__file__", None) or program())
    fault = (Frame(path, 64, "create_elementiter"),)
    crash = (Frame(path, 64, "elementiter_dealloc"),)

    assert recognise(None, fault, crash) is not None
    assert recognise(None, fault, crash, under_test={path}) is None


def test_a_silent_error_may_be_an_extensions_where_one_is_under_test() -> None:
    fault = own("_PyAST_Compile", "_PyEval_EvalFrameDefault")
    silent = "SystemError: error return without exception set"
    named = "SystemError: <built-in function compile> returned NULL without setting an exception"
    foreign = "SystemError: <built-in function mine> returned NULL without setting an exception"

    assert recognise(silent, fault, ()) is not None
    assert recognise(silent, fault, (), under_test={"/mine.so"}) is None
    assert recognise(named, fault, (), under_test={"/mine.so"}) is not None
    assert recognise(foreign, fault, ()) is None


NO_PATH = "TypeError: expected str, bytes or os.PathLike object, not {}"
BOUND = own("func_descr_get", "", "os_stat", "_PyEval_EvalFrameDefault")


def test_what_is_no_path_is_the_users_own_mistake() -> None:
    assert recognise(NO_PATH.format("PosixPath"), BOUND, ()) is not None
    assert recognise(NO_PATH.format("NoneType"), BOUND, ()) is None


def test_a_method_that_is_bound_elsewhere_is_not_a_paths() -> None:
    error = NO_PATH.format("PosixPath")

    assert recognise(error, own("func_descr_get", "", "_PyEval_EvalFrameDefault"), ()) is None
    assert recognise(error, own("PyMethod_New", "", "PyObject_GetAttr"), ()) is None


def test_only_the_stack_of_python_frames_asks_for_an_arena_that_small() -> None:
    fault = own("", "", "_PyEval_EvalFrameDefault")
    error = "SystemError: error return without exception set"

    def asked(request: str) -> Defect | None:
        return recognise(error, fault, (), request=request, version=(3, 11))

    assert asked("arena 16384") is not None
    assert asked("arena 1048576") is None
    assert asked("mem 16384") is None


def test_an_alias_crashes_by_itself_only_where_it_asked() -> None:
    inside = own("PyList_New", "", "ga_getitem", "_PyEval_EvalFrameDefault")
    elsewhere = own("PyList_New", "", "list_slice", "_PyEval_EvalFrameDefault")

    assert recognise(None, inside, own("", "ga_getitem")) is not None
    assert recognise(None, elsewhere, own("", "ga_getitem")) is None
    assert recognise(None, inside, own("", "list_slice")) is None


def test_a_defect_is_suspected_only_where_names_are_missing() -> None:
    silent = "SystemError: error return without exception set"
    unnamed = own("", "_PyEval_EvalFrameDefault")
    foreign = (Frame("/site-packages/mine.so", 64, ""), *unnamed)

    assert "gh-151763" in suspect(silent, unnamed, ())
    assert suspect(silent, own("PyList_New", "_PyEval_EvalFrameDefault"), ()) == []
    assert suspect(silent, foreign, ()) == []
    assert suspect("KeyError: 'wrong'", unnamed, ()) == []
    assert "gh-152107" in suspect(None, unnamed, own("", "PyObject_GetIter"))
    assert suspect(None, unnamed, own("PyList_New")) == []
