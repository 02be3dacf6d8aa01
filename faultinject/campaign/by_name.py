"""Functions that a fresh interpreter finds by their names: ``sweep`` in a worker.

Lives here: how the functions of a sweep are named and found again, also those of a
script; where its trials run; the worker's program. Not here: how a worker is talked to
(``.spawn``, ``.worker``), the sweep itself (``.sweep``).
"""

from __future__ import annotations

import base64
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from faultinject.campaign.functions import Functions
from faultinject.campaign.isolation import Fork, Here, Isolation
from faultinject.campaign.settings import Settings
from faultinject.campaign.spawn import LEAST_WARM_UP, Launch, Spawn, Workers
from faultinject.campaign.sweeper import Sweeper
from faultinject.campaign.threads import missing_in_a_fork
from faultinject.campaign.worker import Desk, leave
from faultinject.errors import UsageError

ByName = tuple[Callable[..., Any], Callable[[], Any] | None, Callable[..., Any] | None, Settings]

# Whether this process is a worker that is looking for the functions of a sweep.
_is_looking = False


def launch_of(sweep: ByName, name: str, root: str) -> Launch:
    """Say how a worker for a sweep is started.

    Args:
        sweep: body, prep, check, and how it is swept.
        name: the body's name.
        root: the folder that file names in reports start from.

    Raises:
        UsageError: a function that no other process can find; or this process is a
            worker that imports the script which calls ``sweep`` at once.
    """
    if _is_looking:
        raise UsageError(
            "a script that calls sweep as soon as it is imported cannot be swept in a worker",
            value=name,
            where="sweep(isolation='spawn')",
            cure="Put the call under if __name__ == '__main__':",
        )
    try:
        pickled = pickle.dumps(sweep)
        main = _main_module() if b"__main__" in pickled else {}
    except Exception as error:
        raise UsageError(
            f"a worker cannot find it by its name ({error})",
            value=name,
            where="sweep(isolation='spawn')",
            cure="Define body, prep, check and the exceptions of raises at the top level of a "
            "module or script, not inside a function; or use another isolation",
        ) from None
    environment = {name: text for name, text in os.environ.items() if not _measures(name)}
    told = {
        "sweep": base64.b64encode(pickled).decode(),
        "main": main,
        "argv": sys.argv,
        "name": name,
        "root": root,
    }
    return Launch(__name__, told, tuple(sys.path), environment, os.getcwd(), warm_up=LEAST_WARM_UP)


@contextmanager
def place_of(
    kind: str, sweep: ByName, name: str, root: str, *, jobs: int, auto: bool
) -> Iterator[tuple[Isolation, list[str]]]:
    """Give the block in which a sweep's trials run, where, and what is to be said of that.

    Args:
        kind: of isolation, as `faultinject.campaign.isolation.choose` gives it.
        sweep: see `launch_of`.
        name: likewise.
        root: likewise.
        jobs: trials at once.
        auto: nobody asked for this kind.

    Raises:
        UsageError: what somebody asked for is not possible.
    """
    threads = missing_in_a_fork() if auto and kind == "fork" else []
    launch: Launch | None = None
    notes = []
    if kind == "spawn" or threads:
        try:
            launch = launch_of(sweep, name, root)
        except UsageError as error:
            if not auto:
                raise
            notes.append(str(error))
            kind = "fork" if threads else "none"
    if launch is None:
        yield (Here() if kind == "none" else Fork(jobs)), notes
        return
    if threads:
        notes.append(
            f"other threads run ({', '.join(threads)}), which a fork would be without: the trials "
            "ran in a spawned worker, more slowly (isolation='fork' forks all the same)"
        )
    started = launch
    workers = Workers(lambda: started)
    try:
        yield Spawn(workers, {}, jobs, cold=True), notes
    finally:
        workers.close()


def _measures(name: str) -> bool:
    """Say whether a variable makes a program of its own measure coverage."""
    return name.startswith(("COVERAGE_PROCESS_", "COV_CORE_"))


def _main_module() -> dict[str, str]:
    """Give what `multiprocessing` finds this program's main module by."""
    main = sys.modules["__main__"]
    if (spec := getattr(main, "__spec__", None)) is not None:
        return {"init_main_from_name": spec.name}
    if (path := getattr(main, "__file__", None)) is not None:
        return {"init_main_from_path": os.path.abspath(path)}
    raise LookupError("what was typed in has no file")


def _find(told: Mapping[str, Any]) -> Sweeper:
    from multiprocessing import spawn  # in the worker alone: a fork copies what is imported

    global _is_looking
    _is_looking = True
    try:
        # Runs a script anew, without what stands under `if __name__ == "__main__"`.
        spawn.prepare(dict(told["main"]))
        body, prep, check, settings = pickle.loads(base64.b64decode(told["sweep"]))
    finally:
        _is_looking = False
    subject = Functions(body, prep, check, raises=settings.raises, scope=settings.scope)
    shown = partial(shown_below, told["root"])
    return Sweeper(subject, settings, Here(), name=told["name"], shown=shown)


def shown_below(root: str, file: str) -> str:
    """Give a file's name as reports show it: relative to `root` where it lies below it."""
    inside = os.path.isabs(file) and os.path.commonpath([root, file]) == root
    return os.path.relpath(file, root).replace(os.sep, "/") if inside else file


def main() -> None:
    """Be a worker: find the functions of a sweep and try what the parent says."""
    desk = Desk()
    sys.argv[:] = desk.told["argv"]
    found: list[Sweeper] = []

    def find(context: Mapping[str, Any]) -> Sweeper:
        if not found:
            found.append(_find(desk.told))
        return found[0]

    desk.serve(find)
    leave()
