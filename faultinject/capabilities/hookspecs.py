"""How another package adds capabilities.

Lives here: the pluggy project ``faultinject``, its marker and its one hook. Not here:
who calls the hook (`faultinject.capabilities.registry`). A package names a module or an
object that implements it as an entry point of the group ``faultinject``;
``examples/fail_gpio_request`` is such a package.
"""

from __future__ import annotations

from collections.abc import Iterable
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
