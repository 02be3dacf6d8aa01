"""Replay tokens: one argument that names one trial, also after the file was edited."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from observing import census_of

import faultinject as fi
from faultinject.campaign.census import Reached
from faultinject.campaign.replay import (
    PlannedToken,
    RandomToken,
    Token,
    find,
    parse_token,
    token_of,
)
from faultinject.campaign.site import Site
from faultinject.campaign.strike import PlannedFault
from faultinject.errors import UsageError

# Names of files and ids of tests may hold anything, also code points that are no character.
names = st.text(st.characters(exclude_categories=()), min_size=1)
options = st.dictionaries(st.sampled_from(["source", "omit", "phases", "spec"]), names)

planned = st.builds(
    PlannedToken,
    capability=st.sampled_from(["failslab", "fail_page_alloc", "fail_gpio_request"]),
    file=names,
    function=names,
    offset=st.integers(-9, 10**6),
    column=st.integers(-1, 999),
    stack=st.integers(0, 2**32 - 1),
    hit=st.integers(1, 10**9),
    persistent=st.booleans(),
    test=names,
    options=options,
)
drawn = st.builds(
    RandomToken,
    spec=names,
    seed=st.integers(-(2**63), 2**64),
    number=st.integers(0, 10**6),
    test=names,
    options=options,
)


ODD = PlannedToken("failslab", "\udc80.py", "f\n+1", 1, -1, 0, 1, False, "a|b%7C; ", {"omit": " "})


@given(planned | drawn)
@example(ODD)
@example(RandomToken("\ud800 ", -1, 0, " ", {"source": "\udfff;=,"}))
def test_a_token_reads_back_as_what_was_written(token: Token) -> None:
    assert parse_token(str(token)) == token


@given(planned | drawn)
@example(ODD)
def test_a_token_is_one_line_that_pasting_does_not_change(token: Token) -> None:
    text = str(token)

    assert text.isascii()
    assert text.isprintable()
    assert parse_token(f"  {text}\n") == token


def test_a_token_reads_as_the_documentation_says() -> None:
    site = Site("/home/me/ring/ring.py", "Ring.open", 5, 12, 12)

    token = token_of(
        PlannedFault("failslab", site, 1),
        file="examples/ring.py",
        test="tests/test_ring.py::test_open[a|b%]",
        options={"source": "ring;lib=1"},
    )

    assert str(token) == (
        "1|failslab|examples/ring.py|Ring.open+7.12|1|transient;source=ring%253Blib%253D1|"
        "tests/test_ring.py::test_open[a%7Cb%25]"
    )
    assert str(RandomToken("failslab:probability=10,times=-1", 42, 3, "t.py::test_open")) == (
        "1|random|failslab:probability=10,times=-1|42|3|random|t.py::test_open"
    )


WHOLE = "1|failslab|ring.py|Ring.open+7.12|1|transient|test_ring.py::test_open"


@pytest.mark.parametrize("version", ["0", "2", "10"])
def test_a_token_of_another_version_is_refused_and_never_guessed_at(version: str) -> None:
    with pytest.raises(
        UsageError, match=f"a replay token of version {version}: .*reads version 1.*new token"
    ):
        parse_token(version + WHOLE[1:], option="--fail-alloc-replay")


@pytest.mark.parametrize("kept", range(WHOLE.rindex("|") + 1))
def test_a_token_that_was_cut_is_refused(kept: int) -> None:
    with pytest.raises(UsageError, match=r"not a replay token: .*\(--fail-alloc-replay\)"):
        parse_token(WHOLE[:kept], option="--fail-alloc-replay")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1|failslab", "one|failslab"),
        ("1|failslab", "|failslab"),
        ("|failslab", "|"),
        ("|ring.py", "|"),
        ("+7.12", ""),
        ("+7.12", "+seven"),
        ("+7.12", "+7.12.12"),
        ("+7.12", "+7.-1"),
        ("Ring.open", ""),
        ("|1|", "|0|"),
        ("|1|", "|-1|"),
        ("|1|", "|1_0|"),
        ("|1|", "|+1|"),
        ("|1|", "|one|"),
        ("transient", "sometimes"),
        ("transient", "random"),
        ("transient", "transient;source"),
        ("ring.py|", "%ff|"),
    ],
)
def test_a_token_that_was_mangled_is_refused(old: str, new: str) -> None:
    assert old in WHOLE

    with pytest.raises(UsageError, match="not a replay token"):
        parse_token(WHOLE.replace(old, new, 1))


@pytest.mark.parametrize(
    "text",
    [
        "1|random|failslab:probability=1|seed|3|random|t",
        "1|random|failslab:probability=1|42|three|random|t",
        "1|random|failslab:probability=1|42|3|transient|t",
        "1|random||42|3|random|t",
    ],
)
def test_a_random_token_that_was_mangled_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a replay token"):
        parse_token(text)


def test_what_is_no_text_is_no_token() -> None:
    with pytest.raises(UsageError, match="a replay token is not text: 5"):
        parse_token(5)  # type: ignore[arg-type]


SOURCE = """\
def other(fi):
    return fi.kmalloc(32)

