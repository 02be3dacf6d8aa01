"""The functions that a test calls: `fail_alloc`, `fail_nth`, `no_faults` and the rest.

Lives here: what arms several capabilities at once. Not here: single capabilities, which
are called themselves (`faultinject.capabilities`), the scopes of the engine
(`faultinject.engine.scope`), and sweeps (`faultinject.campaign.sweep`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, overload

from faultinject.capabilities import registry
from faultinject.capabilities.arming import OWN_KNOBS, Arming, ArmingSet
from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.capabilities.failslab import failslab
from faultinject.engine import spec
from faultinject.engine.attr import FaultAttr
from faultinject.engine.log import injections
from faultinject.engine.scope import fail_nth, make_it_fail, no_faults
from faultinject.errors import SpecError
from faultinject.gfp import Gfp, format_gfp

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@overload
def fail_alloc(spec: str | None = None, /, **knobs: object) -> ArmingSet: ...
@overload
def fail_alloc(target: Decorated, /) -> Decorated: ...
def fail_alloc(what: str | Decorated | None = None, /, **knobs: object) -> ArmingSet | Decorated:
    """Arm several capabilities at once.

    ``fail_alloc("failslab:interval=3,times=-1;fail_page_alloc:min_order=2")`` arms those
    that the text names, with those knobs. ``fail_alloc(probability=10, seed=7)`` arms all
    capabilities of the model memory alike; a gate goes to those that have it, and
    ``nth=N`` is one countdown for all of them. ``@fail_alloc`` is ``@fail_alloc()``.

    Returns:
        A context manager and decorator. Its ``as`` value has ``injections``, and what is
        armed by name.

    Raises:
        SpecError: the text or a knob is wrong.
    """
    if callable(what):
        return _arm_model({})(what)
    if what is None:
        return _arm_model(knobs)
    if not isinstance(what, str):
        raise SpecError("a spec is not text", value=what, cure="Give a str, or knobs by name")
    if knobs:
        raise SpecError(
            "a spec and a knob are both given",
            value=min(knobs),
            cure="Write the knob into the text, behind its capability",
        )
    return ArmingSet([Arming(registry.get(name), own) for name, own in registry.parse_spec(what)])


def _arm_model(knobs: dict[str, object]) -> ArmingSet:
    capabilities = [
        capability
        for capability in registry.all()
        if capability.allocates and capability.unavailable() is None
    ]
    shared = {*spec.KNOBS, *OWN_KNOBS, "attr"}
    gates = {gate for capability in capabilities for gate in capability.gates}
    for name in knobs:
        if name not in shared | gates:
            raise SpecError("no such knob", value=name, cure=spec.near(name, shared | gates))
    armings = [
        Arming(
            capability,
            {
                name: value
                for name, value in knobs.items()
                if name in shared or name in capability.gates
            },
        )
        for capability in capabilities
    ]
    nth = armings[0].nth
    return ArmingSet(armings, shared_nth=nth)


__all__: Final = [
    "FaultAttr",
    "Gfp",
    "fail_alloc",
    "fail_nth",
    "fail_page_alloc",
    "failslab",
    "format_gfp",
    "injections",
    "make_it_fail",
    "no_faults",
]
