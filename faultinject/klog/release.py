"""Releases: which modelled kernel stands for the one that wrote a log.

Lives here: reading ``2.6.32-41-server``, and the row of `faultinject.mm.kernel_version`
that is nearest below. Not here: what the rows say.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from faultinject.errors import UsageError
from faultinject.mm.kernel_version import VERSIONS, KernelVersion, kernel_version

_RELEASE: Final = re.compile(r"v?([0-9]{1,2})\.([0-9]{1,3})(?:\.([0-9]{1,3}))?(?![0-9])")

# The watermark rule of one row changed here, between two releases that have rows.
_MODERN_SINCE: Final = (4, 4)

# What is modelled of older ones is too little to explain a failure by.
_OLDEST: Final = "2.6.24"


class Release(NamedTuple):
    """A kernel's release.

    Attributes:
        text: as the log has it.
        version: its numbers, ``(2, 6, 32)``; a number that is not there is 0.
        model: the modelled kernel that stands for it.
    """

    text: str
    version: tuple[int, int, int]
    model: KernelVersion


def parse_release(text: str, *, option: str = "") -> Release:
    """Read a release.

    Raises:
        UsageError: there is no version in it.
    """
    found = _RELEASE.match(text.strip())
    if found is None:
        raise UsageError(
            "not a kernel's release",
            value=text,
            where=option or None,
            cure="Give a version such as 2.6.32 or 6.1",
        )
    version = (int(found[1]), int(found[2]), int(found[3] or 0))
    return Release(text.strip(), version, _model(version))


def _model(version: tuple[int, int, int]) -> KernelVersion:
    if _MODERN_SINCE <= version < _numbers("4.9"):
        return kernel_version("4.9")
    below = [name for name in VERSIONS if _numbers(_OLDEST) <= _numbers(name) <= version]
    return kernel_version(max(below, key=_numbers) if below else _OLDEST)


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in name.split("."))
