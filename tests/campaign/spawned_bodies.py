"""Functions that a worker finds by their names; what is in them is tried by `test_spawn`."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

import faultinject as fi
from faultinject import Pointer

SEEN: list[str] = []
FIRST: list[Pointer] = []


def take() -> Pointer:
    got = fi.kmalloc(64, fi.GFP_KERNEL)
    if got is None:
        raise MemoryError
    return got


def two_calls() -> None:
    fi.kfree(take())
    other = fi.kmalloc(32, fi.GFP_KERNEL)
    if other is not None:
        fi.kfree(other)


def prepared() -> list[int]:
    return [1]


def uses(numbers: list[int]) -> None:
    numbers.append(2)
    fi.kfree(take())


def holds(numbers: list[int]) -> None:
    assert numbers == [1, 2]


def tells_its_process() -> None:
    with Path(os.environ["TOLD"]).open("a", encoding="utf-8") as file:
        print(os.getpid(), file=file)
    two_calls()


def tells_the_order_of_a_set() -> None:
    with Path(os.environ["TOLD"]).open("a", encoding="utf-8") as file:
        print(os.getpid(), *{"one", "two", "three", "four", "five"}, file=file)
    assert "PYTHONHASHSEED" not in os.environ
    two_calls()


def spoils() -> None:
    """Leave something behind that is found by the next run alone."""
    assert not SEEN
    if fi.kmalloc(64, fi.GFP_KERNEL) is None:
        SEEN.append("spoilt")


def remembers_quietly() -> None:
    """Go wrong at the second fault in one process, and pass by itself in each run."""
    try:
        for _ in range(3):
            fi.kfree(take())
    except MemoryError:
        SEEN.append("tried")
        assert len(SEEN) < 2


def fills_a_cache() -> None:
    """Allocate in the first run alone."""
    if not SEEN:
        SEEN.append("made")
        fi.kfree(take())


def leaves_a_file_open() -> None:
    number = os.open(os.devnull, os.O_RDONLY)
    fi.kfree(take())
    os.close(number)


def aborts() -> None:
    if (got := fi.kmalloc(64, fi.GFP_KERNEL)) is None:
        print("about to die", flush=True)
        logging.getLogger().error("logged before")
        os.abort()
    else:
        fi.kfree(got)


def sleeps() -> None:
    if (got := fi.kmalloc(64, fi.GFP_KERNEL)) is None:
        if (pid := os.fork()) == 0:
            time.sleep(3600)
        Path(os.environ["TOLD"]).write_text(f"{os.getpid()} {pid}", encoding="utf-8")
        print("falls asleep", flush=True)
        time.sleep(3600)
    else:
        fi.kfree(got)


def closes_everything() -> None:
    if (got := fi.kmalloc(64, fi.GFP_KERNEL)) is None:
        os.closerange(0, 4096)
    else:
        fi.kfree(got)


def leaves() -> None:
    if (got := fi.kmalloc(64, fi.GFP_KERNEL)) is None:
        sys.stdout.flush()
        os._exit(3)
    fi.kfree(got)


def fills_its_memory() -> None:
    if (got := fi.kmalloc(64, fi.GFP_KERNEL)) is None:
        held = []
        while len(held) < 256:
            held.append(bytearray(1 << 20))
        raise LookupError("no limit")
    fi.kfree(got)


def allocates() -> None:
    names = {f"name {number}" for number in range(5)}
    for name in names:
        os.path.join("folder", name)
