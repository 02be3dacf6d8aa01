"""Armings: capabilities that inject for a while.

Lives here: `Gate`, `Armed` (one entry), `Arming` (the context manager and decorator
that makes entries) and `ArmedSet` (several at once). Not here: what a capability is
(`faultinject.capabilities.capability`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from faultinject.engine import spec, task
from faultinject.engine.attr import FaultAttr
from faultinject.engine.log import Injection
from faultinject.engine.scope import Scope
from faultinject.errors import SpecError

if TYPE_CHECKING:
    from faultinject.capabilities.capability import Capability

KERNEL_PROFILE: Final = "kernel"
OWN_KNOBS: Final[dict[str, spec.Kind]] = {
    "nth": spec.Kind.UNSIGNED,
    "profile": spec.Kind.WORD,
    "all_tasks": spec.Kind.FLAG,
}
"""Knobs of every arming, besides those of the attribute and the capability's gates."""

# A countdown reads none of these, so that giving both is a misunderstanding.
_UNREAD_BY_NTH: Final = ("probability", "interval", "times", "space", "task_filter", "seed")


class Gate(NamedTuple):
    """A test of a capability's own that exempts calls from the rule.

    Attributes:
        type: ``bool``, ``int`` or ``str``; an int is a whole number from 0.
        default: the lenient value, which exempts nothing that can be failed.
        kernel_default: the value of ``profile="kernel"``.
        doc: one sentence for ``faultinject list``.
    """

    type: type[bool] | type[int] | type[str]
    default: bool | int | str
    kernel_default: bool | int | str
    doc: str

    @property
    def kind(self) -> spec.Kind:
        """The gate's kind as a knob."""
        if self.type is str:
            return spec.Kind.WORD
        return spec.Kind.FLAG if self.type is bool else spec.Kind.UNSIGNED


class Setting(task.Entry):
    """An attribute and the gates that go with it.

    Attributes:
        attr: the live attribute.
        gates: the gates by name.
        countdown: the capability's own countdown (``nth=``), if it has one.
        injections: what was injected under this setting; ``None`` where nobody keeps it.
    """

    __slots__ = ("attr", "countdown", "gates", "injections")

    def __init__(
        self, key: object, attr: FaultAttr, gates: dict[str, Any], *, all_tasks: bool = False
    ) -> None:
        super().__init__(key, all_tasks=all_tasks)
        self.attr: Final = attr
        self.gates: Final = gates
        self.countdown: task.FailNth | None = None
        self.injections: list[Injection] | None = None


class Armed(Setting):
    """One entry of an arming: what ``with fi.failslab(...) as armed`` gives.

    Attributes:
        injections: the injections that this entry made, oldest first.
    """

    __slots__ = ()
    arms = True
    injections: list[Injection]

    def __init__(
        self, key: object, attr: FaultAttr, gates: dict[str, Any], *, all_tasks: bool = False
    ) -> None:
        super().__init__(key, attr, gates, all_tasks=all_tasks)
        self.injections = []

    def __repr__(self) -> str:
        return f"<armed {self.attr.name}: {self.attr}, {len(self.injections)} injected>"


