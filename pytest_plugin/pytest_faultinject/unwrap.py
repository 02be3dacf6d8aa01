"""What really went wrong inside the exceptions that runners wrap around it."""

from __future__ import annotations

import doctest
from typing import Any


def unwrap(error: BaseException) -> list[BaseException]:
    """Give the exceptions of the code under test that `error` stands for.

    A doctest item raises one exception for all its failures; what the example
    raised is inside, or what it printed that it should not have.
    """
    failures: Any = getattr(error, "failures", None)
    if type(error).__name__ == "MultipleDoctestFailures" and failures:
        return [leaf for failure in failures for leaf in unwrap(failure)]
    if isinstance(error, doctest.DocTestFailure):
        source, want, got = error.example.source, error.example.want, error.got
        return [AssertionError(f"{source.strip()} gave {got.strip()}, not {want.strip()}")]
    if isinstance(error, doctest.UnexpectedException):
        return [error.exc_info[1]]
    return [error]
