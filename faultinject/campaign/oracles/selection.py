"""The names of the oracles, and the text that chooses among them.

Lives here: the names, what each looks at, and the grammar of
``--fail-alloc-oracle``. Not here: the oracles themselves.

A text is names with commas between them, read from left to right: a name adds, one
with ``no-`` before it takes away, ``all`` and ``none`` begin anew. A text that takes
away first begins with what was chosen before, which is all of them::

    descriptors,threads     these two and nothing else
    no-locks,no-files       all but these
    none                    the outcome of the test alone
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from faultinject.engine.spec import near
from faultinject.errors import UsageError

Oracles = frozenset[str]

MEANINGS: Final = {
    "rerun": "the test once more in the same process, without a fault",
    "objects": "objects of the model memory",
    "descriptors": "file descriptors",
    "threads": "threads that still run",
    "processes": "child processes that nobody waited for",
    "files": "temporary files and folders made by `tempfile`",
    "locks": "locks still held, permits of semaphores not given back",
    "tasks": "asyncio tasks left pending, and the errors that tasks and callbacks lost",
    "unraisable": "errors that could not be raised, as in `__del__`",
    "excepthook": "errors that ended a thread",
}
"""What each oracle looks at, by its name."""

ALL: Final = frozenset(MEANINGS)
"""What is on by default."""

_NOT = "no-"


def parse_oracles(
    given: str | Iterable[str], *, start: Oracles = ALL, option: str = "oracles"
) -> Oracles:
    """Read a choice of oracles.

    Args:
        given: one text, or several, which are read as one.
        start: what a text that takes away first begins with.
        option: who is asking, for the error.

    Raises:
        UsageError: no text, or a name that does not exist.
    """
    chosen: frozenset[str] | None = None
    for word in _words(given, option):
        name = word.removeprefix(_NOT)
        if word == "all":
            chosen = ALL
        elif word == "none":
            chosen = frozenset()
        elif name not in ALL:
            known = [*ALL, "all", "none"] if name == word else [_NOT + each for each in ALL]
            raise UsageError("no such oracle", value=word, where=option, cure=near(word, known))
        elif name == word:
            chosen = (chosen or frozenset()) | {name}
        else:
            chosen = (start if chosen is None else chosen) - {name}
    assert chosen is not None
    return chosen


def write_oracles(chosen: Oracles) -> str:
    """Write a choice so that `parse_oracles` reads it back, in the shorter of two ways."""
    if chosen == ALL:
        return "all"
    if not chosen:
        return "none"
    missing = [name for name in MEANINGS if name not in chosen]
    if len(missing) < len(chosen):
        return ",".join(_NOT + name for name in missing)
    return ",".join(name for name in MEANINGS if name in chosen)


def _words(given: object, option: str) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if isinstance(texts, Iterable):
        texts = list(texts)
        if texts and all(isinstance(text, str) for text in texts):
            return [word.strip() for text in texts for word in text.split(",")]
    raise UsageError(
        "no oracle is named",
        value=given,
        where=option,
        cure="Give names with commas between them, all, or none",
    )
