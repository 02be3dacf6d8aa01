"""Many threads in need at once: nothing is lost, nothing given twice, nobody stuck."""

import contextlib
import random
import threading
from functools import partial

import pytest

from faultinject.errors import SpecError
from faultinject.gfp import GFP_ATOMIC, GFP_KERNEL, Gfp
from faultinject.mm import Memory, Page, Pressure, ShrinkControl

QUIET = Gfp.NOWARN


class Pool:
    """Pages that come and go: consumed again and again, given back by a shrinker."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.parts: list[Pressure] = []
        memory.register_shrinker(self.scan)

    def fill(self) -> None:
        spare = self.memory.free_bytes // 2 // 4096 * 4096
        with contextlib.suppress(SpecError):  # another thread was quicker
            self.parts.append(self.memory.consume(min(spare, 1 << 20), movable=True))
        self.memory.clock.advance(0.001)

    def scan(self, sc: ShrinkControl) -> int:
        try:
            part = self.parts.pop()
        except IndexError:
            return 0
        part.release()
        return sc.nr_to_scan


@pytest.mark.parametrize("kernel", ["2.6.24", "3.14", "6.6"])
def test_threads_that_reclaim_compact_and_kill_at_once_lose_nothing(kernel: str) -> None:
    memory = Memory("16M", kernel=kernel)
    pool = Pool(memory)
    killed: list[str] = []

    def on_exit(held: Pressure, name: str) -> None:
        held.release()
        killed.append(name)

    for name in "abcdefgh":
        held = memory.consume("256K")
        memory.tasks.add(name, rss="256K", on_exit=partial(on_exit, held, name))
    errors: list[BaseException] = []
    left: list[tuple[Page, bytes]] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        mine: list[tuple[Page, bytes]] = []
        try:
            for step in range(150):
                pool.fill()
                gfp = draw.choice([GFP_KERNEL, GFP_KERNEL, GFP_ATOMIC, GFP_KERNEL | Gfp.MOVABLE])
                page = memory.alloc_pages(gfp | QUIET, draw.choice([0, 0, 0, 1, 3, 4]))
                if page is not None:
                    mark = bytes([seed * 50 + step % 50]) * 64
                    page[0:64] = mark
                    mine.append((page, mark))
                if len(mine) > 40 or (mine and page is None):
                    for page, mark in mine:
                        assert page[0:64] == mark
                        memory.free_pages(page, page.order)
                    mine.clear()
            left.extend(mine)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert not any(thread.is_alive() for thread in threads)
    assert errors == []
    memory.check()
    assert all(page[0:64] == mark for page, mark in left)
    assert len(killed) == len(set(killed)) == len(memory.oom.kills)
    for page, _ in left:
        memory.free_pages(page, page.order)
    for part in pool.parts:
        part.release()
    for task in memory.tasks:
        task.leave()
    assert memory.free_bytes == memory.size
