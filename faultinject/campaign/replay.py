"""Replay tokens: one trial, spelled in one pasted argument.

Lives here: the grammar, both directions, and finding the site again after the
file has changed. Not here: running the trial.

A token is fields with ``|`` between them (a ``|`` or ``%`` inside a field is
percent-encoded), the version first and the test's name last::

    1|failslab|examples/ring.py|Ring.open+7.12|1|transient|tests/test_ring.py::test_open
    1|random|failslab:probability=10,times=-1|42|3|random|tests/test_ring.py::test_open
    1|fail_pymem|lru.py|Cache.put+3.8@obj#64|2|transient|tests/test_lru.py::test_put
    1|fail_function|s.py|save+2.9 (open) = OSError(ENOSPC)|1|transient|tests/test_s.py::test_save

The place is the function and the distance from its first line, not a line
number, so that an edit elsewhere in the file does not spoil a token. A real
allocation adds the domain, the offset of the instruction, and the C function
that asks, where that belongs to the site; a call of a function, what is called and what
it fails with. What is reached only because of another fault names that one too, as the
option ``after``: its first fields, the way they stand in its own token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from faultinject.campaign.census import Reached
from faultinject.campaign.site import Site
from faultinject.campaign.strike import PlannedFault
from faultinject.errors import UsageError

VERSION = "1"

_PLACE = re.compile(
    r"(?P<function>.+)\+(?P<offset>-?\d+)(?:\.(?P<column>\d+))?(?:~(?P<stack>\d+))?"
    r"(?:@(?P<domain>[a-z]+))?(?:#(?P<at>\d+))?(?: \((?P<caller>[^()]+)\))?",
    re.DOTALL | re.ASCII,
)
_WHOLE = re.compile(r"-?[0-9]+")
_ERROR = " = "
_AFTER, _AND = "after", "&"
_SAFE = " /:;,.+-=<>()[]{}@#&*!?$'\"~^\\"
_SAFE_AFTER = _SAFE.replace(";", "").replace(_AND, "")


@dataclass(frozen=True, slots=True)
class PlannedToken:
    """Names one planned fault of one test.

    Attributes:
        file: as reports show it: relative to the root folder where it lies below it.
        offset: lines below the function's first line.
        column: -1 where the site is a whole line.
        options: what else decides how sites are found (``source``, ``phases`` …).
        at: of a real allocation: the offset of its instruction; -1 if it has none.
        domain: of a real allocation: the domain; "" for any.
        caller: of a real allocation: the C function that asks; "" for any. Of a call of a
            function: what is called.
        error: of a call of a function: what it fails with.
        after: the fault that strikes before.
    """

    capability: str
    file: str
    function: str
    offset: int
    column: int
    stack: int
    hit: int
    persistent: bool
    test: str
    options: Mapping[str, str] = field(default_factory=dict)
    at: int = -1
    domain: str = ""
    caller: str = ""
    error: str = ""
    after: PlannedToken | None = None

    def __str__(self) -> str:
        mode = "persistent" if self.persistent else "transient"
        said = _mode(mode, self.options)
        if self.after is not None:
            said += f";{_AFTER}={_AND.join(_encode(it, _SAFE_AFTER) for it in self.after._fault)}"
        return _join(*self._fault, said, self.test)

    @property
    def chain(self) -> tuple[PlannedToken, ...]:
        """The faults that strike one after the other, this one last."""
        return (self,) if self.after is None else (*self.after.chain, self)

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of these faults."""
        return frozenset(token.capability for token in self.chain)

    @property
    def specs(self) -> list[str]:
        """A SPEC for each capability, by which these faults can be found again."""
        targets: dict[str, list[str]] = {}
        for token in self.chain:
            named = targets.setdefault(token.capability, [])
            if token.error:
                named.append(f"{token.caller}:{token.error}")
        return [
            f"{name}:target={'|'.join(named)}" if named else name for name, named in targets.items()
        ]

    @property
    def _fault(self) -> tuple[str, str, str, str]:
        """Capability, file, place and hit, as they stand in the token."""
        place = f"{self.function}+{self.offset}"
        if self.column >= 0:
            place += f".{self.column}"
        if self.stack:
            place += f"~{self.stack}"
        if self.domain:
            place += f"@{self.domain}"
        if self.at >= 0:
            place += f"#{self.at}"
        if self.caller:
            place += f" ({self.caller})"
        if self.error:
            place += f"{_ERROR}{self.error}"
        return self.capability, self.file, place, str(self.hit)


@dataclass(frozen=True, slots=True)
class RandomToken:
    """Names one random trial of one test: the knobs, the seed and its number."""

    spec: str
    seed: int
    number: int
    test: str
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return _join(
            "random",
            self.spec,
            str(self.seed),
            str(self.number),
            _mode("random", self.options),
            self.test,
        )


Token = PlannedToken | RandomToken


def token_of(
    fault: PlannedFault,
    *,
    file: str,
    test: str,
    options: Mapping[str, str],
    after: PlannedToken | None = None,
) -> PlannedToken:
    """Name a planned fault; `after` names the one before it."""
    site = fault.site
    return PlannedToken(
        fault.capability,
        file,
        site.function,
        site.offset,
        site.column,
        site.stack,
        fault.hit,
        fault.persistent,
        test,
        options,
        site.at,
        site.domain,
        site.caller,
        fault.error,
        after,
    )


