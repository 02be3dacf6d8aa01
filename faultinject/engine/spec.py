"""The text forms of attributes, in both directions, and the type of every knob.

Lives here: the table of knobs, the kernel's boot string, the key=value text, and the
text that names several capabilities. Not here: what the knobs mean
(`faultinject.engine.attr`), and what options say it (`pytest_faultinject`).

Source of the boot string: Linux 6.6 lib/fault-inject.c, setup_fault_attr(), with the
conversions of the kernel's own vsscanf().
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from faultinject.callsite import Pattern
from faultinject.errors import SpecError


class Kind(Enum):
    """What a knob may be; the value says it in words."""

    UNSIGNED = "a whole number from 0"
    SIGNED = "a whole number"
    FLAG = "true or false"
    PATTERNS = "call-site patterns"
    SEED = "a whole number, or None for a random one"
    WORD = "a word"


KNOBS: Final[dict[str, tuple[Kind, object]]] = {
    "interval": (Kind.UNSIGNED, 1),
    "probability": (Kind.UNSIGNED, 0),
    "space": (Kind.SIGNED, 0),
    "times": (Kind.SIGNED, 1),
    "verbose": (Kind.UNSIGNED, 2),
    "task_filter": (Kind.FLAG, False),
    "stacktrace_depth": (Kind.UNSIGNED, 32),
    "require": (Kind.PATTERNS, ()),
    "reject": (Kind.PATTERNS, ()),
    "seed": (Kind.SEED, None),
    "verbose_ratelimit_interval_ms": (Kind.UNSIGNED, 0),
    "verbose_ratelimit_burst": (Kind.UNSIGNED, 10),
}
"""Every knob of a fault attribute, with its kind and the kernel's default."""

_ALWAYS_WRITTEN: Final = ("interval", "probability", "space", "times")
_MAX_DEPTH: Final = 32  # MAX_STACK_TRACE_DEPTH: the kernel clamps what is written


def check(name: str, value: object, kind: Kind) -> object:
    """Return `value` in its normal form.

    Ranges are the kernel's own: a probability of 150, 5 negative `times` or a pattern
    that matches nothing are no errors. A depth is cut to 32, as in the kernel.

    Raises:
        SpecError: the type is wrong, or a number is negative that has no sign.
    """
    if kind is Kind.FLAG:
        if isinstance(value, bool):
            return value
    elif kind is Kind.PATTERNS:
        return _check_patterns(name, value)
    elif kind is Kind.WORD:
        if isinstance(value, str) and value:
            return value
    elif value is None and kind is Kind.SEED:
        return None
    elif isinstance(value, int) and not isinstance(value, bool):
        number = int(value)
        if kind is not Kind.UNSIGNED or number >= 0:
            return min(number, _MAX_DEPTH) if name == "stacktrace_depth" else number
    raise SpecError(
        f"{name} is not {kind.value}", value=_shown(value), where=name, cure=f"Give {kind.value}"
    )


