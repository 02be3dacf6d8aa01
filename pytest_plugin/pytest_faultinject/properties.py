"""Properties: what a test's report says of its trials to other programs, such as a JUnit file.

Lives here: the names and values. pytest writes them into ``--junitxml``, and others read
them off the report. Not here: the report of this plugin's own (`faultinject.report`).
"""

from __future__ import annotations

from faultinject.campaign.record import TestRecord, count_outcomes
from pytest_faultinject.words import place_of

# A test with more bad trials than this has one cause for most of them.
_MOST = 20


def properties_of(record: TestRecord) -> list[tuple[str, str]]:
    """Give a test's properties: how many trials came to what, and how to repeat the bad ones."""
    if not record.trials:
        return []
    counts = count_outcomes([record])
    found = [
        ("faultinject.sites", str(record.sites)),
        ("faultinject.trials", str(len(record.trials))),
        *((f"faultinject.{outcome.value}", str(counts[outcome])) for outcome in counts),
    ]
    for trial in record.bad[:_MOST]:
        said = f"{trial.outcome.value} at {place_of(trial)}: {trial.replay}"
        found.append(("faultinject.bad", said))
    return found
