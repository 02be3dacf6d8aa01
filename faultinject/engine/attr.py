"""Fault attributes: the knobs of one capability, and the rule that reads them.

Lives here: `FaultAttr` (the kernel's ``struct fault_attr``) and `FaultAttr.decide`,
the only function of the package that decides whether a call fails. Not here: which
calls are eligible (`faultinject.capabilities`), the text forms
(`faultinject.engine.spec`), and the task's own state (`faultinject.engine.task`).

Source: Linux 6.6 lib/fault-inject.c, should_fail_ex(). The order of the tests is the
kernel's; ``tests/vectors/should_fail.toml`` holds it fast.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from enum import Enum
from types import FrameType
from typing import Final, TypeAlias

from faultinject.callsite import StackFilter
from faultinject.engine import message, spec, task
from faultinject.errors import SpecError
from faultinject.prng import Prng, fresh_seed

Patterns: TypeAlias = str | Iterable[str]
"""One call-site pattern or several."""


class Decision(Enum):
    """Why a call fails or does not. True in a condition if it fails."""

    FAIL = "the rule fails it"
    FAIL_NTH = "it is the n-th call"
    COUNTED = "fail_nth has not yet come to its call"
    OFF = "probability is 0"
    NOT_MARKED = "task_filter is set, and this task is not made to fail"
    EXHAUSTED = "times is 0"
    FILTERED = "the stack filter refuses its callers"
    IN_BUDGET = "space is not yet used up"
    OFF_BEAT = "interval skips it"
    SPARED = "the draw spares it"

    def __bool__(self) -> bool:
        return self is _FAIL or self is _FAIL_NTH


# Reached on every armed call: a module global is quicker than an attribute of the class.
_OFF: Final = Decision.OFF
_EXHAUSTED: Final = Decision.EXHAUSTED
_FAIL: Final = Decision.FAIL
_FAIL_NTH: Final = Decision.FAIL_NTH
_write: Final = object.__setattr__


class FaultAttr:
    """How often one capability fails.

    All are live: `times`, `space` and `count` change as calls are charged, and every
    knob can be set at any time. Types are checked, ranges are not.

    Args:
        probability: in percent; 0 is off, from 100 on every draw fails.
        interval: fail only each N-th call that passed the tests before; 0 is as 1.
        times: failures left; -1 is no limit.
        space: sizes to let pass before the first failure, in the capability's unit. As
            in the kernel it only shrinks while it is greater than the size of the call.
        verbose: 0 silent, 1 a message for each failure, 2 with the stack.
        task_filter: fail only tasks inside `make_it_fail`.
        stacktrace_depth: frames that `require` and `reject` look at; at most 32.
        require: code that must be among the callers, see `faultinject.callsite.Pattern`.
        reject: code that must not be.
        seed: decides all draws; a random one if it is ``None``.
        verbose_ratelimit_interval_ms: window of the message limit; 0 is no limit.
        verbose_ratelimit_burst: messages in such a window.
        name: the name in messages, ``(null)`` if it is ``None``.

    Attributes:
        count: calls that `interval` has counted; nothing ever resets it.

    Equal if all knobs are equal; `name`, `count` and the draws do not matter.
    """

    __slots__ = (
        "_filter",
        "_prng",
        "count",
        "interval",
        "name",
        "probability",
        "ratelimit",
        "reject",
        "require",
        "seed",
        "space",
        "stacktrace_depth",
        "task_filter",
        "times",
        "verbose",
        "verbose_ratelimit_burst",
        "verbose_ratelimit_interval_ms",
    )
    # Set by __setattr__, which checks: the declarations are for type checkers and readers.
    probability: int
    interval: int
    times: int
    space: int
    verbose: int
    task_filter: bool
    stacktrace_depth: int
    require: tuple[str, ...]
    reject: tuple[str, ...]
    seed: int | None
    verbose_ratelimit_interval_ms: int
    verbose_ratelimit_burst: int
    name: str | None
    count: int
    ratelimit: message.RateLimit
    _filter: StackFilter | None
    _prng: Prng | None

    def __init__(
        self,
        probability: int = 0,
        interval: int = 1,
        times: int = 1,
        space: int = 0,
        *,
        verbose: int = 2,
        task_filter: bool = False,
        stacktrace_depth: int = 32,
        require: Patterns = (),
        reject: Patterns = (),
        seed: int | None = None,
        verbose_ratelimit_interval_ms: int = 0,
        verbose_ratelimit_burst: int = 10,
        name: str | None = None,
    ) -> None:
        given = locals()
        for knob in spec.KNOBS:
            setattr(self, knob, given[knob])
        self.name = name
        self.count = 0
        self.ratelimit = message.RateLimit()

    def __setattr__(self, name: str, value: object) -> None:
        known = spec.KNOBS.get(name)
        if known is not None:
            value = spec.check(name, value, known[0])
            if known[0] is spec.Kind.PATTERNS or name == "stacktrace_depth":
                _write(self, "_filter", None)
            elif name == "seed":
                _write(self, "_prng", None)
        _write(self, name, value)

    @classmethod
    def parse(cls, text: str) -> FaultAttr:
        """Read ``probability=10,interval=3``, or the kernel's ``10,100,0,-1``.

        The second form is ``<interval>,<probability>,<space>,<times>``. Knobs that are
        not named have the kernel's defaults.

        Raises:
            SpecError: naming what cannot be understood, and where.
        """
        attr = cls()
        for knob, value in spec.parse_knobs(text).items():
            setattr(attr, knob, value)
        return attr

    def knobs(self) -> dict[str, object]:
        """All knobs by name."""
        return {knob: getattr(self, knob) for knob in spec.KNOBS}

    def copy(self) -> FaultAttr:
        """A new attribute with the same knobs and name, whose counts and draws begin anew."""
        twin = FaultAttr(name=self.name)
        for knob, value in self.knobs().items():
            setattr(twin, knob, value)
        return twin

    @property
    def drawn_seed(self) -> int:
        """The seed that the draws come from, also where none was given."""
        return self._stream().seed

    def _stream(self) -> Prng:
        prng = self._prng
        if prng is None:
            with task.lock:
                prng = self._prng
                if prng is None:
                    prng = Prng(fresh_seed() if self.seed is None else self.seed)
                    _write(self, "_prng", prng)
        return prng

    def _permits(self, frame: FrameType | None) -> bool:
        stack_filter = self._filter
        if stack_filter is None:
            stack_filter = StackFilter(self.require, self.reject, self.stacktrace_depth)
            _write(self, "_filter", stack_filter)
        return stack_filter.trivial or stack_filter.permits(frame)

    def should_fail(self, size: int = 1) -> bool:
        """Decide one call, and charge it; false inside `no_faults`."""
        return not task.exempt() and bool(self.decide(size, frame=sys._getframe(1)))

    def decide(
        self,
        size: int = 1,
        *,
        frame: FrameType | None = None,
        nowarn: bool = False,
        draw: Callable[[], int] | None = None,
        own: task.FailNth | None = None,
    ) -> Decision:
        """Decide one call, charge it, and say why.

        Args:
            size: what the caller asks for, in the unit of `space`.
            frame: the innermost frame to look at; where this is called if not given.
            nowarn: print no message. The call fails all the same, and is charged.
            draw: draws 0 to 99, in place of the seeded stream.
            own: a countdown of the capability alone; the task's `fail_nth` comes first.
        """
        countdown = task.countdown() if task.countdowns else None
        if countdown is None and own is not None and own.remaining:
            countdown = own
        if countdown is not None:
            if not self._permits(frame):
                return Decision.FILTERED
            if not countdown.count_down():
                return Decision.COUNTED
            self._fail(nowarn, frame)
            return _FAIL_NTH
        if self.probability == 0:
            return _OFF
        if self.task_filter and not task.made_to_fail():
            return Decision.NOT_MARKED
        if self.times == 0:
            return _EXHAUSTED
        if not self._permits(frame):
            return Decision.FILTERED
        with task.lock:
            if self.times == 0:  # another thread took the last one while we looked at the stack
                return _EXHAUSTED
            if self.space > size:
                _write(self, "space", self.space - size)
                return Decision.IN_BUDGET
            if self.interval > 1:
                _write(self, "count", self.count + 1)
                if self.count % self.interval:
                    return Decision.OFF_BEAT
            if self.probability <= (draw or self._stream().roll)():
                return Decision.SPARED
            dump = self._charge(nowarn)
        # Not under the lock: a logging handler takes locks of its own.
        if dump is not None:
            self._print(dump, frame)
        return _FAIL

    def _fail(self, nowarn: bool, frame: FrameType | None) -> None:
        with task.lock:
            dump = self._charge(nowarn)
        if dump is not None:
            self._print(dump, frame)

    def _charge(self, nowarn: bool) -> tuple[str, int] | None:
        """Take one from `times`; return the message, which shows `times` as it was."""
        dump = None
        if not nowarn and self.verbose > 0:
            allowed, suppressed = self.ratelimit.allow(
                self.verbose_ratelimit_interval_ms, self.verbose_ratelimit_burst
            )
            if allowed or suppressed:
                dump = (self._message() if allowed else "", suppressed)
        if self.times not in (-1, 0):
            _write(self, "times", self.times - 1)
        return dump

    def _message(self) -> str:
        name = "(null)" if self.name is None else self.name
        return (
            "FAULT_INJECTION: forcing a failure.\n"
            f"name {name}, interval {self.interval}, probability {self.probability}, "
            f"space {self.space}, times {self.times}"
        )

    def _print(self, dump: tuple[str, int], frame: FrameType | None) -> None:
        text, suppressed = dump
        message.fail_dump(text, stack=self.verbose > 1, suppressed=suppressed, frame=frame)

    def __str__(self) -> str:
        return spec.write_knobs(self.knobs())

    def __repr__(self) -> str:
        changed = [
            f"{knob}={value!r}"
            for knob, value in self.knobs().items()
            if value != spec.KNOBS[knob][1]
        ]
        return f"FaultAttr({', '.join(changed)})"

    def __eq__(self, other: object) -> bool:
        return self.knobs() == other.knobs() if isinstance(other, FaultAttr) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes with every charged call

    def __delattr__(self, name: str) -> None:
        raise SpecError("a knob cannot be deleted", value=name, cure="Set its default instead")