def ring(fi):
    first = fi.kmalloc(64)
    second = [fi.kmalloc(64), fi.kmalloc(64)]
    third = fi.kmalloc(64)
    for pointer in (first, *second, third):
        fi.kfree(pointer)
"""


def census(text: str) -> list[Reached]:
    names: dict[str, Any] = {}
    exec(compile(text, "/project/ring.py", "exec"), names)
    reached = census_of(lambda: [fi.kfree(names["other"](fi)), names["ring"](fi)])
    return [item for item in reached if item.capability == "failslab"]


SHOWN = {"/project/ring.py": "ring.py"}


def tokens(reached: list[Reached]) -> list[PlannedToken]:
    return [
        token_of(PlannedFault(item.capability, item.site, 1), file="ring.py", test="t", options={})
        for item in reached
    ]


def replayed(token: PlannedToken, text: str) -> tuple[Site, str] | None:
    found = find(token, census(text), SHOWN)
    return None if found is None else (found.fault.site, found.moved)


def test_each_site_of_an_unchanged_file_is_found_by_its_token() -> None:
    reached = census(SOURCE)

    for item, token in zip(reached, tokens(reached), strict=True):
        found = find(parse_token(str(token)), reached, SHOWN)  # type: ignore[arg-type]
        assert found is not None
        assert found.fault == PlannedFault(
            item.capability, item.site, 1, instructions=item.instructions
        )
        assert found.moved == ""


def test_an_edit_above_the_function_does_not_spoil_a_token() -> None:
    edited = '"""A ring."""\n\nSIZE = 64\n' + SOURCE

    for item, token in zip(census(SOURCE), tokens(census(SOURCE)), strict=True):
        site, moved = replayed(token, edited) or (None, "")
        assert site is not None
        assert (site.line, site.column, moved) == (item.site.line + 3, item.site.column, "")


def test_after_an_edit_inside_the_function_the_nearest_site_is_found_and_said_so() -> None:
    edited = SOURCE.replace("    third =", "    # one more line\n    third =")
    _, first, _, right, third = tokens(census(SOURCE))

    unmoved = replayed(first, edited)
    still_there = replayed(right, edited)
    moved = replayed(third, edited)

    assert unmoved is not None
    assert unmoved[1] == ""
    assert still_there is not None
    assert still_there[1] == ""
    assert moved is not None
    assert moved[0].line == 8
    assert "moved: the token says ring+3, replayed is the nearest one, line 8" in moved[1]


def test_of_two_sites_on_the_nearest_line_the_nearer_column_is_found() -> None:
    edited = SOURCE.replace("second = [fi", "all_others = [fi").replace("*second", "*all_others")
    _, _, left, right, _ = tokens(census(SOURCE))

    found = [replayed(token, edited) for token in (left, right)]

    columns = [site.column for site, moved in filter(None, found) if moved]
    assert columns == [left.column + 4, right.column + 4]


def test_a_site_of_another_function_file_or_capability_is_not_taken_for_it() -> None:
    token = tokens(census(SOURCE))[0]

    assert find(token, [], SHOWN) is None
    assert find(token, census(SOURCE), {"/project/ring.py": "other.py"}) is None
    renamed = [item for item in census(SOURCE) if item.site.function != "other"]
    assert find(token, renamed, SHOWN) is None
    page = parse_token(str(token).replace("failslab", "fail_page_alloc"))
    assert isinstance(page, PlannedToken)
    assert find(page, census(SOURCE), SHOWN) is None


@given(planned)
def test_a_token_never_finds_what_it_does_not_name(token: PlannedToken) -> None:
    assume(token.function != "open")

    here = Reached("failslab", Site(str(Path("ring.py")), "open", 1, 2), 1)

    assert find(token, [here], {}) is None
