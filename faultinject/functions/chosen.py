"""What is chosen to fail: targets with their faults, from the texts of knobs and options.

Lives here: `Chosen`, and `choose`, which reads ``target``, ``error``, ``returns`` and
``when`` together. Not here: the grammar of each part (`faultinject.functions.target`,
``.fault``), the tables behind a profile (``.profiles``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from logging import StreamHandler
from types import CodeType
from typing import Final

from faultinject.engine.spec import split
from faultinject.errors import SpecError, UnavailableError
from faultinject.functions import event_loops, profiles
from faultinject.functions.acts import code_of, is_doable
from faultinject.functions.condition import CONDITIONS
from faultinject.functions.fault import Fault, When, parse
from faultinject.functions.imports import IMPORT
from faultinject.functions.injectable import injectables
from faultinject.functions.profiles import Row
from faultinject.functions.target import Target, resolve
from faultinject.functions.watch import Call

INJECTABLE: Final = "injectable"
"""The word for every function that is marked `error_injectable`."""

_WHERE: Final = "fail_function"
OWN_ONLY: Final = "guarded"
"""The state that says of a call whose it must be, and not what it can fail with."""

_WHENS: Final[dict[str, When]] = {"before": "before", "after": "after"}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A callable, and what its calls fail with: each fault in turn, or one per trial.

    Attributes:
        target: the callable.
        faults: at least one.
        only: for the text of each fault the states in which it can be, one of which must
            hold; a fault that is not in it can always be.
    """

    target: Target
    faults: tuple[Fault, ...]
    only: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def is_own_only(self) -> bool:
        """Whether what other code does for the code under test is not meant: its own imports."""
        return self.target.name == IMPORT or any(OWN_ONLY in only for only in self.only.values())

    def possible(self, call: Call) -> tuple[Fault, ...]:
        """Give the faults that a call can have in life."""
        if not self.only:
            return self.faults
        return tuple(fault for fault in self.faults if self._can_be(fault, call))

    def _can_be(self, fault: Fault, call: Call) -> bool:
        only = self.only.get(fault.text)
        return only is None or any(CONDITIONS[name](call) for name in only)


def choose(
    target: str, *, error: str = "", returns: str = "", when: str = "before"
) -> tuple[Chosen, ...]:
    """Read what is to fail.

    Args:
        target: patterns with ``|`` between them: a profile's name, ``injectable``, or a
            callable (`faultinject.functions.target.resolve`). Each may have its own fault
            behind a colon: ``os.fsync:OSError(EIO)``.
        error: what those fail with that have no fault of their own; several with ``|``.
        returns: a literal that is returned in place of an error.
        when: ``before`` or ``after``, where the fault does not say it.

    Returns:
        Each callable once.

    Raises:
        SpecError: a name or a fault cannot be understood, or there is no fault.
    """
    if when not in _WHENS:
        raise SpecError(
            "when is neither before nor after", value=when, where=_WHERE, cure="Give one of both"
        )
    if error and returns:
        raise SpecError(
            "error and returns are both given", value=error, where=_WHERE, cure="Leave one out"
        )
    texts = split(error, "|") if error else [f"returns={returns}"] if returns else []
    given = tuple(parse(text, when=_WHENS[when]) for text in texts)
    found: dict[tuple[int, type | None], Chosen] = {}
    for item in split(target, "|"):
        for each in _read(item.strip(), given, _WHENS[when]):
            each = _doable(each)
            key = (id(each.target.callable), each.target.owner)
            found[key] = _merged(found[key], each) if key in found else each
    return tuple(found.values())


def _doable(chosen: Chosen) -> Chosen:
    """Leave out what no call can be made to do here.

    Raises:
        UnavailableError: nothing is left.
    """
    called = chosen.target.callable
    faults = tuple(fault for fault in chosen.faults if is_doable(fault, called))
    if faults or not chosen.faults:
        return Chosen(chosen.target, faults, chosen.only)
    raise UnavailableError(
        "without the C module a call can only not happen at all",
        value=f"{chosen.target.name}: {chosen.faults[0].text}",
        where=_WHERE,
        cure="Install faultinject where there is a C compiler",
        slug="unavailable",
    )


def _merged(one: Chosen, other: Chosen) -> Chosen:
    """Give the faults of both."""
    faults = {fault.text: fault for fault in (*one.faults, *other.faults)}
    always = {
        fault.text for each in (one, other) for fault in each.faults if fault.text not in each.only
    }
    only = {
        text: one.only.get(text, frozenset()) | other.only.get(text, frozenset())
        for text in {*one.only, *other.only} - always
    }
    return Chosen(one.target, tuple(faults.values()), only)


