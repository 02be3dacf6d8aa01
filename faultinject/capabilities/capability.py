"""What a capability is: something that can be made to fail.

Lives here: `Capability`, from which each one derives, and the one door through which
every eligible call goes, `Capability.consult`. Not here: armings
(`faultinject.capabilities.arming`), the rule (`faultinject.engine.attr`), the list of
all capabilities (`faultinject.capabilities.registry`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import current_thread
from types import FrameType, TracebackType
from typing import Any, ClassVar, Final, TypeVar, cast, overload

from faultinject.callsite import UNKNOWN, caller_frame, line_of
from faultinject.capabilities.arming import OWN_KNOBS, Armed, Arming, Gate, Setting
from faultinject.engine import observe, spec, task
from faultinject.engine.attr import Decision, FaultAttr
from faultinject.engine.log import injections
from faultinject.errors import CapabilityError, SpecError

_FAIL: Final = Decision.FAIL
_FAIL_NTH: Final = Decision.FAIL_NTH

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class _ProcessAttr(FaultAttr):
    """The attribute where nothing is armed; counts as live while its probability is set."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        if name != "probability":
            super().__setattr__(name, value)
            return
        with task.lock:
            before = bool(getattr(self, "probability", 0))
            super().__setattr__(name, value)
            task.change_live(bool(self.probability) - before)


