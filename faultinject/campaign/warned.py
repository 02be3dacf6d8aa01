"""Warnings that the code under test shows while it is tried.

Lives here: writing them down as they come, for a process that may not live to tell.
Not here: what is made of them (`faultinject.campaign.sweeper`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from faultinject.campaign.child import note


@contextmanager
def noting_warnings() -> Iterator[list[str]]:
    """Inside the block, write down each warning that is shown; it is still shown.

    Not one that the code expects and records by itself.

    Yields:
        one line for each.
    """
    lines: list[str] = []
    show = warnings.showwarning

    def showwarning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = f"{category.__name__}: {message} ({filename}:{lineno})"
        lines.append(text)
        note("warning", text)
        show(message, category, filename, lineno, file, line)

    warnings.showwarning = showwarning
    try:
        yield lines
    finally:
        if warnings.showwarning is showwarning:
            warnings.showwarning = show
