"""What one run leaves for the next, in pytest's own cache.

Lives here: the two entries, and reading and writing them. Not here: what is in them
(`faultinject.campaign.history`, ``.last_bad``). Only the process that tells the
results writes; the workers of pytest-xdist read.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from faultinject.campaign.history import History
from faultinject.campaign.last_bad import Remembered, read_remembered, updated
from faultinject.campaign.record import TestRecord

TRIED = "faultinject/tried"
LAST_BAD = "faultinject/last-bad"


def load_history(config: pytest.Config) -> History:
    """Give what earlier runs with a budget have tried."""
    return History.from_plain(_load(config, TRIED))


def save_history(config: pytest.Config, records: Sequence[TestRecord]) -> None:
    """Add this run to what earlier ones have tried, if it has tried anything."""
    if not any(record.tried for record in records):
        return
    history = load_history(config)
    history.add_run(records)
    _save(config, TRIED, history.as_plain())


def load_last_bad(config: pytest.Config) -> Remembered:
    """Give the bad trials of last time, for each test; those whose file is gone are forgotten."""
    remembered = read_remembered(_load(config, LAST_BAD))
    return {
        test: tokens
        for test, tokens in remembered.items()
        if (config.rootpath / test.partition("::")[0]).exists()
    }


def save_last_bad(
    config: pytest.Config, records: Sequence[TestRecord], *, repeated: bool, sharded: bool
) -> None:
    """Write down the bad trials for the next time; see `updated`."""
    before = load_last_bad(config)
    after = updated(before, records, repeated=repeated, sharded=sharded)
    if after != _load(config, LAST_BAD) and (after or before):
        _save(config, LAST_BAD, after)


def _load(config: pytest.Config, key: str) -> object:
    cache = getattr(config, "cache", None)
    found: object = None if cache is None else cache.get(key, None)
    return found


def _save(config: pytest.Config, key: str, value: object) -> None:
    cache = getattr(config, "cache", None)
    if cache is not None:
        cache.set(key, value)
