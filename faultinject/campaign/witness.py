"""The witness: who is asked which error paths a run enters.

Lives here: what the sweeper asks of it, and `Watched`, a subject that it watches. Not here:
who notices (`faultinject.errpaths`, which knows nothing of campaigns, nor this package
of it); a front-end puts both together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from faultinject.campaign.armable import Armable
from faultinject.campaign.child import note
from faultinject.campaign.evidence import RunResult
from faultinject.campaign.trial import Subject

NOTE = "entered"
"""The kind of note that each error path is to the parent, should the run die."""


class Witness(Protocol):
    """Watches runs, in whatever process they are."""

    def watching(self, tell: Callable[[str], None]) -> AbstractContextManager[None]:
        """Inside the block, tell of each error path that is entered, at once if possible."""


class Watched:
    """A subject whose armed run is watched: the first one of a census, and that of a trial.

    The clean re-runs are not: they are for the oracle.

    Args:
        subject: what is run.
        witness: who watches it; None for nobody.

    Attributes:
        entered: what the witness has told, in order.
    """

    def __init__(self, subject: Subject, witness: Witness | None) -> None:
        self._subject = subject
        self._witness = witness
        self.entered: list[str] = []

    def run(self, arm: Armable | None, mark: Callable[[str], None]) -> RunResult:
        """Run the subject once; see `faultinject.campaign.trial.Subject`."""
        if arm is None or self._witness is None:
            return self._subject.run(arm, mark)
        with self._witness.watching(self._tell):
            return self._subject.run(arm, mark)

    def explain(self, note: str) -> str:
        """Render the traceback of the last armed run; see `faultinject.campaign.trial.Subject`."""
        return self._subject.explain(note)

    def _tell(self, text: str) -> None:
        self.entered.append(text)
        note(NOTE, text)


def entered_beyond(trial: Iterable[str], clean: Iterable[str]) -> list[str]:
    """Give what a trial entered because of its fault, in order.

    What the clean run enters, a trial enters as often, and sooner: up to the fault both do
    the same.
    """
    expected = Counter(clean)
    beyond = []
    for text in trial:
        if expected[text]:
            expected[text] -= 1
        else:
            beyond.append(text)
    return beyond
