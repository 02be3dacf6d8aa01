"""Under a tracer: what is made for it is not asked for by the code under test."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest
from native_children import in_a_child

from faultinject.engine.attr import FaultAttr
from faultinject.native import Census, CodeScope, RuleArming, why_unavailable

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))

HERE = CodeScope.of([__file__])
LOCK = threading.Lock()


def calls_methods_of_c() -> str:
    LOCK.acquire()
    try:
        return ",".join(["a", "b"])
    finally:
        LOCK.release()


def binds_a_method_of_c() -> Callable[[], bool]:
    return LOCK.locked


def sites_of(body: Callable[[], object], *, traced: bool) -> list[tuple[int, str]]:
    def run() -> list[tuple[int, str]]:
        body()  # the first run makes what later ones find
        sys.settrace((lambda *event: None) if traced else None)
        try:
            with Census(HERE) as census:
                body()
        finally:
            sys.settrace(None)
        return sorted((site.line, site.domain) for site in census.sites)

    found: list[tuple[int, str]] = in_a_child(run)
    return found


@pytest.mark.parametrize("body", [calls_methods_of_c, binds_a_method_of_c])
def test_a_traced_body_has_the_sites_that_it_has_anyway(body: Callable[[], object]) -> None:
    assert sites_of(body, traced=True) == sites_of(body, traced=False) != []


def test_the_rule_fails_nothing_that_is_made_for_a_tracer() -> None:
    def run() -> int:
        sys.settrace(lambda *event: None)
        try:
            with RuleArming(FaultAttr(100, times=-1), scope=HERE) as armed:
                LOCK.locked()
        finally:
            sys.settrace(None)
        return armed.stats["injected"]

    assert in_a_child(run) == 0