class Capability:
    """One thing that can be made to fail: a live object, a context manager, a decorator.

    * ``with fi.failslab(times=-1):`` and ``@fi.failslab(nth=2)`` arm it for a while;
      ``with fi.failslab:`` and ``@fi.failslab`` do so with the defaults, which fail the
      next eligible call.
    * `attr` and the gates, which are attributes too, are those of the innermost arming
      that is in force in this thread and task, else those of the process. The latter have
      the kernel's defaults, which inject nothing, and lenient gates.

    To write one, derive, set the class attributes, and ask from the place that fails::

        class FailGpioRequest(Capability):
            name = "fail_gpio_request"
            unit = "lines"
            doc = "gpio_request() returns -ENOMEM."

            def should_fail(self, frame: FrameType) -> bool:
                return self.consult(1, frame=frame)

    Attributes:
        name: lower case letters, digits and underscores; unique.
        unit: what `size` and the knob `space` count, in the plural.
        doc: one sentence for ``faultinject list``.
        gates: the capability's own knobs.
        profiles: named sets of gate values, besides ``kernel``.
        entry_type: what one entry of an arming is.
        allocates: whether it is about the model memory, so that `fail_alloc` without a
            spec arms it.
        by_default: whether a campaign that names no capability sweeps it.
        pervasive: whether everybody's code makes its calls, also the interpreter's own, so
            that ``faultinject run`` fails those of the script alone.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    doc: ClassVar[str]
    gates: ClassVar[Mapping[str, Gate]] = {}
    profiles: ClassVar[Mapping[str, Mapping[str, int | str]]] = {}
    allocates: ClassVar[bool] = False
    by_default: ClassVar[bool] = True
    pervasive: ClassVar[bool] = False
    entry_type: ClassVar[type[Armed]] = Armed

    _process: Setting
    _bare: Arming

    def __init__(self) -> None:
        name = getattr(self, "name", "")
        if not isinstance(name, str) or not name.isidentifier() or name != name.lower():
            raise CapabilityError(
                "not a name for a capability", value=name, cure="Use a name like fail_gpio_request"
            )
        taken = self.gates.keys() & {*spec.KNOBS, *OWN_KNOBS, "attr", *dir(Capability)}
        if taken:
            raise CapabilityError(
                "a gate has a name that is taken",
                value=min(taken),
                where=name,
                cure="Give the gate another name",
            )
        process = _ProcessAttr(name=name)
        gates = {gate: own.default for gate, own in self.gates.items()}
        object.__setattr__(self, "_process", Setting(self, process, gates))
        object.__setattr__(self, "_bare", Arming(self, {}))

    # -- live values -------------------------------------------------------------------

    def setting(self) -> Setting:
        """The attribute and gates that are in force here and now."""
        armed = task.in_force(self)
        return self._process if armed is None else cast(Setting, armed)

    @property
    def attr(self) -> FaultAttr:
        """The attribute that is in force here and now."""
        return self.setting().attr

    def __getattr__(self, name: str) -> Any:
        # Only reached for names that are not found: gates, and typing errors.
        if name in type(self).gates:
            return self.setting().gates[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.gates:
            checked = spec.check(name, value, self.gates[name].kind)
            self.setting().gates[name] = cast(int, checked)
        elif name in spec.KNOBS:
            raise AttributeError(f"set {self.name}.attr.{name}")
        else:
            object.__setattr__(self, name, value)

    def reset(self) -> None:
        """Give the process-wide attribute and gates their defaults; armings stay."""
        process = self._process
        with task.lock:
            for knob, (_, default) in spec.KNOBS.items():
                setattr(process.attr, knob, default)
            process.attr.count = 0
            for name, gate in self.gates.items():
                process.gates[name] = gate.default

    def unavailable(self) -> str | None:
        """Why it cannot be used on this machine; ``None`` if it can."""
        return None

    def unsweepable(self) -> str | None:
        """Why a campaign cannot fail its call sites here; ``None`` if it can."""
        return self.unavailable()

    def check_gates(self, gates: Mapping[str, Any]) -> None:
        """Refuse values of the gates that have the right type and mean nothing.

        Raises:
            SpecError: saying which.
        """

    # -- arming ------------------------------------------------------------------------

    @overload
    def __call__(self, target: Decorated, /) -> Decorated: ...
    @overload
    def __call__(
        self,
        *,
        probability: int = ...,
        interval: int = ...,
        times: int = ...,
        space: int = ...,
        verbose: int = ...,
        task_filter: bool = ...,
        stacktrace_depth: int = ...,
        require: str | Iterable[str] = ...,
        reject: str | Iterable[str] = ...,
        seed: int | None = ...,
        verbose_ratelimit_interval_ms: int = ...,
        verbose_ratelimit_burst: int = ...,
        nth: int = ...,
        profile: str | None = ...,
        all_tasks: bool = ...,
        attr: FaultAttr = ...,
        **gates: bool | int | str,
    ) -> Arming: ...
    def __call__(self, *target: Any, **knobs: Any) -> Any:
        """Arm with `knobs`, see `faultinject.capabilities.arming.Arming`; or decorate."""
        if len(target) > 1 or any(isinstance(each, str) for each in target):
            raise SpecError(
                "a knob has no name",
                value=target[0],
                where=self.name,
                cure=f"Write {self.name}(name=value, …), as {self.name}(nth=2)",
            )
        arming = Arming(self, knobs)
        return arming(*target) if target else arming

    def __enter__(self) -> Armed:
        return self._bare.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bare.__exit__(kind, error, traceback)

    # -- asking ------------------------------------------------------------------------

    def consult(
        self,
        size: int,
        *,
        frame: FrameType | None = None,
        nowarn: bool = False,
        retry: bool = False,
    ) -> bool:
        """Whether this eligible call fails. It is counted and charged.

        Args:
            size: what the call asks for, in `unit`.
            frame: where the call comes from; the nearest frame outside faultinject if not
                given. A package of its own passes its caller's frame.
            nowarn: print no message if it fails.
            retry: this is the fallback try of the request that was asked for just before.
        """
        if not task.live:
            return False
        return self.ask(self.setting(), size, frame=frame, nowarn=nowarn, retry=retry)

    def ask(
        self,
        setting: Setting,
        size: int,
        *,
        frame: FrameType | None = None,
        nowarn: bool = False,
        retry: bool = False,
        caller: str = "",
    ) -> bool:
        """As `consult`, for a capability that has looked up its setting for its gates.

        `caller` says in the log of injections what was asked.
        """
        if task.exemptions and task.exempt():
            return False
        observer = observe.current
        if observer is not None:
            frame = caller_frame(frame)
            if observer.eligible_call(self.name, size, frame, retry):
                self._record(setting, size, frame, "campaign", retry, caller)
                return True
        decision = setting.attr.decide(size, frame=frame, nowarn=nowarn, own=setting.countdown)
        if decision is _FAIL:
            cause = "rule"
        elif decision is _FAIL_NTH:
            cause = "fail_nth"
        else:
            return False
        self._record(setting, size, frame, cause, retry, caller)
        return True

    def _record(
        self,
        setting: Setting,
        size: int,
        frame: FrameType | None,
        cause: str,
        retry: bool,
        caller: str,
    ) -> None:
        at = caller_frame(frame)
        injection = injections.record(
            self.name,
            size,
            self.unit,
            UNKNOWN if at is None else line_of(at),
            current_thread().name,
            cause=cause,
            retry=retry,
            caller=caller,
        )
        if setting.injections is not None:
            setting.injections.append(injection)

    def __repr__(self) -> str:
        return f"<capability {self.name}: {self.attr}>"


__all__: Final = ["Armed", "Arming", "Capability", "Gate", "Setting"]
