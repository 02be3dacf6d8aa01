"""What observations come to: states, totals, and where a fault was caught."""

from __future__ import annotations

from textwrap import dedent

import pytest

from faultinject.campaign.witness import entered_beyond
from faultinject.errpaths.find import find_paths
from faultinject.errpaths.hits import Hit
from faultinject.errpaths.links import LEFT, caught
from faultinject.errpaths.observed import as_json, join
from faultinject.errpaths.path import ErrorPath, SourcePaths

SOURCE = dedent(
    """\
    import faultinject as fi


    def f():
        try:
            a()
        except OSError:
            b()
        except KeyError:
            c()
        finally:
            d()


    def g():
        p = fi.kmalloc(8, fi.GFP_KERNEL)
        if p is None:
            raise MemoryError
    """
)


@pytest.fixture
def source() -> SourcePaths:
    return find_paths(SOURCE, "/src/m.py")


@pytest.fixture
def hits(source: SourcePaths) -> dict[str, Hit]:
    """A hit of each path, by its line and kind."""
    return {f"{path.line} {path.kind.value}": Hit("m.py", path.key) for path in source.paths}


@pytest.fixture
def paths(source: SourcePaths) -> dict[Hit, ErrorPath]:
    return {Hit("m.py", path.key): path for path in source.paths}


OS_ERROR, KEY_ERROR, FINALLY, BRANCH, RAISE = (
    "7 except",
    "9 except",
    "11 finally",
    "17 none-branch",
    "18 raise",
)


def test_the_example_has_the_paths_that_the_tests_name(hits: dict[str, Hit]) -> None:
    assert set(hits) == {OS_ERROR, KEY_ERROR, FINALLY, BRANCH, RAISE}


def test_clean_wins_over_injected_and_totals_add_up(
    source: SourcePaths, hits: dict[str, Hit]
) -> None:
    unsure = hits[FINALLY]._replace(sure=False)
    trials = [
        ("first", [hits[OS_ERROR], hits[BRANCH], hits[RAISE]]),
        ("second", [hits[BRANCH], hits[BRANCH]]),
    ]

    found = as_json(join({"m.py": source}, [hits[OS_ERROR], unsure], trials))

    (file,) = found.pop("files")
    states = {f"{path['line']} {path['kind']}": path["reached"] for path in file["paths"]}
    by = {f"{path['line']} {path['kind']}": path["entered_by"] for path in file["paths"]}
    assert found == {"total": 4, "clean": 1, "injected": 2, "never": 1, "undecided": 1}
    assert states == {
        OS_ERROR: "clean",
        KEY_ERROR: "never",
        FINALLY: "undecided",
        BRANCH: "injected",
        RAISE: "injected",
    }
    assert by == {
        OS_ERROR: ["first"],
        KEY_ERROR: [],
        FINALLY: [],
        BRANCH: ["first", "second"],
        RAISE: ["first"],
    }
    assert (file["file"], file["digest"]) == ("m.py", source.digest)


def test_where_every_call_site_was_tried_only_handlers_that_never_ran_are_out_of_reach(
    source: SourcePaths, hits: dict[str, Hit]
) -> None:
    def out_of_reach(*, exhausted: bool) -> set[str]:
        found = join({"m.py": source}, [], [("t", [hits[OS_ERROR]])], exhausted=exhausted)
        (file,) = as_json(found)["files"]
        return {f"{path['line']} {path['kind']}" for path in file["paths"] if path["unreachable"]}

    assert out_of_reach(exhausted=True) == {KEY_ERROR, FINALLY}
    assert out_of_reach(exhausted=False) == set()


def test_a_sure_hit_wins_over_an_unsure_one(source: SourcePaths, hits: dict[str, Hit]) -> None:
    unsure = hits[FINALLY]._replace(sure=False)

    found = as_json(join({"m.py": source}, [unsure], [("t", [hits[FINALLY]])]))

    assert (found["injected"], found["undecided"]) == (1, 0)


def test_a_file_without_paths_is_left_out_and_an_unreadable_one_says_why() -> None:
    sources = {"a.py": find_paths("x = 1", "a.py"), "b.py": find_paths("\n\nx = (", "b.py")}

    found = as_json(join(sources, [], []))

    (file,) = found["files"]
    assert (file["file"], file["paths"]) == ("b.py", [])
    assert file["unreadable"].startswith("line 3: does not parse: ")
    assert found["total"] == 0


@pytest.mark.parametrize("file", ["m.py", "/a/b c.py", "odd::name.py", "ä/ö.py", "C:\\x.py"])
@pytest.mark.parametrize("sure", [True, False])
def test_a_hit_survives_as_text(source: SourcePaths, file: str, sure: bool) -> None:
    for path in source.paths:
        hit = Hit(file, path.key, sure)

        assert Hit.parse(str(hit)) == hit


CAUGHT = {
    "the last that can catch": ([BRANCH, RAISE, FINALLY, OS_ERROR], "recovered", None, 7),
    "what passes it on is none": ([OS_ERROR, FINALLY], "recovered", None, 7),
    "also where something was left behind": ([OS_ERROR], "leaked", None, 7),
    "nothing was entered": ([], "recovered", None, None),
    "it came to the test": ([BRANCH, RAISE], "propagated", "MemoryError", LEFT),
    "and through a handler": ([OS_ERROR], "propagated", "MemoryError", LEFT),
    "another error left the test": ([OS_ERROR], "failed", "TypeError: no", LEFT),
    "the test saw a wrong result": ([OS_ERROR], "failed", "AssertionError: 1 != 2", 7),
    "an invariant saw it": ([OS_ERROR], "corrupted", "ValueError: broken", 7),
    "it leaked, and left the test": ([OS_ERROR], "leaked", "MemoryError", LEFT),
    "it died": ([OS_ERROR], "crashed", "killed by SIGSEGV", None),
    "it hung": ([OS_ERROR], "hung", None, None),
}


@pytest.mark.parametrize(("entered", "outcome", "error", "line"), CAUGHT.values(), ids=CAUGHT)
def test_where_a_fault_ended(
    hits: dict[str, Hit],
    paths: dict[Hit, ErrorPath],
    entered: list[str],
    outcome: str,
    error: str | None,
    line: int | str | None,
) -> None:
    found = caught([hits[name] for name in entered], paths, outcome=outcome, error=error)

    if isinstance(line, int):
        assert found == {"file": "m.py", "line": line, "kind": "except"}
    else:
        assert found == line


@pytest.mark.parametrize(
    ("trial", "clean", "beyond"),
    [
        ("", "", ""),
        ("ab", "", "ab"),
        ("ab", "ab", ""),
        ("aab", "ab", "a"),
        ("xaby", "ab", "xy"),
        ("axa", "a", "xa"),
        ("ba", "ab", ""),
        ("a", "ab", ""),
    ],
)
def test_a_fault_made_the_trial_enter_what_the_clean_run_does_not(
    trial: str, clean: str, beyond: str
) -> None:
    assert entered_beyond(list(trial), list(clean)) == list(beyond)
