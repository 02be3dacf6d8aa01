"""The bad trials of last time: what is kept of them from run to run.

Lives here: which of them a run takes off the list, and which it puts on it. Not here:
where the list is kept (the front-end has a place), and how a token is run again
(`faultinject.campaign.sweeper`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from faultinject.campaign.outcome import Verdict
from faultinject.campaign.record import TestRecord, TrialRecord
from faultinject.campaign.replay import PlannedToken, Token, parse_token
from faultinject.errors import UsageError

Remembered = Mapping[str, list[Token]]
"""For each test, by its name, the tokens of the trials that were bad last time."""


def read_remembered(plain: object) -> dict[str, list[Token]]:
    """Read the list; what cannot be read is forgotten.

    Args:
        plain: what `updated` gave, through JSON or from anybody.
    """
    found: dict[str, list[Token]] = {}
    if not isinstance(plain, dict):
        return found
    for test, texts in plain.items():
        for text in texts if isinstance(texts, list) else ():
            try:
                token = parse_token(str(text))
            except UsageError:
                continue  # of another version of faultinject
            found.setdefault(test, []).append(token)
    return found


def updated(
    before: Remembered,
    records: Iterable[TestRecord],
    *,
    repeated: bool = False,
    sharded: bool = False,
) -> dict[str, list[str]]:
    """Give the list after a run, as plain values.

    A trial that was bad is on it. One that was tried again and is good, or known, is
    taken off it; one whose outcome says nothing stays, and so do those of tests that
    were not run.

    Args:
        before: the list as it was.
        records: this run's.
        repeated: whether the run tried what is on the list, and nothing else.
        sharded: whether each test has tried a part alone.
    """
    after = {test: [str(token) for token in tokens] for test, tokens in before.items()}
    for record in records:
        if record.baseline != "passed":
            continue
        kept = [
            str(token)
            for token in before.get(record.nodeid, ())
            if _stays(token, record, repeated=repeated, sharded=sharded)
        ]
        bad = [trial.replay for trial in record.bad]
        after[record.nodeid] = list(dict.fromkeys(kept + bad))
    return {test: texts for test, texts in after.items() if texts}


def _stays(token: Token, record: TestRecord, *, repeated: bool, sharded: bool) -> bool:
    """Say whether a trial of before that is not among today's bad ones stays on the list."""
    text = str(token)
    for trial in record.trials:
        if trial.replay == text:
            return trial.verdict is Verdict.WARNING
    if record.not_run or record.elsewhere:
        return True
    if repeated:
        return False  # its call site has moved, or is gone
    return sharded or not any(_is_of_same_function(token, trial) for trial in record.trials)


def _is_of_same_function(token: Token, trial: TrialRecord) -> bool:
    """Say whether a trial stands for a token whose call site was moved by an edit.

    In a whole sweep, one such trial means that every call site of the function was
    tried at this kind of hit.
    """
    if not isinstance(token, PlannedToken) or trial.hit == 0:
        return False
    return (token.capability, token.file, token.function, token.persistent, token.hit == 1) == (
        trial.capability,
        trial.file,
        trial.function,
        trial.persistent,
        trial.hit == 1,
    )