@lru_cache(maxsize=8)
def codes_that_fail_as_a_whole(target: str) -> Mapping[int, CodeType]:
    """Give the code of functions whose failures a table lists, each by its identity.

    What such a function calls inside is not failed beside it: it is no place of anybody's,
    and a pipe of ``subprocess.run`` does not break as a file does. Nor is what asyncio does
    for itself, of which the tables list what it gives out, nor the writing of a log.

    Args:
        target: what is to fail; with a profile among it all profiles count, else only
            what it names.
    """
    items = [item.strip() for item in split(target, "|")]
    by_table = any(item in profiles.names() for item in items)
    if by_table:
        items += [name for name in profiles.names() if name not in items]
    functions: list[object] = []
    for item in items:
        for chosen in choose(item, error="OSError(EIO)"):
            called = chosen.target.callable
            functions += [called, getattr(called, "__init__", None)]
    if by_table:
        # A log that cannot be written is told of on the standard error, and to nobody else.
        functions += [*event_loops.functions(), StreamHandler.emit]
    codes = (code_of(function) for function in functions)
    return {id(code): code for code in codes if code is not None}


def is_profile(word: str) -> bool:
    """Say whether a word names a profile, or ``injectable``."""
    return word == INJECTABLE or word in profiles.names()


def _read(item: str, given: Sequence[Fault], when: When) -> Iterator[Chosen]:
    """Read one pattern."""
    word, colon, text = item.partition(":")
    if colon and is_profile(word):
        item, given = word, (parse(text, when=when),)
    if item == INJECTABLE:
        yield from _marked(given)
    elif item in profiles.names():
        for row in profiles.rows(item):
            for target in resolve(row.target):
                yield _of_row(row, target, given)
    else:
        try:
            pattern, faults = _with_fault(item, given, when)
        except SpecError:
            _refuse_misspelt(word)
            raise
        for target in resolve(pattern):
            yield Chosen(target, faults) if faults else _usual(target)


def _refuse_misspelt(word: str) -> None:
    """Refuse what is nearly the word for a profile."""
    near = get_close_matches(word, [*profiles.names(), INJECTABLE], n=1, cutoff=0.7)
    if near:
        raise SpecError(
            "no such profile",
            value=word,
            where=f"{_WHERE}'s target",
            cure=f"Perhaps {near[0]} is meant",
        ) from None


def _of_row(row: Row, target: Target, given: Sequence[Fault] = ()) -> Chosen:
    faults = tuple(given) or tuple(parse(text) for text in row.faults)
    # What is given in place of the row's faults may have other states, but not other places.
    if row.only is None or (given and row.only != OWN_ONLY):
        return Chosen(target, faults)
    return Chosen(target, faults, {fault.text: frozenset({row.only}) for fault in faults})


def _marked(given: Sequence[Fault]) -> Iterator[Chosen]:
    for marked in injectables():
        yield Chosen(marked.target, tuple(given) or marked.faults)


def _with_fault(item: str, given: Sequence[Fault], when: When) -> tuple[str, tuple[Fault, ...]]:
    """Part a pattern from the fault behind its last colon, if that is one.

    A pattern may have a colon of its own, and so may a fault.
    """
    try:
        resolve(item)
    except SpecError as error:
        refusal = error
    else:
        return item, tuple(given)
    ends = [at for at, character in enumerate(item) if character == ":"]
    for at in ends:
        pattern, text = item[:at], item[at + 1 :]
        try:
            resolve(pattern)
        except SpecError as error:
            refusal = error if _is_fault(text) else refusal
            continue
        return pattern, (parse(text, when=when),)
    raise refusal


def _is_fault(text: str) -> bool:
    try:
        parse(text)
    except SpecError:
        return False
    return True


def _usual(target: Target) -> Chosen:
    """Give what a callable fails with in life: what its mark says, or the profiles."""
    for marked in injectables():
        if marked.target.callable is target.callable:
            return Chosen(target, marked.faults)
    found: Chosen | None = None
    for profile in profiles.names():
        for row in profiles.rows(profile, ending=target.name.rpartition(".")[2]):
            if any(
                known.callable is target.callable and known.owner in (None, target.owner)
                for known in resolve(row.target)
            ):
                listed = _of_row(row, target)
                found = listed if found is None else _merged(found, listed)
    if found is None:
        raise SpecError(
            "nobody knows what this fails with",
            value=target.name,
            where=_WHERE,
            cure=f"Say it, as error=OSError(EIO), or {target.name}:OSError(EIO)",
        )
    return found
