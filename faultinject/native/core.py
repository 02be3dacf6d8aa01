"""The C module, or the reason why it cannot be used.

Lives here: loading `faultinject.native._hook`, the refusals with their reasons, and
the self-test of the frame lookup. Not here: what is done with it (the neighbours).

Everything of the package works without the C module, except failures of the real
interpreter's memory. Importing this file never fails.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from faultinject.errors import UsageError

if TYPE_CHECKING:
    from faultinject.native import _hook

FIRST_UNTESTED: Final = (3, 14)
"""From this version on the frame lookup is written, and refused until it is tested."""


class HookModule(Protocol):
    """The part of the C module that armings use, as `_hook.pyi` types it."""

    Arming: type[_hook.Arming]
    disarm: Callable[[], int]
    settle: Callable[[], int]
    covered: Callable[[], int]
    learn: Callable[[], bool]
    pause: Callable[[bool], None]
    armed: Callable[[], _hook.Arming | None]
    address: Callable[[str, int], int]
    frames: Callable[[], list[tuple[CodeType, int]]]
    watch_crashes: Callable[[int], bool]
    fault_stack: Callable[[], list[tuple[str, int]]]
    forget_fault: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something cannot be used here.

    Attributes:
        slug: its name in ``docs/messages.md``.
        text: one sentence for people, without the full stop.
    """

    slug: str
    text: str

    def __str__(self) -> str:
        return f"{self.text}. [{self.slug}]"


def _refusal() -> Reason | None:
    """Say why this interpreter is refused before anything is loaded."""
    name = sys.implementation.name
    if name != "cpython":
        return Reason(
            slug="native-implementation",
            text=f"it hooks the allocators of CPython, and this is {name}",
        )
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return Reason(
            slug="native-free-threaded",
            text="it relies on the GIL, and this is a free-threaded build of Python",
        )
    if sys.version_info >= FIRST_UNTESTED:
        return Reason(
            slug="native-untested",
            text="it reads structures of CPython that change with every version, and is not "
            f"tested on {sys.version_info[0]}.{sys.version_info[1]}",
        )
    return None


def _load() -> tuple[HookModule | None, Reason | None]:
    refused = _refusal()
    if refused is not None:
        return None, refused
    try:
        from faultinject.native import _hook
    except ImportError as error:
        return None, Reason(
            slug="native-missing",
            text="the C module was not built, for want of a C compiler or of Python's headers when "
            f"faultinject was installed ({error})",
        )
    built_for = (_hook.BUILT_FOR >> 8, _hook.BUILT_FOR & 0xFF)
    if built_for != sys.version_info[:2]:
        return None, Reason(
            slug="native-missing",
            text=f"the C module was built for Python {built_for[0]}.{built_for[1]}",
        )
    return cast("HookModule", _hook), None


def _stack_twice(
    loaded: HookModule,
) -> tuple[list[tuple[CodeType, int]], list[tuple[CodeType, int]]]:
    seen = loaded.frames()
    expected = []
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        expected.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return seen, expected


def _self_test(loaded: HookModule) -> Reason | None:
    """Compare the hook's view of the stack with the interpreter's own.

    The stack has a generator and a C function in it, since between C and Python the
    interpreter puts frames of its own, which must be passed over.
    """

    def through_a_generator() -> Any:
        yield _stack_twice(loaded)

    def through_c(_: object) -> Any:
        return next(through_a_generator())

    seen, expected = next(map(through_c, [None]))
    same_code = [code for code, _ in seen] == [code for code, _ in expected]
    # The innermost frame has gone on between the two looks.
    same_offsets = [at for _, at in seen[1:]] == [at for _, at in expected[1:]]
    if same_code and same_offsets:
        return None
    return Reason(
        slug="native-frames",
        text="the hook cannot read this interpreter's frames "
        f"({'offsets' if same_code else 'code'} differ from sys._getframe), so call sites are off",
    )


def _learn(loaded: HookModule) -> bool:
    """Let the veto find the maker of frame objects: this very frame has no object yet."""
    return loaded.learn()


_module, _reason = _load()
_no_frames: Final = _self_test(_module) if _module is not None else None
if _module is not None:
    _learn(_module)


def hook() -> HookModule:
    """Give the C module.

    Raises:
        UsageError: it cannot be used, with the reason.
    """
    reason = _reason or _other_hook()
    if reason is not None:
        raise UsageError(
            f"failures of Python's own memory are not available here: {reason.text}",
            cure="`faultinject list` shows what is",
            slug=reason.slug,
        )
    return cast("HookModule", _module)


def call_site_hook() -> HookModule:
    """Give the C module for something that needs call sites.

    Raises:
        UsageError: it, or its view of frames, cannot be used, with the reason.
    """
    loaded = hook()
    if _no_frames is not None:
        raise UsageError(
            f"call sites are not available here: {_no_frames.text}",
            cure="Arm the rule without require, reject and sources",
            slug=_no_frames.slug,
        )
    return loaded


def _other_hook() -> Reason | None:
    if _module is None:
        return None
    if _module.settle() if _module.armed() is None else _module.covered():
        return Reason(
            slug="native-other-hook",
            text="another allocator hook, such as tracemalloc's, was put on top of ours while it "
            "was armed, and is still there",
        )
    return None


def module() -> HookModule:
    """Give the C module to somebody who has armed it: no questions are asked."""
    return cast("HookModule", _module)


def loaded() -> HookModule | None:
    """Give the C module if there is one, usable or not."""
    return _module


def unavailable() -> Reason | None:
    """Say why nothing of this package works here; None if it does."""
    return _reason or _other_hook()


def call_sites_off() -> Reason | None:
    """Say why call sites do not work here; None if they do."""
    return unavailable() or _no_frames


def why_unavailable() -> str | None:
    """Say in one sentence why `Census`, `Strike` and `RuleArming` do not work here."""
    reason = unavailable()
    return None if reason is None else str(reason)


def call_sites_unavailable() -> str | None:
    """Say in one sentence why `Census`, `Strike` and filters do not work here."""
    reason = call_sites_off()
    return None if reason is None else str(reason)
