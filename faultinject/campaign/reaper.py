"""The reaper: every process that a trial has started ends with it.

Lives here: the label by which a trial's processes are found, wherever they went; the
search that ends them; and the watchdog, a program of its own that does so when the
parent is killed in mid-campaign. Not here: when a trial is over
(`faultinject.campaign.isolation`).

The label is a resource limit: every fork and every program inherits it, also one that
left its group, its session and its parent, and anybody may read it. It is the limit
on the time of real-time processes, which nothing else uses, and far too high to bind.

This file is run as the watchdog as well: it imports little, and nothing of ours.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable

try:
    import resource
except ImportError:  # pragma: no cover - Windows
    resource = None  # type: ignore[assignment]

# A label is this bit, then a number drawn for the campaign, then the trial's.
_MARK = 1 << 62
_TRIAL_BITS = 20
_CAMPAIGN_BYTES = 5

# Nothing that takes SIGKILL at all takes it later.
_PATIENCE = 5.0


class Labels:
    """The labels of one process's trials.

    Attributes:
        works: whether the system has such labels, and this process none itself. A
            process that is part of a trial could give its own children none.
    """

    def __init__(self) -> None:
        self.works = _can_label()
        drawn = int.from_bytes(os.urandom(_CAMPAIGN_BYTES), "big")
        self.campaign = _MARK | drawn << _TRIAL_BITS
        self._trials = 0

    def next(self) -> int:
        """Give the label of one more trial; 0 where labels do not work."""
        if not self.works:
            return 0
        self._trials = (self._trials + 1) % (1 << _TRIAL_BITS)
        return self.campaign + self._trials


def wear(label: int) -> None:
    """Take the label, for this process and all that it will start."""
    if label:
        resource.setrlimit(resource.RLIMIT_RTTIME, (label, label))


def end_labelled(label: int) -> None:
    """End every process that wears this label; return when they are gone."""
    if label:
        _end(lambda worn: worn == label)


def end_campaign(campaign: int) -> None:
    """End every process that wears any label of this campaign."""
    _end(lambda worn: worn >> _TRIAL_BITS == campaign >> _TRIAL_BITS)


def _can_label() -> bool:
    if not hasattr(resource, "RLIMIT_RTTIME") or not hasattr(os, "pidfd_open"):
        return False
    if resource.getrlimit(resource.RLIMIT_RTTIME)[1] != resource.RLIM_INFINITY:
        return False  # a limit can be lowered, but not raised again
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return os.path.isdir("/proc/self")


def _end(wanted: Callable[[int], bool]) -> None:
    """Kill what is found, wait until it is gone, and look again: it may have forked."""
    until = time.monotonic() + _PATIENCE
    while True:
        poll = select.poll()
        found: dict[int, bool] = {}
        for pid in _processes():
            if not _wears(pid, wanted):
                continue
            try:
                descriptor = os.pidfd_open(pid)
            except OSError:
                continue  # it has just ended
            poll.register(descriptor, select.POLLIN)
            found[descriptor] = True
        # One that can be read is that of a process that is dead, if not yet buried.
        for descriptor, _ in poll.poll(0):
            poll.unregister(descriptor)
            found[descriptor] = False
        for descriptor in [number for number, alive in found.items() if alive]:
            try:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            except OSError:  # not ours to end: it changed its user
                poll.unregister(descriptor)
                found[descriptor] = False
        waiting = sum(found.values())
        while waiting and (ended := poll.poll(max(0.0, 1000 * (until - time.monotonic())))):
            for descriptor, _ in ended:
                poll.unregister(descriptor)
            waiting -= len(ended)
        for descriptor in found:
            os.close(descriptor)
        if waiting or not any(found.values()):
            return


def _processes() -> list[int]:
    own = os.getpid()
    try:
        numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    return [pid for pid in numbers if pid != own]


def _wears(pid: int, wanted: Callable[[int], bool]) -> bool:
    try:
        worn = resource.prlimit(pid, resource.RLIMIT_RTTIME)[1]
    except OSError:
        return False  # somebody else's, or gone
    return worn >= _MARK and wanted(worn)


def start_watchdog(campaign: int, watched: int = 0) -> None:
    """Start the program that ends a campaign's processes when this process is gone.

    It is no child of this process, holds nothing of it open but the means to see it
    end, and ends after it. Where it cannot be started there is none.

    Args:
        campaign: whose.
        watched: the number of the process whose end it waits for; 0 for this one.
    """
    if "python" not in os.path.basename(sys.executable or "") or not os.path.isfile(__file__):
        return
    if not hasattr(os, "fork"):
        return
    parent = os.pidfd_open(watched or os.getpid())
    try:
        between = os.fork()
        if between == 0:
            _be_between(parent, campaign)
        os.waitpid(between, 0)
    except OSError:
        return
    finally:
        os.close(parent)


def _be_between(parent: int, campaign: int) -> None:
    """Start the watchdog and end, so that it is nobody's child."""
    try:
        os.setsid()  # Ctrl-C is for the session that we watch
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        if parent != 3:
            os.dup2(parent, 3)
        os.set_inheritable(3, True)
        command = [sys.executable, "-I", "-S", __file__, str(campaign)]
        actions = [(os.POSIX_SPAWN_CLOSE, number) for number in _inheritable() if number > 3]
        os.posix_spawn(sys.executable, command, os.environ, file_actions=actions)
    finally:
        sys.modules.get("posix", os)._exit(0)


def _inheritable() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:
            continue  # the listing's own
    return found


def _watch(parent: int, campaign: int) -> None:
    select.select([parent], [], [])
    end_campaign(campaign)


if __name__ == "__main__":
    _watch(3, int(sys.argv[1]))
