"""The worker: a fresh interpreter that does one errand after another in itself.

Lives here: how it listens to the parent that has started it, does what it is told and
answers. Not here: what finds a subject in it (`pytest_faultinject.worker`,
`faultinject.campaign.by_name`), the parent's side (``.spawn``).

Messages come as lines of JSON on its standard input. What it has to tell stands on the
board, which also outlives it; a byte in a pipe says that something new stands there.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from faultinject.campaign.board import Board
from faultinject.campaign.child import (
    NO_REPORT,
    bind_to_parent,
    carry_out,
    complain,
    is_noted_process,
    note_on,
    write_stacks_to,
)
from faultinject.campaign.descriptors import out_of_the_way
from faultinject.campaign.evidence import Evidence
from faultinject.campaign.inherited import leave_input, leave_process
from faultinject.campaign.limits import data_size, peak_growth
from faultinject.campaign.oracles.children import Children
from faultinject.campaign.order import Order
from faultinject.campaign.outcome import Outcome, judge
from faultinject.campaign.processes import WARM_UP
from faultinject.campaign.reaper import start_watchdog
from faultinject.campaign.sweeper import Sweeper

# Gives the sweeper of the subject that a message names, in the state in which a fork of
# the parent would find it.
Find = Callable[[Mapping[str, Any]], Sweeper]

# A trial that makes the process larger by so many bytes is the last one in it.
_MUCH = 16 << 20

_GOOD = frozenset({Outcome.RECOVERED, Outcome.PROPAGATED})

# After these the process is as it was: the clean re-run has shown it.
_HARMLESS = _GOOD | {Outcome.FAILED}


class Desk:
    """Where a worker is told what to do, and answers.

    Made once, before anything else is imported: from then on this process ends with its
    parent, and all that it starts can be found.

    Attributes:
        told: what the front-end that started it has to say.
        out: a descriptor of the file that its standard output goes to.
        err: the same of its standard error.
    """

    def __init__(self) -> None:
        board, dump, wake = (int(text) for text in sys.argv[1:4])
        self._messages = os.fdopen(out_of_the_way(os.dup(0)), "rb")
        leave_input()
        self.out, self.err = out_of_the_way(os.dup(1)), out_of_the_way(os.dup(2))
        self._board = Board(board)
        os.close(board)
        self._dump, self._wake = out_of_the_way(dump), out_of_the_way(wake)
        greeting = next(self._received())
        if greeting["watched"]:
            start_watchdog(greeting["watched"], greeting["parent"])
        bind_to_parent(greeting["parent"], greeting["label"])
        # What this process starts has the seed that the parent's would have.
        os.environ.pop("PYTHONHASHSEED", None)
        if greeting["hash_seed"] is not None:
            os.environ["PYTHONHASHSEED"] = greeting["hash_seed"]
        note_on(self._board)
        self.told: Mapping[str, Any] = greeting["told"]

    def serve(self, find: Find) -> None:
        """Do what the parent says until it needs nothing more.

        Args:
            find: may run the subject clean, which is no part of any trial.
        """
        write_stacks_to(self._dump)
        for message in self._received():
            if "leave" in message:
                return
            status = NO_REPORT
            try:
                self._board.deliver(self._answer(message, find), alone=False)
                status = 0
            except BaseException:
                complain(self._board)
            finally:
                if status or not is_noted_process():
                    leave_process(status)
            try:
                os.write(self._wake, b"!")
            except OSError:  # closed by the trial: then the end of the process says it
                leave_process(status)

    def _received(self) -> Iterator[Any]:
        for line in self._messages:
            yield json.loads(line)

    def _answer(self, message: Mapping[str, Any], find: Find) -> dict[str, Any]:
        self._board.enter(WARM_UP)
        order = Order.from_plain(message["order"])
        errand = find(message["context"]).errand(order)
        memory = message["memory"]
        for descriptor in (self.out, self.err, self._dump):
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
        version, words, gauss = message["draws"]
        random.setstate((version, tuple(words), gauss))
        children, peak = Children(), peak_growth(0)
        self._board.begin()
        payload = carry_out(errand, self._board, None if memory is None else data_size() + memory)
        good, fit = _judged(order, payload)
        # What a trial has once taken, the next census would take for its own need.
        fit &= order.baseline is None or peak_growth(peak) < _MUCH
        return {"payload": payload, "good": good, "fit": fit and not children.left()}


def _judged(order: Order, payload: Mapping[str, Any]) -> tuple[bool, bool]:
    """Say whether the result needs no second look, and whether this process can go on."""
    if order.baseline is None:
        passed = payload["passed"] and payload["runs_twice"]
        return passed, passed
    outcome = judge(Evidence.from_dict(dict(payload)))
    runs_twice = bool(order.baseline["runs_twice"])
    return outcome in _GOOD, outcome in _HARMLESS and runs_twice


def leave() -> NoReturn:
    """End this process, with whatever threads and exit functions it has."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    leave_process(0)
