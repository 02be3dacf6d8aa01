"""The choice: what a SPEC of a campaign sweeps, and what it arms at random.

Lives here: the rules for a SPEC inside a campaign. A capability without a
``probability`` is swept, with one it is random mode. Not here: the grammar
(`faultinject.engine.spec`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from faultinject.campaign.settings import RandomMode
from faultinject.capabilities import registry
from faultinject.capabilities.arming import Arming
from faultinject.errors import SpecError, UnavailableError, UsageError

# What a sweep itself decides: with one of these and no probability, the text cannot
# mean what its author hopes.
_DICE = ("interval", "times", "space", "seed", "nth", "task_filter")


@dataclass(frozen=True, slots=True)
class Choice:
    """What a campaign makes fail: swept capabilities and random modes."""

    swept: Mapping[str, Mapping[str, Any]]
    random: tuple[RandomMode, ...] = ()
    by_default: bool = False

    def beside(self, other: Choice, *, alone: bool) -> Choice:
        """Give this choice and what another one sweeps; only that if it is alone.

        Raises:
            UsageError: both sweep one capability.
        """
        if alone:
            return other
        both = self.swept.keys() & other.swept.keys()
        if both:
            raise UsageError(
                "one capability is swept with two sets of knobs",
                value=min(both),
                cure="Name it once",
            )
        return replace(self, swept={**self.swept, **other.swept})

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Every capability named, each once."""
        names = [*self.swept]
        names += [name for mode in self.random for name in mode.knobs]
        return tuple(dict.fromkeys(names))


def choose(specs: Iterable[str] = (), *, option: str = "SPEC") -> Choice:
    """Read the SPECs of a campaign; none at all means every capability there is.

    Args:
        specs: texts such as ``failslab;fail_page_alloc:min_order=2``.
        option: who is asking, for the error.

    Raises:
        SpecError: a knob that a sweep decides itself, without a probability.
        UsageError: a capability that two SPECs sweep with different knobs.
    """
    swept: dict[str, Mapping[str, Any]] = {}
    random: list[RandomMode] = []
    texts = list(specs)
    if not texts:
        usual = (item for item in registry.all() if item.by_default)
        found = [item.name for item in usual if item.unsweepable() is None]
        return Choice({name: {} for name in found}, by_default=True)
    for text in texts:
        drawn: dict[str, Mapping[str, Any]] = {}
        for name, knobs in registry.parse_spec(text):
            capability = registry.get(name)
            own = {*capability.gates, "profile"} & knobs.keys()
            if "probability" in knobs:
                _refuse_unavailable(name, capability.unavailable(), text, option)
                Arming(capability, {knob: knobs[knob] for knob in own})
                drawn[name] = knobs
                continue
            _refuse_unavailable(name, capability.unsweepable(), text, option)
            _refuse_dice(name, knobs, text, option)
            Arming(capability, {knob: knobs[knob] for knob in own})  # refuses what means nothing
            if swept.get(name, knobs) != knobs:
                raise UsageError(
                    "one capability is swept with two sets of knobs",
                    value=name,
                    where=f"{option} {text!r}",
                    cure="Name it in one SPEC",
                )
            swept[name] = knobs
        if drawn:
            random.append(RandomMode(text, drawn))
    return Choice(swept, tuple(random))


def _refuse_unavailable(name: str, reason: str | None, text: str, option: str) -> None:
    if reason is not None:
        raise UnavailableError(
            f"{name} is not available here: {reason}",
            where=f"{option} {text!r}",
            cure="Leave it out; `faultinject list` shows what is available",
            slug="unavailable",
        )


def _refuse_dice(name: str, knobs: Mapping[str, Any], text: str, option: str) -> None:
    for knob in _DICE:
        if knob in knobs:
            raise SpecError(
                f"{knob} without probability: a sweep decides by itself which calls fail",
                value=f"{name}:{knob}={knobs[knob]}",
                where=f"{option} {text!r}",
                cure="Add a probability for random trials, or leave the knob out",
            )


def choose_by_value(value: str | Iterable[str] | None) -> Choice:
    """Read the ``capabilities`` argument of ``sweep``: a SPEC, several, or None for all."""
    if value is None:
        return choose()
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, Iterable):
        texts = list(texts)
        if texts and all(isinstance(text, str) for text in texts):
            return choose(texts, option="capabilities")
    raise UsageError(
        "no capability is named",
        value=value,
        where="capabilities",
        cure="Give a SPEC or a list of them, or leave the argument out for all",
    )
