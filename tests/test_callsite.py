import _thread
import os
import queue
import sys
from types import SimpleNamespace

import pytest

from faultinject import callsite
from faultinject.callsite import (
    CallSite,
    Pattern,
    StackFilter,
    caller_frame,
    outer_frame,
    site_of,
    site_of_key,
)
from faultinject.engine.scope import make_it_fail
from faultinject.errors import SpecError


def here() -> CallSite:
    frame = caller_frame(sys._getframe(1))
    assert frame is not None
    return site_of(frame)


def test_a_site_is_the_place_of_the_call() -> None:
    site = [None, here()][1]

    assert site is not None
    line = sys._getframe().f_lineno - 3
    assert (site.file, site.line, site.module) == (__file__, line, __name__)
    assert site.function == "test_a_site_is_the_place_of_the_call"
    assert site.column == len("    site = [None, ")
    assert site.first_line == line - 1
    assert str(site) == f"{__file__}:{line} in {site.function}"


def test_the_caller_of_a_call_of_ours_is_found_however_deep_it_stands() -> None:
    namespace = {"outer_frame": outer_frame}
    ours = os.path.join(os.path.dirname(callsite.__file__), "calls.py")
    code = "def inner():\n return outer_frame()\ndef outer():\n return inner()\n"
    exec(compile(code, ours, "exec"), namespace)

    for call in (namespace["inner"], namespace["outer"]):
        assert call() is sys._getframe()  # type: ignore[operator]


def test_a_call_with_no_python_below_it_has_no_caller() -> None:
    found: queue.SimpleQueue[object] = queue.SimpleQueue()

    _thread.start_new_thread(lambda: found.put(outer_frame()), ())

    assert found.get(timeout=30) is None


def test_two_calls_on_one_line_differ_in_their_column() -> None:
    first, second = here(), here()

    assert first.line == second.line
    assert first.column < second.column


def test_a_kept_key_is_decoded_later() -> None:
    frame = sys._getframe()
    key, module = (frame.f_code, frame.f_lasti), frame.f_globals["__name__"]

    site = site_of_key(key, module)

    assert (site.file, site.module) == (__file__, __name__)
    assert site.line == sys._getframe().f_lineno - 5


def test_an_unknown_instruction_is_the_function_itself() -> None:
    code = here.__code__

    site = site_of_key((code, -1))

    assert (site.line, site.column) == (code.co_firstlineno, -1)


def test_code_without_a_file_keeps_its_name() -> None:
    names = {"here": here, "__name__": "made_up"}
    exec(compile("site = here()", "<string>", "exec"), names)

    assert names["site"] == CallSite("<string>", 1, "<module>", "made_up", 7, 1)


def test_frames_of_faultinject_are_passed_over() -> None:
    @make_it_fail
    def decorated() -> list[str]:
        names = []
        frame = caller_frame(sys._getframe())
        while frame is not None and len(names) < 2:
            names.append(frame.f_code.co_name)
            frame = caller_frame(frame.f_back) if frame.f_back else None
        return names

    assert decorated() == ["decorated", "test_frames_of_faultinject_are_passed_over"]


def test_a_stack_that_is_all_ours_has_no_caller() -> None:
    code = compile("", callsite._PACKAGE + "inside.py", "exec")
    frame = SimpleNamespace(f_code=code, f_globals={}, f_back=None)

    assert caller_frame(frame) is None  # type: ignore[arg-type]


def test_frames_of_the_plugin_are_ours_and_a_folder_of_that_name_is_not() -> None:
    code = compile("", "/x/pytest_faultinject/plugin.py", "exec")
    names = ("pytest_faultinject.plugin", "theirs")
    frames = [SimpleNamespace(f_code=code, f_globals={"__name__": name}) for name in names]

    own = [callsite._is_own(frame) for frame in frames]  # type: ignore[arg-type]

    assert own == [True, False]


