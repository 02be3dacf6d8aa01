"""Every order of arming, nesting, leaving and of starting and stopping tracemalloc.

Run by test_native_orders.py in a process of its own: ``native_orders.py LENGTH THREADS``. It
tries all orders of so many steps with so many busy threads, and prints how many there were.
"""

from __future__ import annotations

import itertools
import sys
import threading
import tracemalloc
from collections.abc import Callable

from faultinject.engine.attr import FaultAttr
from faultinject.errors import UsageError
from faultinject.native import Census, NativeArming, Requests, RuleArming, core, why_unavailable

LARGE = Requests.of(["obj"], min_size=60_000)
STEPS = ("rule", "census", "leave", "start", "stop")


def fails() -> bool:
    try:
        bytes(70_000)
    except MemoryError:
        return True
    return False


def allocators() -> object:
    return core.module().allocators()  # type: ignore[attr-defined]


class Order:
    """One order, walked step by step beside a model of what it must do."""

    def __init__(self) -> None:
        self.armed: list[NativeArming] = []
        # The model: the hooks in the order in which they are asked, each name on top of the
        # ones before it, and what each hook found when it was put there.
        self.chain: tuple[str, ...] = ()
        self.below: dict[str, tuple[str, ...]] = {}
        self.installed = self.in_force = False

    def settle(self) -> bool:
        """Take out what had to be left; False if it still must be."""
        if self.installed and self.chain[-1:] == ("ours",):
            self.chain, self.installed = self.below["ours"], False
        elif self.installed and not self.chain:
            self.installed = False  # tracemalloc, as it went, put back what it had found
        return not self.installed

    def install(self) -> None:
        self.below["ours"] = self.chain
        self.chain += ("ours",)
        self.installed = self.in_force = True

    def enter(self, name: str) -> None:
        arming: NativeArming = Census(requests=LARGE, collect=False)
        if name == "rule":
            arming = RuleArming(FaultAttr(100, times=-1, verbose=0), requests=LARGE)
        if self.in_force:
            covered = bool(self.chain) and self.chain[-1] != "ours"
        else:
            covered = not self.settle()
        refused = ""
        try:
            arming.__enter__()
        except UsageError as error:
            refused = error.name
        assert refused == ("native-other-hook" if covered else "")
        assert arming.armed != covered
        if covered:
            return
        self.settle()
        self.install()
        self.armed.append(arming)

    def leave(self) -> None:
        self.armed.pop().__exit__(None, None, None)
        self.in_force = False
        if self.settle() and self.armed:
            self.install()

    def step(self, name: str) -> bool:
        """Make one step, and look; False if it has no sense here."""
        if name in ("rule", "census"):
            if len(self.armed) == 2:
                return False
            self.enter(name)
        elif name == "leave":
            if not self.armed:
                return False
            self.leave()
        elif name == "start":
            if tracemalloc.is_tracing():
                return False
            self.below["theirs"] = self.chain
            self.chain += ("theirs",)
            tracemalloc.start()
        else:
            if not tracemalloc.is_tracing():
                return False
            self.chain = self.below["theirs"]
            tracemalloc.stop()
        self.check()
        return True

    def check(self) -> None:
        inner = self.armed[-1] if self.armed else None
        failing = isinstance(inner, RuleArming) and self.in_force and "ours" in self.chain
        assert fails() == failing, (failing, self.chain)
        if "theirs" in self.chain:
            kept = bytes(50_000)
            assert tracemalloc.get_object_traceback(kept) is not None

    def end(self) -> None:
        while self.armed:
            self.armed.pop().__exit__(None, None, None)
        tracemalloc.stop()


def walk(length: int) -> int:
    before = allocators()
    walked = 0
    for names in itertools.product(STEPS, repeat=length):
        order = Order()
        try:
            if all(order.step(name) for name in names):
                walked += 1
        except BaseException:
            print("in", names)
            raise
        finally:
            order.end()
        assert why_unavailable() is None, (names, why_unavailable())
        assert allocators() == before, names
        with RuleArming(FaultAttr(100, verbose=0), requests=LARGE):
            assert fails(), names
        assert allocators() == before, names
    return walked


def with_threads(threads: int, work: Callable[[], int]) -> int:
    stop = threading.Event()
    wrong: list[object] = []

    def busy() -> None:
        while not stop.is_set():
            made = [(number, str(number)) for number in range(300)]
            if made[299] != (299, "299"):
                wrong.append(made[299])

    sys.setswitchinterval(0.0005)  # or every step waits for each of them
    running = [threading.Thread(target=busy) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        return work()
    finally:
        stop.set()
        for thread in running:
            thread.join()
        assert not wrong, wrong


if __name__ == "__main__":
    length, threads = int(sys.argv[1]), int(sys.argv[2])
    print(with_threads(threads, lambda: walk(length)))
