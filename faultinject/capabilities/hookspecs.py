"""How another package adds capabilities and profiles.

Lives here: the pluggy project ``faultinject``, its marker and its hooks. Not here: who
calls them (`faultinject.capabilities.registry`). A package names a module or an
object that implements it as an entry point of the group ``faultinject``;
``examples/fail_gpio_request`` is such a package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import pluggy

from faultinject.capabilities.capability import Capability

PROJECT: Final = "faultinject"

hookspec: Final = pluggy.HookspecMarker(PROJECT)
hookimpl: Final = pluggy.HookimplMarker(PROJECT)
"""Marks an implementation of a hook of this file."""


@hookspec
def faultinject_capabilities() -> Iterable[Capability]:  # type: ignore[empty-body]
    """Return the capabilities that the package adds, each the same object every time."""


@hookspec
def faultinject_profiles() -> Mapping[str, Iterable[Mapping[str, object]]]:  # type: ignore[empty-body]
    """Return rows for profiles of `fail_function`, by the profile's name.

    A name of ours (``disk``) gets these rows besides its own; any other is a new profile. A
    row has the keys of ``[[tool.faultinject.profiles.NAME]]``: ``target``, ``faults``,
    ``source``, and perhaps ``only`` and ``optional``.
    """