class _Shown(str):
    """Text that an error shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _shown(value: object) -> _Shown:
    # The error leaves out a value of None, and here None is the value at fault.
    return _Shown(repr(value))


def _check_patterns(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, (str, Pattern)):
        items: Iterable[object] = str(value).split("|")
    elif isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray, Mapping)):
        items = value
    else:
        raise SpecError(
            f"{name} is not text or several texts",
            value=_shown(value),
            where=name,
            cure="Give 'mypkg.cache', or ['mypkg.cache', 'src/*.py']",
        )
    texts = []
    for item in items:
        if not isinstance(item, (str, Pattern)):
            raise SpecError(
                "a pattern is not text", value=_shown(item), where=name, cure="Give each as a str"
            )
        texts.append(Pattern(str(item)).text)
    return tuple(texts)


_BOOT: Final = re.compile(
    r"[ \t-\r]*([0-9]+),[ \t-\r]*([0-9]+),[ \t-\r]*(-?[0-9]+),[ \t-\r]*(-?[0-9]+)"
)
_BOOT_START: Final = re.compile(r"\s*[-+0-9,]")


def parse_boot(text: str) -> dict[str, object]:
    """Read ``<interval>,<probability>,<space>,<times>`` as the kernel does.

    Blanks before a number are skipped; what follows the fourth number is ignored; the
    first two take no sign; numbers that are too large wrap around, to 64 bits unsigned
    and to 32 bits signed.

    Raises:
        SpecError: fewer than four numbers were found.
    """
    found = _BOOT.match(text)
    if found is None:
        raise SpecError(
            "not a boot string of four numbers",
            value=text,
            cure="Write <interval>,<probability>,<space>,<times>, as 10,100,0,-1",
        )
    interval, probability, space, times = (int(number) for number in found.groups())
    return {
        "interval": interval % 2**64,
        "probability": probability % 2**64,
        "space": _as_c_int(space),
        "times": _as_c_int(times),
    }


def _as_c_int(number: int) -> int:
    return (number + 2**31) % 2**32 - 2**31


def parse_knobs(
    text: str,
    own: Mapping[str, Kind] | None = None,
    *,
    whole: str | None = None,
    offset: int = 0,
) -> dict[str, object]:
    """Read ``name=value,…``, or a boot string if it begins with a number.

    Args:
        text: the text; blanks around names and values do not count.
        own: further knobs, such as the gates of a capability.
        whole: the text that `text` was cut from, for messages.
        offset: where in `whole` it begins, from 0.

    Raises:
        SpecError: naming the character at which it cannot be understood.
    """
    if not isinstance(text, str):
        raise SpecError("a spec is not text", value=_shown(text), cure="Give a str")
    if _BOOT_START.match(text):
        return parse_boot(text)
    whole = text if whole is None else whole
    kinds = {name: kind for name, (kind, _) in KNOBS.items()} | dict(own or {})
    knobs: dict[str, object] = {}
    for piece in split(text, ","):
        where = f"character {offset + len(piece) - len(piece.lstrip()) + 1} of {whole!r}"
        name, equals, value = (part.strip() for part in piece.partition("="))
        offset += len(piece) + 1
        if not name:
            raise SpecError("a knob is missing", where=where, cure="Write name=value,name=value")
        kind = kinds.get(name)
        if kind is None:
            raise SpecError("no such knob", value=name, where=where, cure=near(name, kinds))
        if name in knobs:
            raise SpecError("a knob is given twice", value=name, where=where, cure="Give it once")
        if not equals or not value:
            raise SpecError(
                "a knob has no value", value=name, where=where, cure=f"Write {name}={_sample(kind)}"
            )
        try:
            knobs[name] = check(name, _read(value, kind), kind)
        except SpecError as error:
            raise SpecError(
                error.what, value=error.value, where=f"{name}, {where}", cure=error.cure
            ) from None
    return knobs


def parse_spec(
    text: str, gates: Mapping[str, Mapping[str, Kind]]
) -> list[tuple[str, dict[str, object]]]:
    """Read ``capability:knobs;capability:knobs``; the knobs may be missing.

    Args:
        text: such as ``failslab:interval=3,times=-1;fail_page_alloc:min_order=2``.
        gates: the capabilities that exist, each with the kinds of its own knobs.

    Raises:
        SpecError: naming the character at which it cannot be understood.
    """
    if not isinstance(text, str):
        raise SpecError("a spec is not text", value=_shown(text), cure="Give a str")
    found: dict[str, dict[str, object]] = {}
    offset = 0
    for piece in split(text, ";"):
        where = f"character {offset + len(piece) - len(piece.lstrip()) + 1} of {text!r}"
        name, colon, knobs = piece.partition(":")
        start = offset + len(name) + 1
        offset += len(piece) + 1
        name = name.strip()
        if not name:
            raise SpecError(
                "a capability is missing",
                where=where,
                cure=f"Write capability:knob=value; there are {', '.join(sorted(gates))}",
            )
        if name not in gates:
            raise SpecError("no such capability", value=name, where=where, cure=near(name, gates))
        if name in found:
            raise SpecError(
                "a capability is given twice", value=name, where=where, cure="Give it once"
            )
        found[name] = parse_knobs(knobs, gates[name], whole=text, offset=start) if colon else {}
    return list(found.items())


_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}


def split(text: str, separator: str) -> list[str]:
    """Split at separators that stand neither in quotes nor in brackets.

    What is opened and not closed again is an ordinary character.
    """
    pieces, begun, at = [], 0, 0
    while at < len(text):
        character = text[at]
        if character == separator:
            pieces.append(text[begun:at])
            begun = at + 1
        elif character in "'\"([{":
            at = max(at, _closed(text, at))
        at += 1
    return [*pieces, text[begun:]]


def _closed(text: str, at: int) -> int:
    """Find where what is opened at `at` is closed; -1 if nowhere."""
    closing = _CLOSING.get(text[at], text[at])
    is_quote = closing == text[at]
    inside = at + 1
    while inside < len(text):
        character = text[inside]
        if character == closing:
            return inside
        if is_quote:
            inside += character == "\\"
        elif character in "'\"([{":
            inside = max(inside, _closed(text, inside))
        inside += 1
    return -1


def near(name: str, known: Iterable[str]) -> str:
    """Word the advice for a name that does not exist."""
    from difflib import get_close_matches  # slow to import, and only needed for errors

    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.6)
    return f"Perhaps {' or '.join(close)} is meant" if close else f"Give one of {', '.join(names)}"


def write_knobs(values: Mapping[str, object]) -> str:
    """Write knobs so that `parse_knobs` reads them back; never empty."""
    pieces = []
    for name, (_, default) in KNOBS.items():
        value = values[name]
        if name in _ALWAYS_WRITTEN or value != default:
            pieces.append(f"{name}={_written(value)}")
    return ",".join(pieces)


_FLAGS: Final = {
    **dict.fromkeys(("y", "yes", "true", "on", "1"), True),
    **dict.fromkeys(("n", "no", "false", "off", "0"), False),
}
_NUMBER: Final = re.compile(r"-?[0-9]+\Z")


def _read(text: str, kind: Kind) -> object:
    """Turn text into a value of the kind if it can be; `check` refuses it otherwise."""
    if kind is Kind.FLAG:
        return _FLAGS.get(text.lower(), text)
    if kind in (Kind.PATTERNS, Kind.WORD):
        return text
    # Longer ones are typing errors, and int() has its own limit and words for them.
    return int(text) if _NUMBER.match(text) and len(text) <= 4000 else text


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "Y" if value else "N"
    if isinstance(value, tuple):
        return "|".join(value)
    return str(value)


def _sample(kind: Kind) -> str:
    return {Kind.FLAG: "Y", Kind.PATTERNS: "mypkg.cache", Kind.WORD: "kernel"}.get(kind, "1")
