"""The census: which call sites a clean run reaches, and how often.

Lives here: the observer that writes them down. Not here: which of them get a
trial (`faultinject.campaign.plan`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from types import CodeType, FrameType
from typing import Any

from faultinject.callsite import StackFilter
from faultinject.campaign.scope import Scope
from faultinject.campaign.site import Identify, Identity, Instruction, Site, fingerprint


@dataclass(frozen=True, slots=True)
class Reached:
    """One call site of one capability, and how many times a run hits it.

    Attributes:
        instructions: those that the site stands for, each as the fingerprint of its
            code (0 if nobody asks for it) and its offset; several where the site is a
            whole line. Good only for the source and the interpreter that made them.
        error: what a call of a function fails with there, as text; "" of an allocation.
    """

    capability: str
    site: Site
    hits: int
    instructions: frozenset[Instruction] = frozenset()
    error: str = ""


@dataclass(slots=True)
class Watch:
    """What an observer looks at: capabilities, scope, and the kernel's stack filters."""

    capabilities: frozenset[str]
    scope: Scope
    identity: Identity
    filters: dict[str, StackFilter]

    def site_frame(self, capability: str, frame: FrameType | None) -> FrameType | None:
        """Find the frame that an eligible call belongs to, or None if it is not ours."""
        if capability not in self.capabilities:
            return None
        under_test = self.scope.frame_under_test(frame)
        if under_test is None:
            return None
        stack_filter = self.filters.get(capability)
        if stack_filter is not None and not stack_filter.permits(frame):
            return None
        return under_test


class Census:
    """An observer that counts every eligible call under test and fails none.

    `examples` calls `begin` before each example of a property test: the hits of
    a site are then the most that any one example makes.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._identify = Identify(watch.identity)
        self._hits: dict[tuple[str, Site], int] = {}
        self._most: dict[tuple[str, Site], int] = {}
        # By the identity of a code object, whose own hash is slow, and kept alive for it.
        self._instructions: dict[Site, set[tuple[int, int]]] = {}
        self._codes: dict[int, CodeType] = {}

    def eligible_call(
        self, capability: str, size: int, frame: FrameType | None, retry: bool
    ) -> bool:
        """Count the call; the fallback try of the same request is no second one."""
        if not retry:
            under_test = self._watch.site_frame(capability, frame)
            if under_test is not None:
                site = self._identify(under_test)
                place = (id(under_test.f_code), under_test.f_lasti)
                self._codes[place[0]] = under_test.f_code
                self._instructions.setdefault(site, set()).add(place)
                key = (capability, site)
                self._hits[key] = self._hits.get(key, 0) + 1
        return False

    def begin(self) -> None:
        """Start a new example."""
        for key, hits in self._hits.items():
            self._most[key] = max(hits, self._most.get(key, 0))
        self._hits.clear()

    def reached(self) -> list[Reached]:
        """Give the sites in the order in which they were first reached."""
        self.begin()
        return [
            Reached(name, site, hits, frozenset(self._spelled(site)))
            for (name, site), hits in self._most.items()
        ]

    def _spelled(self, site: Site) -> Iterator[Instruction]:
        for code, offset in self._instructions[site]:
            yield fingerprint(self._codes[code]), offset


def to_plain(reached: Iterable[Reached]) -> list[list[Any]]:
    """Give plain lists that survive a pipe."""
    return [
        [
            item.capability,
            list(astuple(item.site)),
            item.hits,
            sorted(item.instructions),
            item.error,
        ]
        for item in reached
    ]


def from_plain(rows: Iterable[list[Any]]) -> list[Reached]:
    """Rebuild what `to_plain` gave."""
    return [
        Reached(
            capability,
            Site(*site),
            hits,
            frozenset((code, at) for code, at in instructions),
            error,
        )
        for capability, site, hits, instructions, error in rows
    ]


def count_sites(reached: Iterable[Reached]) -> int:
    """Count call sites: one that can fail with several errors is one."""
    return len({(item.capability, item.site) for item in reached})
