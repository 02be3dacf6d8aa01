"""fail_function: calls of functions that are named, at the places that make them.

Lives here: the capability, its knobs, and the hook specification that announces it. Not
here: which calls are meant (`faultinject.functions.chosen`), how they are seen
(``.watch``, ``.events``), campaigns (`faultinject.campaign.calls`).

Source of the idea: Linux 6.6 kernel/fail_function.c, which fails functions that are marked
ALLOW_ERROR_INJECTION.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from faultinject.callsite import caller_frame
from faultinject.capabilities.arming import Armed, Gate
from faultinject.capabilities.capability import Capability
from faultinject.capabilities.hookspecs import hookimpl
from faultinject.engine.attr import FaultAttr
from faultinject.errors import SpecError
from faultinject.functions import profiles
from faultinject.functions.chosen import INJECTABLE, Chosen, choose
from faultinject.functions.fault import Fault
from faultinject.functions.hook import why_unavailable
from faultinject.functions.watch import Call, Watch

_GATES: Final = ("target", "error", "returns", "when")


class FunctionArmed(Armed):
    """One entry of an arming of `fail_function`."""

    __slots__ = ("_chosen", "_struck", "_watch")

    def __init__(
        self, key: object, attr: FaultAttr, gates: dict[str, Any], *, all_tasks: bool = False
    ) -> None:
        super().__init__(key, attr, gates, all_tasks=all_tasks)
        self._chosen: tuple[Chosen, ...] = ()
        self._struck = 0
        self._watch: Watch | None = None

    def entered(self) -> None:
        """Look out for the calls."""
        self._chosen = chosen_of(self.gates)
        self._watch = Watch([each.target for each in self._chosen], self._ask)
        self._watch.start()

    def left(self) -> None:
        """Look out no more."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _ask(self, number: int, call: Call) -> Fault | None:
        # Another thread or task may not be armed; an arming inside this one outranks it.
        if fail_function.setting() is not self or caller_frame(call.frame) is not call.frame:
            return None
        chosen = self._chosen[number]
        faults = chosen.possible(call)
        if not faults:
            return None
        fault = faults[self._struck % len(faults)]
        said = f"{chosen.target.name}: {fault.text}"
        if not fail_function.ask(self, 1, frame=call.frame, caller=said):
            return None
        self._struck += 1
        return fault


class FailFunction(Capability):
    """A call fails with an error that it could have in life, or returns what it should not."""

    name = "fail_function"
    unit = "calls"
    doc = "Any call of a function that is named fails as it could in life: open, write, recv, …"
    by_default = False
    pervasive = True
    entry_type = FunctionArmed
    gates: ClassVar[Mapping[str, Gate]] = {
        "target": Gate(
            str,
            INJECTABLE,
            INJECTABLE,
            "What fails: functions, methods, profiles, with | between; "
            "injectable: every function that is marked so.",
        ),
        "error": Gate(
            str, "", "", "What with, as OSError(ENOSPC); several with | between, in turn."
        ),
        "returns": Gate(str, "", "", "A literal that is returned in place of an error."),
        "when": Gate(
            str,
            "before",
            "before",
            "before: the call does not happen; after: it does, and then fails.",
        ),
    }

    @property
    def profiles(self) -> Mapping[str, Mapping[str, int | str]]:  # type: ignore[override]
        """The profiles' names, each as a target."""
        return {name: {"target": name} for name in profiles.names()}

    def unavailable(self) -> str | None:
        """Why no call can be seen here; None if they can."""
        return why_unavailable()

    def check_gates(self, gates: Mapping[str, Any]) -> None:
        """Refuse names and errors that do not exist.

        Raises:
            SpecError: with near names.
        """
        if any(gates[name] != self.gates[name].default for name in _GATES):
            chosen_of(gates)

    def __call__(self, *target: Any, **knobs: Any) -> Any:
        """Arm with `knobs`: those of every capability, and the gates; or decorate.

        ``target`` and ``error`` may be several texts, and need no names where they come
        first; ``returns`` any literal, also not as text: ``returns=None``.
        """
        if target and all(isinstance(text, str) for text in target):
            target, knobs = (), _named(target, knobs)
        for name in ("target", "error"):
            if name in knobs and not isinstance(knobs[name], str):
                knobs[name] = _joined(name, knobs[name])
        if "returns" in knobs and not isinstance(knobs["returns"], str):
            knobs["returns"] = repr(knobs["returns"])
        return super().__call__(*target, **knobs)


def _named(texts: Sequence[str], knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Give the knobs with those that have no names."""
    names = ("target", "error")
    twice = [name for name in names[: len(texts)] if name in knobs]
    if twice or len(texts) > len(names):
        raise SpecError(
            f"{twice[0]} is given twice" if twice else "more than a target and an error",
            value=texts[-1],
            where="fail_function",
            cure="Write fail_function('os.mkdir', 'OSError(ENOSPC)'), and the rest by name",
        )
    return {**dict(zip(names, texts, strict=False)), **knobs}


def _joined(name: str, value: object) -> str:
    if isinstance(value, Iterable):
        texts = list(value)
        if texts and all(isinstance(text, str) for text in texts):
            return "|".join(texts)
    raise SpecError(
        f"{name} is not text", value=value, where="fail_function", cure="Give a str, or several"
    )


def chosen_of(gates: Mapping[str, Any]) -> tuple[Chosen, ...]:
    """Give what a setting's gates mean.

    Raises:
        SpecError: a name or an error does not exist, or no function is marked.
    """
    found = choose_by_gates(gates)
    if not found:
        raise SpecError(
            "there is nothing that could fail",
            value=gates["target"],
            where="fail_function",
            cure="Name a target, or mark functions with @fi.error_injectable",
        )
    return found


def choose_by_gates(gates: Mapping[str, Any]) -> tuple[Chosen, ...]:
    """Give the same; nothing at all where no function is marked.

    Raises:
        SpecError: a name or an error does not exist.
    """
    return choose(
        gates["target"], error=gates["error"], returns=gates["returns"], when=gates["when"]
    )


fail_function: Final = FailFunction()


@hookimpl
def faultinject_capabilities() -> Iterable[Capability]:
    """Announce `fail_function`."""
    return [fail_function]
