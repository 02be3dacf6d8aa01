"""Whose code is under test: sources, omissions, and the frame that a call belongs to."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

import faultinject as fi
from faultinject.campaign.scope import MAX_DEPTH, Scope, Source
from faultinject.errors import SpecError, UsageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project: a package, a folder that is none, and a lone file."""
    for name in ("shop/__init__.py", "shop/cart.py", "lib/cache.py", "alone.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    return tmp_path


def frame_of(path: Path | str, module: str = "somewhere", function: str = "f") -> FrameType:
    """A frame that stands in line 2 of `function` of a file."""
    names: dict[str, Any] = {"__name__": module, "sys": sys}
    exec(compile(f"def {function}():\n    return sys._getframe()", str(path), "exec"), names)
    frame = names[function]()
    assert isinstance(frame, FrameType)
    return frame


@pytest.mark.parametrize(
    ("source", "inside", "outside"),
    [
        ("shop", ("shop/cart.py", "shop.cart"), ("elsewhere.py", "shopping")),
        ("shop.cart", ("shop/cart.py", "shop.cart"), ("shop/__init__.py", "shop")),
        ("shop/", ("shop/cart.py", "made_up"), ("shopping/cart.py", "shop.cart")),
        ("shop/cart.py", ("shop/cart.py", "made_up"), ("shop/__init__.py", "shop.cart")),
        ("lib", ("lib/cache.py", "cache"), ("library/cache.py", "lib.cache")),
        (".", ("shop/cart.py", "shop.cart"), ("../other/cart.py", "shop.cart")),
        ("alone.py", ("alone.py", "alone"), ("lib/alone.py", "alone")),
        ("alone.py", ("alone.py", "alone"), ("alone.pyx", "alone")),
        ("shop/*.py", ("shop/cart.py", "shop.cart"), ("lib/cache.py", "cache")),
        ("shop/car?.py", ("shop/cart.py", "shop.cart"), ("shop/carts.py", "shop.carts")),
        ("alone.py:2-9", ("alone.py", "alone"), ("lib/cache.py", "cache")),
        ("shop.cart:f", ("shop/cart.py", "shop.cart"), ("shop/cart.py", "shop.basket")),
        ("*", ("lib/cache.py", "cache"), ("<string>", "")),
    ],
)
def test_a_source_is_a_package_a_function_a_folder_a_file_or_a_pattern(
    root: Path, source: str, inside: tuple[str, str], outside: tuple[str, str]
) -> None:
    scope = Scope.parse([source], root=str(root))

    assert scope.covers(frame_of(root / inside[0], inside[1]))
    if source != "*":
        assert not scope.covers(frame_of((root / outside[0]).resolve(), outside[1]))


def test_lines_of_a_file_are_told_apart_also_within_one_function(root: Path) -> None:
    frame = frame_of(root / "alone.py")

    assert Scope.parse(["alone.py:2"], root=str(root)).covers(frame)
    assert not Scope.parse(["alone.py:1"], root=str(root)).covers(frame)
    assert not Scope.parse(["alone.py:3-90"], root=str(root)).covers(frame)


def test_a_function_is_in_a_source_by_the_line_where_it_is_now(root: Path) -> None:
    names: dict[str, Any] = {}
    text = "def rows():\n    yield 1\n    yield 2\n"
    exec(compile(text, str(root / "alone.py"), "exec"), names)
    rows = names["rows"]()
    scope = Scope.parse(["alone.py:3"], root=str(root))

    covered = [scope.covers(rows.gi_frame) for _ in rows]

    assert covered == [False, True]


def test_an_absolute_path_needs_no_root(root: Path) -> None:
    scope = Scope.parse([str(root / "lib")])

    assert scope.covers(frame_of(root / "lib" / "cache.py"))
    assert not scope.covers(frame_of(root / "alone.py"))


@pytest.mark.parametrize("source", ["lib/missing.py", "missing/", "missing.py", "/no/such/folder"])
def test_a_path_that_does_not_exist_is_refused(root: Path, source: str) -> None:
    with pytest.raises(UsageError, match=r"no such file or folder: .*--fail-alloc-source"):
        Source.parse(source, root=str(root), option="--fail-alloc-source")


@pytest.mark.parametrize("source", ["", "  "])
def test_an_empty_source_is_refused(root: Path, source: str) -> None:
    with pytest.raises(UsageError, match=r"a source is empty \(--fail-alloc-omit\)"):
        Scope.parse([], [source], root=str(root), option="--fail-alloc-source")


def test_a_source_that_is_neither_path_nor_name_is_refused(root: Path) -> None:
    with pytest.raises(SpecError, match="not a pattern"):
        Scope.parse(["my-package"], root=str(root))


def test_an_omission_wins_over_a_source(root: Path) -> None:
    scope = Scope.parse(["shop"], ["shop.cart"], root=str(root))
    everything_else = Scope.parse([], ["lib/"], root=str(root))

    assert scope.covers(frame_of(root / "shop" / "__init__.py", "shop"))
    assert not scope.covers(frame_of(root / "shop" / "cart.py", "shop.cart"))
    assert not everything_else.covers(frame_of(root / "lib" / "cache.py"))
    assert everything_else.covers(frame_of(root / "alone.py"))


def test_faultinject_itself_is_never_under_test() -> None:
    def own_frame(path: str) -> FrameType:
        return frame_of(path, "faultinject.made_up")

    inside = str(Path(fi.__file__).parent / "made_up.py")

    for scope in (Scope(), Scope.parse(["*"]), Scope.parse([str(Path(fi.__file__).parent)])):
        assert not scope.covers(own_frame(inside))
        assert scope.sources or scope.covers(frame_of(__file__))


def nested(depth: int, inner: Callable[[], FrameType]) -> FrameType:
    return inner() if depth == 0 else nested(depth - 1, inner)


def test_a_call_belongs_to_the_nearest_frame_of_a_source(root: Path) -> None:
    shop = ModuleType("shop.cart")
    exec(
        compile("def add(call):\n    return call()", str(root / "shop" / "cart.py"), "exec"),
        shop.__dict__,
    )
    scope = Scope.parse(["shop"], root=str(root))

    frame = shop.add(lambda: nested(3, sys._getframe))

    found = scope.frame_under_test(frame)
    assert found is not None
    assert found.f_code.co_name == "add"
    assert Scope().frame_under_test(frame) is frame
    assert Scope.parse([], ["shop"], root=str(root)).frame_under_test(frame) is frame


@pytest.mark.parametrize(("further_in", "found"), [(MAX_DEPTH - 1, True), (MAX_DEPTH, False)])
def test_a_frame_too_far_up_the_stack_owns_no_call(
    root: Path, further_in: int, found: bool
) -> None:
    shop = ModuleType("shop.cart")
    exec(
        compile("def add(call):\n    return call()", str(root / "shop" / "cart.py"), "exec"),
        shop.__dict__,
    )
    scope = Scope.parse(["shop"], root=str(root))

    def here() -> FrameType:
        return sys._getframe()

    # The innermost, the lambda and the last of the nested ones make three.
    frame = shop.add(lambda: nested(further_in - 3, here))

    assert (scope.frame_under_test(frame) is not None) is found


def test_a_stack_without_the_source_owns_no_call(root: Path) -> None:
    assert Scope.parse(["shop"], root=str(root)).frame_under_test(sys._getframe()) is None
    assert Scope.parse(["shop"], root=str(root)).frame_under_test(None) is None
