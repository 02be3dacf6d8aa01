"""Everything that this plugin uses of pytest beyond its documented surface.

Lives here: one function per private thing, so that a new pytest breaks one file.
Not here: why they are called (`pytest_faultinject.subject`, ``.held``).
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from _pytest._io import TerminalWriter
from _pytest.runner import call_and_report, check_interactive_exception, runtestprotocol

# What of a test's protocol is run: all of it, or what is left when set-up was done before.
Part = Literal["all", "setup", "rest", "teardown"]


def run_protocol(item: pytest.Item, part: Part = "all") -> list[pytest.TestReport]:
    """Run set-up, call and tear-down once and give the reports; nothing is logged.

    ``nextitem=item.parent`` tears down what the item alone set up and keeps the
    wider fixtures: with the item itself function fixtures would stay, with the
    real next item the wider ones would go.
    """
    wider: Any = item.parent
    if part == "all":
        return list(runtestprotocol(item, log=False, nextitem=wider))
    own: Any = item  # a function has a request; other items have none
    if part == "setup":
        if hasattr(item, "_request") and not own._request:
            own._initrequest()
        return [call_and_report(item, "setup", log=False)]
    reports = [call_and_report(item, "call", log=False)] if part == "rest" else []
    reports.append(call_and_report(item, "teardown", log=False, nextitem=wider))
    if hasattr(item, "_request"):
        own._request, own.funcargs = False, None
    return reports


def tear_down(item: pytest.Item) -> None:
    """Tear down what the item alone set up, after a run that was cut short."""
    item.session._setupstate.teardown_exact(item.parent)  # type: ignore[arg-type]


def tear_down_to(item: pytest.Item) -> None:
    """Tear down every fixture that this item, the next one to run, has no use for."""
    item.session._setupstate.teardown_exact(item)


def tear_down_all(session: pytest.Session) -> None:
    """Tear down every fixture that is set up."""
    session._setupstate.teardown_exact(None)


def interact(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Let a debugger look at a failure, as the runner does for one of its own."""
    if check_interactive_exception(call, report):
        item.ihook.pytest_exception_interact(node=item, call=call, report=report)


def forget_run(item: pytest.Item) -> None:
    """Undo what a run leaves on the item, so that the next one starts afresh."""
    if item.__dict__.get("_instance") is not None:
        # Else the test class keeps its attributes from one run to the next.
        del item.__dict__["_instance"]
        item.__dict__.pop("_obj", None)
    # What a test case raised beyond one error for each phase would be the next run's.
    item.__dict__.pop("_excinfo", None)
    item._report_sections.clear()
    with contextlib.suppress(ImportError, AttributeError):
        from _pytest.subtests import failed_subtests_key

        failed: Any = item.config.stash.get(failed_subtests_key, None) or {}
        # Keyed by text in some releases of pytest and by a structured id in others.
        for key in [key for key in failed if str(key) == item.nodeid]:
            del failed[key]


def drop_last_exception() -> None:
    """Let go of the traceback that pytest keeps for post-mortem debugging."""
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        if hasattr(sys, name):
            delattr(sys, name)


@contextmanager
def teardown_stops_at(item: pytest.Item) -> Iterator[Callable[[pytest.Item | None], None]]:
    """Inside the block, tear-down keeps every fixture wider than the item.

    Yields:
        the real tear-down, to be called with the next item when all is over.
    """
    state = item.session._setupstate
    real: Callable[[Any], None] = state.teardown_exact

    def teardown_exact(nextitem: Any) -> None:
        real(item.parent)

    state.teardown_exact = teardown_exact  # type: ignore[method-assign]
    try:
        yield real
    finally:
        del state.teardown_exact


@contextmanager
def hooks_relayed(session: pytest.Session, overrides: dict[str, Any]) -> Iterator[None]:
    """Inside the block, every ``node.ihook.NAME`` for a name in `overrides` is ours.

    ``ihook`` is a dynamic property, so this also catches the reports that subtests
    log by themselves.
    """
    inner = session.gethookproxy

    def gethookproxy(fspath: Any) -> Any:
        return _Relay(inner(fspath), overrides)

    session.gethookproxy = gethookproxy  # type: ignore[method-assign]
    try:
        yield
    finally:
        # The method itself, or the relay that was there before us.
        if getattr(inner, "__func__", None) is type(session).gethookproxy:
            del session.gethookproxy
        else:
            session.gethookproxy = inner  # type: ignore[method-assign]


class _Relay:
    """A hook proxy with a few hooks replaced."""

    def __init__(self, real: Any, overrides: dict[str, Any]) -> None:
        self._real = real
        self._overrides = overrides

    def __getattr__(self, name: str) -> Any:
        override = self._overrides.get(name)
        return getattr(self._real, name) if override is None else override


def redirect_capture(config: pytest.Config, out: int, err: int) -> None:
    """In a forked child: let what pytest captures go to our files, not to the parent's.

    The capture files are shared with the parent, position and all.
    """
    capture = config.pluginmanager.getplugin("capturemanager")
    streams = getattr(capture, "_global_capturing", None)
    for name, descriptor in (("out", out), ("err", err)):
        stream = getattr(streams, name, None)
        tmpfile = getattr(stream, "tmpfile", None)
        target = getattr(stream, "targetfd", None)
        if tmpfile is None or target is None:
            continue  # captured by sys alone, or not at all: nothing is shared
        tmpfile.flush()
        os.dup2(descriptor, tmpfile.fileno())
        os.dup2(descriptor, target)
    _redirect_fixture(capture)
    # A debugger, for one, asks for the real input again.
    saved = getattr(getattr(streams, "in_", None), "targetfd_save", None)
    if saved is not None:
        with open(os.devnull, "rb") as empty:
            os.dup2(empty.fileno(), saved)


