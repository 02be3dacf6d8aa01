"""Links: from the place where a fault was thrown to the one where it was caught.

Lives here: reading off what a trial entered because of its fault, in order, where that
ended. Not here: telling it apart from what the test enters anyway
(`faultinject.campaign.witness`), and the opposite direction, which trials entered a path
(`faultinject.errpaths.observed`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from faultinject.errpaths.hits import Hit
from faultinject.errpaths.path import ErrorPath, PathKind

LEFT: Final = "test"
"""Where a fault ended that nobody caught: it left the test."""

# A fault can end in these. The others pass it on.
_CATCHING: Final = frozenset(
    {
        PathKind.EXCEPT,
        PathKind.EXCEPT_STAR,
        PathKind.SUPPRESS,
        PathKind.NONE_BRANCH,
        PathKind.ELSE,
        PathKind.ERROR_RETURN,
    }
)

# The process ended before anybody could say where the fault did.
_UNKNOWN: Final = frozenset({"crashed", "hung", "diverged", "not_reached"})

# What a test says of a wrong result, after the fault itself had ended somewhere.
_ANSWERS: Final = ("AssertionError", "Failed", "skipped:", "xfailed:")


def caught(
    entered: Sequence[Hit], paths: Mapping[Hit, ErrorPath], *, outcome: str, error: str | None
) -> dict[str, Any] | str | None:
    """Say where a trial's fault ended.

    Args:
        entered: what the trial entered because of it, in order.
        paths: the error paths, by their hits.
        outcome: the trial's.
        error: what ended the trial, in a line, or None.

    Returns:
        The last path that can have caught it, as file, line and kind; `LEFT`; or None if
        that is not known, or the code under test took no notice of it.
    """
    if outcome in _UNKNOWN:
        return None
    an_answer = outcome == "corrupted" or error is None or error.startswith(_ANSWERS)
    if outcome == "propagated" or not an_answer:
        return LEFT
    for hit in reversed(entered):
        path = paths.get(hit)
        if path is not None and path.kind in _CATCHING:
            return {"file": hit.file, "line": path.line, "kind": path.kind.value}
    return None
