"""Marks: what ``@pytest.mark.fail_alloc`` changes for one test.

Lives here: reading a mark, with every error naming the test. Checked at
collection, so that a typing error does not wait for its turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from faultinject.campaign.choice import Choice
from faultinject.campaign.choice import choose as choose_spec
from faultinject.campaign.oracles.selection import parse_oracles
from faultinject.campaign.plan import Hits
from faultinject.campaign.settings import Settings
from faultinject.capabilities import registry
from faultinject.engine.spec import KNOBS, near
from faultinject.errors import FaultInjectError, SpecError

_OWN = ("raises", "strict", "max", "hits", "persistent", "timeout", "oracles")


def has_campaign(item: pytest.Item) -> bool:
    """Say whether the item's allocations may be failed at all."""
    return item.get_closest_marker("no_fail_alloc") is None


def settings_of(item: pytest.Item, session: Settings) -> Settings:
    """Give the settings for one item: the session's, and over them its marks, nearest last.

    Raises:
        pytest.UsageError: a mark that cannot be read, with the test's node id.
    """
    settings = session
    for mark in reversed(list(item.iter_markers("fail_alloc"))):
        try:
            settings = _apply(settings, mark)
        except (FaultInjectError, TypeError, ValueError) as error:
            raise pytest.UsageError(f"{item.nodeid}: mark fail_alloc: {error}") from None
    return settings


def check_marks(items: Iterable[pytest.Item], session: Settings) -> None:
    """Read the marks of all collected items, so that a wrong one stops the run at once."""
    for item in items:
        if has_campaign(item):
            settings_of(item, session)


def _apply(settings: Settings, mark: pytest.Mark) -> Settings:
    if len(mark.args) > 1:
        raise TypeError(f"takes one SPEC, not {len(mark.args)}")
    own = {name: mark.kwargs[name] for name in _OWN if name in mark.kwargs}
    knobs = {name: value for name, value in mark.kwargs.items() if name not in _OWN}
    changes: dict[str, Any] = {}
    if mark.args or knobs:
        choice = _choice(mark.args[0] if mark.args else None, knobs, settings)
        changes.update(swept=choice.swept, random=choice.random, by_default=choice.by_default)
    if "raises" in own:
        changes["raises"] = (*settings.raises, *_types(own["raises"]))
    if own.get("hits") is not None:
        changes["hits"] = Hits.parse(own["hits"], option="hits")
    if own.get("max") is not None:
        changes["limit"] = _whole("max", own["max"])
    if own.get("timeout") is not None:
        changes["timeout"] = _seconds(own["timeout"])
    if own.get("oracles") is not None:
        changes["oracles"] = parse_oracles(own["oracles"], start=settings.oracles)
    for name in ("strict", "persistent"):
        if own.get(name) is not None:
            changes[name] = _truth(name, own[name])
    return replace(settings, **changes)


def _choice(spec: Any, knobs: Mapping[str, Any], settings: Settings) -> Choice:
    if spec is not None and not isinstance(spec, str):
        raise TypeError(f"the SPEC is a text such as 'failslab', not {spec!r}")
    names = (
        choose_spec([spec]).capabilities
        if spec is not None
        else Choice(settings.swept, settings.random).capabilities
    )
    _check_names(knobs, names)
    if not knobs:
        return choose_spec([spec] if spec is not None else ())
    if spec is not None and ":" in spec:
        raise TypeError("knobs stand in the SPEC or beside it, not in both")
    written = ",".join(f"{name}={_written(value)}" for name, value in knobs.items())
    return choose_spec([";".join(f"{name}:{written}" for name in names)])


def _check_names(knobs: Iterable[str], capabilities: Iterable[str]) -> None:
    known = {*_OWN, *KNOBS}.union(*(registry.knobs(name) for name in capabilities))
    for name in knobs:
        if name not in known:
            raise SpecError("no such argument", value=name, cure=near(name, known))


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "Y" if value else "N"
    if isinstance(value, list | tuple | set | frozenset):
        return "|".join(str(item) for item in value)
    return str(value)


def _types(value: Any) -> tuple[type[BaseException], ...]:
    types = value if isinstance(value, tuple) else (value,)
    for item in types:
        if not (isinstance(item, type) and issubclass(item, BaseException)):
            raise TypeError(f"raises takes exception types, not {item!r}")
    return types


def _whole(name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError(f"{name} is a whole number of at least 1, not {value!r}")


def _seconds(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf:
        return float(value)
    raise ValueError(f"timeout is a number of seconds above 0, not {value!r}")


def _truth(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError(f"{name} is True or False, not {value!r}")