def _redirect_fixture(capture: Any) -> None:
    """Give the child files of its own where a test's ``capfd`` was set up before the fork."""
    fixture = getattr(capture, "_capture_fixture", None)
    streams = getattr(fixture, "_capture", None)
    for name in ("out", "err"):
        stream: Any = getattr(streams, name, None)
        target = getattr(stream, "targetfd", None)
        if target is not None:
            with tempfile.TemporaryFile(buffering=0) as own:
                os.dup2(own.fileno(), stream.tmpfile.fileno())
            os.dup2(stream.tmpfile.fileno(), target)


@contextmanager
def terminal_muted(config: pytest.Config) -> Iterator[None]:
    """Inside the block nobody writes to the terminal by way of pytest's reporter.

    ``--setup-show`` and live logging do, for each run of a test.
    """
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None:
        yield
        return
    writer = reporter._tw
    reporter._tw = TerminalWriter(io.StringIO())
    try:
        yield
    finally:
        reporter._tw = writer


@contextmanager
def log_noted(config: pytest.Config, note: Callable[[str], None]) -> Iterator[None]:
    """Inside the block, `note` is told each line that pytest captures of the log."""
    plugin = config.pluginmanager.getplugin("logging-plugin")
    handler: Any = getattr(plugin, "report_handler", None)
    if handler is None:
        yield
        return
    emit = handler.emit

    def tell(record: Any) -> None:
        emit(record)
        note(handler.format(record))

    handler.emit = tell
    try:
        yield
    finally:
        del handler.emit


def drain_capture(config: pytest.Config) -> None:
    """Throw away what was captured outside any phase of a test."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None and capture.is_globally_capturing():
        capture.read_global_capture()


def use_own_tmp_path(config: pytest.Config) -> None:
    """In a forked child: make temporary folders where `remove_tmp_path` will find them."""
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is None:
        return
    base = factory._basetemp

    def getbasetemp() -> Path:
        # Made at the first use: most tests ask for no temporary folder.
        own = tmp_path_of(config, os.getpid())
        if own is None:
            original: Path = type(factory).getbasetemp(factory)
            return original
        if factory._basetemp != own:
            own.mkdir(exist_ok=True)
            factory._basetemp = own
        return own

    if base is not None:
        factory.getbasetemp = getbasetemp


def shared_tmp_path(config: pytest.Config) -> Path | None:
    """Give the folder of all temporary folders; None where there is none, or not yet."""
    factory = getattr(config, "_tmp_path_factory", None)
    base: Path | None = getattr(factory, "_basetemp", None)
    return base


def tmp_path_of(config: pytest.Config, pid: int) -> Path | None:
    """Give the folder that the child `pid` makes its temporary folders in."""
    factory = getattr(config, "_tmp_path_factory", None)
    base: Path | None = getattr(factory, "_basetemp", None)
    if base is None:
        return None
    outer = base.parent if base.name.startswith("faultinject-") else base
    return outer / f"faultinject-{pid}"


def remove_tmp_path(config: pytest.Config) -> None:
    """In the parent: remove the temporary folders of children that have ended."""
    base = getattr(getattr(config, "_tmp_path_factory", None), "_basetemp", None)
    if base is not None:
        for folder in base.glob("faultinject-*"):
            shutil.rmtree(folder, ignore_errors=True)


def prepare_tmp_path(config: pytest.Config) -> None:
    """In the parent, before the first fork: have a base folder that children can share."""
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is not None and factory._basetemp is None:
        factory.getbasetemp()


def is_coloured(config: pytest.Config) -> bool:
    """Say whether what pytest writes to the terminal is in colour."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    return bool(getattr(getattr(reporter, "_tw", None), "hasmarkup", False))


def render(longrepr: Any, *, markup: bool) -> str:
    """Give a failure's representation as text, with colours if asked."""
    if longrepr is None or not hasattr(longrepr, "toterminal"):
        return "" if longrepr is None else str(longrepr)
    stream = io.StringIO()
    writer = TerminalWriter(stream)
    writer.hasmarkup = markup
    longrepr.toterminal(writer)
    return stream.getvalue()


def is_found_without_arguments(config: pytest.Config) -> bool:
    """Say whether a run without file arguments has the same root folder and ini file."""
    from _pytest.config.findpaths import determine_setup

    wanted: dict[str, Any] = {
        "inifile": None,
        "override_ini": None,
        "args": [],
        "rootdir_cmd_arg": None,
        "invocation_dir": config.invocation_params.dir,
    }
    known = inspect.signature(determine_setup).parameters
    found = determine_setup(**{name: wanted[name] for name in known if name in wanted})
    return (found[0], found[1]) == (config.rootpath, config.inipath)


def native_ini_value(config: pytest.Config, name: str) -> Any:
    """Give what a native TOML table has under `name`, unconverted: a number stays a number."""
    table: Any = getattr(config, "_inicfg", None) or config.inicfg
    entry = table.get(name)
    return getattr(entry, "value", entry)
