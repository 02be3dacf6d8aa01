"""Offers: what could be tried of one subject, as trials with their tokens.

Lives here: `Offers`, which makes trials from what a census reaches and from the SPECs that
name a probability. Not here: which of them are tried (`faultinject.campaign.turn`), their
order and their runs (``.sweeper``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from faultinject.campaign.aim import Aim, aims_at
from faultinject.campaign.armable import Armable, Armables
from faultinject.campaign.census import Reached
from faultinject.campaign.plan import Hits
from faultinject.campaign.replay import PlannedToken, RandomToken, Token, token_of
from faultinject.campaign.settings import RandomMode, Settings
from faultinject.campaign.site import Identity
from faultinject.campaign.strike import PlannedFault
from faultinject.prng import derive

Trial: TypeAlias = tuple[PlannedFault | None, Armable, Token]
"""The fault unless it is random, what makes it happen, and what names the trial."""

Offer: TypeAlias = PlannedFault | tuple[RandomMode, int]
"""A fault of the census, or a random trial of one SPEC."""


class Offers:
    """Makes the trials of one subject.

    Args:
        settings: how it is swept.
        armables: make the faults happen.
        name: the subject's.
        shown: gives a source file's name as reports show it.
    """

    def __init__(
        self,
        settings: Settings,
        armables: Armables,
        *,
        name: str,
        shown: Callable[[str], str],
    ) -> None:
        self._settings = settings
        self._armables = armables
        self._name = name
        self._shown = shown

    @property
    def hits(self) -> Hits:
        """Which hits of a call site are tried."""
        return Hits("all") if self._settings.identity is Identity.ALL else self._settings.hits

    def behind(self, reached: Iterable[Reached]) -> list[tuple[Aim, Offer]]:
        """Give all that could be tried: the faults of a census, then the random trials."""
        settings = self._settings
        offers: list[tuple[Aim, Offer]] = []
        offers += aims_at(reached, self.hits, persistent=settings.persistent)
        offers += [
            (Aim(mode.spec, None, str(number), test=self._name), (mode, number))
            for mode in settings.random
            for number in range(settings.trials)
        ]
        return offers

    def trial(self, offer: Offer) -> Trial:
        """Make a trial of what was offered."""
        if isinstance(offer, PlannedFault):
            return self._planned(offer)
        mode, number = offer
        return self.random(mode, self._settings.seed, number)

    def random(self, mode: RandomMode, seed: int, number: int) -> Trial:
        """Make a random trial."""
        token = RandomToken(mode.spec, seed, number, self._name, self._settings.token_options)
        drawn = derive(seed, self._name, mode.spec, number)
        return None, self._armables.random(mode, drawn), token

    def _planned(self, fault: PlannedFault) -> Trial:
        token: PlannedToken | None = None
        for each in fault.chain:
            token = token_of(
                each,
                file=self._shown(each.site.file),
                test=self._name,
                options=self._settings.token_options,
                after=token,
            )
        assert token is not None
        return fault, self._armables.fault(fault), token
