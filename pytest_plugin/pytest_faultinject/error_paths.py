"""Error paths of a session: who observes them, and what all processes together have seen.

Lives here: `ErrorPaths`, the plugin that exists unless the user wants none of it.
Not here: how they are found and observed (`faultinject.errpaths`), whose files count
(``.files_under_test``), how they are shown (`faultinject.report`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from coverage import Coverage
from coverage.exceptions import CoverageException

from faultinject.campaign.record import TestRecord
from faultinject.errors import FaultInjectError
from faultinject.errpaths.exclusion import Exclusions
from faultinject.errpaths.find import find_in_file
from faultinject.errpaths.hits import Hit
from faultinject.errpaths.links import caught
from faultinject.errpaths.observe import Sources, choose_observer
from faultinject.errpaths.observe_coverage import TrialCoverage
from faultinject.errpaths.observe_lines import LineObserver
from faultinject.errpaths.observed import as_json, join
from faultinject.errpaths.path import SourcePaths
from pytest_faultinject import neighbours
from pytest_faultinject.files_under_test import FilesUnderTest
from pytest_faultinject.forecast import is_controller
from pytest_faultinject.setup import Setup

NAME = "faultinject-error-paths"

# What a worker of pytest-xdist tells at its end.
_OUTPUT = "faultinject_error_paths"


def observe_error_paths(config: pytest.Config, setup: Setup, remarks: list[str]) -> ErrorPaths:
    """Observe the error paths of a session from now on.

    Args:
        config: pytest's.
        setup: what the options say.
        remarks: sentences for the end are put here.

    Raises:
        pytest.UsageError: it cannot be done here.
    """
    observed = ErrorPaths(config, setup, remarks)
    if not is_controller(config):
        observed.start()
    config.pluginmanager.register(observed, NAME)
    return observed


class ErrorPaths:
    """Observes the error paths of the code under test, in this process and in trials.

    It is the witness of every sweep. In pytest-xdist's controller it gathers what the
    workers have seen.

    Args:
        config: pytest's.
        setup: what the options say.
        remarks: sentences for the end.
    """

    def __init__(self, config: pytest.Config, setup: Setup, remarks: list[str]) -> None:
        self._root = config.rootpath
        self._remarks = remarks
        self._files = FilesUnderTest(config, setup.settings.scope)
        self._exclusions = _exclusions(remarks)
        self._observer = choose_observer(
            Sources(self._files.covers, self._read, self._shown, self._files.places())
        )
        self._clean: set[Hit] = set()
        self._seen: dict[str, str] = {}
        self._merges = setup.merges_coverage
        self._tries_all = setup.tries_all
        self._coverage: TrialCoverage | None = None
        self._config = config

    def start(self) -> None:
        """Begin to observe this process.

        Raises:
            pytest.UsageError: it cannot be done.
        """
        try:
            self._observer.start()
        except FaultInjectError as error:
            raise pytest.UsageError(str(error)) from None

    @contextmanager
    def watching(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Watch a run; see `faultinject.campaign.witness.Witness`."""
        observer = self._observer
        if self._coverage is None:
            with observer.watching(tell):
                yield
        elif isinstance(observer, LineObserver):
            # Two measurements of lines at a time are one too many.
            with self._coverage.watching() as measurement:
                yield
            observer.tell(measurement.get_data(), tell)
        else:
            with self._coverage.watching(), observer.watching(tell):
                yield

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Measure as the user does, and before that ends, bring both together."""
        if not is_controller(self._config):
            self._observer.sources.imported()
        user = self._users_measurement()
        if user is not None and self._merges:
            self._coverage = TrialCoverage(user)
        elif self._merges and not is_controller(self._config):
            self._remarks.append(
                "nothing measures coverage in this run, so that there is nothing to merge with "
                "(--fail-alloc-cov=merge)"
            )
        try:
            return (yield)
        finally:
            self._meet_coverage()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Observe no more; in a worker, tell the controller what was seen."""
        self._observer.stop()
        self._clean |= self._observer.entered()
        self._gather(self._observer.sources.seen())
        output: dict[str, Any] | None = getattr(self._config, "workeroutput", None)
        if output is not None:
            hits = sorted(str(hit) for hit in self._clean)
            output[_OUTPUT] = {"clean": hits, "files": self._seen}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker of pytest-xdist has seen, if it lived to tell."""
        told = getattr(node, "workeroutput", {}).get(_OUTPUT)
        if told is not None:
            self._clean.update(Hit.parse(text) for text in told["clean"])
            self._gather(told["files"])

    def pytest_unconfigure(self) -> None:
        """Observe no more, also where no session ever began."""
        self._observer.stop()

    def report(self, records: Iterable[TestRecord]) -> dict[str, Any]:
        """Give what was observed as the JSON report has it; say of each trial what caught it.

        Args:
            records: of all tests. Their trials are completed.
        """
        clean, trials, exhausted = set(self._clean), [], self._tries_all
        for record in records:
            exhausted &= record.baseline == "passed" and not record.not_run
            clean.update(Hit.parse(text) for text in record.entered)
            trials += [
                (trial, [Hit.parse(text) for text in trial.entered]) for trial in record.trials
            ]
        entered = [hit for _, hits in trials for hit in hits]
        sources = self._sources({hit.file for hit in (*clean, *entered)})
        paths = {
            Hit(name, path.key): path for name, found in sources.items() for path in found.paths
        }
        for trial, hits in trials:
            trial.caught = caught(hits, paths, outcome=trial.outcome.value, error=trial.error)
        tokens = [(trial.replay, hits) for trial, hits in trials]
        return as_json(join(sources, clean, tokens, exhausted=exhausted and bool(trials)))

    def _users_measurement(self) -> Coverage | None:
        found = Coverage.current()
        own = isinstance(self._observer, LineObserver) and self._observer.owns(found)
        return None if own else found

    def _meet_coverage(self) -> None:
        """Take lines of the user's measurement where they are all there is; give it the trials'."""
        user, trials, self._coverage = self._users_measurement(), self._coverage, None
        by_lines = self._observer if isinstance(self._observer, LineObserver) else None
        if user is not None and (by_lines is not None or trials is not None):
            data = neighbours.data_of(user)
            if by_lines is not None:
                by_lines.take(data)
            if trials is not None:
                trials.add_to(data)
        if trials is not None:
            trials.close()

    def _gather(self, files: dict[str, str]) -> None:
        """Note files that were seen, and say it if two processes saw different ones."""
        for name, digest in files.items():
            if self._seen.setdefault(name, digest) != digest:
                self._remarks.append(_changed(name))

    def _sources(self, named: Iterable[str]) -> dict[str, SourcePaths]:
        """Read every file under test: those that were seen, and those that nobody imported."""
        seen = {self._located(name) for name in (*self._seen, *named)}
        files = [*seen, *self._files.unseen(seen)]
        found = {self._shown(file): self._read(file) for file in files}
        for name, digest in self._seen.items():
            if found[name].digest != digest:
                self._remarks.append(_changed(name))
        return found

    def _shown(self, file: str) -> str:
        path = Path(file)
        inside = path.is_relative_to(self._root)
        return path.relative_to(self._root).as_posix() if inside else file

    def _located(self, name: str) -> str:
        return str(self._root / name)

    def _read(self, file: str) -> SourcePaths:
        found = find_in_file(file, excluded=self._exclusions.lines)
        wanted = tuple(path for path in found.paths if self._files.wants(path))
        return found if len(wanted) == len(found.paths) else replace(found, paths=wanted)


def _exclusions(remarks: list[str]) -> Exclusions:
    """Exclude what the user's measurement excludes, or would if there were one."""
    measurement = Coverage.current()
    if measurement is None:
        try:
            measurement = Coverage(data_file=None)
        except CoverageException:
            return Exclusions()  # a broken configuration is coverage's to complain about
    return Exclusions.of(measurement, tell=remarks.append)


def _changed(name: str) -> str:
    return f"{name} has changed during the run: what is said of its error paths may be wrong"
