"""Functions that allocate in many ways: what the tests of the hook run and fail.

Nothing here is particular about faults. `BODIES` are called without arguments, twice with
the same effect.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass


def parse_numbers() -> list[tuple[str, int]]:
    words = []
    word = ""
    for character in "alpha beta 1234 gamma delta 5678 " * 4:
        if character == " ":
            words.append((word, len(word) + 1000))
            word = ""
        else:
            word += character
    return words


class Cache:
    def __init__(self, size: int) -> None:
        self.size = size
        self.entries: OrderedDict[str, object] = OrderedDict()

    def put(self, key: str, value: object) -> None:
        self.entries[key] = value
        self.entries.move_to_end(key)
        while len(self.entries) > self.size:
            self.entries.popitem(last=False)

    def get(self, key: str) -> object:
        return self.entries.get(key)


def use_a_cache() -> object:
    cache = Cache(4)
    for number in range(12):
        cache.put(f"key {number}", [number] * number)
    return [cache.get(f"key {number}") for number in range(12)]


@contextlib.contextmanager
def section(names: list[str], name: str) -> Iterator[list[str]]:
    names.append(name)
    try:
        yield names
    finally:
        names.pop()


def nest_contexts() -> list[str]:
    names: list[str] = []
    with section(names, "outer"), section(names, "inner") as both:
        return [name.upper() + "!" for name in both]


def use_a_file() -> int:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        for number in range(20):
            file.write(f"line {number}\n")
        file.seek(0)
        return sum(len(line) for line in file)


def chain_generators() -> dict[int, str]:
    def squares(count: int) -> Iterator[int]:
        for number in range(count):
            yield number * number + 300

    def texts(numbers: Iterator[int]) -> Iterator[str]:
        for number in numbers:
            yield f"<{number}>"

    return dict(enumerate(texts(squares(20))))


def read_json() -> object:
    text = json.dumps({"list": [1.5, 2.5, "three"] * 3, "map": {"a": None, "b": [True] * 5}})
    return json.loads(text)


@dataclass
class Point:
    x: int
    y: int

    def moved(self, by: int) -> Point:
        return Point(self.x + by, self.y + by)


def make_types() -> list[str]:
    made = [Point(number, 1000 + number).moved(1000) for number in range(5)]
    local = type("Local", (Point,), {"__slots__": ("z",)})
    return [repr(point) for point in made] + [local.__name__]


def handle_errors() -> list[str]:
    seen = []
    for key in ("missing", "present"):
        try:
            seen.append({"present": "here, and long enough"}[key] + key)
        except KeyError as error:
            seen.append(f"{type(error).__name__}: {error.args!r}")
    return seen


def fail_after_successes() -> None:
    # One instruction makes lists, a tuple and, from C, the exception and its traceback.
    with contextlib.suppress(TypeError):
        list(map(list, [(1,), (2,), 3]))  # type: ignore[arg-type]


BODIES = {
    body.__name__: body
    for body in (
        parse_numbers,
        use_a_cache,
        nest_contexts,
        use_a_file,
        chain_generators,
        read_json,
        make_types,
        handle_errors,
        fail_after_successes,
    )
}
