"""Arming, nesting, leaving and tracemalloc, in every order: what comes of it is as modelled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import native_orders
import pytest

from faultinject.errors import UsageError
from faultinject.native import Census, RuleArming, core, why_unavailable

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("allocator", "length", "threads"),
    [
        ("default", 5, 0),
        ("debug", 4, 0),
        ("malloc_debug", 4, 0),
        ("default", 3, 3),
        ("debug", 3, 3),
    ],
)
def test_every_order_ends_with_the_interpreters_own_allocators(
    allocator: str, length: int, threads: int
) -> None:
    ended = subprocess.run(
        [sys.executable, native_orders.__file__, str(length), str(threads)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONMALLOC": allocator},
        cwd=os.sep,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert int(ended.stdout) > 30


def test_an_arming_that_is_interrupted_on_the_way_in_leaves_the_outer_one_in_force(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    before = native_orders.allocators()
    inner = Census()
    with Census(collect=False) as outer:
        monkeypatch.setattr("faultinject.native.arming.gc.collect", interrupted)
        with pytest.raises(KeyboardInterrupt):
            inner.__enter__()
        monkeypatch.undo()
        armed = core.module().armed()

    assert not inner.armed
    assert armed is not None
    assert outer.stats["sites"]
    assert native_orders.allocators() == before


def test_an_arming_on_which_another_hook_lies_takes_no_inner_one() -> None:
    import tracemalloc

    refused = ""
    with Census():
        tracemalloc.start()
        try:
            with RuleArming(native_orders.FaultAttr(100)):
                pass
        except UsageError as error:
            refused = error.name
        finally:
            tracemalloc.stop()

    assert refused == "native-other-hook"
    assert why_unavailable() is None
