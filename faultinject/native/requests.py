"""Which requests count: domains of CPython's allocator, and sizes.

Lives here: `Requests` and the named profiles. Not here: whose requests
(`faultinject.native.places`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from faultinject.errors import SpecError

DOMAINS: Final = ("raw", "mem", "obj", "arena")
"""In the order of the C module. `arena` is where pymalloc takes its 1 MiB (256 KiB) from."""

SMALL: Final = 512
"""The largest request that pymalloc serves itself, in bytes."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Which requests count.

    A request of the obj or mem domain above 512 bytes goes on to the raw domain; it is one
    request, of the domain where it began. With `raw` alone it is one of raw.

    Attributes:
        sizes: for each of `DOMAINS` the smallest and largest size that count, in bytes,
            or None where the domain does not.
    """

    sizes: tuple[tuple[int, int] | None, ...]

    @classmethod
    def of(
        cls,
        domains: Iterable[str] = ("raw", "mem", "obj"),
        *,
        min_size: int = 0,
        max_size: int | None = None,
    ) -> Requests:
        """Take whole domains, or the sizes from `min_size` to `max_size` of them.

        Raises:
            SpecError: there is no such domain, or none is given.
        """
        wanted = domains.split("|") if isinstance(domains, str) else list(domains)
        for name in wanted:
            if name not in DOMAINS:
                raise SpecError(
                    "no such domain",
                    value=name,
                    where="domains",
                    cure=f"Give some of {', '.join(DOMAINS)}",
                )
        if not wanted:
            raise SpecError("no domain is given", where="domains", cure="Give obj, mem or raw")
        largest = sys.maxsize if max_size is None else min(max_size, sys.maxsize)
        span = (max(min_size, 0), largest)
        return cls(tuple(span if name in wanted else None for name in DOMAINS))

    @classmethod
    def profile(cls, name: str) -> Requests:
        """Take a named profile.

        * ``small``: obj and mem up to 512 bytes, what failslab is to the kernel.
        * ``pages``: arenas, larger blocks of obj and mem, and raw: what fail_page_alloc is.
          An arena that fails takes the request inside it along.

        Raises:
            SpecError: there is no such profile.
        """
        found = PROFILES.get(name)
        if found is None:
            raise SpecError(
                "no such profile",
                value=name,
                where="profile",
                cure=f"Give one of {', '.join(PROFILES)}",
            )
        return found

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains of which some sizes count."""
        return tuple(
            name for name, span in zip(DOMAINS, self.sizes, strict=True) if span is not None
        )


_ANY: Final = (0, sys.maxsize)
_LARGE: Final = (SMALL + 1, sys.maxsize)
PROFILES: Final[Mapping[str, Requests]] = MappingProxyType(
    {
        "small": Requests((None, (0, SMALL), (0, SMALL), None)),
        "pages": Requests((_ANY, _LARGE, _LARGE, _ANY)),
    }
)
"""The named profiles."""