@pytest.mark.parametrize(
    ("pattern", "place", "matches"),
    [
        ("mypkg.cache", ("mypkg.cache", "f", "/x.py", 1), True),
        ("mypkg.cache", ("mypkg.cache.lru", "f", "/x.py", 1), True),
        ("mypkg.cache", ("mypkg.cached", "f", "/x.py", 1), False),
        ("mypkg.cache", ("mypkg", "cache", "/x.py", 1), False),
        ("__main__", ("__main__", "<module>", "/x.py", 1), True),
        ("mypkg.cache:LRU.put", ("mypkg.cache", "LRU.put", "/x.py", 1), True),
        ("mypkg.cache:LRU.put", ("mypkg.cache", "LRU.put.<locals>.f", "/x.py", 1), True),
        ("mypkg.cache:LRU.put", ("mypkg.cache", "LRU.putter", "/x.py", 1), False),
        ("mypkg.cache:LRU", ("mypkg.cache", "LRU.put", "/x.py", 1), True),
        ("mypkg.cache:<module>", ("mypkg.cache", "<module>", "/x.py", 1), True),
        ("src/cache.py", ("m", "f", "/home/me/src/cache.py", 1), True),
        ("src/cache.py", ("m", "f", "src/cache.py", 1), True),
        ("src/cache.py", ("m", "f", "/home/me/xsrc/cache.py", 1), False),
        ("./src/cache.py", ("m", "f", "/home/me/src/cache.py", 1), True),
        ("cache.py", ("m", "f", "/home/me/src/cache.py", 1), True),
        ("cache.py", ("m", "f", "/home/me/src/mycache.py", 1), False),
        ("src/cache.py:40-60", ("m", "f", "/src/cache.py", 39), False),
        ("src/cache.py:40-60", ("m", "f", "/src/cache.py", 40), True),
        ("src/cache.py:40-60", ("m", "f", "/src/cache.py", 60), True),
        ("src/cache.py:40-60", ("m", "f", "/src/cache.py", 61), False),
        ("src/cache.py:40", ("m", "f", "/src/cache.py", 40), True),
        ("src/cache.py:40", ("m", "f", "/src/cache.py", 41), False),
        ("src/cache.py:60-40", ("m", "f", "/src/cache.py", 50), False),
        ("src/*.py", ("m", "f", "/a/src/cache.py", 1), True),
        ("src/*.py", ("m", "f", "/a/src/sub/cache.py", 1), False),
        ("src/**.py", ("m", "f", "/a/src/sub/cache.py", 1), True),
        ("src/c?che.py", ("m", "f", "/a/src/cache.py", 1), True),
        ("src/c?che.py", ("m", "f", "/a/src/c/che.py", 1), False),
        ("src/t[1].py", ("m", "f", "/a/src/t[1].py", 1), True),
        ("/a/src/*.py", ("m", "f", "/a/src/cache.py", 1), True),
        ("/a/src/*.py", ("m", "f", "/x/a/src/cache.py", 1), False),
        ("src/", ("m", "f", "/a/src/sub/cache.py", 1), True),
        ("a/src", ("m", "f", "/a/src/sub/cache.py", 1), True),
        ("a/src", ("m", "f", "/a/srcs/cache.py", 1), False),
        ("*", ("m", "f", "<string>", 1), True),
        ("*:5-6", ("m", "f", "<string>", 7), False),
    ],
)
def test_a_pattern_means_a_module_a_function_files_or_lines(
    pattern: str, place: tuple[str, str, str, int], matches: bool
) -> None:
    assert Pattern.parse(pattern).matches(*place) is matches
    assert str(Pattern.parse(str(Pattern.parse(pattern)))) == pattern


@pytest.mark.parametrize(
    "text",
    ["", "  ", "a b", "my-pkg", "mypkg.*", "a.b:", ":f", "a..b", "a:40-60", "a,b", "a;b", "a|b",
     "a/b\n.py", 5, None],
)  # fmt: skip
def test_what_is_no_pattern_is_refused(text: object) -> None:
    with pytest.raises(SpecError, match="pattern"):
        Pattern.parse(text)  # type: ignore[arg-type]


def test_patterns_are_equal_if_their_texts_are() -> None:
    assert Pattern.parse(" a.b ") == Pattern.parse("a.b")
    assert len({Pattern.parse("a.b"), Pattern.parse("a.b"), Pattern.parse("a.c")}) == 2


def asks(stack_filter: StackFilter) -> bool:
    return stack_filter.permits()


def passes_on(stack_filter: StackFilter) -> bool:
    return asks(stack_filter)


def test_any_frame_within_the_depth_satisfies_require() -> None:
    require = (f"{__name__}:passes_on",)

    assert passes_on(StackFilter(require))
    assert passes_on(StackFilter(require, depth=2))
    assert not passes_on(StackFilter(require, depth=1))
    assert not asks(StackFilter(require))


def test_any_frame_in_reject_wins() -> None:
    require, reject = (f"{__name__}:asks",), (f"{__name__}:passes_on",)

    assert asks(StackFilter(require, reject))
    assert not passes_on(StackFilter(require, reject))
    assert passes_on(StackFilter(require, reject, depth=1))


def test_the_line_of_a_frame_is_where_it_is_now() -> None:
    line = sys._getframe().f_lineno
    earlier = StackFilter([f"test_callsite.py:{line}-{line + 1}"])
    permits = [earlier.permits(sys._getframe()) for _ in range(1)]
    now = StackFilter([f"test_callsite.py:{line + 4}"])
    permits.append(now.permits(sys._getframe()))

    assert permits == [False, True]


def test_own_frames_do_not_count_towards_the_depth() -> None:
    @make_it_fail
    def decorated() -> bool:
        return asks(StackFilter((f"{__name__}:test_own_frames",), depth=3)) or asks(
            StackFilter((f"{__name__}:test_own_frames_do_not_count_towards_the_depth",), depth=3)
        )

    assert decorated()
