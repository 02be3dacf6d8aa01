"""Armings of the C hook: entering and leaving them, nested or one after the other.

Lives here: `NativeArming`, what `Census`, `Strike` and `RuleArming` share, and the stack
of those in force. Not here: what each of them is for (their own files), the swap of the
allocators (``install.c``).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from faultinject.errors import UsageError
from faultinject.native import core
from faultinject.native.places import CodeScope
from faultinject.native.requests import DOMAINS, Requests
from faultinject.native.site import NativeEvent, SiteRow, read_events
from faultinject.native.veto import VETOED, Veto

if TYPE_CHECKING:
    from faultinject.native import _hook

Entered = TypeVar("Entered", bound="NativeArming")

# Those in force, the outermost first; only the last one's hooks are installed.
_stack: Final[list[NativeArming]] = []


class NativeArming:
    """One arming of the C hook: a context manager that can be entered once at a time.

    Only one is in force in a process: an arming inside another one suspends that until it
    ends. Both must be of one thread. A hook of somebody else's that is put on top, such as
    tracemalloc's, must be taken off before the next arming.

    Args:
        scope: whose requests count; all code but the harness's if not given.
        requests: which requests count; raw, mem and obj of any size if not given.
        all_tasks: requests of all threads count, not only of the one that arms.
        veto: C functions under which nothing counts, by their names or addresses.
        collect: collect garbage as the last act before arming. That empties the free
            lists, so that what is counted now is counted again in the next run.
    """

    _mode: ClassVar[int]
    _capacity: int = 16

    def __init__(
        self,
        scope: CodeScope | None = None,
        requests: Requests | None = None,
        *,
        all_tasks: bool = False,
        veto: Veto = VETOED,
        collect: bool = True,
    ) -> None:
        self.scope: Final = CodeScope.of() if scope is None else scope
        self.requests: Final = Requests.of() if requests is None else requests
        self.all_tasks: Final = all_tasks
        self.left_installed: tuple[str, ...] = ()
        """Domains that keep our hook, switched off, because another one was put on top.

        That can also befall an arming while an inner one is left: it is then out of force.
        """
        self._veto = veto
        self._collect = collect
        self._thread = 0
        self._armed: _hook.Arming | None = None
        self._rows: list[SiteRow] = []
        self._events: list[NativeEvent] = []
        self._stats: dict[str, int] = {}

    def _make(self, hook: core.HookModule) -> _hook.Arming:
        """Make the C object of a new arming."""
        raise NotImplementedError

    def _build(
        self,
        hook: core.HookModule,
        *,
        mode: int | None = None,
        attr: _hook._Knobs | None = None,
        targets: tuple[_hook._Target, ...] = (),
        counts: bool = False,
    ) -> _hook.Arming:
        scope = self.scope
        return hook.Arming(
            self._mode if mode is None else mode,
            self.requests.sizes,
            scope.rules,
            self.all_tasks,
            scope.depth,
            scope.filter_depth,
            self._veto,
            scope.extensions,
            self._capacity,
            attr,
            targets,
            counts,
        )

    def __enter__(self: Entered) -> Entered:
        """Arm.

        Raises:
            UsageError: it is armed already, another thread has one armed, somebody else's
                hook lies on top of ours, or there is no hook here; then nothing was changed.
        """
        hook = core.hook()
        if self._armed is not None:
            raise UsageError("this is armed already", cure="Make another one")
        if _stack and _stack[-1]._thread != get_ident():
            raise UsageError(
                "another thread has the allocators hooked",
                cure="Arm in one thread only, with all_tasks=True where others count too",
            )
        armed = self._make(hook)
        self._thread = get_ident()
        if _stack:
            hook.disarm()
        self._armed = armed
        _stack.append(self)
        self._rows, self._events, self._stats = [], [], {}
        arm = armed.arm
        try:
            # The very last act: even a dict made after it changes what is counted.
            if self._collect:
                gc.collect()
            arm()
        except BaseException:  # such as an interrupt
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disarm, keep what was seen, and put the outer arming back into force."""
        hook = core.module()
        armed = self._armed
        if armed is None:
            return
        in_force = bool(_stack) and _stack[-1] is self
        left = hook.disarm() if in_force else 0
        self._armed = None
        _stack.remove(self)
        self._keep(armed)
        self.left_installed = _domains(left) if left else ()
        outer = _stack[-1] if _stack and in_force else None
        if outer is None or outer._armed is None:
            return
        if left and hook.settle():
            outer.left_installed = self.left_installed  # it cannot be put back into force
        else:
            outer._armed.arm()

    def _keep(self, armed: _hook.Arming) -> None:
        """Take what the C object has seen; its tables go with it."""
        self._stats = armed.stats()
        self._events = read_events(armed.events()) if self._stats["injected"] else []

    @property
    def armed(self) -> bool:
        """Whether it has been entered and not left."""
        return self._armed is not None

    @property
    def struck(self) -> bool:
        """Whether a fault has been injected."""
        return bool(self.stats["injected"]) if self._armed or self._stats else False

    @property
    def events(self) -> list[NativeEvent]:
        """The last 256 faults, oldest first; complete once it has been left."""
        return list(self._events)

    @property
    def stats(self) -> dict[str, int]:
        """Counters, also while armed; empty before.

        ``injected`` faults; requests not counted because they were ``vetoed``, made without
        the GIL (``nogil``), under a trace function (``tracing``), by the ``harness``, with no
        frame under test (``nobody``) or none near enough (``too_deep``); ``sites`` written
        down; requests that found no room for theirs (``overflow``).
        """
        return dict(self._stats if self._armed is None else self._armed.stats())

    @property
    def vetoed(self) -> int:
        """Requests that the veto left alone."""
        return self.stats.get("vetoed", 0)


def _domains(left: int) -> tuple[str, ...]:
    # Apart from __exit__: a variable of a closure costs its caller, whose request may fail.
    return tuple(name for number, name in enumerate(DOMAINS) if left & (1 << number))


@contextmanager
def paused() -> Iterator[None]:
    """A stretch in which nothing counts and nothing fails, in any thread."""
    hook = core.module()
    hook.pause(True)
    try:
        yield
    finally:
        hook.pause(False)