def parse_token(text: str, *, option: str = "replay") -> Token:
    """Read a token.

    Raises:
        UsageError: another version, or a text that no version of ours wrote.
    """
    if not isinstance(text, str):
        raise UsageError(
            "a replay token is not text", value=text, where=option, cure="Paste it as a str"
        )
    parts = text.strip().split("|", 6)
    if parts[0] != VERSION and parts[0].isdigit():
        raise UsageError(
            f"a replay token of version {parts[0]}",
            value=text,
            where=f"{option}; this faultinject reads version {VERSION}",
            cure="Run the campaign again and paste a new token",
        )
    try:
        return _read_fields([_decode(part) for part in parts])
    except ValueError:
        raise UsageError(
            "not a replay token",
            value=text,
            where=option,
            cure="Paste the whole token, in quotes, as the report printed it",
        ) from None


def _read_fields(fields: list[str]) -> Token:
    if fields[0] != VERSION or len(fields) != 7 or not all(fields):
        raise ValueError("fields")
    return _random(fields) if fields[1] == "random" else _planned(fields)


def _planned(fields: list[str]) -> PlannedToken:
    where, _, error = fields[3].partition(_ERROR)
    place = _PLACE.fullmatch(where)
    mode, options = _read_mode(fields[5])
    hit = _whole(fields[4])
    if place is None or mode not in ("transient", "persistent") or hit < 1:
        raise ValueError("fields")
    before = options.pop(_AFTER, None)
    after = None
    if before is not None:
        parts = [_decode(part) for part in before.split(_AND)]
        if len(parts) != 4 or not all(parts):
            raise ValueError("fields")
        after = _planned([VERSION, *parts, "transient", fields[6]])
    column, stack = place["column"], place["stack"]
    return PlannedToken(
        fields[1],
        fields[2],
        place["function"],
        int(place["offset"]),
        -1 if column is None else int(column),
        0 if stack is None else int(stack),
        hit,
        mode == "persistent",
        fields[6],
        options,
        -1 if place["at"] is None else int(place["at"]),
        place["domain"] or "",
        place["caller"] or "",
        error,
        after,
    )


def _random(fields: list[str]) -> RandomToken:
    mode, options = _read_mode(fields[5])
    if mode != "random":
        raise ValueError("fields")
    return RandomToken(fields[2], _whole(fields[3]), _whole(fields[4]), fields[6], options)


def _whole(text: str) -> int:
    if _WHOLE.fullmatch(text) is None:  # int() itself also takes blanks, signs and underscores
        raise ValueError("fields")
    return int(text)


def _join(*fields: str) -> str:
    return "|".join([VERSION, *(_encode(text, _SAFE) for text in fields)])


def _encode(text: str, safe: str) -> str:
    # Names of files may hold what is no character: such code points pass as they are.
    encoded = quote(text, safe=safe, errors="surrogatepass")
    if encoded.endswith(" "):
        encoded = encoded[:-1] + "%20"  # a blank at the end is lost in pasting
    return encoded


def _decode(text: str) -> str:
    return unquote(text, errors="surrogatepass")


def _mode(mode: str, options: Mapping[str, str]) -> str:
    # Encoded once more, so that a value may hold the separators.
    parts = [f"{name}={_encode(value, '/:,.*')}" for name, value in sorted(options.items())]
    return ";".join([mode, *parts])


def _read_mode(text: str) -> tuple[str, dict[str, str]]:
    mode, *rest = text.split(";")
    options = {}
    for part in rest:
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError("fields")
        options[name] = value if name == _AFTER else _decode(value)
    return mode, options


@dataclass(frozen=True, slots=True)
class Found:
    """A token's fault in today's census.

    Attributes:
        hits: how often a clean run hits the site today.
        moved: what differs from the token, in words.
    """

    fault: PlannedFault
    hits: int
    moved: str = ""


def find(token: PlannedToken, reached: Iterable[Reached], shown: Mapping[str, str]) -> Found | None:
    """Find the token's call site among those that today's clean run reaches.

    An exact match wins; else the nearest site of the same capability in the same
    function, so that a token survives an edit of the function itself.

    Args:
        token: what to look for.
        reached: today's census.
        shown: for each file of the census, its name as reports show it.
    """
    near: list[tuple[tuple[int, ...], Reached]] = []
    for item in reached:
        site = item.site
        same_place = shown.get(site.file, site.file) == token.file
        if item.capability != token.capability or not same_place:
            continue
        if site.function != token.function or item.error != token.error:
            continue
        if token.error and site.caller != token.caller:
            continue
        away = _distance(token, site)
        if not any(away):
            return Found(_fault(token, item), item.hits)
        near.append((away, item))
    if not near:
        return None
    item = min(near, key=lambda entry: entry[0])[1]
    return Found(
        _fault(token, item),
        item.hits,
        f"the call site has moved: the token says {token.function}+{token.offset}, "
        f"replayed is the nearest one, line {item.site.line}",
    )


def _distance(token: PlannedToken, site: Site) -> tuple[int, ...]:
    """Say how far a site is from where the token says; what tells most comes first."""
    return (
        abs(site.offset - token.offset),
        abs(site.column - token.column),
        site.domain != token.domain,
        site.caller.partition(" ")[0] != token.caller.partition(" ")[0],
        abs(site.at - token.at),
        site.stack != token.stack,
        site.caller != token.caller,
    )


def _fault(token: PlannedToken, item: Reached) -> PlannedFault:
    return PlannedFault(
        item.capability,
        item.site,
        token.hit,
        token.persistent,
        item.instructions,
        item.error,
    )
