"""Call sites: what makes two calls the same one, and names that survive an edit."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from faultinject.campaign.site import Identify, Identity, Site, fingerprint, stack_digest


def here() -> FrameType:
    return sys._getframe(1)


def twice_on_one_line(identify: Identify) -> list[Site]:
    return [identify(here()), identify(here())]


def in_a_loop(identify: Identify) -> list[Site]:
    return [identify(here()) for _ in range(3)]


def through(identify: Identify) -> Site:
    return identify(here())


def test_a_site_is_the_place_of_the_call() -> None:
    site = Identify()(here())

    line = sys._getframe().f_lineno - 2
    code = sys._getframe().f_code
    assert (site.file, site.function, site.line) == (__file__, code.co_qualname, line)
    assert (site.first_line, site.offset) == (code.co_firstlineno, 1)
    assert site.column == len("    site = ")
    assert site.stack == 0
    assert str(site.place()) == f"{__file__}:{line} in {code.co_qualname}"


@pytest.mark.parametrize(
    ("identity", "same"),
    [
        (Identity.LINE, True),
        (Identity.INSTRUCTION, False),
        (Identity.SITE, False),
        (Identity.ALL, False),
    ],
)
def test_two_calls_on_one_line_are_one_site_only_by_line(identity: Identity, same: bool) -> None:
    first, second = twice_on_one_line(Identify(identity))

    assert (first == second) is same
    assert first.line == second.line
    assert (first.column == -1) is same


@pytest.mark.parametrize("identity", Identity)
def test_a_call_in_a_loop_is_one_site(identity: Identity) -> None:
    assert len(set(in_a_loop(Identify(identity)))) == 1


@pytest.mark.parametrize(
    ("identity", "told_apart"),
    [(Identity.LINE, False), (Identity.INSTRUCTION, False), (Identity.SITE, True)],
)
def test_callers_count_only_where_they_are_asked_for(identity: Identity, told_apart: bool) -> None:
    identify = Identify(identity)

    one = through(identify)
    other = through(identify)

    assert (one != other) is told_apart
    assert bool(one.stack) is told_apart


def test_the_digest_of_the_callers_survives_an_edit_above_them() -> None:
    source = """def call(inner):
    return inner()
def outer(inner):
    return call(inner)
"""

    def digest(text: str) -> int:
        names: dict[str, Any] = {}
        exec(compile(text, "made_up.py", "exec"), names)
        return int(names["outer"](lambda: stack_digest(sys._getframe())))

    assert digest(source) == digest("\n\n" + source)
    assert digest(source) != digest(source.replace("    return call", "\n    return call"))


def made(text: str) -> Callable[[], FrameType]:
    names: dict[str, Any] = {"here": here}
    exec(compile(text, "<made>", "exec"), names)
    function: Callable[[], FrameType] = names["f"]
    return function


def test_code_that_is_compiled_anew_has_the_same_sites() -> None:
    text = "def f():\n    return here()\n"
    identify = Identify()

    first, again = identify(made(text)()), identify(made(text)())

    assert first == again
    assert first.file == "<made>"


def test_a_fingerprint_tells_functions_of_one_name_and_line_apart() -> None:
    left, right = (lambda: here()), (lambda: here())

    assert left.__code__.co_qualname == right.__code__.co_qualname
    assert left.__code__.co_firstlineno == right.__code__.co_firstlineno
    assert fingerprint(left.__code__) != fingerprint(right.__code__)
    assert fingerprint(made("def f(): here()").__code__) == fingerprint(
        made("def f(): here()").__code__
    )


def test_a_frame_before_its_first_instruction_is_at_its_function() -> None:
    def rows() -> Any:
        yield 1

    generator = rows()

    site = Identify()(generator.gi_frame)

    assert site.line == rows.__code__.co_firstlineno
