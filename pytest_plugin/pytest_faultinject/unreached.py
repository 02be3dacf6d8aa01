"""Why a campaign has reached no call site: the likely cause, in a sentence.

Lives here: `why_nothing`. Not here: whose code is under test (``.own_code``), names of code
that the options spell wrong (``.named_code``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from faultinject.campaign.allocations import installed_code
from faultinject.capabilities import registry
from pytest_faultinject.named_code import spec_of
from pytest_faultinject.setup import Setup

_NOTHING = "No test reached a call site that can fail, so there was no trial"

# Where projects keep their packages, below the root folder.
_FOLDERS = (".", "src", "lib")


def why_nothing(config: pytest.Config, setup: Setup) -> str:
    """Say that nothing was tried, and the likely cause."""
    settings = setup.settings
    if not settings.scope.sources and not all(
        registry.get(name).allocates for name in settings.swept
    ):
        unknown = [
            text for text in settings.own_code if not os.path.isabs(text) and spec_of(text) is None
        ]
        if unknown:
            names = ", ".join(unknown)
            return (
                f"{_NOTHING}: coverage.py's source is {names}, and there is no such package or "
                "folder. Mend it in coverage.py's configuration, or give --fail-alloc-source"
            )
        for name, below, place in _installed_twins(str(config.rootpath)):
            return (
                f"{_NOTHING}: {name} is imported from {place}, not from {below}, and what is "
                f"installed is not under test by itself. Give --fail-alloc-source={name}"
            )
    return (
        f"{_NOTHING}. What is under test is said by --fail-alloc-source (an installed package "
        "must be named), what fails by --fail-alloc-spec and --fail-function."
    )


def _installed_twins(root: str) -> Iterator[tuple[str, str, str]]:
    """Find the project's packages that are imported from where packages are installed.

    Yields:
        the name, its place below the root folder, and the folder it is imported from.
    """
    installed = tuple(folder + os.sep for folder in installed_code())
    for folder in _FOLDERS:
        place = os.path.join(root, folder)
        for entry in sorted(os.listdir(place)) if os.path.isdir(place) else ():
            name = entry.removesuffix(".py")
            inside = os.path.join(place, entry)
            is_package = os.path.isfile(os.path.join(inside, "__init__.py"))
            if not name.isidentifier() or not (is_package or entry.endswith(".py")):
                continue
            spec = spec_of(name)
            if spec is None or not spec.origin or spec.origin.startswith(place + os.sep):
                continue
            if spec.origin.startswith(installed) and os.path.basename(spec.origin) != entry + "c":
                at = os.path.dirname(spec.origin)
                yield (
                    name,
                    os.path.relpath(inside, root),
                    os.path.dirname(at) if is_package else at,
                )
