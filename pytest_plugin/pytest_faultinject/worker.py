"""A worker for pytest: it collects once, and then runs trials of one test after another.

Lives here: the program that `faultinject.campaign.spawn` starts, and the plugin that
takes the place of the session's loop in it. Not here: how it is started
(``.isolations``), how it talks (`faultinject.campaign.worker`).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from faultinject.campaign.replay import parse_token
from faultinject.campaign.worker import Desk, leave
from pytest_faultinject import neighbours, private
from pytest_faultinject.isolations import WORKER

if TYPE_CHECKING:
    from faultinject.campaign.sweeper import Sweeper
    from pytest_faultinject.campaign import Campaign


class Worker:
    """Serves in the place of the session's loop.

    Args:
        desk: where the orders come from.

    Attributes:
        campaign: the hooks of a run; set when they are registered.
    """

    def __init__(self, desk: Desk) -> None:
        self.__name__ = WORKER
        self.campaign: Campaign | None = None
        self._desk = desk
        self._sweepers: dict[tuple[str, str], Sweeper] = {}
        self._folders: set[Path] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> NoReturn:
        """Do what the parent says, tear the fixtures down, and leave."""
        config = session.config
        items = {item.nodeid: item for item in session.items}
        private.redirect_capture(config, self._desk.out, self._desk.err)
        neighbours.leave_in_child(config, timed=True)
        private.prepare_tmp_path(config)

        def find(context: Mapping[str, Any]) -> Sweeper:
            item = items.get(context["test"])
            if item is None:
                raise LookupError(f"{context['test']} was not collected by the worker")
            return self._sweeper(item, context["token"])

        self._desk.serve(find)
        with suppress(BaseException):
            private.tear_down_all(session)
        leave()

    def _sweeper(self, item: pytest.Item, token: str) -> Sweeper:
        """Give the sweeper of a test, which is in the state that its clean run leaves."""
        assert self.campaign is not None
        base = private.shared_tmp_path(item.config)
        for folder in _entries(base) - self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        sweeper = self._sweepers.get((item.nodeid, token))
        if sweeper is None:
            # Wide fixtures of the test before, if this one has no use for them.
            private.tear_down_to(item)
            subject, sweeper = self.campaign.serve(item, parse_token(token) if token else None)
            subject.run(None, lambda phase: None)
            self._sweepers = {(item.nodeid, token): sweeper}
            self._folders = _entries(base)
        return sweeper


def main() -> None:
    """Be a worker: run pytest on what the parent says, with the parent's options."""
    desk = Desk()
    sys.argv[:] = desk.told["argv"]
    pytest.main(desk.told["arguments"], plugins=[*desk.told["plugins"], Worker(desk)])
    # It has not come to the loop: a broken collection, say.
    sys.exit(1)


def _entries(folder: Path | None) -> set[Path]:
    """Give what is in a folder, if there is one."""
    return set(folder.iterdir()) if folder is not None and folder.is_dir() else set()
