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

# What is modelled of older ones is too little to explain a failure by; 2.6.0 to 2.6.23 are
# taken for it.
_OLDEST: Final = "2.6.24"
_OLDEST_READ: Final = (2, 6)

# The last release of each series that has ended (kernel.org, pub/linux/kernel). After 2.6.39
# there were only those that Fedora 15 called so, of 3.0 to 3.3.
_LAST: Final = {(2, 6): 43, (3,): 19, (4,): 20, (5,): 19, (6,): 19}

# A series lasts three years or more.
_LATEST_SERIES: Final = 9


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
        UsageError: there is no version in it, or one that never was, or one before 2.6.
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
    if version[:2] < _OLDEST_READ:
        raise UsageError(
            "a kernel from before what can be explained",
            value=text,
            where=option or None,
            cure="Give 2.6 or later; its reports, and its rule, are the oldest that are known",
        )
    if not _ever_was(version):
        raise UsageError(
            "there never was such a kernel",
            value=text,
            where=option or None,
            cure="Give the release as uname -r prints it, such as 2.6.32, 5.10 or 6.1",
        )
    return Release(text.strip(), version, _model(version))


def _ever_was(version: tuple[int, int, int]) -> bool:
    series, number = (version[:1], version[1]) if version[0] > 2 else (version[:2], version[2])
    if series in _LAST:
        return number <= _LAST[series]
    return 2 < version[0] <= _LATEST_SERIES


def _model(version: tuple[int, int, int]) -> KernelVersion:
    if _MODERN_SINCE <= version < _numbers("4.9"):
        return kernel_version("4.9")
    below = [name for name in VERSIONS if _numbers(_OLDEST) <= _numbers(name) <= version]
    return kernel_version(max(below, key=_numbers) if below else _OLDEST)


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in name.split("."))
