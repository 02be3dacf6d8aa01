"""Isolations: where the trials of each test of a session run, and how a worker is started.

Lives here: the choice between a fork and a worker, test by test; the command line of a
worker. Not here: the threads that the choice depends on (`faultinject.campaign.threads`),
what runs in a worker (``.worker``), how it is talked to (`faultinject.campaign.spawn`).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from faultinject.campaign.isolation import Fork, Here, Isolation
from faultinject.campaign.processes import PHASES, WARM_UP
from faultinject.campaign.record import TestRecord
from faultinject.campaign.replay import Token
from faultinject.campaign.spawn import LEAST_WARM_UP, Launch, Spawn, Workers
from faultinject.campaign.threads import missing_in_a_fork
from pytest_faultinject import neighbours, private
from pytest_faultinject.setup import Setup
from pytest_faultinject.subject import ItemSubject

# The plugin of this name is what makes a session a worker's.
WORKER = "faultinject-worker"

# What is said once, how it begins.
_THREADS = "a thread runs that the tests have started"
_NO_WORKER = "in a worker of its own the test does not run"
ONCE_A_RUN = (_THREADS, _NO_WORKER)

# A worker may take so many times longer to get where this process is.
_WARM_UP_FACTOR = 10.0

# What makes a program of its own measure coverage, and what is another test's.
_LEFT_OUT = ("COVERAGE_PROCESS_", "COV_CORE_", "PYTEST_CURRENT_TEST")


class Isolations:
    """Gives each test of a session its isolation; made before any test is collected.

    Args:
        config: the session's.
        setup: what the options say.
        enter_child: cuts what a forked child shares with this process.
    """

    def __init__(
        self, config: pytest.Config, setup: Setup, enter_child: Callable[[int, int], None]
    ) -> None:
        self._config = config
        self._setup = setup
        self._enter_child = enter_child
        self._workers = Workers(self._launch)
        self._threads = set(threading.enumerate())
        self._paths = tuple(sys.path)
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)
        }
        self._began = time.monotonic()
        self._remarks: list[str] = []
        self._remarked: set[str] = set()
        self._avoids_threads = setup.avoids_threads
        # The test whose trials are in a worker for its threads' sake.
        self._avoiding = ""

    @contextmanager
    def of(
        self, subject: ItemSubject, item: pytest.Item, token: Token | None
    ) -> Iterator[Isolation]:
        """Give the block in which a test's trials run, and where they do.

        Args:
            subject: the test, whose function-scoped fixtures may be set up within.
            item: the same.
            token: what the options were read with, if they are not the session's own.
        """
        setup = self._setup
        if setup.isolation == "none":
            yield Here()
            return
        if setup.isolation == "fork":
            with subject.set_up_once() if setup.forks_after_fixtures else nullcontext():
                threads = self._missing_threads(item)
                if not threads:
                    yield Fork(setup.jobs, self._enter_child)
                    return
            self._avoiding = item.nodeid
            self._remark(
                _THREADS,
                f" ({', '.join(threads)}), which a fork would be without: with such a thread, "
                "trials run in a spawned worker, more slowly (--fail-alloc-isolation=fork forks "
                "all the same)",
            )
        carried = "" if token is None or token is setup.token else str(token)
        yield Spawn(self._workers, {"test": item.nodeid, "token": carried}, setup.jobs)

    def gives_up(self, record: TestRecord) -> bool:
        """Say whether a test is to be tried once more, in forks, for want of a worker."""
        if self._avoiding != record.nodeid or record.trials or record.baseline == "passed":
            return False
        if PHASES[WARM_UP] in record.baseline:  # the next test would fare no better
            self._avoids_threads = False
        said = record.notes[0] if record.notes else record.baseline
        self._remark(_NO_WORKER, f" ({said}): it was forked all the same")
        return True

    def remarks(self) -> list[str]:
        """Give what the user should know, each sentence once."""
        remarks, self._remarks = self._remarks, []
        return remarks

    def close(self) -> None:
        """Let the workers leave."""
        self._workers.close()

    def _missing_threads(self, item: pytest.Item) -> list[str]:
        """Name the threads for which this test's trials are not forked."""
        given_up, self._avoiding = self._avoiding == item.nodeid, ""
        if given_up or not self._avoids_threads:
            return []
        return missing_in_a_fork(self._threads)

    def _remark(self, about: str, more: str) -> None:
        if about not in self._remarked:
            self._remarked.add(about)
            self._remarks.append(about + more)

    def _launch(self) -> Launch:
        """Say how the next worker is started."""
        config = self._config
        private.prepare_tmp_path(config)
        base = private.shared_tmp_path(config)
        own = "" if base is None else str(base / f"spawned-{self._workers.started}")
        named = [text for text in config.invocation_params.plugins or () if isinstance(text, str)]
        told: dict[str, Any] = {
            "arguments": self._arguments(own),
            "plugins": named,
            "argv": sys.argv,
        }
        return Launch(
            "pytest_faultinject.worker",
            told,
            self._paths,
            self._environment,
            str(config.invocation_params.dir),
            scratch=own,
            warm_up=LEAST_WARM_UP + _WARM_UP_FACTOR * (time.monotonic() - self._began),
        )

    def _arguments(self, tmp_path: str) -> list[str]:
        given = [str(text) for text in self._config.invocation_params.args]
        given = [text for text in given if text not in neighbours.ONCE]
        more = [
            f"--fail-alloc-seed={self._setup.settings.seed}",
            *neighbours.arguments_of_worker(self._config),
        ]
        if hasattr(self._config.option, "color"):
            more.append(f"--color={'yes' if private.is_coloured(self._config) else 'no'}")
        if tmp_path:
            more.append(f"--basetemp={tmp_path}")
        end = given.index("--") if "--" in given else len(given)
        return [*given[:end], *more, *given[end:]]
