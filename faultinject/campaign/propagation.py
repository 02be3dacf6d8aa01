"""Propagation: is this exception the injected failure, arrived at the caller?

A body that lets the failure through has done nothing wrong; one that answers it
with a KeyError has. Lives here: the rule that tells them apart. Not here: what
becomes of the answer (`faultinject.campaign.outcome`).
"""

from __future__ import annotations

import dis
import errno
from collections.abc import Callable, Iterator
from types import FrameType

from faultinject.functions.acts import raised

_RAISE_VARARGS = dis.opmap["RAISE_VARARGS"]

# What CPython itself raises where it cannot allocate a lock or start a thread.
_INTERPRETER_TEXTS = ("can't start new thread", "can't allocate lock", "can't allocate read lock")


def is_propagated(
    error: BaseException,
    *,
    raises: tuple[type[BaseException], ...] = (),
    under_test: Callable[[FrameType], bool] = lambda frame: True,
) -> bool:
    """Say whether `error` is the injected failure or a translation of it.

    Accepted are ``MemoryError``, ``OSError(ENOMEM)``, what a call of a function
    was made to raise in this trial, the declared types, an exception raised
    ``from`` one of these, and one that an explicit ``raise`` statement of the
    code under test raised while handling one of these. An
    exception that an operation threw in the handler is not: that is a bug in
    the error path. (But an import that was to take the place of one that failed
    may fail as well.) Nor is an assertion, ``SystemExit``, or anything else that
    is no ``Exception``: that is an answer, not a translation. An exception
    group is accepted as well if every member is. Where a call was made to
    return something, there is no exception to handle: any explicit ``raise`` of
    the code under test will do.

    Args:
        error: what ended the run.
        raises: types that the test declares as acceptable.
        under_test: whether a frame belongs to the code under test; a ``raise``
            elsewhere is no translation.
    """
    if _is_failure(error, raises) or _is_translation(error, raises, under_test):
        return True
    return isinstance(error, BaseExceptionGroup) and all(
        is_propagated(member, raises=raises, under_test=under_test) for member in error.exceptions
    )


def _is_translation(
    error: BaseException,
    raises: tuple[type[BaseException], ...],
    under_test: Callable[[FrameType], bool],
) -> bool:
    if not isinstance(error, Exception) or isinstance(error, AssertionError):
        return False
    if any(_is_failure(cause, raises) for cause in _causes(error)):
        return True
    if isinstance(error, ImportError) and any(
        isinstance(context, ImportError) and context in raised for context in _contexts(error)
    ):
        return True
    if isinstance(error, ExceptionGroup):
        return False  # it collects what went wrong; its members say what that was
    handled = any(_is_failure(context, raises) for context in _contexts(error))
    return (handled or raised.values > 0) and _raised_on_purpose(error, under_test)


def _is_failure(error: BaseException, raises: tuple[type[BaseException], ...]) -> bool:
    if isinstance(error, MemoryError) or (raises and isinstance(error, raises)) or error in raised:
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if type(error) is RuntimeError:
        return str(error) in _INTERPRETER_TEXTS
    return False


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = {id(error)}
    cause = error.__cause__
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


def _contexts(error: BaseException) -> Iterator[BaseException]:
    seen = {id(error)}
    context = error.__context__
    while context is not None and id(context) not in seen:
        seen.add(id(context))
        yield context
        context = context.__context__


def _raised_on_purpose(error: BaseException, under_test: Callable[[FrameType], bool]) -> bool:
    traceback = error.__traceback__
    if traceback is None:
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    frame = traceback.tb_frame
    code = frame.f_code.co_code
    offset = traceback.tb_lasti
    return 0 <= offset < len(code) and code[offset] == _RAISE_VARARGS and under_test(frame)


def describe(error: BaseException) -> str:
    """Give one line for a report: the type and the first line of the message."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    try:
        text = str(error).strip()
    except Exception as broken:
        text = f"<its str() raised {type(broken).__name__}>"
    first = text.splitlines()[0] if text else ""
    return f"{name}: {first}" if first else name
