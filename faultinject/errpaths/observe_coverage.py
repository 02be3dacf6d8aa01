"""Coverage of trials, for the user's own measurement: what ran under injection counts too.

Lives here: `TrialCoverage`, which measures runs as the user's measurement would, each into
a file of its own, and adds them up. Not here: which error paths ran
(`faultinject.errpaths.observe`), the user's measurement, of which only the settings are
read: a process that has inherited it must never touch its data, or it is gone.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from coverage import Coverage, CoverageData

CONTEXT: Final = "faultinject"
"""The context that lines which ran under injection have in the user's data."""

# What decides which lines are measured, and what they are called.
_COPIED: Final = (
    "run:branch",
    "run:concurrency",
    "run:core",
    "run:cover_pylib",
    "run:include",
    "run:omit",
    "run:plugins",
    "run:relative_files",
    "run:source",
    "run:source_dirs",
    "run:source_pkgs",
)


class TrialCoverage:
    """Measures trials beside the user's measurement.

    Args:
        user: the user's measurement; its settings hold for the trials too.
    """

    def __init__(self, user: Coverage) -> None:
        self._settings: dict[str, Any] = {}
        for name in _COPIED:
            value = user.get_option(name)
            if value is not None:
                self._settings[name] = value
        self._folder = tempfile.TemporaryDirectory(prefix="faultinject-coverage-")
        self._runs = 0

    @contextmanager
    def watching(self) -> Iterator[Coverage]:
        """Inside the block lines are measured, for `add_to`, in whatever process that is."""
        self._runs += 1
        file = os.path.join(self._folder.name, f"{os.getpid()}-{self._runs}")
        measurement = Coverage(data_file=file, config_file=False, context=CONTEXT)
        for name, value in self._settings.items():
            measurement.set_option(name, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            measurement.start()
        try:
            yield measurement
        finally:
            with warnings.catch_warnings():
                # It may be that nothing was measured, or not all of what was to be.
                warnings.simplefilter("ignore")
                measurement.stop()
                measurement.save()

    def add_to(self, data: CoverageData) -> None:
        """Add what trials have run to the user's data."""
        for file in sorted(Path(self._folder.name).iterdir()):
            found = CoverageData(str(file))
            found.read()
            data.update(found)

    def close(self) -> None:
        """Remove what was measured."""
        self._folder.cleanup()