class Arming(Scope[Armed]):
    """A capability with knobs, ready to be entered or to decorate.

    Each entry has its own copy of the attribute: `times` that one call has used up are
    there again for the next.

    Args:
        capability: what to arm.
        knobs: knobs of `FaultAttr`, the capability's gates, and

            * ``nth=N``: fail the N-th eligible call of this capability, and nothing else;
            * ``profile="kernel"``: the kernel's defaults in place of those that inject;
            * ``all_tasks=True``: in every thread and task of the process;
            * ``attr=FaultAttr(…)``: all knobs of an attribute at once.

    Raises:
        SpecError: a knob is unknown, has a wrong type, or contradicts another.
    """

    def __init__(self, capability: Capability, knobs: Mapping[str, object]) -> None:
        super().__init__()
        self.capability: Final = capability
        given = dict(knobs)
        attr = given.pop("attr", None)
        values = {name: self._check(name, value) for name, value in given.items()}
        self.all_tasks: Final = bool(values.pop("all_tasks", False))
        nth = values.pop("nth", None)
        self.nth: Final = nth if isinstance(nth, int) else None
        profile = values.pop("profile", None)
        gates = self._profile(profile)
        for name in capability.gates.keys() & values.keys():
            gates[name] = values.pop(name)
        self._gates = gates
        capability.check_gates(gates)
        self._refuse_contradictions(attr, values)
        if isinstance(attr, FaultAttr):
            self._attr = attr.copy()
        else:
            injecting = profile != KERNEL_PROFILE and self.nth is None
            self._attr = FaultAttr(probability=100 if injecting else 0)
            for name, value in values.items():
                setattr(self._attr, name, value)
        if self._attr.name is None:
            self._attr.name = capability.name

    @property
    def gates(self) -> Mapping[str, Any]:
        """The values of the capability's gates."""
        return self._gates

    def _profile(self, profile: object) -> dict[str, Any]:
        """Give the gates' values before any knob."""
        capability = self.capability
        if profile == KERNEL_PROFILE:
            return {name: gate.kernel_default for name, gate in capability.gates.items()}
        gates = {name: gate.default for name, gate in capability.gates.items()}
        if profile is not None:
            values = capability.profiles.get(str(profile))
            if values is None:
                known = ", ".join([KERNEL_PROFILE, *capability.profiles])
                raise SpecError(
                    "no such profile",
                    value=profile,
                    where=capability.name,
                    cure=f"Give one of {known}, or leave it out",
                )
            gates.update(values)
        return gates

    def _check(self, name: str, value: object) -> object:
        capability = self.capability
        if name in capability.gates:
            return spec.check(name, value, capability.gates[name].kind)
        if name == "nth":
            return self._check_nth(value)
        if name in OWN_KNOBS:
            return None if value is None else spec.check(name, value, OWN_KNOBS[name])
        if name in spec.KNOBS:
            return spec.check(name, value, spec.KNOBS[name][0])
        known = [*spec.KNOBS, *OWN_KNOBS, *capability.gates, "attr"]
        raise SpecError(
            f"{capability.name} has no such knob", value=name, cure=spec.near(name, known)
        )

    def _check_nth(self, value: object) -> int:
        try:
            return task.FailNth(value).n  # type: ignore[arg-type]  # it checks what it gets
        except SpecError as error:
            raise SpecError(
                "nth is not a whole number from 1",
                value=error.value,
                where=self.capability.name,
                cure=error.cure,
            ) from None

    def _refuse_contradictions(self, attr: object, values: Mapping[str, object]) -> None:
        where = self.capability.name
        if attr is not None:
            if not isinstance(attr, FaultAttr):
                raise SpecError(
                    "attr is not a FaultAttr",
                    value=attr,
                    where=where,
                    cure="Give FaultAttr(…), or its knobs by name",
                )
            if values:
                raise SpecError(
                    "attr and a knob of its own are both given",
                    value=min(values),
                    where=where,
                    cure="Set the knob on the FaultAttr",
                )
        if self.nth is not None:
            unread = [name for name in _UNREAD_BY_NTH if name in values]
            if attr is not None:
                unread.append("attr")
            if unread:
                raise SpecError(
                    f"nth and {unread[0]} are both given",
                    where=where,
                    cure=f"Leave one out: nth fails one call, whatever {unread[0]} says",
                )

    def fresh(self) -> tuple[tuple[task.Entry, ...], Armed]:
        """Make one entry, with counts that begin anew."""
        armed = self.capability.entry_type(
            self.capability, self._attr.copy(), dict(self._gates), all_tasks=self.all_tasks
        )
        if self.nth is not None:
            armed.countdown = task.FailNth(self.nth)
        return (armed,), armed

    def __repr__(self) -> str:
        return f"<arming of {self.capability.name}: {self._attr}>"


class ArmedSet(Mapping[str, Armed]):
    """Several armed capabilities by name: what ``with fi.fail_alloc(...) as armed`` gives."""

    def __init__(self, armed: Sequence[Armed]) -> None:
        self._armed = {str(entry.attr.name): entry for entry in armed}

    @property
    def injections(self) -> list[Injection]:
        """What all of them injected, oldest first."""
        made = [injection for armed in self._armed.values() for injection in armed.injections]
        return sorted(made, key=lambda injection: injection.number)

    def __getitem__(self, name: str) -> Armed:
        return self._armed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._armed)

    def __len__(self) -> int:
        return len(self._armed)


class ArmingSet(Scope[ArmedSet]):
    """Several armings that are entered and left together.

    Args:
        armings: at least one.
        shared_nth: one countdown for all of them, in place of their own.
    """

    def __init__(self, armings: Sequence[Arming], *, shared_nth: int | None = None) -> None:
        super().__init__()
        self.armings: Final = tuple(armings)
        self._shared_nth = shared_nth

    def fresh(self) -> tuple[tuple[task.Entry, ...], ArmedSet]:
        """Make one entry of each."""
        armed = [arming.fresh()[1] for arming in self.armings]
        if self._shared_nth is not None:
            countdown = task.FailNth(self._shared_nth)
            for entry in armed:
                entry.countdown = countdown
        return tuple(armed), ArmedSet(armed)

    def __repr__(self) -> str:
        return f"<arming of {', '.join(arming.capability.name for arming in self.armings)}>"
