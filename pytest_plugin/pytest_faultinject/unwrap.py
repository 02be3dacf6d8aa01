"""What really went wrong inside the exceptions that runners wrap around it."""

from __future__ import annotations

import doctest
from typing import Any

import pytest


def unwrap(error: BaseException) -> list[BaseException]:
    """Give the exceptions of the code under test that `error` stands for.

    A doctest item raises one exception for all its failures; what the example
    raised is inside, or what it printed that it should not have. ``pytest.warns`` says
    that nothing warned in place of what ended its block.
    """
    context = error.__context__
    if context is not None and isinstance(error, pytest.fail.Exception) and _is_of_warns(error):
        return unwrap(context)
    failures: Any = getattr(error, "failures", None)
    if type(error).__name__ == "MultipleDoctestFailures" and failures:
        return [leaf for failure in failures for leaf in unwrap(failure)]
    if isinstance(error, doctest.DocTestFailure):
        source, want, got = error.example.source, error.example.want, error.got
        return [AssertionError(f"{source.strip()} gave {got.strip()}, not {want.strip()}")]
    if isinstance(error, doctest.UnexpectedException):
        return [error.exc_info[1]]
    return [error]


def _is_of_warns(error: BaseException) -> bool:
    """Say whether the end of a ``pytest.warns`` block raised this."""
    traceback = error.__traceback__
    frames = []
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return any(frame.f_globals.get("__name__") == "_pytest.recwarn" for frame in frames)
